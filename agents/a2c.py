"""Advantage actor–critic: A3C (Mnih et al. 2016) with its actors stepped together.

The policy acts in several environments for a few steps; the n-step returns that follow, bootstrapped with
the value of the last observation, tell how much better each action was than the value expected; one
gradient step makes better actions likelier and moves the value to the returns.

Different from the paper: Adam takes the place of RMSProp.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from agents.agent import (
    Agent,
    AgentState,
    Metrics,
    RunContext,
    check_numbers,
    generator,
    linear_schedule,
)
from agents.parts.adam import clip_by_global_norm, gradients_of
from agents.parts.compiling import compiled
from agents.parts.policy import Policy, PolicyConfig
from agents.parts.rollout import REPORT_EVERY, Collector, Rollout, averages, estimates
from envs.observations import FlatObservation

LOSSES = ("policy_loss", "value_loss", "entropy")


@dataclass(frozen=True)
class A2CConfig(PolicyConfig):
    """Hyperparameters; the paper's value in brackets."""

    num_envs: int = 16
    """Environments stepped together [16]."""
    rollout_steps: int = 5
    """Steps in each environment between two updates [5]."""
    learning_rate: float = 7e-4
    """Of Adam, at the start [RMSProp, drawn at random]."""
    anneal_lr: bool = True
    """Let the learning rate fall linearly to 0 over the run [True]."""
    discount: float = 0.99
    """γ of one step [0.99]."""
    value_coefficient: float = 0.5
    """Weight of the value's loss [0.5]."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy, which keeps the policy exploring [0.01]."""
    max_gradient_norm: float = 0.5
    """Longer gradients are shortened to this."""
    reward_clip: float = 0.0
    """The learner clips each reward to ± this; 0 leaves rewards as they are [1]."""


class A2C(Agent):
    """Advantage actor–critic."""

    Config: ClassVar[type] = A2CConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: A2CConfig,
        context: RunContext,
    ) -> None:
        check_numbers(
            config,
            positive=("num_envs", "rollout_steps", "learning_rate", "max_gradient_norm"),
            not_negative=("value_coefficient", "entropy_coefficient", "reward_clip"),
            shares=("discount",),
        )
        self.config = config
        self.context = context
        self.policy = Policy(observation_space, action_space, config, context, config.discount)
        self._learn: Callable[..., torch.Tensor] = self._learn_from
        if self.policy.compiling:
            self._learn = compiled(self._learn_from, self.policy.device)
        self.steps = 0
        self.updates = 0

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self.policy.act(observations, action_masks, starts, rng)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        config, n = self.config, env.num_envs
        collector = Collector(self.policy, env, seed, generator(seed))
        done = reported = 0
        learnt: list[torch.Tensor] = []
        while done < steps:
            length = min(config.rollout_steps, math.ceil((steps - done) / n))
            rollout = collector.collect(length)
            if config.reward_clip:
                rollout.rewards = rollout.rewards.clip(-config.reward_clip, config.reward_clip)
            with collector.learning():
                if not self.policy.centre(rollout.observations):
                    learnt.append(self._improve(rollout))
            done += length * n
            self.steps += length * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield collector.report(done) | averages(LOSSES, learnt)
                learnt = []

    def _improve(self, rollout: Rollout) -> torch.Tensor:
        """One update from a rollout; its losses."""
        config, policy = self.config, self.policy
        known = estimates(policy, rollout, config.discount, decay=1.0)
        self.updates += 1
        rate = config.learning_rate
        if config.anneal_lr:
            rate = linear_schedule(rate, 0, self.context.total_steps, self.steps)
        # A rollout cut short by the segment's end has another shape than the compiled one.
        learn = self._learn if len(rollout.rewards) == config.rollout_steps else self._learn_from
        return learn(
            policy.adam.step_scalars(rate, self.updates),
            rollout.memory,
            rollout.starts[:-1],
            rollout.choices,
            rollout.masks,
            known.advantages,
            known.returns,
            known.weights,
            *(x[:-1] for x in rollout.observations),
        ).clone()

    def _learn_from(
        self,
        step_scalars: torch.Tensor,
        memory: torch.Tensor,
        starts: torch.Tensor,
        choices: torch.Tensor,
        masks: torch.Tensor | None,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        weights: torch.Tensor,
        *observations: torch.Tensor,
    ) -> torch.Tensor:
        """One step down the loss of a rollout; tensors are (time, environments, …)."""
        config, policy = self.config, self.policy
        weights = weights.flatten() / weights.sum().clamp(min=1)
        choices = choices.flatten(0, 1)
        legal = None if masks is None else masks.flatten(0, 1)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, values, _ = policy.apply(compute_params, observations, starts, memory)
            likely = policy.actions.log_probability(outputs, choices, legal)
            policy_loss = -(weights * likely * advantages.flatten()).sum()
            value_loss = (weights * (values - returns.flatten()).square()).sum()
            entropy = (weights * policy.actions.entropy(outputs, legal)).sum()
            loss = (
                policy_loss
                + config.value_coefficient * value_loss
                - config.entropy_coefficient * entropy
            )
            return loss, torch.stack([policy_loss.detach(), value_loss.detach(), entropy.detach()])

        gradients, _, losses = gradients_of(loss_of, policy.adam.compute_params)
        policy.adam.step(clip_by_global_norm(gradients, config.max_gradient_norm), step_scalars)
        return losses

    def state(self) -> AgentState:
        return self.policy.state({"steps": self.steps, "updates": self.updates})

    def load(self, state: AgentState) -> None:
        self.policy.load(state)
        if state.tensors:
            self.steps = int(state.numbers["steps"])
            self.updates = int(state.numbers["updates"])
