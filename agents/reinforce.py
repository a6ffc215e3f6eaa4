"""REINFORCE with a learnt baseline (Williams 1992).

Every environment plays one complete episode. One gradient step then increases the log-probability of each
action in proportion to the return that followed it minus the baseline, a network that is fitted to the same
returns. Episodes that the end of a segment cuts off are bootstrapped with the baseline.

Deviations from the paper: docs/algorithms/reinforce.md.
"""

from collections.abc import Iterator
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
    UnitInterval,
    generator,
)
from agents.parts.adam import clip_by_global_norm, gradients_of
from agents.parts.policy import Policy, PolicyConfig
from agents.parts.rollout import REPORT_EVERY, Collector, Rollout, averages, estimates
from envs.observations import FlatObservation

LOSSES = ("policy_loss", "baseline_loss", "entropy")


@dataclass(frozen=True, config=STRICT)
class REINFORCEConfig(PolicyConfig):
    """Hyperparameters of REINFORCE; the paper names none."""

    num_envs: NumEnvs = 16
    """Environments stepped together, which is the number of episodes in an update."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of Adam."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step."""
    baseline_coefficient: NonNegativeFloat = 0.5
    """Weight of the loss of the baseline."""
    entropy_coefficient: NonNegativeFloat = 0.01
    """Weight of the entropy bonus (Williams & Peng 1991)."""
    max_gradient_norm: PositiveFloat = 0.5
    """Largest norm of the gradient; larger ones are scaled down."""


class REINFORCE(Agent):
    """REINFORCE with a learnt baseline."""

    Config: ClassVar[type] = REINFORCEConfig
    score_kind: ClassVar[str] = "probability"

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: REINFORCEConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.policy = Policy(observation_space, action_space, config, context, config.discount)
        self.encoder = self.policy.network.encoder
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
        self.context.check(env, steps)
        n = env.num_envs
        rng = generator(seed)
        collector = Collector(self.policy, env, seed, rng)
        done = reported = 0
        losses: list[torch.Tensor] = []
        while done < steps:
            if done:
                collector.restart(int(rng.integers(2**29)))  # seeds of evaluations are above
            rollout = collector.collect(
                -(-(steps - done) // n), stop=lambda ended: bool((ended > 0).all())
            )
            # Environments that finished before the others have gone on; those steps are not used.
            after_first = np.cumsum(rollout.done, axis=0) - rollout.done > 0
            rollout.valid &= ~after_first
            with collector.learning():
                if not self.policy.take_mean_image(rollout.observations):
                    losses.append(self._improve(rollout))
            done += len(rollout.rewards) * n
            self.steps += len(rollout.rewards) * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield collector.report(done) | averages(LOSSES, losses)
                losses = []

    def _improve(self, rollout: Rollout) -> torch.Tensor:
        """One gradient step from the episodes; returns the losses."""
        config, policy = self.config, self.policy
        estimated = estimates(policy, rollout, config.discount, decay=1.0)
        weights = estimated.weights.flatten() / estimated.weights.sum().clamp(min=1)
        observations = tuple(x[:-1] for x in rollout.observations)
        actions = rollout.actions.flatten(0, 1)
        legal = None if rollout.masks is None else rollout.masks.flatten(0, 1)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            params, baselines, _ = policy.apply(
                compute_params, observations, rollout.episode_starts[:-1], rollout.memory
            )
            log_probs = policy.distribution.log_prob(params, actions, legal)
            policy_loss = -(weights * log_probs * estimated.advantages.flatten()).sum()
            baseline_loss = (weights * (baselines - estimated.returns.flatten()).square()).sum()
            entropy = (weights * policy.distribution.entropy(params, legal)).sum()
            loss = (
                policy_loss
                + config.baseline_coefficient * baseline_loss
                - config.entropy_coefficient * entropy
            )
            return loss, torch.stack(
                [policy_loss.detach(), baseline_loss.detach(), entropy.detach()]
            )

        gradients, _, losses = gradients_of(loss_of, policy.adam.compute_params, policy.adam.frozen)
        self.updates += 1
        policy.adam.step(
            clip_by_global_norm(gradients, config.max_gradient_norm),
            policy.adam.step_scalars(config.learning_rate, self.updates),
        )
        return losses

    def state(self) -> AgentState:
        return self.policy.state({"steps": self.steps, "updates": self.updates})

    def load(self, state: AgentState) -> None:
        self.policy.load(state)
        if state.tensors:
            self.steps = int(state.numbers.get("steps", 0))
            self.updates = int(state.numbers["updates"])
