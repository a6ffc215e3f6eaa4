"""Deep Dyna-Q (Peng, Li, Gao, Liu, Wong & Su 2018): DQN that also learns from what it imagines.

Beside Q, a model of the world learns from the real memory what follows an observation and an action:
the next observation, the reward, whether the episode ends, which actions are then legal. After every
update from real transitions come `planning` updates from imagined ones: at a remembered observation the
agent acts, ε-greedily, and the model answers (Sutton 1990).

The model gives the mean of what may follow, and the chance that the episode ends discounts what comes
after. A network that is nearly linear in what it does not know yet values a mean observation about as it
values, on average, the observations that the mean is of.

Different from the paper: imagined transitions are made for one batch and then dropped, so none is older
than the model; each is one step from any remembered observation, not part of a whole imagined dialogue,
for errors add up (Janner et al. 2019); the model answers in observations, so that it works in any world whose
observations are vectors, and needs no list of what a user can say.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import AgentState, Metrics, RunContext, check_numbers
from agents.dqn import DQN, DQNConfig
from agents.parts.adam import Adam, Tensors, gradients_of
from agents.parts.replay import Batch, Replay

MODEL_EPSILON = 1e-8
"""Of the model's Adam."""
LEAST_DEVIATION, MOST_DEVIATION = math.log(0.01), math.log(10.0)
"""Bounds of a Gaussian's logarithmic deviation: what never varies must not outweigh all else."""


@dataclass(frozen=True)
class DynaQConfig(DQNConfig):
    """DQN's hyperparameters, and the model's; the paper's value in brackets."""

    planning: int = 1
    """Updates from imagined transitions after each from real ones [K − 1, up to 19]."""
    model_starts: int = 0
    """Agent steps before the first imagined update; the model learns from `learning_starts` on."""
    model_updates: int = 2
    """The model's own updates at each update from real transitions."""
    model_batch_size: int = 128
    """Transitions in one of the model's updates [16]."""
    model_learning_rate: float = 1e-3
    """Of the model's Adam [RMSProp, 1e-3]."""
    model_hidden: int = 128
    """Width of the model's dense layers [80]."""


class WorldModel(nn.Module):
    """What follows an observation and an action, on average.

    That is one vector: the change of the observation, the reward, 1 where the episode ends, and 1 for
    each action that is then legal.
    """

    def __init__(self, size: int, num_actions: int, hidden_size: int) -> None:
        super().__init__()
        answer = size + 2 + num_actions
        self.first = nn.Linear(size + num_actions, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.mean = nn.Linear(hidden_size, answer)
        self.log_deviations = nn.Parameter(torch.zeros(answer))
        """How far the numbers of an answer lie from their means: what chance decides weighs less."""

    def forward(
        self, observations: torch.Tensor, choices: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes (b, size) numbers and (b, actions) one-hot.

        Returns:
            means (b, answer), variances (answer,)
        """
        x = F.relu(self.first(torch.cat([observations, choices], dim=1)))
        x = F.relu(self.second(x))
        deviations = self.log_deviations.clamp(LEAST_DEVIATION, MOST_DEVIATION).exp()
        return self.mean(x), deviations.square()


class DynaQ(DQN):
    """Deep Q-network with a learnt model of the world."""

    Config: ClassVar[type] = DynaQConfig
    config: DynaQConfig
    # What is compiled no longer checks types and strides, and imagined batches are not made as real ones are.
    compiles = False

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: DynaQConfig,
        context: RunContext,
    ) -> None:
        if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
            raise ValueError(
                "dyna-q imagines observations that are vectors, and this environment's are"
                f" {observation_space}; dqn learns without imagining"
            )
        check_numbers(
            config,
            positive=("model_updates", "model_batch_size", "model_learning_rate", "model_hidden"),
            not_negative=("planning", "model_starts"),
        )
        super().__init__(observation_space, action_space, config, context)
        self.together = 1  # imagined batches come between real ones
        self.size = observation_space.shape[0]
        self.model = WorldModel(self.size, self.num_actions, config.model_hidden).to(self.device)
        self.model_adam = Adam(self.model, MODEL_EPSILON, torch.float32)
        self.low = torch.from_numpy(observation_space.low).float()
        self.high = torch.from_numpy(observation_space.high).float()
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
        """Learn from one real batch, teach the model, then learn from what it imagines."""
        result = super()._improve(replay, rng, clock)
        began = perf_counter()
        for _ in range(self.config.model_updates):
            self._model_losses.append(self._learn_model(replay, rng))
        if self.steps > self.config.model_starts:
            for _ in range(self.config.planning):
                imagined = self._imagine(replay, rng)
                if imagined is not None:
                    self._update(imagined)
        clock["learning"] += perf_counter() - began
        return result

    def _learn_model(self, replay: Replay, rng: np.random.Generator) -> torch.Tensor:
        """One step down the model's loss; gives the loss of a transition."""
        batch = replay.sample(self.config.model_batch_size, 1, 1.0, np.inf, rng)
        observations = batch.observations.to(self.device, torch.float32)
        next_observations = batch.next_observations.to(self.device, torch.float32)
        choices = F.one_hot(batch.actions.to(self.device), self.num_actions).float()
        assert batch.next_masks is not None, "dqn's memory always holds masks"
        answers = torch.cat(
            [
                next_observations - observations,
                batch.rewards.to(self.device).unsqueeze(1),
                1 - batch.discounts.to(self.device).unsqueeze(1),
                batch.next_masks.to(self.device).float(),
            ],
            dim=1,
        )

        def loss_of(weights: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
            means, variances = functional_call(self.model, weights, (observations, choices))
            spread = variances.expand_as(means)
            loss = F.gaussian_nll_loss(means, answers, spread, reduction="none").sum(dim=1).mean()
            return loss, loss.detach()

        gradients, loss, _ = gradients_of(loss_of, self.model_adam.compute_params)
        self.model_updates += 1
        self.model_adam.step(
            gradients,
            self.model_adam.step_scalars(self.config.model_learning_rate, self.model_updates),
        )
        return loss

    @torch.no_grad()
    def _imagine(self, replay: Replay, rng: np.random.Generator) -> Batch | None:
        """A batch of imagined transitions, each one step from a remembered observation.

        None where no remembered transition that was drawn has a sequel to imagine.
        """
        config = self.config
        # What a real transition led to is a remembered observation, and comes with its mask.
        real = replay.sample(config.batch_size, 1, 1.0, np.inf, rng)
        assert real.next_masks is not None, "dqn's memory always holds masks"
        going = real.discounts > 0
        observations = real.next_observations.cpu()[going].float()
        masks = real.next_masks[going]
        if not len(observations):
            return None
        chosen = self._act(
            self._values_of, observations.numpy(), masks.numpy(), self._epsilon(), rng
        )
        actions = torch.from_numpy(chosen - self.first_action)
        following, rewards, ends, next_masks = self._answer(observations, actions)
        clip = config.reward_clip or np.inf
        imagined = Batch(
            observations,
            actions,
            rewards.clamp(-clip, clip),
            following,
            config.discount * (1 - ends),
            next_masks,
        )
        # Where an episode was over nothing follows; the others fill the batch.
        places = torch.arange(config.batch_size) % len(observations)
        return Batch(*(part[places] for part in imagined if part is not None))

    def _answer(
        self, observations: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the model expects.

        Returns:
            next observations (n, size), rewards (n,), chances that the episode is over (n,), legal
            actions (n, actions) bool; in main memory, as what is remembered is.
        """
        choices = F.one_hot(actions, self.num_actions).float()
        means, _ = functional_call(
            self.model,
            self.model_adam.compute_params,
            (observations.to(self.device), choices.to(self.device)),
        )
        change, rewards, ends, legal = means.cpu().split([self.size, 1, 1, self.num_actions], dim=1)
        masks = legal > 0.5
        masks |= ~masks.any(dim=1, keepdim=True)  # there is always something to do
        following = torch.clamp(observations + change, self.low, self.high)
        return following, rewards.squeeze(1), ends.squeeze(1).clamp(0, 1), masks

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
