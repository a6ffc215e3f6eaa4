"""Owners of points and dead stones at the end of a game, estimated by playouts."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from envs.go import core
from envs.go.board import BLACK, EMPTY, Board
from envs.go.core import Boards, compiled
from envs.go.playouts import new_notes, playout

DEAD = 0.3
"""A chain is dead if the mean ownership of its points by the opponent exceeds this."""

DIVIDED = 0.75
"""Mean certainty of the playouts about points' owners from which a game counts as finished. It is 0.85 to
0.95 at the end of GNU Go's games, and below 0.6 in the middle."""

OWNERSHIP_PLAYOUTS = 400


def chains(stones: np.ndarray) -> list[list[int]]:
    """Return the chains of a position (size, size), each as the points of its stones."""
    size = len(stones)
    seen = np.zeros(stones.shape, bool)
    result = []
    for start in np.flatnonzero(stones):
        chain, waiting = [], [int(start)]
        while waiting:
            point = waiting.pop()
            row, column = divmod(point, size)
            if seen[row, column]:
                continue
            seen[row, column] = True
            chain.append(point)
            for r, c in (
                (row - 1, column),
                (row, column - 1),
                (row, column + 1),
                (row + 1, column),
            ):
                if 0 <= r < size and 0 <= c < size and stones[r, c] == stones[row, column]:
                    waiting.append(r * size + c)
        if chain:
            result.append(sorted(chain))
    return result


def ownership(board: Board, playouts: int = OWNERSHIP_PLAYOUTS) -> np.ndarray:
    """Return the mean ownership of every point after playouts, (size, size) float32 in −1…1, black above 0.

    Each colour moves first in half of the playouts.
    """
    size, start = board.rules.size, board.copy()
    start.resume()
    work = core.new_boards(1, board.rules, history=1)
    owner, totals = np.zeros((size, size), np.int8), np.zeros((size, size), np.int32)
    random = np.array([1], np.uint64)
    _add_owners(start.boards, work, new_notes(1, work), random, owner, totals, playouts)
    return (totals / playouts).astype(np.float32)


@compiled
def _add_owners(
    start: Boards,
    work: Boards,
    notes: np.ndarray,
    random: np.ndarray,
    owner: np.ndarray,
    totals: np.ndarray,
    playouts: int,
) -> None:
    for k in range(playouts):
        core.copy_board(work, 0, start, 0)
        work.numbers[0, core.TO_PLAY] = core.BLACK + k % 2
        playout(work, 0, notes, random)
        core.owners(work, 0, owner)
        for row in range(start.size):
            for column in range(start.size):
                totals[row, column] += int(owner[row, column] == core.BLACK)
                totals[row, column] -= int(owner[row, column] == core.WHITE)


def dead_stones(board: Board) -> set[int]:
    """Return the points of the dead stones, by playouts."""
    owned, stones = ownership(board).ravel(), board.stones
    sign = np.where(stones.ravel() == BLACK, 1, -1)
    return {
        point
        for chain in chains(stones)
        if (owned[chain] * sign[chain]).mean() < -DEAD
        for point in chain
    }


def won(board: Board) -> bool:
    """Whether all areas are settled and the player to move is ahead, by playouts."""
    if np.abs(ownership(board)).mean() < DIVIDED:
        return False
    score = without(board, dead_stones(board)).score()
    return score > 0 if board.to_play == BLACK else score < 0


def without(board: Board, dead: Iterable[int]) -> Board:
    """Return the position without the dead stones, and without its history."""
    stones = board.stones.ravel()
    stones[list(dead)] = EMPTY
    position = Board(dataclasses.replace(board.rules, ko="simple"))
    for point in np.flatnonzero(stones):
        position.place(int(stones[point]), int(point))
    return position


def result_of(score: float) -> str:
    """Return a score, black's minus white's, as SGF and GTP write it: "B+3.5", "W+2", "0"."""
    if score == 0 or math.isnan(score):
        return "0"
    return f"{'B' if score > 0 else 'W'}+{abs(score):g}"
