"""An agent that follows the environment's own scripted policy and learns nothing: a baseline.

An environment with a scripted policy has a method `expert_action`, from observations to actions. This agent
returns its actions, so that there is a run to evaluate, record and compare with. `--expert-steps` of `dqn`
fills a replay memory with the same policy.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from pydantic.dataclasses import dataclass

from agents.agent import STRICT, Agent, AgentState, Metrics, NumEnvs, RunContext, episode_metrics
from agents.parts.rollout import REPORT_EVERY
from envs.observations import FlatObservation
from envs.vector import Transitions


@dataclass(frozen=True, config=STRICT)
class ScriptedConfig:
    """Hyperparameters of the scripted agent, which learns nothing."""

    num_envs: NumEnvs = 8
    """Environments stepped together."""


class Scripted(Agent):
    """The scripted policy of an environment as an agent."""

    Config: ClassVar[type] = ScriptedConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: ScriptedConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        if context.expert_action is None:
            raise ValueError(
                "scripted needs an environment with an expert_action, and this one has none outside of wrappers"
                " that change observations or actions"
            )
        self._expert_action = context.expert_action

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self._expert_action(observations, action_masks)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Act, and report the returns."""
        self.context.check(env, steps)
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
            self.steps += env.num_envs
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                metrics: Metrics = {"steps": done} | clock
                metrics |= episode_metrics(finished)
                finished = []
                yield metrics

    def state(self) -> AgentState:
        return AgentState({}, {}, {"steps": self.steps})

    def load(self, state: AgentState) -> None:
        if state.weights:
            raise ValueError("scripted has no network, and this state has the weights of one")
        self.steps = int(state.numbers.get("steps", 0))
