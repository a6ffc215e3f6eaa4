"""Who owns what at the end of a game."""

from collections.abc import Sequence

import numpy as np

from envs.go.board import BLACK, WHITE, Board, Rules
from envs.go.counting import chains, dead_stones, result_of, without


def _wall(extra: Sequence[tuple[int, int]] = ()) -> Board:
    """Black has the left of a 9×9 board, white the right; each has two eyes."""
    board = Board(Rules())
    for row in range(9):
        board.place(BLACK, row * 9 + 3)
        board.place(WHITE, row * 9 + 4)
        if row % 2:
            board.place(BLACK, row * 9 + 2)
            board.place(WHITE, row * 9 + 5)
    for colour, point in extra:
        board.place(colour, point)
    return board


def test_a_lonely_stone_behind_a_wall_is_dead() -> None:
    assert dead_stones(_wall()) == set()
    assert dead_stones(_wall([(WHITE, 0), (BLACK, 17)])) == {0, 17}


def test_dead_stones_are_their_captor_s_area() -> None:
    board = _wall([(WHITE, 0)])
    assert without(board, {0}).score() == 36 - 45 - 7
    assert without(board, {0}).rules.komi == 7
    assert board.stones[0, 0] == WHITE


def test_chains_are_stones_of_one_colour_side_by_side() -> None:
    stones = np.zeros((5, 5), np.int8)
    stones[0, :3] = BLACK
    stones[1, 2] = BLACK
    stones[1, 0] = WHITE
    stones[4, 4] = BLACK
    assert chains(stones) == [[0, 1, 2, 7], [5], [24]]


def test_results_are_written_as_programs_write_them() -> None:
    assert [result_of(score) for score in (3.5, -12.0, 0.0)] == ["B+3.5", "W+12", "0"]
