"""Observation and action mask of the player to move: `core.planes` and `core.legal_actions` in one pass.

Both need the true liberties of every chain. They are counted from the empty points: each is one liberty of
every chain that it touches. A move then captures the neighbouring chains with one liberty, and lives by an
own neighbour with two. Most of the code has no branches, because mispredicted ones would cost more than the
work itself.
"""

import numpy as np

from envs.go.core import (
    BLACK,
    EMPTY,
    HEAD,
    KO,
    LAST,
    LAST_MOVES,
    PASSES,
    SIMPLE,
    SITUATIONAL,
    STONES,
    TO_PLAY,
    ZOBRIST,
    Boards,
    chain_hash,
    chains_around,
    compiled,
    happened,
    inlined,
)


@compiled
def observe(boards: Boards, i: int, planes: np.ndarray, masks: np.ndarray) -> None:
    """Fill row i of both for the player to move.

    Args:
        planes: (n, 19, size²) uint8, see `core.planes`.
        masks: (n, size² + 1) bool, see `core.legal_actions`.
    """
    size, stones, chains, board = boards.size, boards.stones, boards.chains, np.uint64(i)
    colour = boards.numbers[i, TO_PLAY]
    liberties, empty = np.uint64(0), np.uint64(1)  # rows of `scratch`
    scratch, stride, one = boards.scratch, np.uint64(size + 1), np.uint64(1)
    for k in range(scratch.shape[2]):
        scratch[board, liberties, np.uint64(k)] = 0
    # The stones of either colour, and the empty points.
    action, result = np.uint64(0), np.uint64(0)
    for row in range(size):
        p = np.uint64(row + 1) * stride + one
        for _ in range(size):
            stone = stones[board, p]
            planes[board, 0, action] = stone == colour
            planes[board, 1, action] = stone == 3 - colour
            masks[board, action] = False
            scratch[board, empty, result] = p
            result += np.uint64(stone == EMPTY)
            action += one
            p += one
    for k in range(result):
        p = np.uint64(scratch[board, empty, np.uint64(k)])
        for head in chains_around(boards, i, p):
            scratch[board, liberties, head] += np.uint16(1)
    # Plane 18 holds the number of liberties until it is filled.
    action = np.uint64(0)
    for row in range(size):
        p = np.uint64(row + 1) * stride + one
        for _ in range(size):
            number = scratch[board, liberties, np.uint64(chains[board, HEAD, p])]
            planes[board, 18, action] = min(number, np.uint16(4))
            action += one
            p += one
    points = np.uint64(size * size)
    for number in range(1, 4):
        for a in range(points):
            same = planes[board, 18, np.uint64(a)] == number
            own, theirs = planes[board, 0, np.uint64(a)], planes[board, 1, np.uint64(a)]
            planes[board, np.uint64(1 + number), np.uint64(a)] = own & same
            planes[board, np.uint64(4 + number), np.uint64(a)] = theirs & same
    for plane in range(8, 17):
        for a in range(points):
            planes[board, np.uint64(plane), np.uint64(a)] = 0
    for a in range(points):
        planes[board, 17, np.uint64(a)] = colour == BLACK
        planes[board, 18, np.uint64(a)] = 1
    for k in range(LAST_MOVES):
        move = boards.numbers[i, LAST + k]
        if 0 <= move < size * size:
            planes[board, np.uint64(8 + k), np.uint64(move)] = 1
    going_on = boards.numbers[i, PASSES] < 2
    masks[board, points] = going_on
    if going_on:
        for k in range(result):
            _look(boards, i, np.uint64(scratch[board, empty, np.uint64(k)]), planes, masks)


@inlined
def _look(boards: Boards, i: int, p: np.uint64, planes: np.ndarray, masks: np.ndarray) -> None:
    """Return what a stone on an empty point would do."""
    stones, colour, board = boards.stones, boards.numbers[i, TO_PLAY], np.uint64(i)
    stride, one = np.uint64(boards.size + 1), np.uint64(1)
    lives = (
        (stones[board, p - stride] == EMPTY)
        | (stones[board, p - one] == EMPTY)
        | (stones[board, p + one] == EMPTY)
        | (stones[board, p + stride] == EMPTY)
    )
    beside = chains_around(boards, i, p)
    captures = False
    for head in beside:
        number = boards.scratch[board, np.uint64(0), head]
        lives |= (stones[board, head] == colour) & (number > 1)
        captures |= (stones[board, head] == 3 - colour) & (number == 1)
    if not (lives | captures | boards.suicide):
        return
    key, captured = boards.hashes[i, 0], np.int64(0)
    if lives | captures:
        key ^= ZOBRIST[colour, p]
    else:
        for head in beside:
            if stones[board, head] == colour:
                key ^= chain_hash(boards, i, head)
    if captures:
        for head in beside:
            if stones[board, head] == 3 - colour and boards.scratch[board, 0, head] == 1:
                captured += np.int64(boards.chains[board, STONES, head])
                key ^= chain_hash(boards, i, head)
    if boards.ko == SIMPLE:
        repeats = captures and p == boards.numbers[i, KO]
    else:
        if boards.ko == SITUATIONAL:
            key ^= ZOBRIST[3 - colour, 0]
        repeats = happened(boards, i, key)
    action = p - stride - p // stride  # a border of one point before every row
    if repeats:
        planes[board, 13, action] = 1
    else:
        masks[board, action] = True
        if captures:
            planes[board, np.uint64(16 if captured > 2 else 13 + captured), action] = 1
