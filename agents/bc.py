"""Behaviour cloning (Pomerleau 1989): supervised learning of an expert's actions.

A policy π is fitted to recorded pairs of observation and action by maximum likelihood: each update is a gradient
step on −log π(a | s) of a batch of them. The environment is only used to evaluate. Where the policy errs it
gets to observations that the expert never saw, and there nothing tells it what to do (Ross & Bagnell 2010);
`gail` also learns from those.

Details: docs/algorithms/bc.md.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    RunContext,
    Size,
    generator,
    linear_schedule,
)
from agents.parts.adam import clip_by_global_norm, gradients_of
from agents.parts.demonstrations import Expert
from agents.parts.policy import Policy, PolicyConfig
from agents.parts.rollout import averages
from envs.observations import FlatObservation

LOSSES = ("loss", "likelihood", "entropy")
"""Metrics of learning, averaged over the updates since the last report. `likelihood` is the mean of π(a | s):
of numbered actions a probability, of others a density."""

REPORT_EVERY = 50  # updates
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, config=STRICT)
class BCConfig:
    """Hyperparameters of behaviour cloning."""

    expert: str = ""
    """What to imitate: a run with recorded transitions, a folder of Minari data, or the name of a data set of Minari's."""
    expert_episodes: NonNegativeInt = 0
    """Learn from the first so many episodes of it; 0: all."""
    num_envs: NumEnvs = 16
    """Environments side by side in evaluations; learning needs none."""
    batch_size: Size = 64
    """Transitions in an update."""
    learning_rate: PositiveFloat = 1e-3
    """Initial learning rate of Adam."""
    anneal_lr: bool = True
    """Anneal the learning rate linearly to 0 over the run."""
    entropy_coefficient: NonNegativeFloat = 0.0
    """Weight of an entropy bonus."""
    hidden_size: Size = 64
    """Width of the dense layers."""
    cnn: Literal["nature", "nips"] = "nature"
    """Convolutions for images: of Mnih et al. 2015, or the smaller ones of 2013."""
    normalize_observations: bool = False
    """Vectors: normalise each number to mean 0 and standard deviation 1, over the expert's data."""
    greedy_evaluation: bool = True
    """Evaluate with the most probable action instead of a sampled one."""


class BC(Agent):
    """Behaviour cloning. An agent step is one of the expert's transitions in an update."""

    Config: ClassVar[type] = BCConfig
    path_hyperparameters: ClassVar[tuple[str, ...]] = ("expert",)

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: BCConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        if not config.expert:
            raise ValueError("bc needs an expert to imitate: --expert RUN, or Minari data")
        network = PolicyConfig(
            hidden_size=config.hidden_size,
            cnn=config.cnn,
            normalize_observations=config.normalize_observations,
            greedy_evaluation=config.greedy_evaluation,
        )
        # Its value has no use here.
        self.policy = Policy(observation_space, action_space, network, context, discount=1.0)
        self.encoder = self.policy.network.encoder
        self.expert = Expert(config.expert, config.expert_episodes)
        self.updates = 0

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        return self.policy.act(observations, action_masks, episode_starts, rng)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Learn from `steps` of the expert's transitions; `env` is not stepped."""
        self.context.check(env, steps)
        expert = self.expert.read(self.env_observation_space, self.policy.distribution)
        if self.steps == 0 and self.policy.moments is not None:
            parts = expert.observations
            self.policy.moments.update(parts[-1] if isinstance(parts, tuple) else parts)
        config, rng = self.config, generator(seed)
        clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        losses: list[torch.Tensor] = []
        done = 0
        while done < steps:
            began = perf_counter()
            n = min(config.batch_size, steps - done)
            rate = config.learning_rate
            if config.anneal_lr:
                rate = linear_schedule(rate, 0, self.context.total_steps, self.steps)
            self.updates += 1
            losses.append(self._gradient_step(rate, *expert.sample(n, rng)))
            done += n
            self.steps += n
            clock["learning"] += perf_counter() - began
            if len(losses) == REPORT_EVERY or done == steps:
                metrics: Metrics = {"steps": done, "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                yield metrics | averages(LOSSES, losses)
                losses = []

    def _gradient_step(
        self,
        rate: float,
        observations: FlatObservation,
        actions: np.ndarray,
        masks: np.ndarray | None,
    ) -> torch.Tensor:
        """One gradient step on a batch. Returns the losses."""
        policy = self.policy
        batch = tuple(x.unsqueeze(0) for x in policy.tensors(observations))
        starts = torch.ones(1, len(actions), dtype=torch.bool, device=policy.device)
        memory = policy.initial_memory(len(actions))
        taken = torch.from_numpy(actions).to(policy.device, policy.distribution.action_dtype)
        legal = None if masks is None else torch.from_numpy(masks).to(policy.device)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            params, _, _ = policy.apply(compute_params, batch, starts, memory)
            log_probs = policy.distribution.log_prob(params, taken, legal)
            entropy = policy.distribution.entropy(params, legal).mean()
            loss = -log_probs.mean()
            likelihood = log_probs.detach().exp().mean()
            return loss - self.config.entropy_coefficient * entropy, torch.stack(
                [loss.detach(), likelihood, entropy.detach()]
            )

        gradients, _, losses = gradients_of(loss_of, policy.adam.compute_params)
        gradients = clip_by_global_norm(gradients, MAX_GRADIENT_NORM)
        policy.adam.step(gradients, policy.adam.step_scalars(rate, self.updates))
        return losses

    def state(self) -> AgentState:
        counters = {"steps": self.steps, "updates": self.updates}
        return self.policy.state(counters | self.expert.numbers())

    def load(self, state: AgentState) -> None:
        self.policy.load(state)
        if state.tensors:
            self.steps = int(state.numbers["steps"])
            self.updates = int(state.numbers["updates"])
            self.expert.load(state.numbers)
