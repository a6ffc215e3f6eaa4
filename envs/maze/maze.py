"""The environments Maze and MemoryMaze, one maze at a time, in plain Python.

`envs.maze.vector` has the same environments as compiled vector environments.
"""

import copy
import functools
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.hooks import WorldError
from envs.maze import generation
from envs.maze.config import MazeConfig, MemoryMazeConfig
from envs.maze.generation import ALGORITHMS
from envs.maze.layout import AGENT, ANY_MAZE, FIRST_KEY, GOAL, WALL, new_maze, new_memory_maze
from envs.maze.rendering import Window, ansi, picture
from envs.maze.table import Outcome, letters_of, transitions_of

_MOVES = generation.MOVES.tolist()  # Python's numbers are faster one by one


class _MazeGame(gym.Env):
    """The common part of both mazes. The state is `planes` (see `envs.maze.layout`) and a few numbers."""

    metadata = {
        "render_modes": ["rgb_array", "ansi", "human"],
        "render_fps": 8,
        "measures": ("success", "path_ratio"),
    }

    def __init__(self, config: MazeConfig | MemoryMazeConfig, render_mode: str | None) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise WorldError(f"there is no render mode {render_mode!r}")
        self.config = config
        self.render_mode = render_mode
        self.observation_space = config.observation_space
        self.action_space = spaces.Discrete(4)
        # A margin of walls around the maze, for local views beyond the border.
        margin = config.radius if config.view == "local" else 0
        padded = (config.planes, config.height + 2 * margin, config.width + 2 * margin)
        self._padded = np.zeros(padded, np.int8)
        self._padded[WALL] = 1
        self.planes = self._padded[
            :, margin : margin + config.height, margin : margin + config.width
        ]
        self.path: list[tuple[int, int]] = []
        """The squares (row, column) of the agent since the start, in order."""
        self._random: np.ndarray | None = None
        self._window: Window | None = None

    def protocol(self) -> dict[str, int | str]:
        """Return the rules that a score depends on."""
        return {"max_steps": self.config.limit}

    def _new(self, random: np.ndarray) -> tuple[int, int, int, np.int64]:
        """Draw new `planes`; see `envs.maze.layout.new_maze`."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a new maze. The same seed gives the same mazes in this episode and later ones."""
        super().reset(seed=seed)
        if seed is None and self._random is None:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self._random = np.array([seed], np.uint64)
        assert self._random is not None
        start, goal, self.shortest_path, maze_seed = self._new(self._random)
        self.maze_seed = int(maze_seed)
        self.agent = start // self.config.width, start % self.config.width
        self.goal = goal // self.config.width, goal % self.config.width
        self.path = [self.agent]
        self.steps = 0
        self.held: set[int] = set()
        """The doors whose keys the agent carries."""
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._info(False)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move up, right, down or left; a wall or a locked door leaves the agent where it is."""
        self.steps += 1
        down, right = _MOVES[action]
        row, column = self.agent[0] + down, self.agent[1] + right
        if self._may_enter(row, column):
            self._enter(row, column)
        self.path.append(self.agent)
        success = self.agent == self.goal
        terminated = bool(self.planes[GOAL, self.agent[0], self.agent[1]])
        truncated = not terminated and self.steps >= self.config.limit
        reward = float(success)
        if self.config.reward == "step_cost":
            reward -= 1 / self.config.limit
        if self.render_mode == "human":
            self.render()
        return self._observation(), reward, terminated, truncated, self._info(success)

    def _may_enter(self, row: int, column: int) -> bool:
        if self.planes[WALL, row, column]:
            return False
        shut = (d for d in range(self._doors) if self.planes[_door(d), row, column])
        return all(door in self.held for door in shut)

    def _enter(self, row: int, column: int) -> None:
        planes, before = self.planes, self.agent
        self.agent = row, column
        planes[AGENT, before[0], before[1]] = 0
        planes[AGENT, row, column] = 1
        for door in self.held:  # carried keys move along
            planes[_key(door), before[0], before[1]] = 0
            planes[_key(door), row, column] = 1
        for door in range(self._doors):
            if planes[_door(door), row, column]:  # unlocked: the door and its key are removed
                planes[_door(door), row, column] = planes[_key(door), row, column] = 0
                self.held.remove(door)
            elif planes[_key(door), row, column]:
                self.held.add(door)

    @property
    def _doors(self) -> int:
        return self.config.doors if isinstance(self.config, MazeConfig) else 0

    def _observation(self) -> np.ndarray | int:
        if self.config.view == "full":
            return self.planes.copy()
        if self.config.view == "local":
            side, (row, column) = 2 * self.config.radius + 1, self.agent
            return self._padded[:, row : row + side, column : column + side].copy()
        if self.config.view == "square":
            return self._square()
        return self._position()

    def _square(self) -> int:
        """Return the number of the state; see `envs.maze.table`."""
        row, column = self.agent
        state = row * self.config.width + column
        for door in range(self._doors):
            shut = bool(self.planes[_door(door)].any())
            holds = int(door in self.held) if shut else 2
            state += holds * 3**door * self.config.height * self.config.width
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> "_MazeGame":
        """Return a copy that goes on by itself, without the window."""
        other = copy.copy(self)
        memo[id(self)] = other
        margin = self.config.radius if self.config.view == "local" else 0
        other._padded = self._padded.copy()
        height, width = self.config.height, self.config.width
        other.planes = other._padded[:, margin : margin + height, margin : margin + width]
        other.path, other.held = list(self.path), set(self.held)
        other._random = None if self._random is None else self._random.copy()
        other._np_random = copy.deepcopy(self._np_random, memo)
        other._window = None
        return other

    def _position(self) -> np.ndarray:
        """Return the observation of the view "position"; see `Maze`."""
        planes, (row, column) = self.planes, self.agent
        scale = np.array([self.config.width - 1, self.config.height - 1], np.float32)
        ways = [float(not planes[WALL, row + dy, column + dx]) for dy, dx in _MOVES]
        ends = [(column, row) / scale, self.goal[::-1] / scale]
        numbers = [*ends[0], *ends[1], *ways]
        for door in range(self._doors):
            for plane in (_key(door), _door(door)):
                there = np.argwhere(planes[plane])
                numbers += list(there[0, ::-1] / scale) if len(there) else [-1.0, -1.0]
            numbers += [float(door in self.held), float(planes[_door(door)].any())]
        return np.array(numbers, np.float32)

    def _info(self, success: bool) -> dict[str, Any]:
        info: dict[str, Any] = {
            "shortest_path": self.shortest_path,
            "success": success,
            "maze_seed": self.maze_seed,
        }
        if success:
            info["path_ratio"] = self.steps / self.shortest_path
        return info

    def render(self) -> Any:
        """Return a picture (height, width, 3) uint8 or a text; or show a window and return None."""
        if self.render_mode == "ansi":
            return ansi(self.planes, self.path, self._is_memory)
        if self.render_mode is None:
            gym.logger.warn("a maze is drawn in the render mode it was made with, and it has none")
            return None
        radius = self.config.radius if self.config.view == "local" else None
        drawn = picture(self.planes, self.path, radius, self._is_memory)
        if self.render_mode == "rgb_array":
            return drawn
        if self._window is None:
            self._window = Window(self.metadata["render_fps"])
        self._window.show(drawn)
        return None

    @property
    def _is_memory(self) -> bool:
        return isinstance(self.config, MemoryMazeConfig)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None


def _key(door: int) -> int:
    return FIRST_KEY + 2 * door


def _door(door: int) -> int:
    return FIRST_KEY + 2 * door + 1


class Maze(_MazeGame):
    """A random maze, a new one in every episode, in which the agent looks for the goal.

    Registered id: `Fathom/Maze-v0`.

    Observation: by the argument `view`:
    "full" is `MultiBinary((planes, height, width))`, the planes of `envs.maze.layout`;
    "local" is `MultiBinary((planes, 2·radius + 1, 2·radius + 1))`, their window around the agent;
    "position" is `Box(-1, 1, (8 + 6·doors,))`: agent and goal, each (column, row) in 0…1; four flags for
    the directions that are open; for every door the place of the key and of the door, each (column, row) or
    −1 once removed, whether the key is carried, and whether the door is shut;
    "square", of one maze (`maze_seed`), is `Discrete(height · width · 3^doors)`, the states of `envs.maze.table`.
    Actions: `Discrete(4)`: up, right, down, left. A wall or a locked door leaves the agent where it is.
    Rewards: 1 at the goal; with `reward="step_cost"` also −1/max_steps a step.
    Termination: at the goal. Truncation: after `max_steps` steps.
    `info` has `shortest_path`, `success`, `maze_seed` and, at the goal, `path_ratio`: the steps divided by
    the shortest path.

    Args:
        arguments: the fields of `MazeConfig`.
        render_mode: "rgb_array", "ansi" or "human".

    Raises:
        ValueError: an argument is wrong.
    """

    config: MazeConfig

    def __init__(
        self,
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
        render_mode: str | None = None,
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
        super().__init__(config, render_mode)

    def _new(self, random: np.ndarray) -> tuple[int, int, int, np.int64]:
        config = self.config
        return new_maze(
            self.planes,
            random,
            config.split == "test",
            ALGORITHMS.index(config.algorithm),
            config.braid,
            config.square("start"),
            config.square("goal"),
            ANY_MAZE if config.maze_seed is None else config.maze_seed,
        )

    @functools.cached_property
    def P(self) -> dict[int, dict[int, list[Outcome]]]:
        """What follows each action in each state of one maze, seen as its squares; see `envs.maze.table`."""
        self._needs_numbers("P")
        return transitions_of(self.config)

    @functools.cached_property
    def desc(self) -> np.ndarray:
        """The letters of one maze, seen as its squares; see `envs.maze.table`."""
        self._needs_numbers("desc")
        return letters_of(self.config)

    def _needs_numbers(self, name: str) -> None:
        if self.config.view != "square":
            raise AttributeError(f'a maze has {name} where its view is "square"')


class MemoryMaze(_MazeGame):
    """The T-maze of Bakker 2001: a sign at the start shows the right one of two goals at the far end.

    Registered id: `Fathom/MemoryMaze-v0`.

    Observation: `MultiBinary((5, 5, 5))`, the planes wall, agent, goals, sign up and sign down in a window of
    two squares around the agent, so the sign cannot be seen from the goals.
    Actions, rewards, truncation and `info` as in `Maze`.
    Termination: at either goal; the wrong one gives no reward.

    Args:
        arguments: the fields of `MemoryMazeConfig`.
        render_mode: "rgb_array", "ansi" or "human".

    Raises:
        ValueError: an argument is wrong.
    """

    config: MemoryMazeConfig

    def __init__(
        self,
        length: int = 10,
        reward: Any = "sparse",
        max_steps: int = 0,
        split: Any = "train",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            MemoryMazeConfig(length=length, reward=reward, max_steps=max_steps, split=split),
            render_mode,
        )

    def _new(self, random: np.ndarray) -> tuple[int, int, int, np.int64]:
        return new_memory_maze(self.planes, random, self.config.split == "test")
