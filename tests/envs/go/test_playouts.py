import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.go import core
from envs.go.board import BLACK, WHITE, Board, Rules
from envs.go.playouts import (
    FIRST,
    _answer,
    _last_liberty,
    _liberties_after,
    _makes_shape,
    expect,
    mask_eyes,
    new_notes,
    playout,
)


def board_of(picture: str, to_play: int = BLACK) -> Board:
    """A position drawn with X for black and O for white; `*` is the last move, of the opponent's."""
    signs = "".join(picture.split())
    board = Board(Rules(int(len(signs) ** 0.5)))
    for action, sign in enumerate(signs):
        if sign in "XO":
            board.place(BLACK if sign == "X" else WHITE, action)
    if "*" in signs:
        board.to_play = 3 - to_play
        board.play(signs.index("*"))
    else:
        board.to_play = to_play
    return board


def point(board: Board, action: int) -> np.uint64:
    return np.uint64(core.point_of(board.rules.size, action))


def answer(board: Board) -> int | None:
    """Where `_answer` answers the last move."""
    last = point(board, board.moves[-1][1])
    result = int(_answer(board.boards, 0, last, board.to_play))
    places = {int(point(board, action)): action for action in range(board.rules.size**2)}
    return places.get(result)


def chain(stones: np.ndarray, row: int, column: int) -> tuple[set, set]:
    """The points of the chain at a point, and its liberties."""
    result, liberties, todo = {(row, column)}, set(), [(row, column)]
    while todo:
        r, c = todo.pop()
        for place in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if min(place) < 0 or max(place) >= len(stones) or place in result:
                continue
            if stones[place] == 0:
                liberties.add(place)
            elif stones[place] == stones[row, column]:
                result.add(place)
                todo.append(place)
    return result, liberties


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 9), st.integers(0, 120), st.integers(0, 2**32 - 1))
def test_liberties_are_those_that_one_counts(size: int, moves: int, seed: int) -> None:
    rng, board = np.random.default_rng(seed), Board(Rules(size))
    for _ in range(moves):
        points = np.flatnonzero(board.legal()[:-1])
        if len(points):
            board.play(int(rng.choice(points)))
    stones, boards = board.stones, board.boards
    before = [array.copy() for array in boards[3:]]
    for action in range(size * size):
        place = divmod(action, size)
        if stones[place]:
            _, liberties = chain(stones, *place)
            head = np.uint64(boards.chains[0, core.HEAD, point(board, action)])
            last = int(_last_liberty(boards, 0, head))
            if len(liberties) == 1:
                ((row, column),) = liberties
                assert last == int(point(board, row * size + column))
            else:
                assert last == 0
        else:
            for colour in (BLACK, WHITE):
                result = _liberties_after(boards, 0, point(board, action), colour)
                after = stones.copy()
                after[place] = colour
                neighbours = [
                    (place[0] + a, place[1] + b) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))
                ]
                captures = any(
                    after[q] == 3 - colour and not chain(after, *q)[1]
                    for q in neighbours
                    if min(q) >= 0 and max(q) < size
                )
                expected = 2 if captures else min(2, len(chain(after, *place)[1]))
                assert result == expected, (place, colour)
    assert all((a == b).all() for a, b in zip(before, boards[3:], strict=True))


def test_the_last_move_is_captured_where_it_has_one_liberty() -> None:
    board = board_of(
        """
        . . X . .
        . X * . .
        . . X . .
        . . . . .
        . . . . .
        """
    )
    assert answer(board) == 1 * 5 + 3


def test_a_chain_that_was_attacked_runs_where_it_finds_room() -> None:
    board = board_of(
        """
        . . . . .
        . . * . .
        . O X O .
        . . . . .
        . . . . .
        """
    )
    assert answer(board) == 3 * 5 + 2


def test_a_chain_that_cannot_run_is_given_up() -> None:
    board = board_of(
        """
        . O X * .
        . . O . .
        . . . . .
        . . . . .
        . . . . .
        """
    )
    assert answer(board) is None


def test_a_chain_is_rescued_by_capturing_who_surrounds_it() -> None:
    board = board_of(
        """
        O X X . O
        . O * O .
        . . . . .
        . . . . .
        . . . . .
        """
    )
    assert answer(board) == 1 * 5 + 0, "takes the corner; there is no room to run"


def test_a_hane_is_a_shape_whoever_plays_it_and_however_it_lies() -> None:
    picture = np.array([list("....."), list(".XOX."), list("....."), list("....."), list(".....")])
    swap = {"X": "O", "O": "X", ".": "."}
    for turned in [np.rot90(x, k) for x in (picture, picture.T) for k in range(4)]:
        for seen in (turned, np.vectorize(swap.get)(turned)):
            board = board_of(" ".join(seen.ravel()))
            assert _makes_shape(board.boards, 0, point(board, 12)), seen


def test_an_empty_board_has_no_shapes() -> None:
    board = Board(Rules(5))
    assert not any(_makes_shape(board.boards, 0, point(board, action)) for action in range(25))


def test_what_lives_stays_and_what_is_dead_falls() -> None:
    board = board_of(
        """
        . X . X O . .
        X X X X O O .
        O O O O O . .
        . . . . . . .
        . . . . . . .
        . . . . . . .
        . . . . . . .
        """
    )
    notes, random = new_notes(1, board.boards), np.array([1], np.uint64)
    work, owner = core.new_boards(1, board.rules), np.zeros((7, 7), np.int8)
    for _ in range(200):
        core.copy_board(work, 0, board.boards, 0)
        playout(work, 0, notes, random)
        core.owners(work, 0, owner)
        assert (owner[:2, :4] == BLACK).all(), "two eyes"
        first = notes[0, FIRST]
        assert set(np.unique(first)) <= {0, BLACK, WHITE}
        assert first[point(board, 0)] != BLACK, "nobody fills an own eye"


def test_a_playout_ends_with_every_point_owned() -> None:
    board = Board(Rules(9))
    notes, random = new_notes(1, board.boards), np.array([1], np.uint64)
    work, owner = core.new_boards(1, board.rules), np.zeros((9, 9), np.int8)
    unowned = []
    for _ in range(200):
        core.copy_board(work, 0, board.boards, 0)
        playout(work, 0, notes, random)
        core.owners(work, 0, owner)
        unowned.append((owner == 0).sum())
    assert np.mean(unowned) < 2, "but for a few liberties that two groups share"


def test_first_impressions() -> None:
    board = board_of(
        """
        . X . . . . .
        X X . . . . .
        . . . . . . .
        . . . X . . .
        . . X O * . .
        . . . X . . .
        . . . . . . .
        """
    )
    chances, legal = np.zeros(50, np.float32), np.zeros(50, bool)
    expect(board.boards, 0, legal, np.array([1], np.uint64), chances)
    assert chances[0] == 0, "an own eye"
    assert (chances[board.stones.ravel().nonzero()[0]] == 0).all(), "stones"
    assert (chances <= 1.01).all()
    assert chances[49] > 0, "a pass"
    beside, far = chances[5 * 7 + 4], chances[1 * 7 + 5]
    assert beside > far, "near the last move"


def test_eyes_are_masked() -> None:
    mask = np.ones(26, bool)
    board = Board(Rules(5))
    for point in (1, 5, 6):
        board.place(BLACK, point)
    mask_eyes(board.boards, 0, mask)
    assert np.flatnonzero(~mask).tolist() == [0]
