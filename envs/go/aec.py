"""Go for two agents, as a PettingZoo AEC environment (Terry et al. 2021). Needs PettingZoo."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.go.board import BLACK, Board
from envs.go.config import GoConfig
from envs.go.core import Ko
from envs.go.rendering import ansi, picture
from envs.hooks import WorldError

try:
    from pettingzoo import AECEnv
except ImportError as error:
    raise ImportError("envs.go.aec needs PettingZoo: pip install pettingzoo") from error


class GoGame(AECEnv):
    """The game of `envs.go.go.Go` between the agents "black_0" and "white_0".

    Observation: a dictionary of `observation`, (19, size, size) uint8, the planes of
    `envs.go.core.planes` from the agent's view, and `action_mask`, (size² + 1,) int8, all 0 for the agent
    that is not to move.
    Actions: row · size + column, row 0 at the top; size² passes.
    Rewards: at the end 1 and −1, or 0 for a draw; 0 before. An illegal move loses the game.
    Termination: after two passes in a row, or `max_moves` moves.

    Args:
        size, komi, ko, suicide, handicap, max_moves: see `GoConfig`.
        render_mode: "rgb_array" or "ansi".

    Raises:
        ValueError: an argument is wrong.
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
        ko: Ko = "positional",
        suicide: bool = False,
        handicap: int = 0,
        max_moves: int = 0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise WorldError(f"there is no render mode {render_mode!r}")
        self.config = GoConfig(
            size=size,
            komi=komi,
            ko=ko,
            suicide=suicide,
            handicap=handicap,
            opponent="self",
            max_moves=max_moves,
        )
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
        """Return the space of an agent, the same for both."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """Return the space of an agent, the same for both."""
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
        """Return an agent's observation, also if it is not its turn."""
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
        """Play an action for `agent_selection`, or None once the game is over for that agent."""
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
        """End the game with a reward for black, and its negative for white."""
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
        """Do nothing: there is nothing to release."""
