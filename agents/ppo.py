"""Proximal policy optimisation (Schulman et al. 2017).

The policy acts in several environments for `rollout_steps` steps. Advantages are estimated with GAE
(Schulman et al. 2016). Then, for some epochs over minibatches of these steps, the policy climbs the
clipped objective min(ρ·A, clip(ρ, 1 ± ε)·A), where ρ is how much likelier an action has become, while
the value descends to the returns. With memory, a minibatch is whole sequences of some environments.

As in the authors' code: advantages are normalised in each minibatch, the gradient's norm is clipped, the
learning rate falls linearly. Different from it: the value's loss is not clipped (Andrychowicz et al. 2021
found that it hurts), and the clip range is constant, where the paper lets it fall with the learning rate.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

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

LOSSES = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")
"""What a report tells of learning: means over the minibatches since the one before. `approx_kl` is the
divergence from the policy that acted (Schulman 2020, "Approximating KL divergence"), `clip_fraction` the
share of steps where the objective is cut."""


@dataclass(frozen=True)
class PPOConfig(PolicyConfig):
    """Hyperparameters; the paper's value for Atari in brackets."""

    num_envs: int = 8
    """Environments stepped together [8]."""
    rollout_steps: int = 128
    """Steps in each environment between two phases of learning [128]."""
    epochs: int = 4
    """Passes over a rollout [3]."""
    num_minibatches: int = 4
    """Parts a rollout is learnt from in [4]."""
    learning_rate: float = 2.5e-4
    """Of Adam, at the start [2.5e-4]."""
    anneal_lr: bool = True
    """Let the learning rate fall linearly to 0 over the run [True]."""
    discount: float = 0.99
    """γ of one step [0.99]."""
    gae_lambda: float = 0.95
    """λ of generalised advantage estimation [0.95]."""
    clip_range: float = 0.2
    """ε: how far a probability may move and still gain [0.1, falling to 0]."""
    value_coefficient: float = 0.5
    """Weight of the value's loss [1]."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy, which keeps the policy exploring [0.01]."""
    max_gradient_norm: float = 0.5
    """Longer gradients are shortened to this [0.5]."""
    reward_clip: float = 0.0
    """The learner clips each reward to ± this; 0 leaves rewards as they are [1]."""


class PPO(Agent):
    """Proximal policy optimisation."""

    Config: ClassVar[type] = PPOConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: PPOConfig,
        context: RunContext,
    ) -> None:
        check_numbers(
            config,
            positive=(
                *("num_envs", "rollout_steps", "epochs", "num_minibatches"),
                *("learning_rate", "clip_range", "max_gradient_norm"),
            ),
            not_negative=("value_coefficient", "entropy_coefficient", "reward_clip"),
            shares=("discount", "gae_lambda"),
        )
        self.config = config
        self.context = context
        self.policy = Policy(observation_space, action_space, config, context, config.discount)
        width = config.num_envs if self.policy.recurrent else config.num_envs * config.rollout_steps
        if width % config.num_minibatches:
            what = "environments" if self.policy.recurrent else "steps of a rollout"
            raise ValueError(
                f"minibatches must share the {width} {what} out evenly: {config.num_minibatches} cannot"
            )
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
        rng = generator(seed)
        collector = Collector(self.policy, env, seed, rng)
        done = reported = 0
        learnt: list[torch.Tensor] = []
        while done < steps:
            length = min(config.rollout_steps, math.ceil((steps - done) / n))
            rollout = collector.collect(length)
            if config.reward_clip:
                rollout.rewards = rollout.rewards.clip(-config.reward_clip, config.reward_clip)
            with collector.learning():
                if not self.policy.centre(rollout.observations):
                    learnt += self._improve(rollout, rng)
            done += length * n
            self.steps += length * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield collector.report(done) | averages(LOSSES, learnt)
                learnt = []

    def _improve(self, rollout: Rollout, rng: np.random.Generator) -> list[torch.Tensor]:
        """Learn from a rollout; the losses of every minibatch."""
        config, policy = self.config, self.policy
        known = estimates(policy, rollout, config.discount, config.gae_lambda)
        table = [
            rollout.starts[:-1], rollout.choices, rollout.masks, known.log_probabilities,
            known.advantages, known.returns, known.weights, *(x[:-1] for x in rollout.observations),
        ]  # fmt: skip
        length, n = rollout.rewards.shape
        if not policy.recurrent:  # then every step stands alone: one long row of them
            table = [None if x is None else x.flatten(0, 1).unsqueeze(0) for x in table]
        width = n if policy.recurrent else length * n
        # A rollout cut short by the segment's end has another shape than the compiled one.
        learn = self._learn if length == config.rollout_steps else self._learn_from
        rate = config.learning_rate
        if config.anneal_lr:
            rate = linear_schedule(rate, 0, self.context.total_steps, self.steps)
        losses = []
        for _ in range(config.epochs):
            order = torch.from_numpy(rng.permutation(width)).to(policy.device)
            for part in order.tensor_split(min(config.num_minibatches, width)):
                self.updates += 1
                memory = rollout.memory[part] if policy.recurrent else rollout.memory[:0]
                batch: Any = (None if x is None else x.index_select(1, part) for x in table)
                if config.num_minibatches == 1:  # in whatever order, it is all of the rollout
                    memory, batch = rollout.memory, table
                losses.append(
                    learn(policy.adam.step_scalars(rate, self.updates), memory, *batch).clone()
                )
        return losses

    def _learn_from(
        self,
        step_scalars: torch.Tensor,
        memory: torch.Tensor,
        starts: torch.Tensor,
        choices: torch.Tensor,
        masks: torch.Tensor | None,
        old_log_probabilities: torch.Tensor,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        weights: torch.Tensor,
        *observations: torch.Tensor,
    ) -> torch.Tensor:
        """One step down the loss of a minibatch; tensors are (time, width, …)."""
        config, policy = self.config, self.policy
        weights = weights.flatten() / weights.sum().clamp(min=1)
        advantages = advantages.flatten()
        mean = (weights * advantages).sum()
        deviation = (weights * (advantages - mean).square()).sum().sqrt()
        advantages = (advantages - mean) / (deviation + 1e-8)
        choices = choices.flatten(0, 1)
        legal = None if masks is None else masks.flatten(0, 1)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, values, _ = policy.apply(compute_params, observations, starts, memory)
            log_ratio = policy.actions.log_probability(outputs, choices, legal)
            log_ratio = log_ratio - old_log_probabilities.flatten()
            ratio = log_ratio.exp()
            clipped = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
            policy_loss = -(weights * torch.minimum(ratio * advantages, clipped * advantages)).sum()
            value_loss = (weights * (values - returns.flatten()).square()).sum()
            entropy = (weights * policy.actions.entropy(outputs, legal)).sum()
            with torch.no_grad():
                approx_kl = (weights * (ratio - 1 - log_ratio)).sum()
                clip_fraction = (weights * ((ratio - 1).abs() > config.clip_range)).sum()
            loss = (
                policy_loss
                + config.value_coefficient * value_loss
                - config.entropy_coefficient * entropy
            )
            return loss, torch.stack(
                [
                    policy_loss.detach(),
                    value_loss.detach(),
                    entropy.detach(),
                    approx_kl,
                    clip_fraction,
                ]
            )

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
