"""The arguments of the maze environments."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from gymnasium import Space, spaces

from envs.hooks import WorldError
from envs.maze.generation import ALGORITHMS
from envs.maze.layout import ANYWHERE

Algorithm = Literal["depth_first", "prim", "kruskal", "wilson"]
View = Literal["full", "local", "position"]
Reward = Literal["sparse", "step_cost"]
Split = Literal["train", "test"]


@dataclass(frozen=True)
class MazeConfig:
    """The arguments of `Maze`. A wrong one raises a WorldError."""

    width: int = 9
    """Squares from left to right, with walls and border: odd, 5 to 63."""
    height: int = 9
    """Squares from top to bottom: odd, 5 to 63."""
    algorithm: Algorithm = "depth_first"
    """The generator of mazes; see `envs.maze.generation`."""
    braid: float = 0.0
    """Share of the dead ends that are opened to make loops; 0 gives perfect mazes."""
    doors: int = 0
    """Locked doors between start and goal, each with a key that must be fetched first."""
    start: str = "random"
    """"random", or "column,row" of a room (both odd, counted from 0 at the top left)."""
    goal: str = "random"
    """As `start`."""
    view: View = "full"
    """The observation: "full": all planes; "local": a window around the agent; "position": a small vector."""
    radius: int = 2
    """Reach of a local view in each direction, in squares."""
    reward: Reward = "sparse"
    """"sparse": 1 at the goal; "step_cost": also −1/max_steps for every step."""
    max_steps: int = 0
    """Steps after which an episode is truncated; 0 for width · height."""
    split: Split = "train"
    """The half of the seeds that mazes are drawn from."""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int) or not 5 <= size <= 63:
                raise WorldError(f"{name} must be an odd number from 5 to 63, not {size}")
            if size % 2 == 0:
                raise WorldError(
                    f"{name} must be odd, because walls and rooms alternate: {size - 1} or"
                    f" {size + 1} instead of {size}"
                )
        _check_choice("algorithm", self.algorithm, ALGORITHMS)
        _check_choice("view", self.view, get_args(View))
        _check_choice("reward", self.reward, get_args(Reward))
        _check_choice("split", self.split, get_args(Split))
        if not 0 <= self.braid <= 1:
            raise WorldError(f"braid must lie in 0…1, not {self.braid}")
        most = (min(self.width, self.height) - 3) // 2
        if not 0 <= self.doors <= min(3, most):
            raise WorldError(
                f"doors must be 0 to {min(3, most)} in a maze of {self.width}×{self.height},"
                f" not {self.doors}"
            )
        if self.max_steps < 0:
            raise WorldError(f"max_steps must be 0 or more, not {self.max_steps}")
        if self.view == "local" and self.radius < self.doors + 1:
            raise WorldError(
                f"radius must be at least {self.doors + 1} with {self.doors} doors, not {self.radius}"
            )
        ends = self.square("start"), self.square("goal")
        if self.doors and ends != (ANYWHERE, ANYWHERE):
            raise WorldError("doors need a random start and a random goal")
        if ends[0] == ends[1] != ANYWHERE:
            raise WorldError(f"start and goal are the same square, {self.goal}")

    def square(self, name: str) -> int:
        """Return the square of "start" or "goal", row · width + column, or `ANYWHERE`."""
        text = getattr(self, name)
        if text == "random":
            return ANYWHERE
        try:
            column, row = (int(part) for part in str(text).split(","))
        except ValueError:
            raise WorldError(
                f'{name} must be "random" or a room such as 1,{self.height - 2}, not {text!r}'
            ) from None
        if not (0 < column < self.width and 0 < row < self.height and column % 2 and row % 2):
            raise WorldError(
                f"no path leads to {name} {text}, which is no room: column and row must be odd,"
                f" from 1,1 to {self.width - 2},{self.height - 2}"
            )
        return row * self.width + column

    @property
    def planes(self) -> int:
        """The number of planes of the state; see `envs.maze.layout`."""
        return 3 + 2 * self.doors

    @property
    def limit(self) -> int:
        """Steps after which an episode is truncated."""
        return self.max_steps or self.width * self.height

    @property
    def observation_space(self) -> Space:
        """The observation space of one environment."""
        if self.view == "position":
            return spaces.Box(-1, 1, (8 + 6 * self.doors,), np.float32)
        height, width = self.height, self.width
        if self.view == "local":
            height = width = 2 * self.radius + 1
        return spaces.MultiBinary((self.planes, height, width))


@dataclass(frozen=True)
class MemoryMazeConfig:
    """The arguments of `MemoryMaze`. A wrong one raises a WorldError."""

    length: int = 10
    """Steps from the sign to the fork, 3 to 60."""
    reward: Reward = "sparse"
    """"sparse": 1 at the right goal; "step_cost": also −1/max_steps for every step."""
    max_steps: int = 0
    """Steps after which an episode is truncated; 0 for eight times the shortest path."""
    split: Split = "train"
    """The half of the seeds that episodes are drawn from."""

    def __post_init__(self) -> None:
        if isinstance(self.length, bool) or not isinstance(self.length, int):
            raise WorldError(f"length must be a whole number, not {self.length}")
        if not 3 <= self.length <= 60:
            raise WorldError(f"length must be 3 to 60, not {self.length}")
        _check_choice("reward", self.reward, get_args(Reward))
        _check_choice("split", self.split, get_args(Split))
        if self.max_steps < 0:
            raise WorldError(f"max_steps must be 0 or more, not {self.max_steps}")

    height = 7
    planes = 5
    radius = 2
    view = "local"

    @property
    def width(self) -> int:
        """Squares from left to right."""
        return self.length + 3

    @property
    def limit(self) -> int:
        """Steps after which an episode is truncated."""
        return self.max_steps or 8 * (self.length + 2)

    @property
    def observation_space(self) -> Space:
        """The observation space of one environment."""
        return spaces.MultiBinary((self.planes, 2 * self.radius + 1, 2 * self.radius + 1))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise WorldError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
