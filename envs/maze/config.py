"""The arguments of the maze environments."""

from typing import Annotated, Literal

import numpy as np
from gymnasium import Space, spaces
from pydantic import Field
from pydantic.dataclasses import dataclass

from envs.arguments import STRICT, Probability, Whole
from envs.maze.layout import ANYWHERE

Algorithm = Literal["depth_first", "prim", "kruskal", "wilson"]
View = Literal["full", "local", "position", "square"]
Reward = Literal["sparse", "step_cost"]
Split = Literal["train", "test"]
Size = Annotated[Whole, Field(ge=5, le=63)]
Steps = Annotated[Whole, Field(ge=0, le=10_000_000)]


@dataclass(frozen=True, config=STRICT)
class MazeConfig:
    """The arguments of `Maze`. A wrong one raises a ValueError."""

    width: Size = 9
    """Squares from left to right, with walls and border: odd, 5 to 63."""
    height: Size = 9
    """Squares from top to bottom: odd, 5 to 63."""
    algorithm: Algorithm = "depth_first"
    """The generator of mazes; see `envs.maze.generation`."""
    braid: Probability = 0.0
    """Share of the dead ends that are opened to make loops; 0 gives perfect mazes."""
    doors: Annotated[Whole, Field(ge=0, le=3)] = 0
    """Locked doors between start and goal, each with a key that must be fetched first."""
    start: str = "random"
    """"random", or "column,row" of a room (both odd, counted from 0 at the top left)."""
    goal: str = "random"
    """As `start`."""
    view: View = "full"
    """The observation: "full": all planes; "local": a window around the agent; "position": a small vector; "square":
    the number of the agent's square, for agents with a table."""
    radius: Annotated[Whole, Field(ge=0, le=63)] = 2
    """Reach of a local view in each direction, in squares."""
    reward: Reward = "sparse"
    """"sparse": 1 at the goal; "step_cost": also −1/max_steps for every step."""
    max_steps: Steps = 0
    """Steps after which an episode is truncated; 0 for width · height."""
    maze_seed: Annotated[Whole, Field(ge=0, lt=1 << 63)] | None = None
    """All episodes, tests too, are in the maze that has this `info["maze_seed"]`; None: each in another one."""
    split: Split = "train"
    """The half of the seeds that mazes are drawn from."""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            size = getattr(self, name)
            if size % 2 == 0:
                raise ValueError(
                    f"{name} must be odd, because walls and rooms alternate: {size - 1} or"
                    f" {size + 1} instead of {size}"
                )
        most = (min(self.width, self.height) - 3) // 2
        if self.doors > most:
            raise ValueError(
                f"doors must be at most {most} in a maze of {self.width}×{self.height},"
                f" not {self.doors}"
            )
        if self.view == "local" and self.radius < self.doors + 1:
            raise ValueError(
                f"radius must be at least {self.doors + 1} with {self.doors} doors, not {self.radius}"
            )
        if self.view == "square" and self.maze_seed is None:
            raise ValueError(
                'the view "square" tells the squares of one maze apart, and every episode is in another maze'
                " without a maze_seed, such as 7"
            )
        ends = self.square("start"), self.square("goal")
        if self.doors and ends != (ANYWHERE, ANYWHERE):
            raise ValueError("doors need a random start and a random goal")
        if ends[0] == ends[1] != ANYWHERE:
            raise ValueError(f"start and goal are the same square, {self.goal}")

    def square(self, name: str) -> int:
        """Return the square of "start" or "goal", row · width + column, or `ANYWHERE`."""
        text = getattr(self, name)
        if text == "random":
            return ANYWHERE
        try:
            column, row = (int(part) for part in str(text).split(","))
        except ValueError:
            raise ValueError(
                f'{name} must be "random" or a room such as 1,{self.height - 2}, not {text!r}'
            ) from None
        if not (0 < column < self.width and 0 < row < self.height and column % 2 and row % 2):
            raise ValueError(
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
    def num_states(self) -> int:
        """States of one maze; see `envs.maze.table`."""
        return self.height * self.width * 3**self.doors

    @property
    def observation_space(self) -> Space:
        """The observation space of one environment."""
        if self.view == "position":
            return spaces.Box(-1, 1, (8 + 6 * self.doors,), np.float32)
        if self.view == "square":
            return spaces.Discrete(self.num_states)
        height, width = self.height, self.width
        if self.view == "local":
            height = width = 2 * self.radius + 1
        return spaces.MultiBinary((self.planes, height, width))


@dataclass(frozen=True, config=STRICT)
class MemoryMazeConfig:
    """The arguments of `MemoryMaze`. A wrong one raises a ValueError."""

    length: Annotated[Whole, Field(ge=3, le=60)] = 10
    """Steps from the sign to the fork, 3 to 60."""
    reward: Reward = "sparse"
    """"sparse": 1 at the right goal; "step_cost": also −1/max_steps for every step."""
    max_steps: Steps = 0
    """Steps after which an episode is truncated; 0 for eight times the shortest path."""
    split: Split = "train"
    """The half of the seeds that episodes are drawn from."""

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
