"""Q-learning (Watkins 1989) and SARSA (Rummery & Niranjan 1994): Bellman's equation, learnt from experience.

A table holds the value of every action in every state. After each step the value of the action taken moves
towards the reward plus the discounted value of what follows,

    Q(s, a) ← Q(s, a) + α · (r + γ · V(s′) − Q(s, a)),

where V(s′) is the value of the best action in s′ (Q-learning, which learns the best policy whatever is tried), or
of the action that is then taken (SARSA, which learns the policy that it follows, exploration included).

Deviations from the papers: docs/algorithms/q-learning.md.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Annotated, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    RunContext,
    UnitInterval,
    episode_metrics,
    generator,
    linear_schedule,
)
from agents.parts.grids import Grid, grid_of, picture
from agents.parts.rollout import REPORT_EVERY
from agents.parts.tables import Table
from envs.observations import FlatObservation
from envs.vector import Transitions

REPORTS = 50
"""A segment is reported so often, unless steps between two reports were fewer than `REPORT_EVERY`."""


@dataclass(frozen=True, config=STRICT)
class QLearningConfig:
    """Hyperparameters of Q-learning and SARSA."""

    num_envs: NumEnvs = 16
    """Environments stepped together."""
    target: Literal["q-learning", "sarsa"] = "q-learning"
    """What follows a step: the value of the best next action, or of the one taken next."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Step size α of an entry's first update; 1 suits worlds without chance."""
    learning_rate_decay: UnitInterval = 0.0
    """Power ω: an entry's n-th update has the step size α · n^−ω. It converges under chance for ω from 0.5 to 1."""
    initial_value: float = 0.0
    """Of every entry. One above all returns makes the agent try what it does not know."""
    epsilon_start: UnitInterval = 1.0
    """Probability of a random action at the start."""
    epsilon_end: UnitInterval = 0.1
    """Probability of a random action after `epsilon_steps`."""
    epsilon_steps: PositiveInt = 50_000
    """Agent steps over which ε falls."""


def best_values(values: np.ndarray) -> np.ndarray:
    """Q-learning's V (n,) of next states, from the values (n, actions) of their actions."""
    return values.max(axis=1)


def taken_values(values: np.ndarray, next_actions: np.ndarray) -> np.ndarray:
    """SARSA's V (n,) of next states, from the values (n, actions) of their actions and those taken, (n,)."""
    return values[np.arange(len(values)), next_actions]


def update(
    values: np.ndarray,
    visits: np.ndarray,
    entries: np.ndarray,
    targets: np.ndarray,
    learning_rate: float,
    decay: float,
) -> float:
    """Move entries of a table towards targets, in place.

    Of environments that visited the same entry, m in number, the mean target counts as if it had come m times in a
    row.

    Args:
        values, visits: (entries,) of the whole table; how often each was updated is counted on.
        entries: (n,) places in both.
        targets: (n,)

    Returns:
        The mean absolute difference between targets and values before.
    """
    error = float(np.abs(targets - values[entries]).mean())
    places, inverse, counts = np.unique(entries, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, targets) / counts
    visits[places] += counts
    rates = learning_rate * visits[places] ** -decay
    values[places] += (1 - (1 - rates) ** counts) * (means - values[places])
    return error


class QLearning(Agent):
    """Q-learning or SARSA with a table."""

    Config: ClassVar[type] = QLearningConfig
    config: QLearningConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: QLearningConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.table = Table("q-learning", observation_space, action_space, config.initial_value)
        self.visits = np.zeros_like(self.table.values)
        """(states, actions) float64: how often each entry was updated."""
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
        self.context.check(env, steps)
        config, table = self.config, self.table
        rng, stream = generator(seed), Transitions(env)
        self._grid = grid_of(env)
        clock = {"time/environment": 0.0, "time/acting": 0.0, "time/learning": 0.0}
        rows = table.rows(stream.reset(seed))
        actions = self._explore(rows, stream.action_masks, rng)
        finished: list[tuple[float, int]] = []
        errors: list[float] = []
        every = max(REPORT_EVERY, steps // REPORTS)
        done = reported = 0
        while done < steps:
            t0 = perf_counter()
            step = stream.step(actions + table.first_action)
            t1 = perf_counter()
            next_rows = table.rows(step.next_observations)
            next_actions = self._explore(next_rows, stream.action_masks, rng)
            t2 = perf_counter()
            following = table.legal_values(next_rows, stream.action_masks)
            if config.target == "sarsa":
                next_values = taken_values(following, next_actions)
            else:
                next_values = best_values(following)
            targets = step.rewards + config.discount * np.where(step.terminated, 0, next_values)
            entries, valid = rows * table.num_actions + actions, step.valid
            if valid.any():
                error = update(
                    table.values.reshape(-1),
                    self.visits.reshape(-1),
                    entries[valid],
                    targets[valid],
                    config.learning_rate,
                    config.learning_rate_decay,
                )
                errors.append(error)
            rows, actions = next_rows, next_actions
            t3 = perf_counter()
            clock["time/environment"] += t1 - t0
            clock["time/acting"] += t2 - t1
            clock["time/learning"] += t3 - t2
            finished += stream.finished.values()
            done += env.num_envs
            self.steps += env.num_envs
            if done - reported >= every or done >= steps:
                reported = done
                metrics = {"steps": done} | clock | episode_metrics(finished)
                yield metrics | {
                    "epsilon": self._epsilon(),
                    "td_error": float(np.mean(errors or [0.0])),
                }
                finished, errors = [], []

    def _epsilon(self) -> float:
        config = self.config
        return linear_schedule(
            config.epsilon_start, config.epsilon_end, config.epsilon_steps, self.steps
        )

    def _explore(
        self, rows: np.ndarray, action_masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """(n,) numbers of actions from 0: random legal ones with probability ε, else the best, of equal ones any."""
        values = self.table.legal_values(rows, action_masks)
        noise = rng.random(values.shape)
        best = np.where(values == values.max(axis=1, keepdims=True), noise, -1).argmax(axis=1)
        anything = np.where(np.isneginf(values), -1, noise).argmax(axis=1)
        return np.where(rng.random(len(rows)) < self._epsilon(), anything, best)

    def snapshot(self) -> np.ndarray | None:
        if self._grid is None:
            return None
        return picture(self._grid, self.table.values, f"{self.steps:,} steps")

    def state(self) -> AgentState:
        return AgentState(
            {"values": torch.from_numpy(self.table.values)},
            {"visits": torch.from_numpy(self.visits)},
            {"steps": self.steps},
        )

    def load(self, state: AgentState) -> None:
        self.table.load(state.weights["values"])
        if "visits" in state.tensors:
            visits = state.tensors["visits"].numpy()
            if visits.shape != self.visits.shape:
                raise ValueError("the counts of updates are of another environment")
            self.visits = visits.copy()
        self.steps = int(state.numbers.get("steps", 0))
