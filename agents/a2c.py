"""Advantage actor–critic: A3C (Mnih et al. 2016) with synchronous environments.

The policy acts in several environments for a few steps. The n-step return, bootstrapped with the value of
the last observation, minus the value estimates the advantage of each action. One gradient step increases
the log-probability of the actions in proportion to their advantages, and fits the value to the returns.

Deviations from the paper: docs/algorithms/a2c.md.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    RunContext,
    Size,
    UnitInterval,
    generator,
    linear_schedule,
)
from agents.parts.adam import clip_by_global_norm, gradients_of
from agents.parts.compiling import compiled
from agents.parts.policy import Policy, PolicyConfig
from agents.parts.rollout import REPORT_EVERY, Collector, Rollout, averages, estimates
from envs.observations import FlatObservation

LOSSES = ("policy_loss", "value_loss", "entropy")


@dataclass(frozen=True, config=STRICT)
class A2CConfig(PolicyConfig):
    """Hyperparameters of A2C; the value of Mnih et al. 2016 in brackets."""

    num_envs: NumEnvs = 16
    """Environments stepped together [16]."""
    rollout_steps: Size = 5
    """Steps of each environment in a rollout [5]."""
    learning_rate: PositiveFloat = 7e-4
    """Initial learning rate of Adam [RMSProp, sampled from 1e-4 to 1e-2]."""
    anneal_lr: bool = True
    """Anneal the learning rate linearly to 0 over the run [True]."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step [0.99]."""
    value_coefficient: NonNegativeFloat = 0.5
    """Weight of the value loss [0.5]."""
    entropy_coefficient: NonNegativeFloat = 0.01
    """Weight of the entropy bonus [0.01]."""
    max_gradient_norm: PositiveFloat = 0.5
    """Largest norm of the gradient; larger ones are scaled down."""


class A2C(Agent):
    """Advantage actor–critic."""

    Config: ClassVar[type] = A2CConfig
    score_kind: ClassVar[str] = "probability"

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: A2CConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.policy = Policy(observation_space, action_space, config, context, config.discount)
        self.encoder = self.policy.network.encoder
        self._gradient_step: Callable[..., torch.Tensor] = self._gradient_step_of
        self._compiled = False
        self.updates = 0

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        return self.policy.act(observations, action_masks, episode_starts, rng)

    def scores(self, observations: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return self.policy.scores(observations)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        config, n = self.config, env.num_envs
        self.context.check(env, steps)
        self._compile()
        collector = Collector(self.policy, env, seed, generator(seed))
        done = reported = 0
        losses: list[torch.Tensor] = []
        while done < steps:
            length = min(config.rollout_steps, math.ceil((steps - done) / n))
            rollout = collector.collect(length)
            with collector.learning():
                if not self.policy.take_mean_image(rollout.observations):
                    losses.append(self._improve(rollout))
            done += length * n
            self.steps += length * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield collector.report(done) | averages(LOSSES, losses)
                losses = []

    def _compile(self) -> None:
        if not self._compiled and self.policy.compiles(self.context.total_steps):
            self.policy.compile()
            self._gradient_step = compiled(self._gradient_step_of, self.policy.device)
            self._compiled = True

    def _improve(self, rollout: Rollout) -> torch.Tensor:
        """One gradient step from a rollout; returns the losses."""
        config, policy = self.config, self.policy
        estimated = estimates(policy, rollout, config.discount, decay=1.0)
        self.updates += 1
        rate = config.learning_rate
        if config.anneal_lr:
            rate = linear_schedule(rate, 0, self.context.total_steps, self.steps)
        # The last rollout of a segment may be shorter than what was compiled.
        gradient_step = (
            self._gradient_step
            if len(rollout.rewards) == config.rollout_steps
            else self._gradient_step_of
        )
        return gradient_step(
            policy.adam.step_scalars(rate, self.updates),
            rollout.memory,
            rollout.episode_starts[:-1],
            rollout.actions,
            rollout.masks,
            estimated.advantages,
            estimated.returns,
            estimated.weights,
            *(x[:-1] for x in rollout.observations),
        ).clone()

    def _gradient_step_of(
        self,
        step_scalars: torch.Tensor,
        memory: torch.Tensor,
        episode_starts: torch.Tensor,
        actions: torch.Tensor,
        masks: torch.Tensor | None,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        weights: torch.Tensor,
        *observations: torch.Tensor,
    ) -> torch.Tensor:
        """One gradient step; tensors are (time, environments, …). Returns the losses."""
        config, policy = self.config, self.policy
        weights = weights.flatten() / weights.sum().clamp(min=1)
        actions = actions.flatten(0, 1)
        legal = None if masks is None else masks.flatten(0, 1)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            params, values, _ = policy.apply(compute_params, observations, episode_starts, memory)
            log_probs = policy.distribution.log_prob(params, actions, legal)
            policy_loss = -(weights * log_probs * advantages.flatten()).sum()
            value_loss = (weights * (values - returns.flatten()).square()).sum()
            entropy = (weights * policy.distribution.entropy(params, legal)).sum()
            loss = (
                policy_loss
                + config.value_coefficient * value_loss
                - config.entropy_coefficient * entropy
            )
            return loss, torch.stack([policy_loss.detach(), value_loss.detach(), entropy.detach()])

        gradients, _, losses = gradients_of(loss_of, policy.adam.compute_params, policy.adam.frozen)
        policy.adam.step(clip_by_global_norm(gradients, config.max_gradient_norm), step_scalars)
        return losses

    def state(self) -> AgentState:
        return self.policy.state({"steps": self.steps, "updates": self.updates})

    def load(self, state: AgentState) -> None:
        self.policy.load(state)
        if state.tensors:
            self.steps = int(state.numbers["steps"])
            self.updates = int(state.numbers["updates"])
