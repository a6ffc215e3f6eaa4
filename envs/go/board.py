"""One game of Go with its moves; an illegal move is an error that gives the reason.

The rules are implemented in `envs.go.core`; `Board.boards` is a batch of one for compiled code.
"""

from collections.abc import Sequence

import numpy as np

from envs.go import core
from envs.go.core import BLACK, EMPTY, WHITE, Boards, Rules
from envs.go.vertices import vertex
from envs.hooks import WorldError

__all__ = [
    *("BLACK", "EMPTY", "WHITE", "Board", "IllegalMoveError", "Rules"),
    *("handicap_points", "random_opening", "replay"),
]

_WHY = {
    core.OCCUPIED: "there is a stone already",
    core.SUICIDE: "the stone would have no liberty",
    core.REPETITION: "it would repeat an earlier position",
    core.OVER: "the game is over",
}


class IllegalMoveError(ValueError):
    """A move is illegal; the message says which and why."""


class Board:
    """A game of Go.

    Attributes:
        rules: the rules it is played under.
        moves: the moves played, (colour, action) each, with passes and without setup stones.
        boards: the position as `core` stores it, one row. Do not keep a reference: long games replace it.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.moves: list[tuple[int, int]] = []
        self.boards: Boards = core.new_boards(1, self.rules)

    @property
    def to_play(self) -> int:
        """`BLACK` or `WHITE`; may be set, as when white begins a handicap game."""
        return int(self.boards.numbers[0, core.TO_PLAY])

    @to_play.setter
    def to_play(self, colour: int) -> None:
        _check_colour(colour)
        self.boards.numbers[0, core.TO_PLAY] = colour
        if not self.moves:
            core.begin_history(self.boards, 0)

    @property
    def stones(self) -> np.ndarray:
        """A copy of the position: (size, size) int8 of `EMPTY`, `BLACK`, `WHITE`."""
        size = self.rules.size
        inside = self.boards.stones[0, size + 1 : -1].reshape(size + 1, size + 1)
        return inside[:size, 1:].astype(np.int8)

    @property
    def passes(self) -> int:
        """The number of passes in a row at the end of the game."""
        return int(self.boards.numbers[0, core.PASSES])

    @property
    def over(self) -> bool:
        """Whether the last two moves were passes."""
        return self.passes >= 2

    def place(self, colour: int, point: int) -> None:
        """Set up a stone before the first move, for a handicap or a problem.

        Raises:
            IllegalMoveError: moves were played, the point is off the board or occupied, or a chain would
                have no liberty.
        """
        _check_colour(colour)
        if self.moves:
            raise IllegalMoveError("stones are set up before the first move only")
        if not 0 <= point < self.rules.size**2:
            raise IllegalMoveError(f"there is no point {point} on a board of {self.rules.size}")
        trial = self.copy()
        if core.verdict(trial.boards, 0, point) == core.OCCUPIED:
            raise IllegalMoveError(self._because(colour, point, core.OCCUPIED))
        core.place(trial.boards, 0, colour, point)
        if (trial.stones != EMPTY).sum() != (self.stones != EMPTY).sum() + 1 or (
            not core.breathes(trial.boards, 0, point)
        ):
            raise IllegalMoveError(f"{self._named(colour, point)} leaves a chain without liberties")
        self.boards = trial.boards

    def play(self, action: int, colour: int | None = None) -> None:
        """Play a point or pass.

        Args:
            colour: who plays, by default the player to move. It may play out of turn.

        Raises:
            IllegalMoveError: the move is illegal; the game is unchanged.
        """
        colour = self.to_play if colour is None else colour
        ruling = self._verdict(action, colour)
        if ruling != core.LEGAL:
            raise IllegalMoveError(self._because(colour, action, ruling))
        if self.rules.ko != "simple":
            self._make_room()
        self.boards.numbers[0, core.TO_PLAY] = colour
        core.play(self.boards, 0, action)
        self.moves.append((colour, action))

    def resume(self) -> None:
        """Continue after two passes, for players who disagree about dead stones."""
        self.boards.numbers[0, core.PASSES] = 0

    def is_legal(self, action: int, colour: int | None = None) -> bool:
        """Whether colour, by default the player to move, may play an action."""
        return self._verdict(action, self.to_play if colour is None else colour) == core.LEGAL

    def legal(self, colour: int | None = None) -> np.ndarray:
        """Return `is_legal` of every action, (size² + 1,) bool, the pass last."""
        mask = np.zeros(self.rules.size**2 + 1, bool)
        turn = self.to_play
        self.boards.numbers[0, core.TO_PLAY] = turn if colour is None else colour
        core.legal_actions(self.boards, 0, mask)
        self.boards.numbers[0, core.TO_PLAY] = turn
        return mask

    def score(self) -> float:
        """Return black's area minus white's minus the komi; all stones count as alive."""
        return float(core.area(self.boards, 0) - self.rules.komi)

    def planes(self) -> np.ndarray:
        """Return the observation of the player to move, (19, size, size) uint8; see `core.planes`."""
        out = np.zeros((core.PLANES, self.rules.size, self.rules.size), np.uint8)
        core.planes(self.boards, 0, out)
        return out

    def copy(self) -> "Board":
        """Return an independent copy."""
        board = Board.__new__(Board)
        board.rules, board.moves = self.rules, self.moves.copy()
        size, ko, suicide, *arrays = self.boards
        board.boards = Boards(size, ko, suicide, *(array.copy() for array in arrays))
        return board

    def _verdict(self, action: int, colour: int) -> int:
        _check_colour(colour)
        if not 0 <= action <= self.rules.size**2:
            raise IllegalMoveError(f"there is no action {action} on a board of {self.rules.size}")
        turn = self.to_play
        self.boards.numbers[0, core.TO_PLAY] = colour
        ruling = core.verdict(self.boards, 0, action)
        self.boards.numbers[0, core.TO_PLAY] = turn
        return ruling

    def _make_room(self) -> None:
        """Double the superko history when it is full."""
        if self.boards.numbers[0, core.HISTORY] == core.history_room(self.boards):
            larger = core.new_boards(1, self.rules, 2 * core.history_room(self.boards))
            core.copy_board(larger, 0, self.boards, 0)
            self.boards = larger

    def _named(self, colour: int, action: int) -> str:
        name = ("black", "white")[colour - 1]
        return f"{name} {vertex(action, self.rules.size)}"

    def _because(self, colour: int, action: int, ruling: int) -> str:
        why = _WHY[ruling]
        if ruling == core.REPETITION and self.rules.ko == "simple":
            why = "the ko may not be retaken at once"
        return f"{self._named(colour, action)} is illegal: {why}"


def replay(
    rules: Rules,
    setup: Sequence[tuple[int, int]] = (),
    moves: Sequence[tuple[int, int]] = (),
    to_play: int | None = None,
) -> Board:
    """Return a game after some moves. Moves after two passes are played as a game that was resumed.

    Args:
        setup: stones that stand before the first move, (colour, point) each.
        moves: (colour, action) each.
        to_play: who begins; by default white if only black has stones on the board, else black.

    Raises:
        IllegalMoveError: a move is illegal.
    """
    board = Board(rules)
    for colour, point in setup:
        board.place(colour, point)
    handicap = bool(setup) and all(colour == BLACK for colour, _ in setup)
    board.to_play = to_play or (WHITE if handicap else BLACK)
    for colour, action in moves:
        if board.over:
            board.resume()
        board.play(action, colour)
    return board


def handicap_points(size: int, n: int) -> list[int]:
    """Return the points of n handicap stones in the order of the GTP 2 specification (section 4.1.1).

    Raises:
        WorldError: the board cannot have n stones. Odd boards of at least 9 take 2 to 9, other boards of at
            least 7 take 2 to 4.
    """
    most = 0 if size < 7 else 9 if size % 2 and size >= 9 else 4
    if not 2 <= n <= most:
        if not most:
            raise WorldError(f"a board of {size} has no handicap points")
        raise WorldError(f"a board of {size} takes 2 to {most} handicap stones, not {n}")
    near = 2 if size < 13 else 3
    low, middle, high = near, size // 2, size - 1 - near
    # Rows are counted from the top: `high` is the lower edge, where a board's row 4 is.
    corners = [(high, low), (low, high), (low, low), (high, high)]
    sides = [(middle, low), (middle, high), (high, middle), (low, middle)]
    points = corners[:n] if n < 5 else corners + sides[: (n - 4) // 2 * 2]
    if n % 2 and n >= 5:
        points.append((middle, middle))
    return [row * size + column for row, column in points]


def random_opening(rng: np.random.Generator, rules: Rules) -> list[int]:
    """Return two to four random moves away from the edge; none of them decides a game."""
    board, size = Board(rules), rules.size
    edge = 2 if size >= 7 else 1
    for _ in range(rng.integers(2, 5)):
        inner = np.zeros((size, size), bool)
        inner[edge : size - edge, edge : size - edge] = True
        board.play(int(rng.choice(np.flatnonzero(inner.ravel() & board.legal()[:-1]))))
    return [action for _, action in board.moves]


def _check_colour(colour: int) -> None:
    if colour not in (BLACK, WHITE):
        raise ValueError(f"a colour is {BLACK} for black or {WHITE} for white, not {colour!r}")
