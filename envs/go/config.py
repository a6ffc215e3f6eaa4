"""The arguments of the Go environments."""

import dataclasses
from typing import Annotated, Any, Literal, cast

import numpy as np
from gymnasium import spaces
from pydantic import Field
from pydantic.dataclasses import dataclass

from envs.arguments import STRICT, Whole
from envs.go.board import Board, Rules, handicap_points
from envs.go.core import BLACK, LARGEST, PLANES, WHITE, Ko
from envs.go.opponents import OPPONENTS
from envs.go.program import Program
from envs.hooks import TrainedRun

Colour = Literal["black", "white", "both"]


@dataclass(frozen=True, config=STRICT)
class GoConfig:
    """The arguments of `Go`. A wrong one raises a ValueError."""

    size: Annotated[Whole, Field(ge=5, le=LARGEST)] = 9
    """Points along an edge, 5 to 19."""
    komi: float = 7.0
    """Points added to white's score."""
    ko: Ko = "positional"
    """The positions that no move may repeat: "simple", "positional" or "situational"; see `Rules`."""
    suicide: bool = False
    """Whether a move may take the last liberty of its own chain."""
    handicap: Annotated[Whole, Field(ge=0, le=9)] = 0
    """Black stones on the board at the start, 2 to 9, on GTP's handicap points; white moves first."""
    opponent: str | TrainedRun = "random"
    """"random": any legal move that fills no eye of its own, a pass if there is none; "playout": the best
    move by `envs.go.opponents.PLAYOUTS` random games; "self": the learner plays both colours; a trained
    run, which the user gives by its name or folder; any other text: the command line of a GTP program."""
    colour: Colour = "black"
    """The learner's colour: "black", "white", or "both" for a random one in every game."""
    max_moves: Annotated[Whole, Field(ge=0, le=100_000)] = 0
    """Moves of both players after which a game ends and is counted as it stands; 0 for 3 · size²."""

    def __post_init__(self) -> None:
        if isinstance(self.opponent, str) and not self.opponent.strip():
            raise ValueError(
                'opponent must be "random", "playout", "self", a run or the command line of a program'
            )
        assert (
            self.handicap_points is not None
        )  # raises a ValueError for a number the size cannot take

    @property
    def rules(self) -> Rules:
        """The rules of every game."""
        return Rules(self.size, self.komi, self.ko, self.suicide)

    @property
    def handicap_points(self) -> np.ndarray:
        """The points of the handicap stones, (handicap,) int64."""
        points = handicap_points(self.size, self.handicap) if self.handicap else []
        return np.array(points, np.int64)

    def new_board(self) -> Board:
        """Return a game before its first move."""
        board = Board(self.rules)
        for point in self.handicap_points:
            board.place(BLACK, int(point))
        if self.handicap:
            board.to_play = WHITE
        return board

    @property
    def limit(self) -> int:
        """Moves after which a game ends."""
        return self.max_moves or 3 * self.size**2

    @property
    def is_program(self) -> bool:
        """Whether the opponent runs in a process of its own."""
        return self.opponent not in OPPONENTS

    @property
    def opponent_number(self) -> int:
        """The place of a built-in opponent in `OPPONENTS`."""
        return OPPONENTS.index(cast(str, self.opponent))

    def start_program(self) -> Program:
        """Start the opponent; ProgramError if it cannot be started."""
        if isinstance(self.opponent, str):
            return Program(self.opponent)
        return Program(self.opponent.command("gtp"), name=str(self.opponent.folder))

    def protocol(self) -> dict[str, Any]:
        """Return the arguments as a score is printed with them; an opponent's run as its folder."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if not isinstance(self.opponent, str):
            values["opponent"] = str(self.opponent.folder)
        return values | {"max_moves": self.limit}

    @property
    def observation_space(self) -> spaces.Box:
        """The observation space of one game."""
        return spaces.Box(0, 1, (PLANES, self.size, self.size), np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        """The points, row by row from the top left, then the pass."""
        return spaces.Discrete(self.size**2 + 1)
