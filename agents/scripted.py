"""Acts by the world's own rules and learns nothing: the baseline to beat, in a run like any other.

A world that knows a rule of thumb has a method `expert_action`, from observations to actions. This agent does
what it says, so that a run exists to evaluate, record, play and compare with; `--expert-steps` of `dqn`
lets the same rules fill a learner's memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from agents.agent import Agent, AgentState, Metrics, RunContext, episode_metrics
from agents.parts.rollout import REPORT_EVERY
from envs.observations import FlatObservation
from envs.vector import Transitions


@dataclass(frozen=True)
class ScriptedConfig:
    """Nothing is learnt: there is little to set."""

    num_envs: int = 8
    """Environments stepped together."""


class Scripted(Agent):
    """The world's rule of thumb as an agent."""

    Config: ClassVar[type] = ScriptedConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: ScriptedConfig,
        context: RunContext,
    ) -> None:
        if config.num_envs < 1:
            raise ValueError(f"num_envs must be above 0, not {config.num_envs}")
        if context.expert_action is None:
            raise ValueError(
                "scripted acts by an environment's own expert_action, and this one has none"
            )
        self._expert_action = context.expert_action
        self.steps = 0

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self._expert_action(observations, action_masks)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Only act, and report what it brings."""
        stream = Transitions(env)
        observations = stream.reset(seed)
        clock = {"time/environment": 0.0, "time/acting": 0.0, "time/learning": 0.0}
        finished: list[tuple[float, int]] = []
        done = reported = 0
        while done < steps:
            t0 = perf_counter()
            actions = self._expert_action(observations, stream.action_masks)
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

    def state(self) -> AgentState:
        return AgentState({}, {}, {"steps": self.steps})

    def load(self, state: AgentState) -> None:
        if state.weights:
            raise ValueError("scripted has no network, and these are the weights of one")
        self.steps = int(state.numbers.get("steps", 0))
