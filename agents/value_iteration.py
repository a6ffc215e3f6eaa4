"""Value iteration (Bellman 1957): Bellman's equation, solved by repeating it.

Where the world is a table of what follows each state and action, no experience is needed. A sweep replaces the
value of every action in every state by the right-hand side of Bellman's equation,

    Q(s, a) ← Σ p(s′, r | s, a) · (r + γ · max_a′ Q(s′, a′)),

where what follows a terminal step counts 0. The error shrinks at least by the factor γ a sweep.

Reward and time limits, and what is particular here: docs/algorithms/value-iteration.md.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic.dataclasses import dataclass

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    RunContext,
    UnitInterval,
    UnsuitableEnvironmentError,
)
from agents.parts.grids import Grid, grid_of, picture
from agents.parts.tables import MOST_ENTRIES, Table, model_of
from envs.observations import FlatObservation

FIRST_SWEEPS, REPORT_EVERY = 20, 25
"""Each of a run's first sweeps is reported, then every so many: most changes early."""


@dataclass(frozen=True, config=STRICT)
class ValueIterationConfig:
    """Hyperparameters of value iteration. A step of the run is a sweep over all states."""

    num_envs: NumEnvs = 1
    """Environments; only the first one's table is read."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step; with 1 values may grow without end."""


class TransitionTable(NamedTuple):
    """The true model of a finite world: up to k outcomes of each action in each state."""

    probabilities: np.ndarray
    """(states, actions, k) float64; 0 where there are fewer outcomes."""
    next_states: np.ndarray
    """(states, actions, k) int64"""
    rewards: np.ndarray
    """(states, actions, k) float64"""
    continues: np.ndarray
    """(states, actions, k) float64: 0 where the outcome ends the episode, else 1."""


def sweep(table: TransitionTable, values: np.ndarray, discount: float) -> np.ndarray:
    """Bellman's equation applied once to the values (states, actions) of all actions in all states."""
    following = values.max(axis=1)[table.next_states]
    outcomes = table.rewards + discount * table.continues * following
    return (table.probabilities * outcomes).sum(axis=2)


def read_transitions(env: VectorEnv, num_states: int, num_actions: int) -> TransitionTable:
    """The table `P` of an environment, in the form of Gymnasium's toy text environments.

    There `P[state][action]` lists the outcomes, each (probability, next state, reward, whether it ends the
    episode).

    Raises:
        UnsuitableEnvironmentError: the environment has no such table, or one of other states or actions.
    """
    rules = model_of(env)
    if rules is None:
        raise UnsuitableEnvironmentError(
            "it has no table P of its transitions, which value iteration reads; q-learning learns from"
            " experience"
        )
    try:
        outcomes = [[rules[s][a] for a in range(num_actions)] for s in range(num_states)]
        most = max(len(one) for row in outcomes for one in row)
        if len(rules) != num_states or most * num_states * num_actions > MOST_ENTRIES:
            raise ValueError
        arrays = np.zeros((4, num_states, num_actions, most))
        for s, row in enumerate(outcomes):
            for a, one in enumerate(row):
                for k, (probability, next_state, reward, ends) in enumerate(one):
                    arrays[:, s, a, k] = probability, next_state, reward, not ends
        if not np.isfinite(arrays).all() or not np.allclose(arrays[0].sum(axis=2), 1):
            raise ValueError
        next_states = arrays[1].astype(np.int64)
        if (
            next_states != arrays[1]
        ).any() or not 0 <= next_states.min() <= next_states.max() < num_states:
            raise ValueError
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnsuitableEnvironmentError(
            f"its table P is not one of {num_states:,} states and {num_actions:,} actions, each with a list of"
            " (probability, next state, reward, terminated) whose probabilities add up to 1"
        ) from error
    return TransitionTable(arrays[0], next_states, arrays[2], arrays[3])


class ValueIteration(Agent):
    """Value iteration on the true model."""

    Config: ClassVar[type] = ValueIterationConfig
    config: ValueIterationConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: ValueIterationConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.table = Table("value-iteration", observation_space, action_space)
        self._grid: Grid | None = None

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        values = self.table.legal_values(self.table.rows(observations), action_masks)
        return values.argmax(axis=1) + self.table.first_action

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Sweep `steps` times over all states."""
        self.context.check(env, steps)
        table = self.table
        began = perf_counter()
        transitions = read_transitions(env, table.num_states, table.num_actions)
        self._grid = grid_of(env)
        read = perf_counter() - began
        learning = 0.0
        for done in range(1, steps + 1):
            began = perf_counter()
            values = sweep(transitions, table.values, self.config.discount)
            change = float(np.abs(values - table.values).max())
            table.values = values
            learning += perf_counter() - began
            self.steps += 1
            if self.steps <= FIRST_SWEEPS or self.steps % REPORT_EVERY == 0 or done == steps:
                yield {
                    "steps": done,
                    "time/environment": read,
                    "time/acting": 0.0,
                    "time/learning": learning,
                    "value_change": change,
                }

    def snapshot(self) -> np.ndarray | None:
        if self._grid is None:
            return None
        return picture(self._grid, self.table.values, f"{self.steps:,} sweeps")

    def state(self) -> AgentState:
        return AgentState(
            {"values": torch.from_numpy(self.table.values)}, {}, {"steps": self.steps}
        )

    def load(self, state: AgentState) -> None:
        self.table.load(state.weights["values"])
        self.steps = int(state.numbers["steps"])
