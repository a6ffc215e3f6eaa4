"""Go for two, as PettingZoo's agent-environment cycle (Terry et al. 2021). Needs PettingZoo."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.go.board import BLACK, Board
from envs.go.config import GoConfig
from envs.go.rendering import ansi, picture
from envs.hooks import WorldError

try:
    from pettingzoo import AECEnv
except ImportError as error:
    raise ImportError("envs.go.aec needs PettingZoo: pip install pettingzoo") from error


class GoGame(AECEnv):
    """The game of `envs.go.go.Go` between the agents "black_0" and "white_0".

    An observation is a dictionary: `observation`, (19, size, size) uint8, the planes from the view
    of its agent; `action_mask`, (size² + 1,) int8, all 0 for who is not to move. Rewards come at
    the end: 1 and −1, or 0 for a draw. An illegal move loses the game.

    Args:
        size, komi, ko, suicide, handicap, max_moves: see `GoConfig`.
        render_mode: "rgb_array" or "ansi".

    Raises:
        WorldError: they make no game.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array", "ansi"],
        "name": "fathom_go_v0",
        "is_parallelizable": False,
        "render_fps": 2,
    }

    def __init__(
        self,
        size: int = 9,
        komi: float = 7.0,
        ko: str = "positional",
        suicide: bool = False,
        handicap: int = 0,
        max_moves: int = 0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise WorldError(f"there is no render mode {render_mode!r}")
        self.config = GoConfig(size, komi, ko, suicide, handicap, "self", "black", max_moves)
        self.render_mode = render_mode
        self.possible_agents = ["black_0", "white_0"]
        self.agents: list[str] = []
        mask = spaces.Box(0, 1, (size**2 + 1,), np.int8)
        self.observation_spaces = {
            agent: spaces.Dict({"observation": self.config.observation_space, "action_mask": mask})
            for agent in self.possible_agents
        }
        self.action_spaces = {agent: self.config.action_space for agent in self.possible_agents}

    def observation_space(self, agent: str) -> spaces.Space:
        """The same for both."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """The same for both."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """A new game; nothing in it is random."""
        self.board = self.config.new_board()
        self.agents = self.possible_agents.copy()
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.agent_selection = self._to_move()

    def observe(self, agent: str) -> dict[str, np.ndarray]:
        """What the agent sees, whether it is its turn or not."""
        moves = agent == self._to_move()
        mask = np.zeros(self.config.size**2 + 1, np.int8)
        board = self.board
        if not moves:
            board = self.board.copy()
            board.to_play = 1 + self.possible_agents.index(agent)
        elif not any(self.terminations.values()):
            mask[:] = board.legal()
        return {"observation": board.planes(), "action_mask": mask}

    def step(self, action: int | None) -> None:
        """A move of `agent_selection`; None once the game is over for it."""
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        move = int(cast(int, action))
        if not 0 <= move <= self.config.size**2:
            raise WorldError(f"an action is a number from 0 to {self.config.size**2}, not {action}")
        if not self.board.is_legal(move):
            self._end(-1.0 if agent == "black_0" else 1.0)
        else:
            self.board.play(move)
            if self.board.over or len(self.board.moves) >= self.config.limit:
                self._end(float(np.sign(self.board.score())))
        self.agent_selection = self.possible_agents[agent == "black_0"]
        self._accumulate_rewards()

    def _end(self, black: float) -> None:
        """The game is over, with this reward for black."""
        self.rewards = {"black_0": black, "white_0": -black}
        self.terminations = dict.fromkeys(self.agents, True)

    def _to_move(self) -> str:
        return self.possible_agents[self.board.to_play - BLACK]

    def render(self) -> Any:
        """A picture (height, width, 3) uint8, or a text."""
        if self.render_mode is None:
            gym.logger.warn("a game is drawn in the render mode it was made with, and it has none")
            return None
        board: Board = self.board
        last = board.moves[-1][1] if board.moves else None
        return (ansi if self.render_mode == "ansi" else picture)(board.stones, last)

    def close(self) -> None:
        """Nothing is open."""
