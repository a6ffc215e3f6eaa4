"""The vector environments of mazes, compiled; each step equals that of `envs.maze.maze`."""

import dataclasses
import functools
from typing import Any

import gymnasium as gym
import numba
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.maze.config import MazeConfig, MemoryMazeConfig
from envs.maze.generation import ALGORITHMS, MOVES
from envs.maze.layout import AGENT, ANY_MAZE, FIRST_KEY, GOAL, WALL, new_maze, new_memory_maze
from envs.maze.maze import Maze
from envs.maze.table import Outcome
from envs.random import reseed

_SQUARE, _GOAL, _SHORTEST, _STEPS, _HELD, _OVER = range(6)
"""Columns of the numbers of each environment; `_HELD` is a set of keys as bits."""


class _MazeGames(VectorEnv):
    """The common part of both, in next-step autoreset mode."""

    metadata = {
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "measures": ("success", "path_ratio"),
    }

    def __init__(self, num_envs: int, config: MazeConfig | MemoryMazeConfig) -> None:
        self.num_envs = num_envs
        self.config = config
        self.render_mode = None
        self.single_observation_space = config.observation_space
        self.single_action_space = spaces.Discrete(4)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._planes = np.zeros((num_envs, config.planes, config.height, config.width), np.int8)
        self._numbers = np.zeros((num_envs, 6), np.int64)
        self._maze_seeds = np.zeros(num_envs, np.int64)
        self._random: np.ndarray | None = None
        if isinstance(config, MazeConfig):
            kind, braid = ALGORITHMS.index(config.algorithm), config.braid
            start, goal = config.square("start"), config.square("goal")
        else:
            kind, braid, start, goal = _MEMORY, 0.0, 0, 0
        fixed = config.maze_seed if isinstance(config, MazeConfig) else None
        fixed = ANY_MAZE if fixed is None else fixed
        self._drawing = (config.split == "test", kind, braid, start, goal, fixed)

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes; environment i gets `seed + i`, or the i-th seed of a list."""
        gym.vector.VectorEnv.reset(self, seed=seed if isinstance(seed, int) else None)
        n = self.num_envs
        self._random = reseed(self._random, n, seed, self.np_random)
        _reset(self._planes, self._numbers, self._random, self._maze_seeds, self._drawing)
        return self._observations(), self._info(np.zeros(n, bool))

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one step in every environment; actions are (num_envs,)."""
        assert self._random is not None, "reset comes first"
        n, config = self.num_envs, self.config
        rewards = np.zeros(n)
        terminated, truncated, success = np.zeros((3, n), bool)
        _step(
            self._planes, self._numbers, self._random, self._maze_seeds, self._drawing,
            np.asarray(actions, np.int64), config.limit, config.reward == "step_cost",
            rewards, terminated, truncated, success,
        )  # fmt: skip
        return self._observations(), rewards, terminated, truncated, self._info(success)

    def _observations(self) -> np.ndarray:
        config = self.config
        if config.view == "full":
            return self._planes.copy()
        shape = self.single_observation_space.shape
        assert shape is not None
        if config.view == "local":
            windows = np.zeros((self.num_envs, *shape), np.int8)
            _local(self._planes, self._numbers, config.radius, windows)
            return windows
        if config.view == "square":
            return self._squares()
        vectors = np.zeros((self.num_envs, *shape), np.float32)
        _position(self._planes, self._numbers, vectors)
        return vectors

    def _squares(self) -> np.ndarray:
        """(num_envs,) numbers of the states; see `envs.maze.table`."""
        states = self._numbers[:, _SQUARE].copy()
        size = self.config.height * self.config.width
        for door in range((self.config.planes - FIRST_KEY) // 2):
            shut = self._planes[:, FIRST_KEY + 2 * door + 1].any(axis=(1, 2))
            holds = self._numbers[:, _HELD] >> door & 1
            states += np.where(shut, holds, 2) * 3**door * size
        return states

    def _info(self, success: np.ndarray) -> dict[str, Any]:
        shortest, everyone = self._numbers[:, _SHORTEST].copy(), np.ones(self.num_envs, bool)
        return {
            "shortest_path": shortest,
            "_shortest_path": everyone,
            "success": success,
            "_success": everyone,
            "maze_seed": self._maze_seeds.copy(),
            "_maze_seed": everyone,
            "path_ratio": self._numbers[:, _STEPS] / shortest,
            "_path_ratio": success,
        }


_MEMORY = len(ALGORITHMS)
"""Stands for the T-maze in place of an algorithm."""


@numba.njit(cache=True)
def _new(
    planes: np.ndarray,
    numbers: np.ndarray,
    random: np.ndarray,
    drawing: tuple[bool, int, float, int, int, int],
) -> np.int64:
    test, kind, braid, start, goal, fixed = drawing
    if kind == _MEMORY:
        start, goal, shortest, maze_seed = new_memory_maze(planes, random, test)
    else:
        start, goal, shortest, maze_seed = new_maze(
            planes, random, test, kind, braid, start, goal, fixed
        )
    numbers[_SQUARE], numbers[_GOAL], numbers[_SHORTEST] = start, goal, shortest
    numbers[_STEPS] = numbers[_HELD] = numbers[_OVER] = 0
    return maze_seed


@numba.njit(cache=True)
def _reset(
    planes: np.ndarray,
    numbers: np.ndarray,
    random: np.ndarray,
    maze_seeds: np.ndarray,
    drawing: tuple[bool, int, float, int, int, int],
) -> None:
    for i in range(len(planes)):
        maze_seeds[i] = _new(planes[i], numbers[i], random[i], drawing)


@numba.njit(cache=True)
def _step(
    planes: np.ndarray,
    numbers: np.ndarray,
    random: np.ndarray,
    maze_seeds: np.ndarray,
    drawing: tuple[bool, int, float, int, int, int],
    actions: np.ndarray,
    limit: int,
    step_cost: bool,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    success: np.ndarray,
) -> None:
    width = planes.shape[3]
    doors = 0 if drawing[1] == _MEMORY else (planes.shape[1] - FIRST_KEY) // 2
    for i in range(len(planes)):
        own, state = planes[i], numbers[i]
        if state[_OVER]:
            maze_seeds[i] = _new(own, state, random[i], drawing)
            continue
        state[_STEPS] += 1
        _move(own, state, doors, actions[i])
        square = state[_SQUARE]
        success[i] = square == state[_GOAL]
        terminated[i] = own[GOAL, square // width, square % width]
        truncated[i] = not terminated[i] and state[_STEPS] >= limit
        rewards[i] = success[i]
        if step_cost:
            rewards[i] -= 1 / limit
        state[_OVER] = terminated[i] or truncated[i]


@numba.njit(cache=True)
def _move(planes: np.ndarray, state: np.ndarray, doors: int, action: int) -> None:
    width = planes.shape[2]
    row, column = state[_SQUARE] // width, state[_SQUARE] % width
    to_row, to_column = row + MOVES[action, 0], column + MOVES[action, 1]
    if planes[WALL, to_row, to_column]:
        return
    for door in range(doors):
        if planes[FIRST_KEY + 2 * door + 1, to_row, to_column] and not state[_HELD] >> door & 1:
            return
    state[_SQUARE] = to_row * width + to_column
    planes[AGENT, row, column] = 0
    planes[AGENT, to_row, to_column] = 1
    for door in range(doors):
        key = FIRST_KEY + 2 * door
        if state[_HELD] >> door & 1:
            planes[key, row, column] = 0
            planes[key, to_row, to_column] = 1
        if planes[key + 1, to_row, to_column]:
            planes[key + 1, to_row, to_column] = planes[key, to_row, to_column] = 0
            state[_HELD] &= ~(1 << door)
        elif planes[key, to_row, to_column]:
            state[_HELD] |= 1 << door


@numba.njit(cache=True)
def _local(planes: np.ndarray, numbers: np.ndarray, radius: int, windows: np.ndarray) -> None:
    n, count, height, width = planes.shape
    for i in range(n):
        square = numbers[i, _SQUARE]
        top, left = square // width - radius, square % width - radius
        for row in range(2 * radius + 1):
            for column in range(2 * radius + 1):
                y, x = top + row, left + column
                if 0 <= y < height and 0 <= x < width:
                    for plane in range(count):
                        windows[i, plane, row, column] = planes[i, plane, y, x]
                else:
                    windows[i, WALL, row, column] = 1


@numba.njit(cache=True)
def _position(planes: np.ndarray, numbers: np.ndarray, vectors: np.ndarray) -> None:
    n, count, height, width = planes.shape
    doors = (count - FIRST_KEY) // 2
    for i in range(n):
        own, vector = planes[i], vectors[i]
        row, column = numbers[i, _SQUARE] // width, numbers[i, _SQUARE] % width
        vector[0], vector[1] = column / (width - 1), row / (height - 1)
        vector[2] = numbers[i, _GOAL] % width / (width - 1)
        vector[3] = numbers[i, _GOAL] // width / (height - 1)
        for move in range(4):
            vector[4 + move] = 1 - own[WALL, row + MOVES[move, 0], column + MOVES[move, 1]]
        for door in range(doors):
            first = 8 + 6 * door
            vector[first : first + 4] = -1
            vector[first + 5] = 0
            for y in range(height):
                for x in range(width):
                    for part in range(2):
                        if own[FIRST_KEY + 2 * door + part, y, x]:
                            vector[first + 2 * part] = x / (width - 1)
                            vector[first + 2 * part + 1] = y / (height - 1)
                            vector[first + 5] += part
            vector[first + 4] = numbers[i, _HELD] >> door & 1


class MazeVector(_MazeGames):
    """`num_envs` of `envs.maze.maze.Maze`, with the same arguments."""

    config: MazeConfig

    def __init__(
        self,
        num_envs: int = 1,
        width: int = 9,
        height: int = 9,
        algorithm: Any = "depth_first",
        braid: float = 0.0,
        doors: int = 0,
        start: str = "random",
        goal: str = "random",
        view: Any = "full",
        radius: int = 2,
        reward: Any = "sparse",
        max_steps: int = 0,
        maze_seed: int | None = None,
        split: Any = "train",
    ) -> None:
        config = MazeConfig(
            width=width,
            height=height,
            algorithm=algorithm,
            braid=braid,
            doors=doors,
            start=start,
            goal=goal,
            view=view,
            radius=radius,
            reward=reward,
            max_steps=max_steps,
            maze_seed=maze_seed,
            split=split,
        )
        super().__init__(num_envs, config)

    @functools.cached_property
    def P(self) -> dict[int, dict[int, list[Outcome]]]:
        """That of `Maze`."""
        return self._single.P

    @functools.cached_property
    def desc(self) -> np.ndarray:
        """That of `Maze`."""
        return self._single.desc

    @property
    def _single(self) -> Maze:
        return Maze(**dataclasses.asdict(self.config))


class MemoryMazeVector(_MazeGames):
    """`num_envs` of `envs.maze.maze.MemoryMaze`, with the same arguments."""

    def __init__(
        self,
        num_envs: int = 1,
        length: int = 10,
        reward: Any = "sparse",
        max_steps: int = 0,
        split: Any = "train",
    ) -> None:
        super().__init__(
            num_envs,
            MemoryMazeConfig(length=length, reward=reward, max_steps=max_steps, split=split),
        )
