"""Acts by the world's own rules and learns nothing: the baseline to beat, in a run like any other.

A world that knows a rule of thumb has a method `advise`, from observations to actions. This agent does
what it says, so that a run exists to evaluate, record, play and compare with; `--warm-start` of `dqn`
lets the same rules fill a learner's memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from agents.agent import Agent, Metrics, Setting, State, episode_metrics
from agents.rollout import REPORT_EVERY
from envs.observations import Plain
from envs.vector import Transitions


@dataclass(frozen=True)
class RulesConfig:
    """Nothing is learnt: there is little to set."""

    num_envs: int = 8
    """Environments stepped together."""


class Rules(Agent):
    """The world's rule of thumb as an agent."""

    Config: ClassVar[type] = RulesConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: RulesConfig,
        setting: Setting,
    ) -> None:
        if config.num_envs < 1:
            raise ValueError(f"num_envs must be above 0, not {config.num_envs}")
        if setting.advise is None:
            raise ValueError("rules acts by a world's own rules, and this world has none")
        self._advise = setting.advise
        self.steps = 0

    def act(
        self,
        observations: Plain,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self._advise(observations, action_masks)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Only act, and report what it brings."""
        stream = Transitions(env)
        observations = stream.reset(seed)
        clock = {"time/environment": 0.0, "time/acting": 0.0, "time/learning": 0.0}
        finished: list[tuple[float, int]] = []
        done = reported = 0
        while done < steps:
            t0 = perf_counter()
            actions = self._advise(observations, stream.action_masks)
            t1 = perf_counter()
            observations = stream.step(actions).next_observations
            clock["time/acting"] += t1 - t0
            clock["time/environment"] += perf_counter() - t1
            finished += stream.finished.values()
            done += env.num_envs
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                metrics: Metrics = {"steps": done} | clock
                metrics |= episode_metrics(finished)
                finished = []
                yield metrics
        self.steps += done

    def state(self) -> State:
        return State({}, {}, {"steps": self.steps})

    def load(self, state: State) -> None:
        if state.weights:
            raise ValueError("rules has no network, and these are the weights of one")
        self.steps = int(state.numbers.get("steps", 0))
