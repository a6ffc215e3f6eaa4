"""Proximal policy optimisation (Schulman et al. 2017).

The policy acts in several environments for `rollout_steps` steps, and advantages A are estimated with GAE
(Schulman et al. 2016). For some epochs over minibatches of these steps, the policy then maximises the
clipped objective min(ρ·A, clip(ρ, 1 ± ε)·A), where ρ is the ratio of the new to the old probability of an
action, and the value is fitted to the returns. With a recurrent layer a minibatch consists of whole
sequences of some environments.

Deviations from the paper: docs/algorithms/ppo.md.
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
    Repeats,
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

LOSSES = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")
"""Metrics of learning, averaged over the minibatches since the last report. `approx_kl` is the KL divergence
from the policy that acted (Schulman 2020, "Approximating KL divergence"), `clip_fraction` the share of
steps whose ratio is clipped."""


@dataclass(frozen=True, config=STRICT)
class PPOConfig(PolicyConfig):
    """Hyperparameters of PPO; the value of Schulman et al. 2017 for Atari in brackets."""

    num_envs: NumEnvs = 8
    """Environments stepped together [8]."""
    rollout_steps: Size = 128
    """Steps of each environment in a rollout [128]."""
    epochs: Repeats = 4
    """Passes over each rollout [3]."""
    num_minibatches: Size = 4
    """Minibatches in each pass [4]."""
    learning_rate: PositiveFloat = 2.5e-4
    """Initial learning rate of Adam [2.5e-4]."""
    anneal_lr: bool = True
    """Anneal the learning rate linearly to 0 over the run [True]."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step [0.99]."""
    gae_lambda: UnitInterval = 0.95
    """λ of generalised advantage estimation [0.95]."""
    clip_range: PositiveFloat = 0.2
    """ε, the range of the probability ratio in which the objective is not clipped [0.1, annealed to 0]."""
    value_coefficient: NonNegativeFloat = 0.5
    """Weight of the value loss [1]."""
    entropy_coefficient: NonNegativeFloat = 0.01
    """Weight of the entropy bonus [0.01]."""
    max_gradient_norm: PositiveFloat = 0.5
    """Largest norm of the gradient; larger ones are scaled down [0.5]."""


class PPO(Agent):
    """Proximal policy optimisation."""

    Config: ClassVar[type] = PPOConfig
    score_kind: ClassVar[str] = "probability"

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: PPOConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.policy = Policy(observation_space, action_space, config, context, config.discount)
        self.encoder = self.policy.network.encoder
        width = config.num_envs if self.policy.recurrent else config.num_envs * config.rollout_steps
        if width % config.num_minibatches:
            what = "environments" if self.policy.recurrent else "steps of a rollout"
            raise ValueError(
                f"num_minibatches must divide the {width} {what}, and {config.num_minibatches} does not"
            )
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
        self.compile()
        rng = generator(seed)
        collector = Collector(self.policy, env, seed, rng)
        done = reported = 0
        losses: list[torch.Tensor] = []
        while done < steps:
            length = min(config.rollout_steps, math.ceil((steps - done) / n))
            rollout = collector.collect(length)
            with collector.learning():
                if not self.policy.take_mean_image(rollout.observations):
                    losses += self.improve(rollout, rng)
            done += length * n
            self.steps += length * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield collector.report(done) | averages(LOSSES, losses)
                losses = []

    def compile(self) -> None:
        """Compile acting and learning, in a training that is long enough to gain by it."""
        if not self._compiled and self.policy.compiles(self.context.total_steps):
            self.policy.compile()
            self._gradient_step = compiled(self._gradient_step_of, self.policy.device)
            self._compiled = True

    def improve(self, rollout: Rollout, rng: np.random.Generator) -> list[torch.Tensor]:
        """All epochs over a rollout; returns the losses of every minibatch."""
        config, policy = self.config, self.policy
        estimated = estimates(policy, rollout, config.discount, config.gae_lambda)
        table = [
            rollout.episode_starts[:-1], rollout.actions, rollout.masks, estimated.log_probs,
            estimated.advantages, estimated.returns, estimated.weights, *(x[:-1] for x in rollout.observations),
        ]  # fmt: skip
        length, n = rollout.rewards.shape
        if not policy.recurrent:  # then steps are independent: one long row of them
            table = [None if x is None else x.flatten(0, 1).unsqueeze(0) for x in table]
        width = n if policy.recurrent else length * n
        # The last rollout of a segment may be shorter than what was compiled.
        gradient_step = (
            self._gradient_step if length == config.rollout_steps else self._gradient_step_of
        )
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
                if config.num_minibatches == 1:  # the whole rollout, in any order
                    memory, batch = rollout.memory, table
                losses.append(
                    gradient_step(
                        policy.adam.step_scalars(rate, self.updates), memory, *batch
                    ).clone()
                )
        return losses

    def _gradient_step_of(
        self,
        step_scalars: torch.Tensor,
        memory: torch.Tensor,
        episode_starts: torch.Tensor,
        actions: torch.Tensor,
        masks: torch.Tensor | None,
        old_log_probs: torch.Tensor,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        weights: torch.Tensor,
        *observations: torch.Tensor,
    ) -> torch.Tensor:
        """One gradient step on a minibatch; tensors are (time, width, …). Returns the losses."""
        config, policy = self.config, self.policy
        weights = weights.flatten() / weights.sum().clamp(min=1)
        advantages = advantages.flatten()
        mean = (weights * advantages).sum()
        deviation = (weights * (advantages - mean).square()).sum().sqrt()
        advantages = (advantages - mean) / (deviation + 1e-8)
        actions = actions.flatten(0, 1)
        legal = None if masks is None else masks.flatten(0, 1)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            params, values, _ = policy.apply(compute_params, observations, episode_starts, memory)
            log_ratio = policy.distribution.log_prob(params, actions, legal)
            log_ratio = log_ratio - old_log_probs.flatten()
            ratio = log_ratio.exp()
            clipped = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
            policy_loss = -(weights * torch.minimum(ratio * advantages, clipped * advantages)).sum()
            value_loss = (weights * (values - returns.flatten()).square()).sum()
            entropy = (weights * policy.distribution.entropy(params, legal)).sum()
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
