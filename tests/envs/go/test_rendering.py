"""What a drawn board shows."""

import numpy as np
import pytest

from envs.go.go import Go
from envs.go.rendering import Thoughts, ansi, picture, stars


def _pixel(drawn: np.ndarray, row: int, column: int, size: int, off: float = 0) -> np.ndarray:
    """The colour on a point, or a little down and right of it."""
    cell = drawn.shape[1] / (size + 1)
    return drawn[int((row + 1 + off) * cell), int((column + 1 + off) * cell)].astype(int)


@pytest.mark.parametrize("size", [5, 9, 13, 19])
def test_stones_lie_where_they_were_played(size: int) -> None:
    stones = np.zeros((size, size), np.int8)
    stones[0, 1], stones[size - 1, 2] = 1, 2
    drawn = picture(stones)
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0
    assert 600 <= drawn.shape[1] <= 640
    assert _pixel(drawn, 0, 1, size, 0.2).max() < 90
    assert _pixel(drawn, size - 1, 2, size, 0.2).min() > 190
    empty = _pixel(drawn, 0, 3, size, 0.2)
    assert 90 < empty.mean() < 190


def test_the_last_move_is_marked_and_a_pass_is_written() -> None:
    stones = np.zeros((9, 9), np.int8)
    stones[4, 4] = 1
    red, green, _ = _pixel(picture(stones, 40), 4, 4, 9)
    assert red > 2 * green
    assert (picture(stones, 81) != picture(stones)).any()


def test_a_picture_with_thoughts_keeps_its_size_as_they_change() -> None:
    stones = np.zeros((9, 9), np.int8)
    without = picture(stones)
    first = picture(stones, None, Thoughts())
    later = picture(stones, None, Thoughts([(0, 0.7), (81, 0.2)], [0.5, float("nan"), 0.9]))
    assert first.shape == later.shape
    assert first.shape[1] == without.shape[1]
    assert first.shape[0] > without.shape[0]
    assert first.shape[0] % 2 == 0
    np.testing.assert_array_equal(first[: len(without)], without)
    assert (_pixel(later, 0, 0, 9, 0.25) != _pixel(without, 0, 0, 9, 0.25)).any()
    curve = later[len(without) :].astype(int)
    assert (curve[5:-5, 10:40].min(axis=2) > 180).any()  # white's share, above
    assert (curve[5:-5, 10:40].max(axis=2) < 40).any()  # black's, below


def test_candidates_are_drawn_on_empty_points_only() -> None:
    stones = np.ones((5, 5), np.int8)
    drawn = picture(stones, None, Thoughts([(12, 1.0)]))
    np.testing.assert_array_equal(drawn, picture(stones, None, Thoughts()))


def test_a_long_game_fits_its_curve() -> None:
    stones = np.zeros((5, 5), np.int8)
    short = picture(stones, None, Thoughts((), [0.5] * 3))
    assert picture(stones, None, Thoughts((), [0.5, 1.5, -1] * 300)).shape == short.shape


def test_the_marked_points_are_those_of_real_boards() -> None:
    assert len(stars(19)) == 9
    assert (3, 9) in stars(19)
    assert stars(9) == [(2, 2), (2, 6), (4, 4), (6, 2), (6, 6)]
    assert stars(13)[0] == (3, 3)


def test_a_board_as_text() -> None:
    stones = np.zeros((5, 5), np.int8)
    stones[0, 0], stones[0, 1], stones[4, 4] = 1, 2, 1
    text = """\
   A B C D E
 5 X(O). . . 5
 4 . . . . . 4
 3 . . + . . 3
 2 . . . . . 2
 1 . . . . X 1
   A B C D E
"""
    assert ansi(stones, 1) == text
    assert ansi(stones, 25) == ansi(stones)
    assert "(X)5\n" not in ansi(stones)
    assert " 1 . . . .(X)1\n" in ansi(stones, 24)


def test_a_game_is_drawn_as_it_goes_on() -> None:
    env = Go(5, opponent="self", render_mode="rgb_array")
    env.reset(seed=0)
    empty = env.render()
    env.step(0)
    assert (env.render() != empty).any()
    env.thoughts = Thoughts([(12, 0.5)], [0.6])
    assert env.render().shape[0] > empty.shape[0]
    text = Go(5, opponent="self", render_mode="ansi")
    text.reset(seed=0)
    text.step(0)
    assert "(X)" in text.render()
