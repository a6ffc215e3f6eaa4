"""A model of an environment in latent states, for planning (Schrittwieser et al. 2020, "MuZero").

Three networks: the representation makes a state of an observation, the dynamics the next state and the reward
of a state and an action, the prediction a policy and a value of a state. A state is a vector, or where
observations are images or grids some planes. A fourth network projects states, so that a predicted state can
be compared with that of what was then observed (Ye et al. 2021, "EfficientZero"; Chen & He 2021, "SimSiam").
A `StateDecoder`, no part of the model, shows a state as an observation.

States are normalised to zero mean and unit variance, so that they keep their scale over many steps.
"""

import math
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.encoders import LARGEST_BOUND, encoder, is_image
from perception.networks.planes import channels_last
from perception.networks.planning import GridPlanner

HEADS = 4
"""Of the attention that pools planes; where they are planned on, one for each plane of the observation."""
SHARPNESS = 4.0
"""Factor of the logits of this attention, so that from the start its heads look at single squares."""
PROJECTED = 128
"""Size of a projected state."""
VALUE_EPSILON = 0.001
"""ε of the transform h of values."""


class ObservationScaler(nn.Module):
    """Observations as numbers that a network can take and a decoder can predict.

    A vector has its mean subtracted and is divided by its standard deviation, which `fit` sets; an image or a
    grid comes in the order channels, height, width and in 0…1 by the bounds of its space; indices become
    one-hot vectors.

    Args:
        space: a Box of one or three dimensions or a MultiDiscrete.

    Raises:
        ValueError: it is another.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    """A scaled number is (x − mean) / scale."""

    def __init__(self, space: gym.Space) -> None:
        super().__init__()
        self.sizes: list[int] = []
        """Number of values of each index, where observations are indices."""
        self.planes = self.channels_last = self.fits = False
        if isinstance(space, gym.spaces.MultiDiscrete):
            self.sizes = space.nvec.tolist()
            self.shape: tuple[int, ...] = (sum(self.sizes),)
            mean, scale = np.zeros(1), np.ones(1)
        elif isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
            self.shape, self.fits = space.shape, True
            mean, scale = np.zeros(space.shape), np.ones(space.shape)
        elif isinstance(space, gym.spaces.Box) and len(space.shape) == 3:
            self.planes, self.channels_last = True, channels_last(space.shape)
            low, high = (
                np.moveaxis(b, 2, 0) if self.channels_last else b for b in (space.low, space.high)
            )
            self.shape = low.shape
            low, high = (x.astype(np.float64) for x in (low, high))
            low, high = low.min(axis=(1, 2), keepdims=True), high.max(axis=(1, 2), keepdims=True)
            known = (low >= -LARGEST_BOUND) & (high <= LARGEST_BOUND) & (low < high)
            mean, scale = np.where(known, low, 0.0), np.where(known, high - low, 1.0)
        else:
            raise ValueError(f"observations of {space} cannot be decoded")
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("scale", torch.from_numpy(scale).float())

    def fit(self, observations: torch.Tensor) -> None:
        """Take the mean and the standard deviation of vectors from a sample, (n, size)."""
        if self.fits:
            numbers = observations.float()
            self.mean.copy_(numbers.mean(dim=0))
            deviation = numbers.std(dim=0)
            self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(b, …) raw observations to (b, *shape) float32."""
        if self.sizes:
            columns = zip(observations.long().T, self.sizes, strict=True)
            return torch.cat([F.one_hot(column, n) for column, n in columns], dim=1).float()
        if self.channels_last:
            observations = observations.permute(0, 3, 1, 2)
        return (observations.float() - self.mean) / self.scale


class Support:
    """Numbers as categorical distributions (Schrittwieser et al. 2020, appendix F).

    A number x becomes h(x) = sign(x)(√(|x| + 1) − 1) + εx (Pohlen et al. 2018), and that a distribution over the two
    nearest of `bins` atoms.

    Args:
        limit: numbers beyond ± this are clipped.
        bins: an odd number of atoms.
    """

    def __init__(self, limit: float, bins: int, device: torch.device) -> None:
        self.bins = bins
        self.most = math.sqrt(limit + 1) - 1 + VALUE_EPSILON * limit
        self.atoms = torch.linspace(-self.most, self.most, bins, device=device)

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """(…) numbers to (…, bins)."""
        h = x.sign() * ((x.abs() + 1).sqrt() - 1) + VALUE_EPSILON * x
        place = (h.clamp(-self.most, self.most) / self.most + 1) * (self.bins - 1) / 2
        below = place.floor().clamp(max=self.bins - 2)
        share = (place - below).unsqueeze(-1)
        lower = F.one_hot(below.long(), self.bins)
        upper = F.one_hot(below.long() + 1, self.bins)
        return lower * (1 - share) + upper * share

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, bins) logits to (…) numbers."""
        y = logits.softmax(dim=-1) @ self.atoms
        e = VALUE_EPSILON
        root = (torch.sqrt(1 + 4 * e * (y.abs() + 1 + e)) - 1) / (2 * e)
        return y.sign() * (root.square() - 1)


class LatentModel(nn.Module):
    """Representation, dynamics, prediction and projection.

    Args:
        space: of one flat observation.
        num_actions: discrete actions. Where they are as many as the squares of a grid, or one more, they are
            its squares, row by row, and the pass.
        hidden_size: width of dense layers, and size of a state that is a vector.
        width: planes of a state of planes, and filters of the convolutions.
        bins: of values and rewards.

    Attributes:
        scaler: of observations; None where they have several parts or are sequences.
        spatial: whether a state is planes, (width, rows, columns).
    """

    def __init__(
        self, space: gym.Space, num_actions: int, hidden_size: int, width: int, bins: int
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        try:
            self.scaler: ObservationScaler | None = ObservationScaler(space)
        except ValueError:
            self.scaler = None
        self.spatial = self.scaler is not None and self.scaler.planes
        self.points = 0
        """Squares of the grid, where actions are these."""
        if self.scaler is None:
            self.representation: nn.Module = _Encoded(space, hidden_size)
            self.shape: tuple[int, ...] = (hidden_size,)
        elif not self.spatial:
            size = self.scaler.shape[0]
            self.representation = nn.Sequential(
                nn.Linear(size, hidden_size), nn.ReLU(), _Residual(hidden_size)
            )
            self.shape = (hidden_size,)
        else:
            channels, rows, columns = self.scaler.shape
            looking = 0
            if is_image(space):
                layers: list[nn.Module] = []
                while min(rows, columns) > 8:
                    layers += [_conv(channels, width, stride=2), nn.ReLU()]
                    channels, rows, columns = width, -(-rows // 2), -(-columns // 2)
                self.representation = nn.Sequential(*layers, _PlaneResidual(width))
            elif num_actions - rows * columns in (0, 1):
                self.points = rows * columns
                self.representation = nn.Sequential(
                    _conv(channels, width), nn.ReLU(), _PlaneResidual(width), _PlaneResidual(width)
                )
            else:
                self.representation = _Planned(space.shape, channels, width)  # type: ignore[arg-type]
                looking = channels
            self.shape = (width, rows, columns)
        if self.spatial:
            told = 2 if self.points else num_actions
            self.transition: nn.Sequential = nn.Sequential(
                _conv(width + told, 2 * width), nn.ReLU(), _conv(2 * width, width)
            )
            nn.init.zeros_(self.transition[-1].weight)  # type: ignore[arg-type,index]
            self.pool: nn.Module = _Pool(width, hidden_size, looking)
            self.reward_pool: nn.Module = _Pool(width, hidden_size, looking)
            self.squares = nn.Conv2d(width, 1, 1) if self.points else None
        else:
            self.transition = nn.Sequential(
                nn.Linear(hidden_size + num_actions, hidden_size), nn.ReLU(), _Residual(hidden_size)
            )
            self.pool = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU())
            self.reward_pool = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU())
            self.squares = None
        self.reward = nn.Linear(hidden_size, bins)
        self.value = nn.Linear(hidden_size, bins)
        self.policy = nn.Linear(hidden_size, num_actions - self.points)
        for head in (self.reward, self.value, self.policy, self.squares):
            if head is not None:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)  # type: ignore[arg-type]
        flat = math.prod(self.shape)
        self.projection = nn.Sequential(
            nn.Linear(flat, PROJECTED), nn.LayerNorm(PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED)
        )  # fmt: skip
        self.predictor = nn.Sequential(
            nn.Linear(PROJECTED, PROJECTED // 2), nn.ReLU(), nn.Linear(PROJECTED // 2, PROJECTED)
        )

    def represent(self, observations: Sequence[torch.Tensor]) -> torch.Tensor:
        """Parts of b observations, each (b, …), to states (b, *shape)."""
        if self.scaler is None:
            return self._normalised(self.representation(observations))
        return self._normalised(self.representation(self.scaler(observations[0])))

    def dynamics(
        self, states: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """States (b, *shape) and actions (b,) int64 to the next states and logits of rewards (b, bins)."""
        told = F.one_hot(actions, self.num_actions).to(states.dtype)
        if self.points:
            rows, columns = self.shape[1:]
            squares = told[:, : self.points].view(-1, 1, rows, columns)
            passing = (actions >= self.points).to(states.dtype).view(-1, 1, 1, 1)
            told = torch.cat([squares, passing.expand_as(squares)], dim=1)
        elif self.spatial:
            told = told[..., None, None].expand(-1, -1, *self.shape[1:])
        following = states + self.transition(torch.cat([states, told], dim=1))
        following = self._normalised(following)
        return following, self.reward(self.reward_pool(following))

    def predict(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States (b, *shape) to logits of the policy (b, actions) and of the value (b, bins)."""
        x = self.pool(states)
        policy = self.policy(x)
        if self.squares is not None:
            policy = torch.cat([self.squares(states).flatten(1), policy], dim=1)
        return policy, self.value(x)

    def project(self, states: torch.Tensor) -> torch.Tensor:
        """States (b, *shape) to (b, 128), in which predicted and observed states are compared."""
        return self.projection(states.flatten(1))

    @staticmethod
    def _normalised(states: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(states, states.shape[1:])


class StateDecoder(nn.Module):
    """From states back to scaled observations: (b, *state) to (b, *observation).

    Args:
        state: shape of a state.
        observation: shape of a scaled observation.
    """

    def __init__(
        self, state: tuple[int, ...], observation: tuple[int, ...], hidden_size: int
    ) -> None:
        super().__init__()
        self.observation = observation
        if len(state) == 1:
            self.layers = nn.Sequential(
                nn.Linear(state[0], hidden_size), nn.ReLU(), nn.Linear(hidden_size, math.prod(observation))
            )  # fmt: skip
            return
        width, rows, _ = state
        layers: list[nn.Module] = [_conv(width, width), nn.ReLU()]
        while rows < observation[1]:
            layers += [nn.Upsample(scale_factor=2), _conv(width, width), nn.ReLU()]
            rows *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, observation[0], 1))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        x = self.layers(states)
        return x[..., : self.observation[1], : self.observation[2]] if x.ndim == 4 else x


class _Encoded(nn.Module):
    """Representation of observations of several parts, and of sequences."""

    def __init__(self, space: gym.Space, hidden_size: int) -> None:
        super().__init__()
        self.encoder = encoder(space, hidden_size)
        self.dense = nn.Linear(self.encoder.features, hidden_size)

    def forward(self, observations: Sequence[torch.Tensor]) -> torch.Tensor:
        parts = tuple(observations)
        return self.dense(self.encoder(parts[0] if len(parts) == 1 else parts))


class _Planned(nn.Module):
    """Representation of a grid: the squares of a `GridPlanner`, which sees beyond the reach of convolutions.

    At first the state's first planes are those of the grid, so that a head of `_Pool` can look where each is lit.

    Args:
        shape: of the grid, in its own order.
    """

    def __init__(self, shape: tuple[int, ...], channels: int, width: int) -> None:
        super().__init__()
        if width < channels:
            raise ValueError(
                f"width must be at least {channels}, the planes of the grid, not {width}"
            )
        self.planner = GridPlanner(shape, 1)
        del self.planner.dense
        self.mix = _conv(channels + 16 + 4 * channels, width)
        with torch.no_grad():
            self.mix.weight[:channels] = 0
            self.mix.bias[:channels] = 0  # type: ignore[index]
            for c in range(channels):
                self.mix.weight[c, c, 1, 1] = 1
        self.residual = _PlaneResidual(width)

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        x = torch.cat([grids, self.planner.squares(grids)], dim=1)
        return self.residual(F.relu(self.mix(x)))


class _Residual(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.first, self.second = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.relu(self.first(self.norm(x))))


class _PlaneResidual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first, self.second = _conv(width, width), _conv(width, width)
        nn.init.zeros_(self.second.weight)  # it begins as the identity
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.relu(self.first(self.norm(x))))


class _Pool(nn.Module):
    """Features of planes: their squares averaged with learnt weights, by several heads.

    Args:
        looking: if above 0, there are so many heads, and each looks at first where the plane of its number is lit.
    """

    def __init__(self, width: int, hidden_size: int, looking: int) -> None:
        super().__init__()
        heads = looking or HEADS
        self.look = nn.Conv2d(width, heads, 1)
        if looking:
            nn.init.dirac_(self.look.weight)  # type: ignore[arg-type]
        self.dense = nn.Linear(heads * width, hidden_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        weights = (SHARPNESS * self.look(states)).flatten(2).softmax(dim=2)
        pooled = torch.einsum("bhs,bcs->bhc", weights, states.flatten(2))
        return F.relu(self.dense(pooled.flatten(1)))


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1)
