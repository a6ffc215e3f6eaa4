"""REINFORCE with a learnt baseline (Williams 1992).

Every environment plays one whole episode. Each action taken is made likelier in proportion to how much more
was returned after it than the baseline, a network trained on the same returns, had expected there. Then the
next episodes are played.

A segment's last episodes may be cut; what would have followed is then what the baseline expects.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from agents.agent import Agent, AgentState, Metrics, RunContext, check_numbers, generator
from agents.parts.adam import clip_by_global_norm, gradients_of
from agents.parts.policy import Policy, PolicyConfig
from agents.parts.rollout import REPORT_EVERY, Collector, Rollout, averages, estimates
from envs.observations import FlatObservation

LOSSES = ("policy_loss", "baseline_loss", "entropy")


@dataclass(frozen=True)
class REINFORCEConfig(PolicyConfig):
    """Hyperparameters; the paper names none."""

    num_envs: int = 16
    """Environments stepped together: so many episodes make an update."""
    learning_rate: float = 1e-3
    """Of Adam."""
    discount: float = 0.99
    """γ of one step."""
    baseline_coefficient: float = 0.5
    """Weight of the baseline's loss."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy, which keeps the policy exploring (Williams & Peng 1991)."""
    max_gradient_norm: float = 0.5
    """Longer gradients are shortened to this."""


class REINFORCE(Agent):
    """REINFORCE with a learnt baseline."""

    Config: ClassVar[type] = REINFORCEConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: REINFORCEConfig,
        context: RunContext,
    ) -> None:
        check_numbers(
            config,
            positive=("num_envs", "learning_rate", "max_gradient_norm"),
            not_negative=("baseline_coefficient", "entropy_coefficient"),
            shares=("discount",),
        )
        self.config = config
        self.policy = Policy(observation_space, action_space, config, context, config.discount)
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
        n = env.num_envs
        rng = generator(seed)
        collector = Collector(self.policy, env, seed, rng)
        done = reported = 0
        learnt: list[torch.Tensor] = []
        while done < steps:
            if done:
                collector.restart(int(rng.integers(2**29)))  # evaluations take theirs from above
            rollout = collector.collect(
                -(-(steps - done) // n), stop=lambda ended: bool((ended > 0).all())
            )
            # An environment that was done before the others has gone on; that is not looked at.
            again = np.cumsum(rollout.over, axis=0) - rollout.over > 0
            rollout.valid &= ~again
            with collector.learning():
                if not self.policy.centre(rollout.observations):
                    learnt.append(self._improve(rollout))
            done += len(rollout.rewards) * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield collector.report(done) | averages(LOSSES, learnt)
                learnt = []

    def _improve(self, rollout: Rollout) -> torch.Tensor:
        """One step down the loss of the episodes; gives the loss's parts."""
        config, policy = self.config, self.policy
        known = estimates(policy, rollout, config.discount, decay=1.0)
        weights = known.weights.flatten() / known.weights.sum().clamp(min=1)
        observations = tuple(x[:-1] for x in rollout.observations)
        choices = rollout.choices.flatten(0, 1)
        legal = None if rollout.masks is None else rollout.masks.flatten(0, 1)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, baselines, _ = policy.apply(
                compute_params, observations, rollout.starts[:-1], rollout.memory
            )
            likely = policy.actions.log_probability(outputs, choices, legal)
            policy_loss = -(weights * likely * known.advantages.flatten()).sum()
            baseline_loss = (weights * (baselines - known.returns.flatten()).square()).sum()
            entropy = (weights * policy.actions.entropy(outputs, legal)).sum()
            loss = (
                policy_loss
                + config.baseline_coefficient * baseline_loss
                - config.entropy_coefficient * entropy
            )
            return loss, torch.stack(
                [policy_loss.detach(), baseline_loss.detach(), entropy.detach()]
            )

        gradients, _, losses = gradients_of(loss_of, policy.adam.compute_params)
        self.updates += 1
        policy.adam.step(
            clip_by_global_norm(gradients, config.max_gradient_norm),
            policy.adam.step_scalars(config.learning_rate, self.updates),
        )
        return losses

    def state(self) -> AgentState:
        return self.policy.state({"updates": self.updates})

    def load(self, state: AgentState) -> None:
        self.policy.load(state)
        if state.tensors:
            self.updates = int(state.numbers["updates"])
