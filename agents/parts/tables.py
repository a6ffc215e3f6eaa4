"""Tables with a row for each state, for agents of finite worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from envs.observations import FlatObservation

MOST_ENTRIES = 10_000_000
"""Of a table: states times actions."""


class Table:
    """Values of the actions of every state, in rows numbered by what is observed.

    Args:
        agent: its name, for what is reported.
        observation_space: flat, as `envs.observations` makes it.
        action_space: of one environment.
        initial_value: of every entry.

    Raises:
        ValueError: observations are no numbers of finitely many, actions are not numbered, or there are too many.
    """

    def __init__(
        self,
        agent: str,
        observation_space: gym.Space,
        action_space: gym.Space,
        initial_value: float = 0.0,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(
                f"{agent} keeps a table with a column for each action, and needs numbered actions (Discrete),"
                f" not {action_space}"
            )
        if not isinstance(observation_space, spaces.MultiDiscrete):
            raise ValueError(
                f"{agent} keeps a table with a row for each state, and needs observations that are numbers"
                f" of states (Discrete or MultiDiscrete; of Fathom/Maze-v0: --env.view square), not"
                f" {observation_space}"
            )
        self.sizes: list[int] = observation_space.nvec.tolist()
        self.num_states = int(np.prod(observation_space.nvec, dtype=object))
        self.num_actions, self.first_action = int(action_space.n), int(action_space.start)
        if self.num_states * self.num_actions > MOST_ENTRIES:
            raise ValueError(
                f"{agent} would need a table of {self.num_states:,} states and {self.num_actions:,} actions, and"
                f" {MOST_ENTRIES:,} entries is the most: dqn needs no table"
            )
        self.values = np.full((self.num_states, self.num_actions), initial_value)
        """(states, actions) float64."""

    def rows(self, observations: FlatObservation) -> np.ndarray:
        """(n,) numbers of the states of n flat observations."""
        assert isinstance(observations, np.ndarray)
        return np.ravel_multi_index(tuple(observations.T.astype(np.int64)), tuple(self.sizes))

    def legal_values(self, rows: np.ndarray, action_masks: np.ndarray | None) -> np.ndarray:
        """(n, actions) values of n states, −inf where an action is illegal."""
        values = self.values[rows]
        return values if action_masks is None else np.where(action_masks, values, -np.inf)

    def load(self, values: Any) -> None:
        """Take other values, a tensor (states, actions); ValueError where their shape is another's."""
        array = values.numpy().astype(np.float64)
        if array.shape != self.values.shape:
            raise ValueError(
                f"a table of {array.shape} values is of another environment, whose table has"
                f" {self.values.shape}"
            )
        self.values = array.copy()


def model_of(env: VectorEnv) -> Mapping[int, Any] | Sequence[Any] | None:
    """The table `P` of a vector environment or of its first environment, if there is one."""
    for one in (env.unwrapped, *getattr(env.unwrapped, "envs", ())[:1]):
        rules = getattr(getattr(one, "unwrapped", one), "P", None)
        if isinstance(rules, (Mapping, Sequence)):
            return rules
    return None
