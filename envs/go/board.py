"""One game of Go for people's programs: it remembers its moves and says why a move is illegal.

The rules themselves are in `envs.go.core`; `Board.boards` is a batch of one for compiled callers.
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
    """A move against the rules, and which."""


class Board:
    """A game from its first stone on.

    Attributes:
        rules: The rules it is played under.
        moves: What was played: (colour, action), passes included, setup stones not.
        boards: The position in `core`'s form, one row. Not to be kept: it is replaced as games grow.
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
        """How many of the last moves were passes."""
        return int(self.boards.numbers[0, core.PASSES])

    @property
    def over(self) -> bool:
        """Whether both have passed, one after the other."""
        return self.passes >= 2

    def place(self, colour: int, point: int) -> None:
        """Sets up a stone before the first move, as handicap or of a problem.

        Raises:
            IllegalMoveError: After the first move, off the board, on a stone, or where a chain, this or
                another, would have no liberty.
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
        """Plays a point or passes.

        Args:
            colour: Who plays; out of turn, too, as if the other had passed. The player to move by
                default.

        Raises:
            IllegalMoveError: Saying why; the game is as before.
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
        """Goes on after two passes, as people do who disagree about what is dead."""
        self.boards.numbers[0, core.PASSES] = 0

    def is_legal(self, action: int, colour: int | None = None) -> bool:
        """Whether colour, by default the player to move, may play an action."""
        return self._verdict(action, self.to_play if colour is None else colour) == core.LEGAL

    def legal(self, colour: int | None = None) -> np.ndarray:
        """(size² + 1,) bool: what `is_legal` says of every action, a pass being the last."""
        mask = np.zeros(self.rules.size**2 + 1, bool)
        turn = self.to_play
        self.boards.numbers[0, core.TO_PLAY] = turn if colour is None else colour
        core.legal_actions(self.boards, 0, mask)
        self.boards.numbers[0, core.TO_PLAY] = turn
        return mask

    def score(self) -> float:
        """Black's area minus white's minus the komi, with all stones taken for alive."""
        return float(core.area(self.boards, 0) - self.rules.komi)

    def territory(self) -> np.ndarray:
        """(size, size) int8: whose area every point is, stones included; 0 where nobody's."""
        owner = np.zeros((self.rules.size, self.rules.size), np.int8)
        core.owners(self.boards, 0, owner)
        return owner

    def planes(self) -> np.ndarray:
        """(19, size, size) uint8: what the player to move sees, see `core.planes`."""
        out = np.zeros((core.PLANES, self.rules.size, self.rules.size), np.uint8)
        core.planes(self.boards, 0, out)
        return out

    def copy(self) -> "Board":
        """A game that goes on by itself from here."""
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
        """Doubles the history when it is full, so that superko forgets nothing."""
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
    """A game up to some moves; after two passes it went on wherever there are more.

    Args:
        setup: stones that stand before the first move, (colour, point) each.
        moves: (colour, action) each.
        to_play: who begins; by default white where black alone has stones on the board, else black.

    Raises:
        IllegalMove: the rules are against it.
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
    """The points of n handicap stones in the order of the GTP 2 specification (section 4.1.1).

    Raises:
        WorldError: when the board is too small or n is not a number of stones it can have: 2 to 9
            on odd boards of at least 9, else 2 to 4 (boards from 7).
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
    """The actions of two to four random moves away from the edge, where none decides a game."""
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
