"""One maze as a finite world: its states as numbers, and the table of what follows each of them.

A state is a square, row · width + column, and for every door whether its key lies (0), is carried (1) or has
opened it (2); door d counts 3^d · height · width.
"""

from __future__ import annotations

import numpy as np

from envs.maze.config import MazeConfig
from envs.maze.generation import ALGORITHMS, MOVES
from envs.maze.layout import AGENT, FIRST_KEY, GOAL, WALL, new_maze

Outcome = tuple[float, int, float, bool]
"""Probability, next state, reward, whether the episode ends: as in the tables of Gymnasium's toy text worlds."""


def planes_of(config: MazeConfig) -> np.ndarray:
    """The planes (see `envs.maze.layout`) at the start of every episode in the maze of `config.maze_seed`."""
    assert config.maze_seed is not None
    planes = np.zeros((config.planes, config.height, config.width), np.int8)
    new_maze(
        planes, np.zeros(1, np.uint64), False, ALGORITHMS.index(config.algorithm), config.braid,
        config.square("start"), config.square("goal"), config.maze_seed,
    )  # fmt: skip
    return planes


def letters_of(config: MazeConfig) -> np.ndarray:
    """(height, width) bytes: # wall, S start, G goal, a b c keys, A B C doors, F all else."""
    planes = planes_of(config)
    letters = np.full(planes.shape[1:], b"F")
    for plane, letter in ((WALL, b"#"), (AGENT, b"S"), (GOAL, b"G")):
        letters[planes[plane] > 0] = letter
    for index, plane in enumerate(planes[FIRST_KEY:]):
        letters[plane > 0] = b"aAbBcC"[index : index + 1]
    return letters


def transitions_of(config: MazeConfig) -> dict[int, dict[int, list[Outcome]]]:
    """What follows each action in each state, by their numbers; time limits are not in it.

    A wall and the goal are states that nothing leads out of.
    """
    planes = planes_of(config)
    height, width = planes.shape[1:]
    doors = [
        tuple(int(np.flatnonzero(planes[FIRST_KEY + 2 * d + part])[0]) for part in (0, 1))
        for d in range(config.doors)
    ]
    """For each door the squares of its key and of itself."""
    walls, goals = planes[WALL].ravel(), planes[GOAL].ravel()
    steps = (MOVES[:, 0] * width + MOVES[:, 1]).tolist()
    cost = 1 / config.limit if config.reward == "step_cost" else 0.0
    size = height * width
    table: dict[int, dict[int, list[Outcome]]] = {}
    for state in range(config.num_states):
        square = state % size
        stuck = bool(walls[square] or goals[square])
        table[state] = {
            action: [
                (1.0, state, 0.0, True)
                if stuck
                else _follow(state, square + step, size, walls, goals, doors, cost)
            ]
            for action, step in enumerate(steps)
        }
    return table


def _follow(
    state: int,
    to: int,
    size: int,
    walls: np.ndarray,
    goals: np.ndarray,
    doors: list[tuple[int, ...]],
    cost: float,
) -> Outcome:
    """The outcome of a step to the square `to`."""
    keys = state // size
    shut = any(keys // 3**d % 3 == 0 and to == door for d, (_, door) in enumerate(doors))
    if walls[to] or shut:
        return 1.0, state, -cost, False
    for d, (key, door) in enumerate(doors):
        holds = keys // 3**d % 3
        if (to == key and holds == 0) or (to == door and holds == 1):
            keys += 3**d
    reached = bool(goals[to])
    return 1.0, keys * size + to, reached - cost, reached
