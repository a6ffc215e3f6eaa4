"""Built-in opponents, compiled, for the single and the vector environment.

Their random numbers come from the generator that they are given, (1,) uint64.
"""

import math

import numpy as np

from envs.go.core import (
    BLACK,
    PASSES,
    TO_PLAY,
    Boards,
    Rules,
    area,
    compiled,
    copy_board,
    inlined,
    is_eye,
    is_legal,
    new_boards,
    play,
    playout,
    point_of,
)
from envs.random import below

SELF, RANDOM, PLAYOUT = range(3)
OPPONENTS = ("self", "random", "playout")
"""Their names, in this order."""

PLAYOUTS = 1000
"""Random games for one move of the opponent "playout"."""


def new_work(n: int, rules: Rules) -> tuple[Boards, np.ndarray]:
    """Return the working memory of opponents on n boards: boards and tallies."""
    return new_boards(n, rules, history=1), np.zeros((n, 2, rules.size**2 + 1))


@compiled
def move_of(
    opponent: int,
    boards: Boards,
    i: int,
    work: Boards,
    tallies: np.ndarray,
    komi: float,
    random: np.ndarray,
) -> int:
    """Return the action of `RANDOM` or `PLAYOUT`; `work` and `tallies` come from `new_work`."""
    if opponent == PLAYOUT:
        return _by_playouts(boards, i, work, tallies, komi, random)
    return _at_random(boards, i, random)


@compiled
def _at_random(boards: Boards, i: int, random: np.ndarray) -> int:
    """Return a random legal move that fills no own eye, or a pass if there is none."""
    points = boards.size * boards.size
    for _ in range(
        points
    ):  # mostly two or three draws suffice, which is faster than testing every point
        action = below(random, points)
        if _is_sensible(boards, i, action):
            return action
    count = _write_sensible(boards, i)
    return int(boards.scratch[i, 1, below(random, count)]) if count else points


@compiled
def _by_playouts(
    boards: Boards, i: int, work: Boards, tallies: np.ndarray, komi: float, random: np.ndarray
) -> int:
    """Return the move that UCB1 (Auer et al. 2002), with half its bonus, gave the most playouts.

    It passes only if the position as it stands is won, and always if that ends the game.
    """
    points = boards.size * boards.size
    sign = 1 if boards.numbers[i, TO_PLAY] == BLACK else -1
    won = sign * (area(boards, i) - komi) > 0
    if won and boards.numbers[i, PASSES] == 1:
        return points
    count = _write_sensible(boards, i)
    if won or count == 0:
        boards.scratch[i, 1, count] = points
        count += 1
    tallies[i, :, :] = 0
    for total in range(PLAYOUTS if count > 1 else 0):
        best, chosen = -1.0, 0
        for k in range(count):
            visits, wins, bound = tallies[i, 0, k], tallies[i, 1, k], 1e9
            if visits > 0:
                bound = wins / visits + math.sqrt(0.5 * math.log(total) / visits)
            if bound > best:
                best, chosen = bound, k
        copy_board(work, i, boards, i)
        play(work, i, int(boards.scratch[i, 1, chosen]))
        margin = sign * (playout(work, i, random) - komi)
        tallies[i, 0, chosen] += 1
        tallies[i, 1, chosen] += 1 if margin > 0 else 0.5 if margin == 0 else 0
    best, chosen = -1.0, 0
    for k in range(count):
        if tallies[i, 0, k] > best:
            best, chosen = tallies[i, 0, k], k
    return int(boards.scratch[i, 1, chosen])


@compiled
def _write_sensible(boards: Boards, i: int) -> int:
    """Write the legal moves that fill no own eye into `scratch[i, 1]`, and return their number."""
    count = 0
    for action in range(boards.size * boards.size):
        if _is_sensible(boards, i, action):
            boards.scratch[i, 1, count] = action
            count += 1
    return count


@inlined
def _is_sensible(boards: Boards, i: int, action: int) -> bool:
    point = np.uint64(point_of(boards.size, action))
    return is_legal(boards, i, action) and not is_eye(boards, i, point, boards.numbers[i, TO_PLAY])
