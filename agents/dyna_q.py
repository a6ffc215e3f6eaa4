"""Deep Dyna-Q (Peng, Li, Gao, Liu, Wong & Su 2018): DQN that also learns from simulated transitions.

Beside Q, a world model learns from the replay memory what follows an observation and an action: the next
observation, the reward, whether the episode ends, and which actions are then legal. Every update from real
transitions is followed by `planning` updates from simulated ones: from a stored observation the agent acts
ε-greedily, and the model predicts the outcome (Sutton 1990). The model predicts means, and the predicted
probability that the episode ends discounts the value of the next observation.

Deviations from the paper: docs/algorithms/dyna-q.md.
"""

import math
from collections.abc import Iterator
from time import perf_counter
from typing import Annotated, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import Field, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import STRICT, AgentState, Metrics, Repeats, RunContext, Size
from agents.dqn import DQN, DQNConfig
from agents.parts.adam import Adam, Tensors, gradients_of
from agents.parts.replay import Batch, Replay
from envs.observations import is_vector

MODEL_EPSILON = 1e-8
"""ε of the model's Adam."""
MIN_LOG_STD, MAX_LOG_STD = math.log(0.01), math.log(10.0)
"""Bounds of the model's log standard deviations: a number that never varies must not outweigh all others."""


@dataclass(frozen=True, config=STRICT)
class DynaQConfig(DQNConfig):
    """Hyperparameters of DQN and of the model; the value of Peng et al. 2018 in brackets."""

    planning: Annotated[int, Field(ge=0, le=1_000)] = 1
    """Updates from simulated transitions after each update from real ones [K − 1, up to 19]."""
    model_starts: NonNegativeInt = 0
    """Agent steps before the first simulated update; the model learns from `learning_starts` on."""
    model_updates: Repeats = 2
    """Updates of the model after each update from real transitions."""
    model_batch_size: Size = 128
    """Transitions in an update of the model [16]."""
    model_learning_rate: PositiveFloat = 1e-3
    """Learning rate of the model's Adam [RMSProp, 1e-3]."""
    model_hidden: Size = 128
    """Width of the dense layers of the model [80]."""


def soft_bounds(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Numbers kept between two bounds with a gradient everywhere (Chua et al. 2018, appendix A.1)."""
    x = high - F.softplus(high - x)
    return low + F.softplus(x - low)


class WorldModel(nn.Module):
    """A Gaussian over what follows an observation and an action.

    The outcome is one vector: the change of the observation, the reward, 1 if the episode ends, and 1 for
    each action that is legal afterwards.
    """

    def __init__(self, size: int, num_actions: int, hidden_size: int) -> None:
        super().__init__()
        outcome = size + 2 + num_actions
        self.first = nn.Linear(size + num_actions, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.mean = nn.Linear(hidden_size, outcome)
        self.log_deviations = nn.Parameter(torch.zeros(outcome))
        """Log standard deviation of each number of the outcome: what is random weighs less in the loss."""

    def forward(
        self, observations: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict outcomes.

        Args:
            observations: (b, size)
            actions: (b, num_actions) one-hot.

        Returns:
            means (b, outcome), variances (outcome,)
        """
        x = F.relu(self.first(torch.cat([observations, actions], dim=1)))
        x = F.relu(self.second(x))
        log_std = soft_bounds(self.log_deviations, MIN_LOG_STD, MAX_LOG_STD)
        return self.mean(x), (2 * log_std).exp()


class DynaQ(DQN):
    """Deep Q-network with a learnt world model."""

    Config: ClassVar[type] = DynaQConfig
    config: DynaQConfig
    # Compiled kernels take one layout of their inputs, and simulated batches have another than real ones.
    compiles = False

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: DynaQConfig,
        context: RunContext,
    ) -> None:
        indices = isinstance(observation_space, gym.spaces.MultiDiscrete)
        if not indices and not is_vector(observation_space):
            raise ValueError(
                "the world model of dyna-q predicts vectors or indices, and the observations of this"
                f" environment are {observation_space}; dqn needs no model"
            )
        super().__init__(observation_space, action_space, config, context)
        self.updates_at_once = 1  # simulated batches come between real ones
        self.sizes: list[int] = observation_space.nvec.tolist() if indices else []  # type: ignore[attr-defined]
        """Number of values of each index, where observations are indices."""
        self.size = sum(self.sizes) or observation_space.shape[0]  # type: ignore[index]
        self.model = WorldModel(self.size, self.num_actions, config.model_hidden).to(self.device)
        self.model_adam = Adam(self.model, MODEL_EPSILON, torch.float32)
        self.model_updates = 0
        self._model_losses: list[torch.Tensor] = []

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        for metrics in super().train(env, steps, seed):
            if self._model_losses:
                metrics["model_loss"] = float(torch.stack(self._model_losses).mean())
                self._model_losses = []
            yield metrics

    def _improve(
        self, replay: Replay, rng: np.random.Generator, clock: Metrics
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One update from real transitions, the updates of the model, then the simulated ones."""
        result = super()._improve(replay, rng, clock)
        began = perf_counter()
        for _ in range(self.config.model_updates):
            self._model_losses.append(self._learn_model(replay, rng))
        if self.steps > self.config.model_starts:
            for _ in range(self.config.planning):
                simulated = self._simulate(replay, rng)
                if simulated is not None:
                    self._update(simulated)
        clock["learning"] += perf_counter() - began
        return result

    def _learn_model(self, replay: Replay, rng: np.random.Generator) -> torch.Tensor:
        """One gradient step of the model; returns the mean loss of a transition."""
        batch = replay.sample(self.config.model_batch_size, 1, 1.0, np.inf, rng)
        observations = self._as_numbers(batch.observations[0])
        next_observations = self._as_numbers(batch.next_observations[0])
        actions = F.one_hot(batch.actions.to(self.device), self.num_actions).float()
        assert batch.next_masks is not None, "the replay memory of dqn always has masks"
        outcomes = torch.cat(
            [
                next_observations - observations,
                batch.rewards.to(self.device).unsqueeze(1),
                1 - batch.discounts.to(self.device).unsqueeze(1),
                batch.next_masks.to(self.device).float(),
            ],
            dim=1,
        )

        def loss_of(weights: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
            means, variances = functional_call(self.model, weights, (observations, actions))
            losses = F.gaussian_nll_loss(
                means, outcomes, variances.expand_as(means), reduction="none"
            )
            loss = losses.sum(dim=1).mean()
            return loss, loss.detach()

        gradients, loss, _ = gradients_of(loss_of, self.model_adam.compute_params)
        self.model_updates += 1
        self.model_adam.step(
            gradients,
            self.model_adam.step_scalars(self.config.model_learning_rate, self.model_updates),
        )
        return loss

    @torch.no_grad()
    def _simulate(self, replay: Replay, rng: np.random.Generator) -> Batch | None:
        """A batch of simulated transitions, each one step from a stored observation.

        None if every sampled transition ended its episode.
        """
        config = self.config
        # Start from next observations, which are stored with their masks.
        real = replay.sample(config.batch_size, 1, 1.0, np.inf, rng)
        assert real.next_masks is not None, "the replay memory of dqn always has masks"
        going = real.discounts > 0
        observations = real.next_observations[0].cpu()[going]
        masks = real.next_masks[going]
        if not len(observations):
            return None
        env_actions = self._act(
            self._values_of, observations.numpy(), masks.numpy(), self._epsilon(), rng
        )
        actions = torch.from_numpy(env_actions - self.first_action)
        following, rewards, ends, next_masks = self._predict_outcome(observations, actions)
        clip = config.reward_clip or np.inf
        # Repeat them to fill the batch, which terminated episodes left short.
        places = torch.arange(config.batch_size) % len(observations)
        return Batch(
            (observations[places],),
            actions[places],
            rewards.clamp(-clip, clip)[places],
            (following[places],),
            (config.discount * (1 - ends))[places],
            next_masks[places],
        )

    def _predict_outcome(
        self, observations: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Predict the outcomes of actions.

        Returns:
            next observations (n, …), rewards (n,), probabilities that the episode ends (n,) and masks
            (n, actions) bool, all on the CPU.
        """
        numbers = self._as_numbers(observations)
        one_hot = F.one_hot(actions, self.num_actions).float()
        means, _ = functional_call(
            self.model,
            self.model_adam.compute_params,
            (numbers, one_hot.to(self.device)),
        )
        change, rewards, ends, legal = means.cpu().split([self.size, 1, 1, self.num_actions], dim=1)
        masks = legal > 0.5
        masks |= ~masks.any(dim=1, keepdim=True)  # at least one action is always legal
        following = self._as_observations(numbers.cpu() + change)
        return following, rewards.squeeze(1), ends.squeeze(1).clamp(0, 1), masks

    def _as_numbers(self, observations: torch.Tensor) -> torch.Tensor:
        """(n, size) float32, what the model takes and predicts: vectors as they are, indices one-hot."""
        observations = observations.to(self.device)
        if not self.sizes:
            return observations.float()
        columns = zip(observations.long().T, self.sizes, strict=True)
        return torch.cat([F.one_hot(column, n) for column, n in columns], dim=1).float()

    def _as_observations(self, numbers: torch.Tensor) -> torch.Tensor:
        """Predicted numbers as observations: vectors within their bounds, or the likeliest indices."""
        if self.sizes:
            return torch.stack([part.argmax(1) for part in numbers.split(self.sizes, 1)], 1)
        space = self.observation_space
        assert isinstance(space, gym.spaces.Box)
        low, high = torch.from_numpy(space.low).float(), torch.from_numpy(space.high).float()
        return torch.clamp(numbers, low, high)

    def state(self) -> AgentState:
        state = super().state()
        weights = {f"model.{name}": w for name, w in self.model_adam.weights.items()}
        moments = {f"model.{name}": m for name, m in self.model_adam.moments().items()}
        return AgentState(
            state.weights,
            state.tensors | weights | moments,
            state.numbers | {"model_updates": self.model_updates},
        )

    def load(self, state: AgentState) -> None:
        own: Tensors = {}
        others: Tensors = {}
        for name, tensor in state.tensors.items():
            (own if name.startswith("model.") else others)[name] = tensor
        super().load(AgentState(state.weights, others, state.numbers))
        if not own:
            return
        own = {name.removeprefix("model."): tensor for name, tensor in own.items()}
        self.model_adam.load(
            {name: own[name] for name in self.model_adam.weights},
            {name: own[name] for name in self.model_adam.moments()},
        )
        self.model_updates = int(state.numbers["model_updates"])
