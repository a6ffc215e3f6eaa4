"""The actor–critic network of REINFORCE, A2C and PPO, and what acting with it needs.

The network is an encoder for the observation space (`perception.networks.encoders`), an optional recurrent
layer, and two linear heads: the parameters of the action distribution, and the value. Images and grids
share one encoder between policy and value; vectors and indices have one each (Andrychowicz et al. 2021).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers.utils import RunningMeanStd
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import STRICT, AgentState, RunContext, Size
from agents.parts.actions import ActionDistribution, action_distribution
from agents.parts.adam import Adam, copy_into
from agents.parts.compiling import LONG_TRAINING, compiled
from envs.observations import FlatObservation, is_vector
from perception.networks.encoders import (
    ImageEncoder,
    as_tensor,
    encoder,
    image_encoder_parameters,
    is_image,
    parts_of,
)
from perception.networks.planning import GridPlanner
from perception.networks.precision import image_precision
from perception.networks.rnn import Memory

Tensors = tuple[torch.Tensor, ...]
Forward = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""(episode_starts, memory, *observations) → (distribution_params, values, memory afterwards)."""


class PolicyOutput(NamedTuple):
    """Output of the network for n observations."""

    distribution_params: torch.Tensor
    """(n, num_distribution_params)"""
    values: torch.Tensor
    """(n,)"""
    memory: torch.Tensor
    """(n, state_size) after these observations."""


ADAM_EPSILON = 1e-5  # as in the implementations of Mnih et al. 2016 and Schulman et al. 2017


@dataclass(frozen=True, config=STRICT)
class PolicyConfig:
    """Hyperparameters of the network, of acting and of the rewards, the same for all policy gradients."""

    hidden_size: Size = 64
    """Width of the dense layers and of the recurrent layer."""
    cnn: Literal["nature", "nips"] = "nature"
    """Convolutions for images: of Mnih et al. 2015, or the smaller ones of 2013."""
    subtract_mean_image: bool = False
    """Subtract the mean image, taken from the first rollout, which is not trained on."""
    freeze_encoder: bool = False
    """Images: learn no weights of the convolutions and the dense layer after them, which stay the initial ones."""
    memory: Literal["none", "gru", "lstm"] = "none"
    """Recurrent layer between the encoder and the heads."""
    normalize_observations: bool = False
    """Vectors: normalise each number to mean 0 and standard deviation 1, with running moments."""
    normalize_rewards: bool = False
    """Divide rewards by the running standard deviation of the discounted return."""
    reward_clip: NonNegativeFloat = 0.0
    """Clip raw rewards to ± this for learning, before they are normalised [Atari: 1]; 0: no clipping."""
    greedy_evaluation: bool = True
    """Evaluate with the most probable action instead of a sampled one."""


class ActorCritic(nn.Module):
    """Network from observations to distribution parameters and values."""

    def __init__(
        self, space: gym.Space, distribution: ActionDistribution, config: PolicyConfig
    ) -> None:
        super().__init__()
        # Modules named `encoder…` may compute in bfloat16; see `Adam`.
        parts = space.spaces if isinstance(space, gym.spaces.Tuple) else (space,)
        vector = all(part.shape is not None and len(part.shape) == 1 for part in parts)
        self.encoder = encoder(
            space, config.hidden_size, config.cnn, F.tanh, centred=config.subtract_mean_image
        )
        self.encoder_of_value = (
            encoder(space, config.hidden_size, activation=F.tanh)
            if vector and config.memory == "none"
            else None
        )
        features = self.encoder.features
        self.memory = None
        if config.memory != "none":
            self.memory = Memory(config.memory, features, config.hidden_size)
            features = self.memory.features
        self.policy = nn.Linear(features, distribution.num_outputs)
        self.value = nn.Linear(features, 1)
        # One standard deviation for all observations (Schulman et al. 2015, appendix D).
        deviations = distribution.num_log_stds
        self.log_std = nn.Parameter(torch.zeros(deviations)) if deviations else None
        _initialize(self)

    def forward(
        self, observations: Tensors, episode_starts: torch.Tensor, memory: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run the network over a sequence.

        Args:
            observations: each (time, batch, …).
            episode_starts: (time, batch) bool.
            memory: (batch, state_size) before the sequence; (batch, 0) without a recurrent layer.

        Returns:
            distribution_params (time · batch, num_distribution_params), values (time · batch,), and the
            memory after the sequence.
        """
        length, batch = episode_starts.shape
        parts = tuple(x.flatten(0, 1) for x in observations)
        flat = parts[0] if len(parts) == 1 else parts
        features = self.encoder(flat).float()
        if self.memory is not None:
            features = features.unflatten(0, (length, batch))
            features, memory = self.memory(features, episode_starts, memory)
            features = features.flatten(0, 1)
        distribution_params = self.policy(features)
        if self.log_std is not None:
            log_std = self.log_std.expand(distribution_params.shape[0], -1)
            distribution_params = torch.cat([distribution_params, log_std], dim=1)
        if self.encoder_of_value is not None:
            features = self.encoder_of_value(flat).float()
        return distribution_params, self.value(features).squeeze(1), memory


def _initialize(network: ActorCritic) -> None:
    """Orthogonal weights and a nearly uniform initial policy (Andrychowicz et al. 2021, section 3.2)."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.orthogonal_(module.weight, 2**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, GridPlanner):
            module.reset_parameters()
    nn.init.orthogonal_(network.policy.weight, 0.01)
    nn.init.orthogonal_(network.value.weight, 1.0)


def _image_encoders(network: ActorCritic) -> dict[int, ImageEncoder]:
    """The image encoders, by the index of their part of the observation."""
    parts = enumerate(parts_of(network.encoder))
    return {i: part for i, part in parts if isinstance(part, ImageEncoder)}


class Policy:
    """The network with its optimizer, its running moments and the memory of the acting policy.

    Args:
        observation_space: flat, as `envs.observations` makes it.
        discount: γ, for the normalisation of rewards.

    Raises:
        ValueError: the spaces are not supported, or `subtract_mean_image` without images.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: PolicyConfig,
        context: RunContext,
        discount: float,
    ) -> None:
        self.config = config
        self.discount = discount
        self.device = torch.device(context.device)
        self.distribution = action_distribution(action_space)
        self.network = ActorCritic(observation_space, self.distribution, config).to(self.device)
        self._needs_mean_image = config.subtract_mean_image
        for name in ("subtract_mean_image", "freeze_encoder"):
            if getattr(config, name) and not _image_encoders(self.network):
                raise ValueError(f"{name} needs images, and this environment has none")
        image = is_image(observation_space)
        if image:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adam = Adam(
            self.network,
            ADAM_EPSILON,
            image_precision(self.device) if image else torch.float32,
            image_encoder_parameters(self.network) if config.freeze_encoder else (),
        )
        memory = self.network.memory
        self.recurrent = memory is not None
        self.state_size = 0 if memory is None else memory.state_size
        last = observation_space  # a vector part is always the last
        if isinstance(observation_space, gym.spaces.Tuple):
            last = observation_space.spaces[-1]
        self.moments = None
        if config.normalize_observations and is_vector(last):
            self.moments = RunningMeanStd(shape=last.shape)
        self.return_moments = RunningMeanStd(shape=(1,)) if config.normalize_rewards else None
        self.forward: Forward = self._forward_step
        """The network on one observation of each environment that trains; compiled in long trainings."""
        self._memory = torch.zeros(0, self.state_size, device=self.device)

    def compiles(self, total_steps: int) -> bool:
        """Whether to compile a training of this length.

        Compiling takes seconds; a recurrent layer's loop over time would take minutes, and a planner
        spends its time in a kernel that is compiled already.
        """
        planner = any(isinstance(module, GridPlanner) for module in self.network.modules())
        return total_steps >= LONG_TRAINING and not self.recurrent and not planner

    def compile(self) -> None:
        """Compile `forward`."""
        self.forward = compiled(self._forward_step, self.device)

    def tensors(self, observations: FlatObservation) -> Tensors:
        """Observations as the network takes them, normalised if the config says so."""
        parts = list(observations) if isinstance(observations, tuple) else [observations]
        if self.moments is not None:
            normalized = (parts[-1] - self.moments.mean) / np.sqrt(self.moments.var + 1e-8)
            parts[-1] = np.clip(normalized, -10, 10).astype(np.float32)
        return tuple(as_tensor(part).to(self.device) for part in parts)

    def take_mean_image(self, observations: Tensors) -> bool:
        """Set the mean image from observations, each (time, n, …), if it is still to be set.

        Returns:
            Whether it was set now; this rollout is then used for nothing else.
        """
        if not self._needs_mean_image:
            return False
        for part, image_encoder in _image_encoders(self.network).items():
            image_encoder.centre(observations[part].flatten(0, 1))
        self._needs_mean_image = False
        return True

    def initial_memory(self, num_envs: int) -> torch.Tensor:
        """(num_envs, state_size) zeros."""
        return torch.zeros(num_envs, self.state_size, device=self.device)

    @torch.no_grad()
    def _forward_step(
        self, episode_starts: torch.Tensor, memory: torch.Tensor, *observations: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sequence = tuple(x.unsqueeze(0) for x in observations)
        return self.apply(self.adam.compute_params, sequence, episode_starts.unsqueeze(0), memory)

    def apply(
        self,
        params: dict[str, torch.Tensor],
        observations: Tensors,
        episode_starts: torch.Tensor,
        memory: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`ActorCritic.forward` with these parameters."""
        return functional_call(self.network, params, (observations, episode_starts, memory))

    def forward_policy(
        self,
        forward: Forward,
        observations: Tensors,
        episode_starts: np.ndarray,
        memory: torch.Tensor,
    ) -> PolicyOutput:
        """Output for one observation of each environment, on the CPU."""
        distribution_params, values, memory = forward(
            torch.from_numpy(episode_starts).to(self.device), memory, *observations
        )
        return PolicyOutput(distribution_params.cpu(), values.cpu(), memory)

    def output_of(self, observations: FlatObservation) -> PolicyOutput:
        """Output for n flat observations, each as the first of an episode."""
        parts = self.tensors(observations)
        n = len(parts[0])
        return self.forward_policy(
            self._forward_step, parts, np.ones(n, bool), self.initial_memory(n)
        )

    def choose(
        self,
        distribution_params: torch.Tensor,
        masks: np.ndarray | None,
        rng: np.random.Generator | None,
    ) -> np.ndarray:
        """Actions sampled with `rng`; the most probable ones where it is None."""
        if rng is None:
            return self.distribution.mode(distribution_params.numpy(), masks)
        return self.distribution.sample(distribution_params.numpy(), masks, rng)

    def act(
        self,
        observations: FlatObservation,
        masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        """Environment actions of the evaluation policy; see `Agent.act`."""
        if len(self._memory) != len(episode_starts):
            self._memory = self.initial_memory(len(episode_starts))
        output = self.forward_policy(
            self._forward_step, self.tensors(observations), episode_starts, self._memory
        )
        self._memory = output.memory
        sampled = None if self.config.greedy_evaluation else rng
        actions = self.choose(output.distribution_params, masks, sampled)
        return self.distribution.to_env_actions(actions)

    def scores(self, observations: Tensors) -> torch.Tensor:
        """Parameters of the distribution of actions, in float32; see `Agent.scores`."""
        n = len(observations[0])
        memory = self._memory if len(self._memory) else self.initial_memory(n)
        if len(memory) != n:
            memory = memory[:1].expand(n, -1)
        starts = torch.zeros(1, n, dtype=torch.bool, device=self.device)
        if self.moments is not None:
            mean, variance = (torch.as_tensor(x) for x in (self.moments.mean, self.moments.var))
            normalized = ((observations[-1] - mean) / (variance + 1e-8).sqrt()).clamp(-10, 10)
            observations = (*observations[:-1], normalized.float())
        sequence = tuple(part.unsqueeze(0) for part in observations)
        return self.apply(self.adam.weights, sequence, starts, memory)[0]

    def state(self, numbers: dict[str, int | float]) -> AgentState:
        """The state with these counters of the agent's."""
        weights = self.adam.weights | dict(self.network.named_buffers())
        tensors = self.adam.moments()
        if self.moments is not None:
            weights["observation_moments"] = _packed(self.moments)
        if self.return_moments is not None:
            tensors["return_moments"] = _packed(self.return_moments)
        if self.config.subtract_mean_image:
            numbers = numbers | {"mean_image_taken": int(not self._needs_mean_image)}
        return AgentState(weights, tensors, numbers)

    def load(self, state: AgentState) -> None:
        """Restore a state.

        Raises:
            ValueError: it is another network's.
        """
        weights, tensors = dict(state.weights), dict(state.tensors)
        buffers = dict(self.network.named_buffers())
        copy_into({name: weights.pop(name) for name in buffers if name in weights}, buffers)
        taken = bool(state.numbers.get("mean_image_taken", 1))
        self._needs_mean_image = self.config.subtract_mean_image and not taken
        observation_moments = weights.pop("observation_moments", None)
        return_moments = tensors.pop("return_moments", None)
        self.adam.load(weights, tensors or None)
        if self.moments is not None and observation_moments is not None:
            _unpack(self.moments, observation_moments)
        if self.return_moments is not None and return_moments is not None:
            _unpack(self.return_moments, return_moments)


def _packed(moments: RunningMeanStd) -> torch.Tensor:
    """Moments as one (2 · size + 1,) float64 tensor."""
    return torch.from_numpy(np.concatenate([moments.mean, moments.var, [moments.count]]))


def _unpack(moments: RunningMeanStd, saved: torch.Tensor) -> None:
    """Restore packed moments."""
    values = saved.cpu().numpy()
    moments.mean, moments.var = np.split(values[:-1].copy(), 2)
    moments.count = float(values[-1])
