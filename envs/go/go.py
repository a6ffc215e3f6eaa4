"""The environment Go: one game at a time against an opponent, in plain Python.

`envs.go.vector` is the same environment as a compiled vector environment.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from envs.go.config import Colour, GoConfig
from envs.go.core import BLACK, WHITE, Ko
from envs.go.opponents import OPPONENTS, move_of, new_work
from envs.go.program import Program, ProgramError
from envs.go.rendering import Thoughts, ansi, picture
from envs.go.vertices import vertex
from envs.hooks import TrainedRun, WorldError
from envs.random import below


class Go(gym.Env):
    """The game of Go with area scoring, against an opponent.

    Registered ids: `Fathom/Go-v0`, `Fathom/Go9-v0` (9×9), `Fathom/Go19-v0` (19×19).

    Observation: `Box(0, 1, (19, size, size), uint8)`, the planes of `envs.go.core.planes` from the view of
    the player to move.
    Actions: `Discrete(size² + 1)`: row · size + column, row 0 at the top; size² passes.
    `info["action_mask"]`, (size² + 1,) int8, is 1 for legal actions.
    Rewards: at the end 1 for a win, −1 for a loss, 0 for a draw; 0 before.
    Termination: after two passes in a row, after `max_moves` moves, when the opponent resigns, or by an
    illegal action, which loses the game.
    At the end `info` has `win` (1, 0.5 or 0) and, if points were counted, `margin`, the points by which the
    learner won.

    With the opponent "self" the learner plays both colours; reward, `win` and `margin` are those of the
    player who moved last.

    Args:
        size, komi, ko, suicide, handicap, opponent, colour, max_moves: see `GoConfig`.
        render_mode: "rgb_array" or "ansi".

    Raises:
        ValueError: an argument is wrong.
        ProgramError: by `reset` and `step`, an opponent's program fails.
    """

    metadata = {
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 2,
        "measures": ("win", "margin"),
    }
    run_arguments = {"opponent": OPPONENTS}
    program_arguments = ("opponent",)

    def __init__(
        self,
        size: int = 9,
        komi: float = 7.0,
        ko: Ko = "positional",
        suicide: bool = False,
        handicap: int = 0,
        opponent: str | TrainedRun = "random",
        colour: Colour = "black",
        max_moves: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise WorldError(f"there is no render mode {render_mode!r}")
        self.config = GoConfig(
            size=size,
            komi=komi,
            ko=ko,
            suicide=suicide,
            handicap=handicap,
            opponent=opponent,
            colour=colour,
            max_moves=max_moves,
        )
        self.rules = self.config.rules
        self.render_mode = render_mode
        self.observation_space = self.config.observation_space
        self.action_space = self.config.action_space
        self.board = self.config.new_board()
        self.colour = BLACK
        """The learner's colour in this game."""
        self.thoughts: Thoughts | None = None
        """A player's thoughts, drawn with the board; set from outside."""
        self._work = new_work(1, self.rules)
        self._random: np.ndarray | None = None
        self._program: Program | None = None

    def protocol(self) -> dict[str, Any]:
        """Return the rules that a score depends on."""
        return self.config.protocol()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a game. The same seed gives the same opponent in this game and those that follow."""
        super().reset(seed=seed)
        if seed is None and self._random is None:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self._random = np.array([seed], np.uint64)
        config = self.config
        self.board = config.new_board()
        colours = {"black": BLACK, "white": WHITE}
        assert self._random is not None
        self.colour = colours.get(config.colour) or BLACK + below(self._random, 2)
        self.thoughts = None
        self._resigned = False
        if config.is_program:
            self._begin_with_program()
        if config.opponent != "self" and self.board.to_play != self.colour:
            self._reply()
        return self.board.planes(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Place a stone or pass, then let the opponent move."""
        if not self.action_space.contains(action):
            raise WorldError(f"an action is a number from 0 to {self.rules.size**2}, not {action}")
        board, mover = self.board, self.board.to_play
        if not board.is_legal(action):
            return board.planes(), -1.0, True, False, self._info() | {"win": 0.0}
        board.play(int(action))
        if not self._over() and self.config.opponent != "self":
            if self._program is not None:
                self._program.play(mover, int(action))
            self._reply()
        if not self._over():
            return board.planes(), 0.0, False, False, self._info()
        if self._resigned:
            return board.planes(), 1.0, True, False, self._info() | {"win": 1.0}
        margin = board.score() if mover == BLACK else -board.score()
        won = float(np.sign(margin))
        end = {"win": (1 + won) / 2, "margin": float(margin)}
        return board.planes(), won, True, False, self._info() | end

    def _over(self) -> bool:
        board = self.board
        return self._resigned or board.over or len(board.moves) >= self.config.limit

    def _reply(self) -> None:
        """Play the opponent's move."""
        board = self.board
        if self._program is None:
            kind = self.config.opponent_number
            komi = float(self.rules.komi)
            assert self._random is not None
            board.play(move_of(kind, board.boards, 0, *self._work, komi, self._random))
            return
        action = self._program.genmove(board.to_play)
        if action is None:
            self._resigned = True
        elif not board.is_legal(action):
            name = vertex(action, self.rules.size)
            raise ProgramError(f"{self._program.name} played {name}, which is not legal here")
        else:
            board.play(action)

    def _begin_with_program(self) -> None:
        if self._program is None:
            self._program = self.config.start_program()
        self._program.new_game(self.rules)
        for point in self.config.handicap_points:
            self._program.play(BLACK, int(point))

    def _info(self) -> dict[str, Any]:
        mask = self.board.legal().astype(np.int8)
        mask[-1] = 1  # never empty, not even when the game is over
        return {"action_mask": mask}

    def render(self) -> Any:
        """Return a picture (height, width, 3) uint8, or a text."""
        if self.render_mode is None:
            gym.logger.warn("the environment was made without a render mode")
            return None
        last = self.board.moves[-1][1] if self.board.moves else None
        if self.render_mode == "ansi":
            return ansi(self.board.stones, last)
        return picture(self.board.stones, last, self.thoughts)

    def close(self) -> None:
        """End the opponent's program, if there is one."""
        if self._program is not None:
            self._program.close()
            self._program = None
