"""Playouts with simple tactics, for Monte-Carlo search without a network.

A move answers the last one if possible: it captures a chain that the last move left with one liberty,
rescues a chain that it attacked, or makes a good shape beside it, by the 3×3 patterns of MoGo (Gelly et al.
2006). Otherwise it is random, but fills no own eye and seldom leaves a chain with one liberty. `expect` rates
all moves of a position by the same features, before any playout.
"""

from itertools import product

import numpy as np

from envs.go.core import (
    BLACK,
    EMPTY,
    HEAD,
    KO,
    LAST,
    LIBERTIES,
    NEXT,
    PASSES,
    STONES,
    TO_PLAY,
    WHITE,
    Boards,
    compiled,
    inlined,
    is_eye,
    legal_actions,
    neighbours,
    point_of,
    put,
)
from envs.random import below, chance

WHERE, FIRST = range(2)
"""Rows of a board's notes, (2, points) uint16: a point's index in the list of empty points; the colour that
played on it first, or 0."""

ANSWER, SHAPE = 0.9, 0.95
"""Probabilities that a move answers the last one by tactics, and by patterns."""
RECKLESS = 0.25
"""Probability that a random move may leave its chain with one liberty: low, but dead groups must fall."""

# X and O are the two players, either to move; x is anything but X, o anything but O, ? anything,
# the edge of the board included; # is the edge. The move is in the middle.
_PATTERNS = (
    "XOX ... ???",  # hane around a stone
    "XO. ... ?.?",  # hane without a cut
    "XO? X.. x.?",  # hane at a wall
    ".O. X.. ...",  # a diagonal touch
    "XO? O.o ?o?",  # a cut nothing protects
    "XO? O.X ???",  # a cut that was peeped at
    "?X? O.O ooo",  # pushing through
    "OX? o.O ???",  # cutting a knight's move
    "X.? O.? ###",  # at the edge: chase
    "OX? X.O ###",  # … stop a cut
    "?X? x.O ###",  # … stop a connection
    "?XO x.x ###",  # … descend
    "?OX X.O ###",  # … cut
)
_MEANS = {"X": (1,), "O": (2,), ".": (0,), "x": (0, 2), "o": (0, 1), "?": (0, 1, 2, 3), "#": (3,)}


def _shapes() -> np.ndarray:
    """(65536,) bool: whether the eight neighbours, two bits each, row by row, make one of the patterns,
    in any of its symmetries, with either player as X."""
    table = np.zeros(4**8, bool)
    powers = 4 ** np.arange(8)
    for pattern in _PATTERNS:
        square = np.array([list(row) for row in pattern.split()])
        for turned in (np.rot90(x, k) for x in (square, square.T) for k in range(4)):
            around = np.delete(turned.ravel(), 4)
            stones = np.array(list(product(*(_MEANS[sign] for sign in around))))
            table[stones @ powers] = True
            swapped = np.array([0, 2, 1, 3])[stones]
            table[swapped @ powers] = True
    return table


_SHAPES = _shapes()


def new_notes(n: int, boards: Boards) -> np.ndarray:
    """Return the notes, (n, 2, points) uint16, that `playout` needs for n boards like these."""
    return np.zeros((n, 2, boards.stones.shape[1]), np.uint16)


@compiled
def playout(boards: Boards, i: int, notes: np.ndarray, random_state: np.ndarray) -> None:
    """Play the board to its end, under simple ko.

    Afterwards the board is only valid for `area` and `owners`, and as a target of `copy_board`.

    Args:
        notes: (n, 2, points) uint16 from `new_notes`; row i is overwritten, and `notes[i, FIRST]` is a
            result.
        random_state: (1,) uint64, advanced.
    """
    size = boards.size
    empty, left = boards.scratch[i, 0], 0
    notes[i, FIRST, :] = 0
    for action in range(size * size):
        point = point_of(size, action)
        if boards.stones[i, point] == EMPTY:
            empty[left] = point
            notes[i, WHERE, point] = left
            left += 1
    colour, passes = int(boards.numbers[i, TO_PLAY]), int(boards.numbers[i, PASSES])
    last = np.uint64(0)
    if 0 <= boards.numbers[i, LAST] < size * size:
        last = np.uint64(point_of(size, boards.numbers[i, LAST]))
    # Without superko a game may cycle; this is far longer than games that do not.
    for _ in range(3 * size * size):
        if passes >= 2:
            break
        p = np.uint64(0)
        if last != 0 and boards.stones[i, last] != EMPTY:
            if chance(random_state) < ANSWER:
                p = _answer(boards, i, last, colour)
            if p == 0 and chance(random_state) < SHAPE:
                p = _shape_beside(boards, i, last, colour, below(random_state, 8))
        if p == 0:
            p = _at_random(boards, i, notes, left, colour, random_state)
        if p == 0:
            passes += 1
            boards.numbers[i, KO] = 0
        else:
            passes = 0
            removed = put(boards, i, p, colour)
            left = _forget(empty, notes, i, p, left)
            for k in range(removed):
                q = boards.scratch[i, 1, k]
                empty[left] = q
                notes[i, WHERE, q] = left
                left += 1
            if notes[i, FIRST, p] == 0:
                notes[i, FIRST, p] = colour
        last = p
        colour = 3 - colour


@inlined
def _forget(empty: np.ndarray, notes: np.ndarray, i: int, p: np.uint64, left: int) -> int:
    """Remove a point from the list of empty ones, of length `left`, and return the new length."""
    left -= 1
    moved, place = empty[left], notes[i, WHERE, p]
    empty[place] = moved
    notes[i, WHERE, moved] = place
    return left


@compiled
def _at_random(
    boards: Boards,
    i: int,
    notes: np.ndarray,
    left: int,
    colour: int,
    random_state: np.ndarray,
) -> np.uint64:
    """Return a random empty point that fills no own eye and, mostly, is no self-atari; 0 if there is none."""
    empty = boards.scratch[i, 0]
    untried, reckless = left, chance(random_state) < RECKLESS
    while untried > 0:
        chosen = below(random_state, untried)
        p = np.uint64(empty[chosen])
        if p != boards.numbers[i, KO] and not is_eye(boards, i, p, colour):
            liberties = _liberties_after(boards, i, p, colour)
            if liberties > 1 or (reckless and liberties == 1):
                return p
        untried -= 1
        other = empty[untried]
        empty[chosen], empty[untried] = other, p
        notes[i, WHERE, other], notes[i, WHERE, p] = chosen, untried
    return np.uint64(0)


@inlined
def _pairs(boards: Boards, i: int, p: np.uint64, head: np.uint64) -> int:
    """Return how many neighbours of a point belong to a chain."""
    number = 0
    for q in neighbours(p, np.uint64(boards.size + 1)):
        number += boards.chains[i, HEAD, q] == head
    return number


@compiled
def _last_liberty(boards: Boards, i: int, head: np.uint64) -> np.uint64:
    """Return the only liberty of a chain, or 0 if it has several."""
    number = boards.chains[i, LIBERTIES, head]
    if number > 4:  # one point gives at most four pseudo-liberties
        return np.uint64(0)
    p = head
    while True:
        for q in neighbours(p, np.uint64(boards.size + 1)):
            if boards.stones[i, q] == EMPTY:
                return q if _pairs(boards, i, q, head) == number else np.uint64(0)
        p = np.uint64(boards.chains[i, NEXT, p])
        if p == head:
            return np.uint64(0)


@compiled
def _liberties_after(boards: Boards, i: int, p: np.uint64, colour: int) -> int:
    """Return the liberties of a stone on the empty point p, at most 2; a capture counts as 2."""
    stones, chains = boards.stones, boards.chains
    around = neighbours(p, np.uint64(boards.size + 1))
    first = np.uint64(0)
    for q in around:
        if stones[i, q] == EMPTY:
            if first != 0:
                return 2
            first = q
    for q in around:
        if stones[i, q] == 3 - colour:
            head = np.uint64(chains[i, HEAD, q])
            if chains[i, LIBERTIES, head] == _pairs(boards, i, p, head):
                return 2
    for q in around:
        if stones[i, q] != colour:
            continue
        head = np.uint64(chains[i, HEAD, q])
        number = int(chains[i, LIBERTIES, head]) - _pairs(boards, i, p, head)
        if number > 4:
            return 2
        if number == 0:
            continue
        stone = head
        while True:
            for r in neighbours(stone, np.uint64(boards.size + 1)):
                if stones[i, r] == EMPTY and r != p and r != first:
                    if first != 0:
                        return 2
                    first = r
            stone = np.uint64(chains[i, NEXT, stone])
            if stone == head:
                break
    return int(first != 0)


@compiled
def _answer(boards: Boards, i: int, last: np.uint64, colour: int) -> np.uint64:
    """Return a move that captures the chain of the last move, or rescues a chain beside it by a capture or an
    extension; 0 if there is none."""
    stones, chains = boards.stones, boards.chains
    ko = np.uint64(boards.numbers[i, KO])
    p = _last_liberty(boards, i, np.uint64(chains[i, HEAD, last]))
    if p != 0 and p != ko:
        return p
    for q in neighbours(last, np.uint64(boards.size + 1)):
        if stones[i, q] != colour:
            continue
        head = np.uint64(chains[i, HEAD, q])
        run = _last_liberty(boards, i, head)
        if run == 0:
            continue
        p = _counter(boards, i, head, colour)
        if p != 0 and p != ko:
            return p
        if _liberties_after(boards, i, run, colour) > 1 and run != ko:
            return run
    return np.uint64(0)


@compiled
def _counter(boards: Boards, i: int, head: np.uint64, colour: int) -> np.uint64:
    """Return a move that captures an opponent's chain beside this one, or 0."""
    stone = head
    while True:
        for q in neighbours(stone, np.uint64(boards.size + 1)):
            if boards.stones[i, q] == 3 - colour:
                p = _last_liberty(boards, i, np.uint64(boards.chains[i, HEAD, q]))
                if p != 0:
                    return p
        stone = np.uint64(boards.chains[i, NEXT, stone])
        if stone == head:
            return np.uint64(0)


@inlined
def _makes_shape(boards: Boards, i: int, p: np.uint64) -> bool:
    """Whether a move on the empty point p fits one of the patterns."""
    stones, stride, one = boards.stones, np.uint64(boards.size + 1), np.uint64(1)
    above, below_ = p - stride, p + stride
    code = (
        np.uint64(stones[i, above - one])
        | np.uint64(stones[i, above]) << np.uint64(2)
        | np.uint64(stones[i, above + one]) << np.uint64(4)
        | np.uint64(stones[i, p - one]) << np.uint64(6)
        | np.uint64(stones[i, p + one]) << np.uint64(8)
        | np.uint64(stones[i, below_ - one]) << np.uint64(10)
        | np.uint64(stones[i, below_]) << np.uint64(12)
        | np.uint64(stones[i, below_ + one]) << np.uint64(14)
    )
    return bool(_SHAPES[code])


@compiled
def _shape_beside(boards: Boards, i: int, last: np.uint64, colour: int, start: int) -> np.uint64:
    """Return a point beside the last move that fits a pattern and is no self-atari, or 0."""
    stride, one = np.uint64(boards.size + 1), np.uint64(1)
    above, below_ = last - stride, last + stride
    ring = (
        above - one, above, above + one, last + one, below_ + one, below_, below_ - one, last - one
    )  # fmt: skip
    for k in range(8):
        p = ring[(start + k) % 8]
        if (
            boards.stones[i, p] == EMPTY
            and _makes_shape(boards, i, p)
            and p != boards.numbers[i, KO]
            and _liberties_after(boards, i, p, colour) > 1
        ):
            return p
    return np.uint64(0)


@compiled
def expect(
    boards: Boards, i: int, legal: np.ndarray, random_state: np.ndarray, out: np.ndarray
) -> None:
    """Fill out with a first estimate of each action's win rate; 0 if it is illegal or fills an own eye.

    Every feature counts as some games won or lost, on top of ten even ones. A little noise separates
    moves with the same features.

    Args:
        legal: (size² + 1,) bool, overwritten.
        out: (size² + 1,) float32.
    """
    size, colour = boards.size, int(boards.numbers[i, TO_PLAY])
    legal_actions(boards, i, legal)
    last = boards.numbers[i, LAST]
    for action in range(size * size):
        p = np.uint64(point_of(size, action))
        if not legal[action] or is_eye(boards, i, p, colour):
            out[action] = 0
            continue
        won, games = 5.0, 10.0
        if _liberties_after(boards, i, p, colour) < 2:
            games += 15
        else:
            rescued = _rescued(boards, i, p, colour)
            if rescued > 0:
                bonus = 15.0 if rescued == 1 else 30.0
                won, games = won + bonus, games + bonus
            if _makes_shape(boards, i, p):
                won, games = won + 10, games + 10
        row, column = action // size, action % size
        if 0 <= last < size * size:
            down, right = abs(row - last // size), abs(column - last % size)
            apart = down + right + max(down, right)
            bonus = 20.0 if apart <= 3 else 14.0 if apart <= 5 else 6.0 if apart <= 7 else 0.0
            won, games = won + bonus, games + bonus
        edge = min(min(row, column), size - 1 - max(row, column))
        if edge < 3 and edge != 1 and _lonely(boards, i, row, column):
            games += 10
            won += 10.0 if edge == 2 else 0.0
        out[action] = won / games + 1e-3 * chance(random_state)
    # A pass is seldom right before the end, and there the search finds it.
    out[size * size] = 0.1


@compiled
def _rescued(boards: Boards, i: int, p: np.uint64, colour: int) -> int:
    """Return the number of stones that a move captures or rescues."""
    number = 0
    for q in neighbours(p, np.uint64(boards.size + 1)):
        if boards.stones[i, q] in (BLACK, WHITE):
            head = np.uint64(boards.chains[i, HEAD, q])
            if boards.chains[i, LIBERTIES, head] == _pairs(boards, i, p, head):
                number = max(number, int(boards.chains[i, STONES, head]))
    return number


@compiled
def _lonely(boards: Boards, i: int, row: int, column: int) -> bool:
    """Whether there is no stone within three steps."""
    size = boards.size
    for r in range(max(0, row - 3), min(size, row + 4)):
        across = 3 - abs(r - row)
        for c in range(max(0, column - across), min(size, column + across + 1)):
            if boards.stones[i, point_of(size, r * size + c)] != EMPTY:
                return False
    return True


@compiled
def mask_eyes(boards: Boards, i: int, mask: np.ndarray) -> None:
    """Remove moves into own eyes from a mask (size² + 1,) of legal actions."""
    colour = boards.numbers[i, TO_PLAY]
    for action in range(boards.size * boards.size):
        point = np.uint64(point_of(boards.size, action))
        if mask[action] and is_eye(boards, i, point, colour):
            mask[action] = False
