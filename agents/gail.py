"""Generative adversarial imitation learning (Ho & Ermon 2016).

A discriminator D learns to tell an expert's recorded pairs of observation and action from the policy's, and
PPO learns the policy, with a reward that grows with how much D takes a pair for the expert's. The environment's
own reward is not used. Unlike behaviour cloning the policy acts in the environment, so it also learns what to
do where it erred.

Deviations from the paper: docs/algorithms/gail.md.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import STRICT, Agent, AgentState, Metrics, Repeats, RunContext, Size, generator
from agents.parts.adam import Adam, copy_into, gradients_of
from agents.parts.demonstrations import Demonstrations, Expert
from agents.parts.rollout import REPORT_EVERY, Collector, Rollout, averages
from agents.ppo import LOSSES, PPO, PPOConfig
from envs.observations import FlatObservation
from perception.networks.discriminator import Discriminator

DISCRIMINATOR_LOSSES = ("discriminator_loss", "discriminator_accuracy")
"""Cross-entropy in nats (log 2 where D cannot tell), and the share of pairs that D puts on the right side."""

ADAM_EPSILON = 1e-5


@dataclass(frozen=True, config=STRICT)
class GAILConfig(PPOConfig):
    """Hyperparameters of GAIL: those of PPO, and of the discriminator."""

    expert: str = ""
    """What to imitate: a run with recorded transitions, a folder of Minari data, or the name of a data set of Minari's."""
    expert_episodes: NonNegativeInt = 0
    """Learn from the first so many episodes of it; 0: all."""
    reward: Literal["positive", "logit", "negative"] = "positive"
    """-log(1 - D) as in the paper, which rewards living on; log D - log(1 - D); or log D, which rewards ending soon."""
    discriminator_updates: Repeats = 4
    """Updates of the discriminator after each rollout."""
    discriminator_batch_size: Size = 256
    """Pairs of the expert, and as many of the policy, in such an update."""
    discriminator_learning_rate: PositiveFloat = 3e-4
    """Learning rate of the discriminator's Adam."""
    gradient_penalty: NonNegativeFloat = 1.0
    """Weight of the squared gradient of the discriminator's logit by vectors and actions."""


class GAIL(Agent):
    """Generative adversarial imitation learning."""

    Config: ClassVar[type] = GAILConfig
    path_hyperparameters: ClassVar[tuple[str, ...]] = ("expert",)

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: GAILConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        if not config.expert:
            raise ValueError("gail needs an expert to imitate: --expert RUN, or Minari data")
        self.ppo = PPO(observation_space, action_space, config, context)
        self.encoder = self.ppo.encoder
        self.distribution = self.ppo.policy.distribution
        self.discriminator = Discriminator(
            observation_space, self.distribution.num_features, config.hidden_size, config.cnn
        ).to(context.device)
        self.adam = Adam(self.discriminator, ADAM_EPSILON, torch.float32)
        self.expert = Expert(config.expert, config.expert_episodes)
        self.updates = 0
        """Of the discriminator."""

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        return self.ppo.act(observations, action_masks, episode_starts, rng)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        config, n, ppo = self.config, env.num_envs, self.ppo
        self.context.check(env, steps)
        expert = self.expert.read(self.env_observation_space, self.distribution)
        ppo.compile()
        rng = generator(seed)
        collector = Collector(ppo.policy, env, seed, rng, self._rewards)
        done = reported = 0
        losses: list[torch.Tensor] = []
        discriminator_losses: list[torch.Tensor] = []
        while done < steps:
            length = min(config.rollout_steps, math.ceil((steps - done) / n))
            rollout = collector.collect(length)
            with collector.learning():
                discriminator_losses += self._discriminate(rollout, expert, rng)
                if not ppo.policy.take_mean_image(rollout.observations):
                    losses += ppo.improve(rollout, rng)
            done += length * n
            self.steps += length * n
            ppo.steps = self.steps
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield (
                    collector.report(done)
                    | averages(LOSSES, losses)
                    | averages(DISCRIMINATOR_LOSSES, discriminator_losses)
                )
                losses, discriminator_losses = [], []

    def _extend(self, total_steps: int) -> None:
        super()._extend(total_steps)
        self.ppo._extend(total_steps)

    def _pairs(self, rollout: Rollout) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Observations, each (length · n, …), and features of the actions of a rollout."""
        observations = tuple(part[:-1].flatten(0, 1) for part in rollout.observations)
        return observations, self.distribution.features(rollout.actions.flatten(0, 1))

    @torch.no_grad()
    def _rewards(self, rollout: Rollout) -> np.ndarray:
        """(length, n) float32 rewards by the discriminator."""
        logits = self.discriminator(*self._pairs(rollout))
        reward = {
            "positive": F.softplus(logits),
            "logit": logits,
            "negative": -F.softplus(-logits),
        }[self.config.reward]
        return reward.view(rollout.rewards.shape).cpu().numpy()

    def _discriminate(
        self, rollout: Rollout, expert: Demonstrations, rng: np.random.Generator
    ) -> list[torch.Tensor]:
        """Update the discriminator on a rollout; returns the losses of every update."""
        config, policy = self.config, self.ppo.policy
        seen, done = self._pairs(rollout)
        valid = np.flatnonzero(rollout.valid)
        losses: list[torch.Tensor] = []
        if not len(valid):
            return losses
        for _ in range(config.discriminator_updates):
            observations, actions, _ = expert.sample(config.discriminator_batch_size, rng)
            taken = torch.from_numpy(actions).to(policy.device, self.distribution.action_dtype)
            rows = torch.from_numpy(rng.choice(valid, len(actions))).to(policy.device)
            own = (part[rows] for part in seen)
            pairs = zip(policy.tensors(observations), own, strict=True)
            losses.append(
                self._gradient_step(
                    tuple(torch.cat([theirs.to(ours.dtype), ours]) for theirs, ours in pairs),
                    torch.cat([self.distribution.features(taken), done[rows]]),
                )
            )
        return losses

    def _gradient_step(
        self, observations: tuple[torch.Tensor, ...], actions: torch.Tensor
    ) -> torch.Tensor:
        """One step of logistic regression on pairs of which the first half is the expert's. Returns the losses."""
        is_expert = torch.zeros(len(actions), device=actions.device)
        is_expert[: len(actions) // 2] = 1
        smooth = [x for x in (*observations, actions) if x.dim() == 2 and x.is_floating_point()]
        for inputs in smooth:
            inputs.requires_grad_()

        def loss_of(params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            logits = functional_call(self.discriminator, params, (observations, actions))
            loss = F.binary_cross_entropy_with_logits(logits, is_expert)
            accuracy = ((logits.detach() > 0) == is_expert.bool()).float().mean()
            slopes = torch.autograd.grad(logits.sum(), smooth, create_graph=True)
            steepness = torch.stack([g.square().sum(dim=1).mean() for g in slopes]).sum()
            return loss + self.config.gradient_penalty * steepness, torch.stack(
                [loss.detach(), accuracy]
            )

        self.updates += 1
        gradients, _, losses = gradients_of(loss_of, self.adam.compute_params)
        rate = self.config.discriminator_learning_rate
        self.adam.step(gradients, self.adam.step_scalars(rate, self.updates))
        return losses

    def state(self) -> AgentState:
        state = self.ppo.state()
        own = self.adam.weights | dict(self.discriminator.named_buffers()) | self.adam.moments()
        numbers = state.numbers | self.expert.numbers() | {"discriminator_updates": self.updates}
        tensors = {f"discriminator.{name}": tensor for name, tensor in own.items()}
        return AgentState(state.weights, state.tensors | tensors, numbers)

    def load(self, state: AgentState) -> None:
        own = {
            name.removeprefix("discriminator."): tensor
            for name, tensor in state.tensors.items()
            if name.startswith("discriminator.")
        }
        tensors = {
            name: tensor
            for name, tensor in state.tensors.items()
            if not name.startswith("discriminator.")
        }
        self.ppo.load(AgentState(state.weights, tensors, state.numbers))
        if state.tensors:
            buffers = dict(self.discriminator.named_buffers())
            copy_into({name: own.pop(name) for name in buffers if name in own}, buffers)
            moments = {name: own.pop(name) for name in self.adam.moments() if name in own}
            self.adam.load(own, moments)
            self.steps = self.ppo.steps
            self.updates = int(state.numbers["discriminator_updates"])
            self.expert.load(state.numbers)
