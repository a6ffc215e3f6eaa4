"""The rules of Go, compiled: many boards in flat arrays, one call per move.

A board is stored with a border of one point, so that every point has four neighbours. Stones of one
chain are linked in a circle and carry the index of the chain's head; the head counts the chain's
pseudo-liberties. Every pair of a stone and an empty neighbour is one, so a point may count several
times. The number is 0 exactly if the chain has no liberty, and four additions a move keep it up to
date. Positions are hashed after Zobrist (1970), for superko.

Functions take a board as `(boards, i)`: the arrays, and its row in them. An action is
`row * size + column` with row 0 at the top; `size * size` passes. Functions on different boards may run
in parallel.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

import numba
import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from envs.arguments import STRICT, Whole
from envs.random import below

_Function = TypeVar("_Function", bound=Callable[..., Any])
_UNCOUNTED: dict[str, Any] = {"cache": True, "_nrt": False}
"""Options without numba's reference counts. With them a call would lock and count every array of `Boards`
twice, which takes longer than the move itself. Functions without them cannot create arrays."""


def compiled(function: _Function) -> _Function:
    """Decorator for functions of boards that other compiled code calls; they are not inlined."""
    return numba.njit(**_UNCOUNTED)(function)


def inlined(function: _Function) -> _Function:
    """Decorator for short functions, which are inlined."""
    return numba.njit(forceinline=True, **_UNCOUNTED)(function)


EMPTY, BLACK, WHITE = 0, 1, 2
_BORDER = BLACK | WHITE
"""The value of the border: `stone & colour` is true for own stones and for the border."""
LARGEST = 19
SIMPLE, POSITIONAL, SITUATIONAL = range(3)
"""Values of `Boards.ko`, the positions that may not be repeated: the last one only (by retaking a ko); any
earlier one; any earlier one with the same player to move."""
LEGAL, OCCUPIED, SUICIDE, REPETITION, OVER = range(5)
"""Values of `verdict`."""

TO_PLAY, KO, PASSES, MOVES, HISTORY, LAST = range(6)
"""Columns of `Boards.numbers`. `KO` is the point where a ko may not be retaken, or 0; `HISTORY` is the number
of positions stored; the columns from `LAST` on hold the last five actions, newest first, or -1."""
LAST_MOVES = 5
HEAD, NEXT, LIBERTIES, STONES = range(4)
"""Parts of `Boards.chains`: for every point its chain's head (0 without a stone) and the next stone of the
chain; for every head the pseudo-liberties and the number of stones."""
PLANES = 19
_FILTER = 64
"""Words of the filter before the history: one bit for each of 4,096 values of a hash."""


Ko = Literal["simple", "positional", "situational"]


@dataclass(frozen=True, config=STRICT)
class Rules:
    """The rules of a game; scores are by area, after Tromp and Taylor.

    Raises:
        ValueError: a field is wrong.
    """

    size: Annotated[Whole, Field(ge=1, le=LARGEST)] = 9
    """Points along an edge, 1 to 19; environments take 5 to 19."""
    komi: float = 7.0
    """Points added to white's score."""
    ko: Ko = "positional"
    """The positions that no move may repeat: "simple": the one before the opponent's move; "positional": any
    earlier one; "situational": any earlier one with the same player to move."""
    suicide: bool = False
    """Whether a move may take the last liberty of its own chain, which then leaves the board."""


class Boards(NamedTuple):
    """Boards of one size under one set of rules, as arrays with one row per board."""

    size: int
    ko: int
    suicide: bool
    stones: np.ndarray
    """(n, points) uint8, with the border; `point_of` gives an action's index."""
    chains: np.ndarray
    """(n, 4, points) uint16: see `HEAD`."""
    numbers: np.ndarray
    """(n, LAST + 5) int32: see `TO_PLAY`."""
    hashes: np.ndarray
    """(n, words) uint64: the position's hash; under superko then the filter and the history."""
    scratch: np.ndarray
    """(n, 2, points) uint16: working memory of functions, no state."""


def _points() -> np.ndarray:
    """(LARGEST + 1, LARGEST² + 1) uint16: the point of an action, by size; 0 for a pass."""
    table = np.zeros((LARGEST + 1, LARGEST**2 + 1), np.uint16)
    for size in range(1, LARGEST + 1):
        rows, columns = np.divmod(np.arange(size * size), size)
        table[size, : size * size] = (rows + 1) * (size + 1) + columns + 1
    return table


_POINT = _points()
ZOBRIST = np.random.default_rng(1970).integers(
    2**64, size=(3, (LARGEST + 2) * (LARGEST + 1) + 1), dtype=np.uint64
)
"""A random number for each stone; `ZOBRIST[colour, 0]`, at a corner of the border, stands for the player to
move."""


def new_boards(n: int, rules: Rules, history: int | None = None) -> Boards:
    """Return n empty boards, black to play.

    Args:
        history: how many of the last positions superko remembers, at least 1; by default all of a game
            with four moves a point.
    """
    size, stride = rules.size, rules.size + 1
    points = (size + 2) * stride + 1
    if rules.ko == "simple":
        words = 1
    else:
        words = 1 + _FILTER + (4 * size * size + 1 if history is None else history)
    boards = Boards(
        size,
        get_args(Ko).index(rules.ko),
        rules.suicide,
        np.zeros((n, points), np.uint8),
        np.zeros((n, 4, points), np.uint16),
        np.zeros((n, LAST + LAST_MOVES), np.int32),
        np.zeros((n, words), np.uint64),
        np.zeros((n, 2, points), np.uint16),
    )
    for i in range(n):
        clear(boards, i)
    return boards


@compiled
def clear(boards: Boards, i: int) -> None:
    """Empty the board for a new game."""
    size = boards.size
    boards.stones[i, :] = _BORDER
    for action in range(size * size):
        boards.stones[i, _POINT[size, action]] = EMPTY
    boards.chains[i, :, :] = 0
    boards.numbers[i, :] = 0
    boards.numbers[i, TO_PLAY] = BLACK
    boards.numbers[i, LAST:] = -1
    boards.hashes[i, :] = 0
    begin_history(boards, i)


@compiled
def begin_history(boards: Boards, i: int) -> None:
    """Start the superko history at this position, after stones were set up."""
    boards.numbers[i, HISTORY] = 0
    boards.hashes[i, 1:] = 0
    if boards.ko != SIMPLE:
        _remember(boards, i)


@compiled
def copy_board(target: Boards, i: int, source: Boards, j: int) -> None:
    """Copy board j of source to board i of target, which has the same rules.

    A target that remembers fewer positions takes the last ones; under simple ko it takes none."""
    for p in range(source.stones.shape[1]):
        target.stones[i, p] = source.stones[j, p]
    for part in range(4):
        for p in range(source.chains.shape[2]):
            target.chains[i, part, p] = source.chains[j, part, p]
    for k in range(source.numbers.shape[1]):
        target.numbers[i, k] = source.numbers[j, k]
    target.hashes[i, 0] = source.hashes[j, 0]
    if source.ko != SIMPLE and target.ko != SIMPLE:
        for k in range(1, 1 + _FILTER):
            target.hashes[i, k] = source.hashes[j, k]
        first, written = 1 + _FILTER, source.numbers[j, HISTORY]
        room, theirs = target.hashes.shape[1] - first, source.hashes.shape[1] - first
        if written <= room and written <= theirs:
            for k in range(first, first + written):
                target.hashes[i, k] = source.hashes[j, k]
        else:
            for k in range(max(written - min(room, theirs), 0), written):
                target.hashes[i, first + k % room] = source.hashes[j, first + k % theirs]


@compiled
def point_of(size: int, action: int) -> int:
    """Return the index of an action's point in the arrays with a border."""
    return int(_POINT[size, action])


@inlined
def neighbours(
    p: np.uint64, stride: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the four neighbours of a point. Unsigned indices save numba's test for negative ones."""
    one = np.uint64(1)
    return p - stride, p - one, p + one, p + stride


@inlined
def _remove(boards: Boards, i: int, head: np.uint64, colour: int, removed: int) -> int:
    """Remove a chain from the board and add its points to the list in `scratch[i, 1]`."""
    stones, chains = boards.stones, boards.chains
    stride = np.uint64(boards.size + 1)
    key = boards.hashes[i, 0]
    p = head
    while True:
        following = np.uint64(chains[i, NEXT, p])
        stones[i, p] = EMPTY
        chains[i, HEAD, p] = 0
        key ^= ZOBRIST[colour, p]
        for q in neighbours(p, stride):
            chains[i, LIBERTIES, chains[i, HEAD, q]] += np.uint16(1)
        boards.scratch[i, 1, removed] = p
        removed += 1
        p = following
        if p == head:
            break
    boards.hashes[i, 0] = key
    return removed


@inlined
def put(boards: Boards, i: int, p: np.uint64, colour: int) -> int:
    """Put a stone on an empty point, remove what it captures, and set `KO`.

    Returns:
        The number of stones removed; their points are the first in `scratch[i, 1]`.
    """
    stones, chains = boards.stones, boards.chains
    around = neighbours(p, np.uint64(boards.size + 1))
    liberties = 0
    surrounded = False
    for q in around:
        liberties += stones[i, q] == EMPTY
        # Empty points and the border have head 0, whose numbers are never read, so no branch is needed.
        head = chains[i, HEAD, q]
        chains[i, LIBERTIES, head] -= np.uint16(1)
        surrounded |= (stones[i, q] == 3 - colour) & (chains[i, LIBERTIES, head] == 0)
    stones[i, p] = colour
    boards.hashes[i, 0] ^= ZOBRIST[colour, p]
    chains[i, HEAD, p] = p
    chains[i, NEXT, p] = p
    chains[i, LIBERTIES, p] = liberties
    chains[i, STONES, p] = 1
    removed = 0
    if surrounded:
        for q in around:
            head = np.uint64(chains[i, HEAD, q])
            if stones[i, q] == 3 - colour and chains[i, LIBERTIES, head] == 0:
                removed = _remove(boards, i, head, 3 - colour, removed)
    own = np.uint64(p)
    for q in around:
        if stones[i, q] == colour:
            other = np.uint64(chains[i, HEAD, q])
            if other != own:
                own = _join(chains, i, own, other)
    ko = 0
    if removed == 1 and chains[i, STONES, own] == 1 and chains[i, LIBERTIES, own] == 1:
        ko = boards.scratch[i, 1, 0]
    boards.numbers[i, KO] = ko
    if boards.suicide and chains[i, LIBERTIES, own] == 0:
        removed = _remove(boards, i, own, colour, removed)
    return removed


@inlined
def _join(chains: np.ndarray, i: int, a: np.uint64, b: np.uint64) -> np.uint64:
    """Join two chains, given by their heads, and return the head of the longer one, now the head of both."""
    if chains[i, STONES, a] > chains[i, STONES, b]:
        a, b = b, a
    chains[i, STONES, b] += chains[i, STONES, a]
    chains[i, LIBERTIES, b] += chains[i, LIBERTIES, a]
    p = a
    while True:
        chains[i, HEAD, p] = b
        p = np.uint64(chains[i, NEXT, p])
        if p == a:
            break
    # Exchanging one link of two circles makes them one circle.
    following = chains[i, NEXT, a]
    chains[i, NEXT, a] = chains[i, NEXT, b]
    chains[i, NEXT, b] = following
    return b


_TAKES_LAST_LIBERTY, _LIVES, _CAPTURES = range(3)


@inlined
def _outcome(boards: Boards, i: int, p: np.uint64, colour: int) -> int:
    """Return what a stone on the empty point p does. With an empty neighbour it lives, even if it captures
    nothing."""
    stones, chains = boards.stones, boards.chains
    a, b, c, d = neighbours(p, np.uint64(boards.size + 1))
    if (
        (stones[i, a] == EMPTY)
        | (stones[i, b] == EMPTY)
        | (stones[i, c] == EMPTY)
        | (stones[i, d] == EMPTY)
    ):
        return _LIVES
    for q in (a, b, c, d):
        chains[i, LIBERTIES, chains[i, HEAD, q]] -= np.uint16(1)
    captures = lives = False
    for q in (a, b, c, d):
        none = chains[i, LIBERTIES, chains[i, HEAD, q]] == 0
        captures |= (stones[i, q] == 3 - colour) & none
        lives |= (stones[i, q] == colour) & (not none)
    for q in (a, b, c, d):
        chains[i, LIBERTIES, chains[i, HEAD, q]] += np.uint16(1)
    return _CAPTURES if captures else _LIVES if lives else _TAKES_LAST_LIBERTY


@inlined
def chains_around(
    boards: Boards, i: int, p: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the heads of the chains beside a point, each once; 0 for none and for repeats.

    A head is a stone of its chain: `stones[i, head]` is the chain's colour."""
    none, heads = np.uint64(0), boards.chains
    a, b, c, d = neighbours(p, np.uint64(boards.size + 1))
    first, second = np.uint64(heads[i, HEAD, a]), np.uint64(heads[i, HEAD, b])
    third, fourth = np.uint64(heads[i, HEAD, c]), np.uint64(heads[i, HEAD, d])
    if fourth in (first, second, third):
        fourth = none
    if third in (first, second):
        third = none
    if second == first:
        second = none
    return first, second, third, fourth


@inlined
def _may_capture(boards: Boards, i: int, p: np.uint64, colour: int) -> bool:
    """Whether an opponent's chain beside p has at most four pseudo-liberties. A chain that p captures has one
    for each of its stones beside p."""
    few = False
    for q in neighbours(p, np.uint64(boards.size + 1)):
        number = boards.chains[i, LIBERTIES, boards.chains[i, HEAD, q]]
        few |= (boards.stones[i, q] == 3 - colour) & (number <= 4)
    return few


@compiled
def _hash_after(boards: Boards, i: int, p: np.uint64, colour: int) -> np.uint64:
    """Return the hash of the position after a stone is put on the empty point p."""
    stones, chains = boards.stones, boards.chains
    around = neighbours(p, np.uint64(boards.size + 1))
    touching = chains_around(boards, i, p)
    key = boards.hashes[i, 0] ^ ZOBRIST[colour, p]
    for q in around:
        chains[i, LIBERTIES, chains[i, HEAD, q]] -= np.uint16(1)
    lives = False
    for q in around:
        lives |= stones[i, q] == EMPTY
    for head in touching:
        if stones[i, head] == 3 - colour and chains[i, LIBERTIES, head] == 0:
            key ^= chain_hash(boards, i, head)
            lives = True
        lives |= (stones[i, head] == colour) & (chains[i, LIBERTIES, head] != 0)
    if not lives:
        key ^= ZOBRIST[colour, p]
        for head in touching:
            if stones[i, head] == colour:
                key ^= chain_hash(boards, i, head)
    for q in around:
        chains[i, LIBERTIES, chains[i, HEAD, q]] += np.uint16(1)
    return key


@compiled
def chain_hash(boards: Boards, i: int, head: np.uint64) -> np.uint64:
    """Return the part of the position's hash that a chain contributes."""
    colour = boards.stones[i, head]
    key, p = np.uint64(0), head
    while True:
        key ^= ZOBRIST[colour, p]
        p = np.uint64(boards.chains[i, NEXT, p])
        if p == head:
            return key


@inlined
def happened(boards: Boards, i: int, key: np.uint64) -> bool:
    """Whether the history holds a hash."""
    word, bit = (key >> np.uint64(6)) & np.uint64(_FILTER - 1), key & np.uint64(63)
    if not (boards.hashes[i, np.uint64(1) + word] >> bit) & np.uint64(1):
        return False
    first = 1 + _FILTER
    written = min(boards.numbers[i, HISTORY], boards.hashes.shape[1] - first)
    for k in range(first, first + written):  # noqa: SIM110 - compiled: `any` is slower
        if boards.hashes[i, k] == key:
            return True
    return False


@compiled
def _remember(boards: Boards, i: int) -> None:
    """Add the position, or the position with the player to move, to the history."""
    key = boards.hashes[i, 0]
    if boards.ko == SITUATIONAL:
        key ^= ZOBRIST[boards.numbers[i, TO_PLAY], 0]
    word, bit = (key >> np.uint64(6)) & np.uint64(_FILTER - 1), key & np.uint64(63)
    boards.hashes[i, np.uint64(1) + word] |= np.uint64(1) << bit
    first, written = 1 + _FILTER, boards.numbers[i, HISTORY]
    boards.hashes[i, first + written % (boards.hashes.shape[1] - first)] = key
    boards.numbers[i, HISTORY] = written + 1


@compiled
def play(boards: Boards, i: int, action: int) -> None:
    """Play an action for the player to move. It must be legal; nothing is checked."""
    size, numbers = boards.size, boards.numbers
    colour = numbers[i, TO_PLAY]
    if action == size * size:
        numbers[i, PASSES] += 1
        numbers[i, KO] = 0
    else:
        put(boards, i, np.uint64(_POINT[size, action]), colour)
        numbers[i, PASSES] = 0
    for k in range(LAST_MOVES - 1, 0, -1):
        numbers[i, LAST + k] = numbers[i, LAST + k - 1]
    numbers[i, LAST] = action
    numbers[i, MOVES] += 1
    numbers[i, TO_PLAY] = 3 - colour
    if boards.ko == SITUATIONAL or (boards.ko == POSITIONAL and action != size * size):
        _remember(boards, i)


@compiled
def place(boards: Boards, i: int, colour: int, action: int) -> None:
    """Put a stone on an empty point before the game. No chain may lose its last liberty by it."""
    numbers, turn = boards.numbers, boards.numbers[i, TO_PLAY]
    numbers[i, TO_PLAY] = colour
    play(boards, i, action)
    numbers[i, TO_PLAY], numbers[i, MOVES], numbers[i, LAST] = turn, 0, -1
    begin_history(boards, i)


@compiled
def breathes(boards: Boards, i: int, action: int) -> bool:
    """Whether the chain on a point has a liberty; true of an empty point."""
    head = boards.chains[i, HEAD, _POINT[boards.size, action]]
    return head != 0 and boards.chains[i, LIBERTIES, head] != 0


def rows(boards: Boards, which: slice) -> Boards:
    """Return some of the boards, which share their memory with all."""
    return Boards(*boards[:3], *(array[which] for array in boards[3:]))


def history_room(boards: Boards) -> int:
    """Return how many positions superko can remember."""
    return boards.hashes.shape[1] - 1 - _FILTER


@inlined
def _verdict(boards: Boards, i: int, p: np.uint64) -> int:
    """Return the `verdict` of a point while the game is not over."""
    if boards.stones[i, p] != EMPTY:
        return OCCUPIED
    colour = boards.numbers[i, TO_PLAY]
    outcome = _outcome(boards, i, p, colour)
    if outcome == _TAKES_LAST_LIBERTY and not boards.suicide:
        return SUICIDE
    if boards.ko == SIMPLE:
        # Filling the ko captures nothing, so its owner may do it.
        if p == boards.numbers[i, KO] and outcome == _CAPTURES:
            return REPETITION
    else:
        key = boards.hashes[i, 0] ^ ZOBRIST[colour, p]
        if outcome == _TAKES_LAST_LIBERTY or _may_capture(boards, i, p, colour):
            key = _hash_after(boards, i, p, colour)
        if boards.ko == SITUATIONAL:
            key ^= ZOBRIST[3 - colour, 0]
        if happened(boards, i, key):
            return REPETITION
    return LEGAL


@compiled
def verdict(boards: Boards, i: int, action: int) -> int:
    """Return `LEGAL`, or the reason why an action is illegal."""
    if boards.numbers[i, PASSES] >= 2:
        return OVER
    if action == boards.size * boards.size:
        return LEGAL
    return _verdict(boards, i, np.uint64(_POINT[boards.size, action]))


@compiled
def is_legal(boards: Boards, i: int, action: int) -> bool:
    """Whether the player to move may play an action. After two passes nothing is legal."""
    return verdict(boards, i, action) == LEGAL


@compiled
def legal_actions(boards: Boards, i: int, out: np.ndarray) -> None:
    """Fill out, (size² + 1,) bool, with `is_legal` of every action."""
    n = boards.size * boards.size
    if boards.numbers[i, PASSES] >= 2:
        out[:] = False
        return
    for action in range(n):
        out[action] = _verdict(boards, i, np.uint64(_POINT[boards.size, action])) == LEGAL
    out[n] = True


@compiled
def random_action(boards: Boards, i: int, random_state: np.ndarray) -> int:
    """Return a random legal action, passes included; advances the generator, (1,) uint64."""
    size = boards.size
    while True:
        action = below(random_state, size * size + 1)
        if action == size * size:
            return action
        if _verdict(boards, i, np.uint64(_POINT[size, action])) == LEGAL:
            return action


@compiled
def owners(boards: Boards, i: int, out: np.ndarray) -> None:
    """Fill out, (size, size) int8, with the owner of each point: the stone's colour; for an empty region the
    only colour that it touches, or 0 if it touches both or none."""
    size = boards.size
    _divide(boards, i)
    for action in range(size * size):
        out[action // size, action % size] = boards.scratch[i, 0, _POINT[size, action]]


@compiled
def area(boards: Boards, i: int) -> int:
    """Return black's area minus white's by the rules of Tromp and Taylor, without komi."""
    size = boards.size
    _divide(boards, i)
    difference = 0
    for action in range(size * size):
        owner = boards.scratch[i, 0, _POINT[size, action]]
        difference += int(owner == BLACK) - int(owner == WHITE)
    return difference


@compiled
def _divide(boards: Boards, i: int) -> None:
    """Write the owners of all points into `scratch[i, 0]`."""
    size, stones = boards.size, boards.stones
    stride = np.uint64(size + 1)
    owner, queue = boards.scratch[i, 0], boards.scratch[i, 1]
    unknown = 4
    for action in range(size * size):
        p = np.uint64(_POINT[size, action])
        owner[p] = stones[i, p] if stones[i, p] != EMPTY else unknown
    for action in range(size * size):
        start = np.uint64(_POINT[size, action])
        if owner[start] != unknown:
            continue
        queue[0], result, done, touched = start, 1, 0, EMPTY
        owner[start] = EMPTY
        while done < result:
            for q in neighbours(np.uint64(queue[done]), stride):
                if stones[i, q] == EMPTY:
                    if owner[q] == unknown:
                        owner[q] = EMPTY
                        queue[result] = q
                        result += 1
                elif stones[i, q] != _BORDER:
                    touched |= stones[i, q]
            done += 1
        for k in range(result):
            owner[queue[k]] = touched if touched != BLACK | WHITE else EMPTY


@compiled
def playout(boards: Boards, i: int, random_state: np.ndarray) -> int:
    """Play the board to its end with random moves that fill no own eye, under simple ko.

    Afterwards the board is only valid for `area`, and as a target of `copy_board`.

    Args:
        random_state: (1,) uint64, advanced.

    Returns:
        The final `area`.
    """
    size, stones = boards.size, boards.stones
    empty = boards.scratch[i, 0]
    left = 0
    for action in range(size * size):
        p = _POINT[size, action]
        if stones[i, p] == EMPTY:
            empty[left] = p
            left += 1
    colour = int(boards.numbers[i, TO_PLAY])
    passes = int(boards.numbers[i, PASSES])
    # Without superko a game may cycle; this is far longer than games that do not.
    for _ in range(4 * size * size):
        if passes >= 2:
            break
        untried = left
        passes += 1
        while untried > 0:
            chosen = below(random_state, untried)
            p = np.uint64(empty[chosen])
            if not is_eye(boards, i, p, colour):
                outcome = _outcome(boards, i, p, colour)
                if outcome != _TAKES_LAST_LIBERTY and not (
                    outcome == _CAPTURES and p == boards.numbers[i, KO]
                ):
                    removed = put(boards, i, p, colour)
                    left -= 1
                    empty[chosen] = empty[left]
                    for k in range(removed):
                        empty[left] = boards.scratch[i, 1, k]
                        left += 1
                    passes = 0
                    break
            untried -= 1
            empty[chosen], empty[untried] = empty[untried], empty[chosen]
        if passes > 0:
            boards.numbers[i, KO] = 0
        colour = 3 - colour
    return area(boards, i)


@inlined
def is_eye(boards: Boards, i: int, p: np.uint64, colour: int) -> bool:
    """Whether all neighbours of the empty point are own stones, and the opponent holds at most one of the
    diagonal points, at the edge none."""
    stones, stride, one = boards.stones, np.uint64(boards.size + 1), np.uint64(1)
    a, b, c, d = neighbours(p, stride)
    if not stones[i, a] & stones[i, b] & stones[i, c] & stones[i, d] & colour:
        return False
    lost = edge = 0
    for q in (a - one, a + one, d - one, d + one):
        lost += stones[i, q] == 3 - colour
        edge |= stones[i, q] == _BORDER
    return lost + edge < 2


@compiled
def planes(boards: Boards, i: int, out: np.ndarray) -> None:
    """Fill out, (19, size, size) uint8, with the observation of the player to move.

    | plane | 1 where |
    |---|---|
    | 0, 1 | own stones, the opponent's stones |
    | 2–4 | own chains with exactly 1, 2, 3 liberties |
    | 5–7 | the opponent's chains with exactly 1, 2, 3 liberties |
    | 8–12 | the last five moves, newest first; nothing for a pass |
    | 13 | empty points that ko or superko forbids |
    | 14–16 | a legal move captures 1, 2, 3 or more stones |
    | 17 | everywhere when black is to play |
    | 18 | everywhere |
    """
    size, stones, chains = boards.size, boards.stones, boards.chains
    colour = boards.numbers[i, TO_PLAY]
    out[:] = 0
    liberties, counted = boards.scratch[i, 0], boards.scratch[i, 1]
    counted[:] = 0
    for action in range(size * size):
        p = np.uint64(_POINT[size, action])
        if stones[i, p] != EMPTY and chains[i, HEAD, p] == p:
            liberties[p] = _liberties(boards, i, p, counted)
    action = 0
    for row in range(size):
        for column in range(size):
            p = np.uint64(_POINT[size, action])
            action += 1
            stone = stones[i, p]
            if stone != EMPTY:
                other = int(stone != colour)
                out[other, row, column] = 1
                number = int(liberties[chains[i, HEAD, p]])
                if number <= 3:
                    out[1 + 3 * other + number, row, column] = 1
            elif boards.numbers[i, PASSES] < 2:
                ruling = _verdict(boards, i, p)
                if ruling == REPETITION:
                    out[13, row, column] = 1
                elif ruling == LEGAL:
                    captured = 0
                    for head in chains_around(boards, i, p):
                        if stones[i, head] == 3 - colour and liberties[head] == 1:
                            captured += int(chains[i, STONES, head])
                    if captured > 0:
                        out[13 + min(captured, 3), row, column] = 1
    for k in range(LAST_MOVES):
        move = boards.numbers[i, LAST + k]
        if 0 <= move < size * size:
            out[8 + k, move // size, move % size] = 1
    out[17] = colour == BLACK
    out[18] = 1


@inlined
def _liberties(boards: Boards, i: int, head: np.uint64, counted: np.ndarray) -> int:
    """Return the liberties of a chain, at most 4; marks them with the head in `counted`."""
    number, p = 0, head
    while True:
        for q in neighbours(p, np.uint64(boards.size + 1)):
            if boards.stones[i, q] == EMPTY and counted[q] != head:
                counted[q] = head
                number += 1
        p = np.uint64(boards.chains[i, NEXT, p])
        if p == head or number > 3:
            return min(number, 4)
