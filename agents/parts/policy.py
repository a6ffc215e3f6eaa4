"""What REINFORCE, A2C and PPO share: a network with a policy and a value, and acting with it.

The network is an encoder by the observation space (see `perception.networks.encoders`), with memory behind it
where the config asks for it, and two linear heads. Pictures and grids share one encoder between policy
and value; for vectors each has its own, as is usual (Andrychowicz et al. 2021).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers.utils import RunningMeanStd
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import AgentState, RunContext, check_numbers
from agents.parts.actions import ActionDistribution, Bounds, Gaussian, distribution
from agents.parts.adam import Adam, copy_into, image_precision
from agents.parts.compiling import LONG_TRAINING, compiled
from envs.observations import FlatObservation
from perception.networks.encoders import ImageEncoder, TupleEncoder, as_tensor, encoder, is_image
from perception.networks.planning import GridPlanner
from perception.networks.rnn import Memory

Tensors = tuple[torch.Tensor, ...]
Forward = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""(starts, memory, *observations) to the policy's outputs, the values and the memory after."""


class PolicyOutput(NamedTuple):
    """What a policy makes of n observations."""

    outputs: torch.Tensor
    """(n, outputs) parameters of the action distributions."""
    values: torch.Tensor
    """(n,)"""
    memory: torch.Tensor
    """(n, state_size) after them."""


ADAM_EPSILON = 1e-5  # as in the implementations of Mnih et al. 2016 and Schulman et al. 2017


@dataclass(frozen=True)
class PolicyConfig:
    """Hyperparameters of the network and of acting, the same for all policy gradients."""

    hidden_size: int = 64
    """Width of the dense layers and of the memory."""
    cnn: Literal["nature", "nips"] = "nature"
    """Convolutions for images."""
    subtract_mean_image: bool = False
    """Take off each image the mean of those of the first rollout, which then teaches nothing else."""
    memory: Literal["none", "gru", "lstm"] = "none"
    """Recurrent layer between the encoder and the heads, for what must be remembered."""
    action_bounds: Bounds = "clipped"
    """How continuous actions are kept within their bounds: cut off, or by the hyperbolic tangent."""
    normalize_observations: bool = False
    """Bring each number of a vector observation to mean 0 and deviation 1, by running moments."""
    normalize_rewards: bool = False
    """Divide rewards by the running deviation of the discounted return."""
    greedy_evaluation: bool = True
    """Evaluate with the likeliest action instead of a drawn one."""


class ActorCritic(nn.Module):
    """Observations to the policy's outputs and the value."""

    def __init__(self, space: gym.Space, actions: ActionDistribution, config: PolicyConfig) -> None:
        super().__init__()
        # The names begin with `encoder` for what may compute in bfloat16.
        vector = isinstance(space, gym.spaces.Box) and len(space.shape) == 1
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
        self.gaussian = isinstance(actions, Gaussian)
        outputs = actions.outputs // 2 if self.gaussian else actions.outputs
        self.policy = nn.Linear(features, outputs)
        self.value = nn.Linear(features, 1)
        # One deviation for all states (Schulman et al. 2015, appendix D).
        self.log_std = nn.Parameter(torch.zeros(outputs)) if self.gaussian else None
        _initialize(self)

    def forward(
        self, observations: Tensors, starts: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Args:
            observations: each (time, batch, …)
            starts: (time, batch) bool, where an episode starts
            state: (batch, state_size) of the memory before; (batch, 0) without one

        Returns:
            policy outputs (time · batch, outputs), values (time · batch,), the memory's state after
        """
        length, batch = starts.shape
        parts = tuple(x.flatten(0, 1) for x in observations)
        given = parts[0] if len(parts) == 1 else parts
        features = self.encoder(given).float()
        if self.memory is not None:
            features = features.unflatten(0, (length, batch))
            features, state = self.memory(features, starts, state)
            features = features.flatten(0, 1)
        outputs = self.policy(features)
        if self.log_std is not None:
            outputs = torch.cat([outputs, self.log_std.expand_as(outputs)], dim=1)
        if self.encoder_of_value is not None:
            features = self.encoder_of_value(given).float()
        return outputs, self.value(features).squeeze(1), state


def _initialize(network: ActorCritic) -> None:
    """Orthogonal matrices, a nearly uniform first policy (Andrychowicz et al. 2021, section 3.2)."""
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


def _encoders_of_images(network: ActorCritic) -> dict[int, ImageEncoder]:
    """By the part of the observation that each takes."""
    whole = network.encoder
    parts = whole.parts if isinstance(whole, TupleEncoder) else [whole]
    return {i: part for i, part in enumerate(parts) if isinstance(part, ImageEncoder)}


class Policy:
    """The network with all that acting needs: an agent's part that a checkpoint holds.

    Args:
        observation_space: plain, as `envs.observations` makes it.
        discount: γ, by which rewards are normalised.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: PolicyConfig,
        context: RunContext,
        discount: float,
    ) -> None:
        check_numbers(config, positive=("hidden_size",))
        self.config = config
        self.discount = discount
        self.device = torch.device(context.device)
        self.actions = distribution(action_space, config.action_bounds)
        self.network = ActorCritic(observation_space, self.actions, config).to(self.device)
        self._uncentred = config.subtract_mean_image
        if self._uncentred and not _encoders_of_images(self.network):
            raise ValueError("centre_pictures is for pictures, and this environment shows none")
        image = is_image(observation_space)
        if image:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adam = Adam(
            self.network, ADAM_EPSILON, image_precision(self.device) if image else torch.float32
        )
        memory = self.network.memory
        self.recurrent = memory is not None
        self.state_size = 0 if memory is None else memory.state_size
        last = observation_space  # where there is a vector, it is the last
        if isinstance(observation_space, gym.spaces.Tuple):
            last = observation_space.spaces[-1]
        self.moments = None
        if config.normalize_observations and last.shape is not None and len(last.shape) == 1:
            self.moments = RunningMeanStd(shape=last.shape)
        self.return_moments = RunningMeanStd(shape=(1,)) if config.normalize_rewards else None
        # Compiling takes some seconds; a memory's loop through time would take minutes. A planner
        # spends its time in a kernel that is compiled already.
        self.compiling = (
            context.storage is not None  # it trains
            and context.total_steps >= LONG_TRAINING
            and not self.recurrent
            and not any(isinstance(module, GridPlanner) for module in self.network.modules())
        )
        self.forward: Forward = self._act_on
        """Compiled where that pays; for batches of the training's size."""
        if self.compiling:
            self.forward = compiled(self._act_on, self.device)
        self._memory = torch.zeros(0, self.state_size, device=self.device)

    def tensors(self, observations: FlatObservation) -> Tensors:
        """A batch of plain arrays as the network takes them, normalised where that is asked."""
        parts = list(observations) if isinstance(observations, tuple) else [observations]
        if self.moments is not None:
            normal = (parts[-1] - self.moments.mean) / np.sqrt(self.moments.var + 1e-8)
            parts[-1] = np.clip(normal, -10, 10).astype(np.float32)
        return tuple(as_tensor(part).to(self.device) for part in parts)

    def centre(self, observations: Tensors) -> bool:
        """Where pictures are centred, and not yet: take the mean of these, each (time, n, …)."""
        if not self._uncentred:
            return False
        for part, network in _encoders_of_images(self.network).items():
            network.centre(observations[part].flatten(0, 1))
        self._uncentred = False
        return True

    def memory_at_start(self, num_envs: int) -> torch.Tensor:
        """(num_envs, state_size) zeros."""
        return torch.zeros(num_envs, self.state_size, device=self.device)

    @torch.no_grad()
    def _act_on(
        self, starts: torch.Tensor, memory: torch.Tensor, *observations: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sequence = tuple(x.unsqueeze(0) for x in observations)
        return self.apply(self.adam.compute_params, sequence, starts.unsqueeze(0), memory)

    def apply(
        self,
        weights: dict[str, torch.Tensor],
        observations: Tensors,
        starts: torch.Tensor,
        memory: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`ActorCritic.forward` with the weights given."""
        return functional_call(self.network, weights, (observations, starts, memory))

    def look(
        self, forward: Forward, observations: Tensors, starts: np.ndarray, memory: torch.Tensor
    ) -> PolicyOutput:
        """What the policy makes of a batch of observations."""
        outputs, values, memory = forward(
            torch.from_numpy(starts).to(self.device), memory, *observations
        )
        return PolicyOutput(outputs.cpu(), values.cpu(), memory)

    def choose(
        self, outputs: torch.Tensor, masks: np.ndarray | None, rng: np.random.Generator | None
    ) -> np.ndarray:
        """Choices drawn by the policy's outputs, or without `rng` the likeliest."""
        if rng is None:
            return self.actions.mode(outputs.numpy(), masks)
        return self.actions.sample(outputs.numpy(), masks, rng)

    def act(
        self,
        observations: FlatObservation,
        masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The actions of the policy that is evaluated; it remembers the call before."""
        if len(self._memory) != len(starts):
            self._memory = self.memory_at_start(len(starts))
        look = self.look(self._act_on, self.tensors(observations), starts, self._memory)
        self._memory = look.memory
        drawn = None if self.config.greedy_evaluation else rng
        return self.actions.to_environment(self.choose(look.outputs, masks, drawn))

    def state(self, numbers: dict[str, int | float]) -> AgentState:
        """For a checkpoint: the network, and what learning has to keep beside it."""
        weights = self.adam.weights | dict(self.network.named_buffers())
        tensors = self.adam.moments()
        if self.moments is not None:
            weights["observation_moments"] = _packed(self.moments)
        if self.return_moments is not None:
            tensors["return_moments"] = _packed(self.return_moments)
        return AgentState(weights, tensors, numbers)

    def load(self, state: AgentState) -> None:
        """Back to a checkpoint."""
        weights, tensors = dict(state.weights), dict(state.tensors)
        buffers = dict(self.network.named_buffers())
        copy_into({name: weights.pop(name) for name in buffers if name in weights}, buffers)
        self._uncentred = False
        observation_moments = weights.pop("observation_moments", None)
        return_moments = tensors.pop("return_moments", None)
        self.adam.load(weights, tensors or None)
        if self.moments is not None and observation_moments is not None:
            _unpack(self.moments, observation_moments)
        if self.return_moments is not None and return_moments is not None:
            _unpack(self.return_moments, return_moments)


def _packed(moments: RunningMeanStd) -> torch.Tensor:
    """(2 · size + 1,) float64, for a checkpoint."""
    return torch.from_numpy(np.concatenate([moments.mean, moments.var, [moments.count]]))


def _unpack(moments: RunningMeanStd, saved: torch.Tensor) -> None:
    """Back from a checkpoint."""
    values = saved.cpu().numpy()
    moments.mean, moments.var = np.split(values[:-1].copy(), 2)
    moments.count = float(values[-1])
