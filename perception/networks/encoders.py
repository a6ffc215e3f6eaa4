"""Encoders: networks from raw observations to features, by observation space.

A CNN for an image, a planner for a grid, an MLP for a vector, an embedding for indices, an RNN for a sequence,
and one encoder per part for a Tuple. Each takes a batch of raw observations and gives (batch, `features`).
"""

from collections.abc import Callable
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.cnn import CNN, CNNS
from perception.networks.planes import channels_last, with_channels_innermost
from perception.networks.planning import GridPlanner
from perception.networks.rnn import SequenceEncoder

Activation = Callable[[torch.Tensor], torch.Tensor]

IMAGE_SIDE = 36
"""Least height and width of an image, which the convolutions need."""
LARGEST_BOUND = 1e9
"""Larger bounds, such as those of a dtype, say nothing about the numbers; as in `envs.observations`."""


class ImageEncoder(nn.Module):
    """A CNN and one dense layer, as in Mnih et al. 2013 and 2015.

    Takes (batch, channels, height, width) or (batch, height, width, channels) numbers, which are scaled to 0…1
    by the bounds of the space.

    Args:
        space: of one image, in either order. Channels without finite bounds are not scaled.
        layer_norm: layer normalisation before the dense layer's rectifiers (Ba et al. 2016).
        centred: subtract `mean_picture` from every image, and initialise biases to zero (LeCun et al. 1998,
            "Efficient BackProp", section 4.3). Otherwise the constant background dominates the input of the
            dense layer, and a filter that it switches off stays off.
    """

    name: ClassVar[str] = "CNN"
    """As a person would call it; every encoder has one."""

    mean_picture: torch.Tensor
    """(1, channels, height, width) in 0…1; zeros until `centre` is called."""
    low: torch.Tensor
    """(1, channels, 1, 1) smallest number of each channel; only where images are no bytes from 0 to 255."""
    span: torch.Tensor
    """(1, channels, 1, 1) difference of the largest to it."""

    def __init__(
        self,
        space: gym.spaces.Box,
        hidden_size: int,
        cnn: str,
        layer_norm: bool = False,
        centred: bool = False,
    ) -> None:
        super().__init__()
        bounds = np.stack([space.low, space.high]).astype(np.float64)
        if channels_last(space.shape):
            bounds = np.moveaxis(bounds, 3, 1)
        channels, height, width = bounds.shape[1:]
        self.cnn = CNN((channels, height, width), CNNS[cnn])
        self.dense = nn.Linear(self.cnn.features, hidden_size)
        self.norm = nn.LayerNorm(hidden_size) if layer_norm else nn.Identity()
        self.features = hidden_size
        self.bytes = bool(
            space.dtype == np.uint8 and (space.low == 0).all() and (space.high == 255).all()
        )
        if not self.bytes:
            low, high = bounds[0].min(axis=(1, 2)), bounds[1].max(axis=(1, 2))
            known = (low >= -LARGEST_BOUND) & (high <= LARGEST_BOUND) & (low < high)
            first, span = np.where(known, low, 0.0), np.where(known, high - low, 1.0)
            for name, values in (("low", first), ("span", span)):
                self.register_buffer(name, torch.from_numpy(values).float().view(1, -1, 1, 1))
        self.centred = centred
        if centred:
            self.register_buffer("mean_picture", torch.zeros(1, channels, height, width))
            for layer in (*self.cnn.convolutions, self.dense):
                nn.init.zeros_(layer.bias)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        images = self._in_order(observations).to(memory_format=torch.channels_last)
        dtype = self.dense.weight.dtype
        if not self.bytes:
            images = self._scaled(images.float())
        elif self.centred:
            images = images * (1 / 255)
        else:
            images = images.to(dtype) * (1 / 255)
        if self.centred:
            images = images - self.mean_picture
        return F.relu(self.norm(self.dense(self.cnn(images.to(dtype)))))

    @torch.no_grad()
    def centre(self, observations: torch.Tensor) -> None:
        """Set `mean_picture` to the mean of these images."""
        self.mean_picture.copy_(self._scaled(self._in_order(observations).float().mean(dim=0)))

    def _scaled(self, images: torch.Tensor) -> torch.Tensor:
        """Images, as floats, from the bounds of the space to 0…1."""
        return images / 255 if self.bytes else (images - self.low) / self.span

    @staticmethod
    def _in_order(observations: torch.Tensor) -> torch.Tensor:
        """As (batch, channels, height, width)."""
        if channels_last(observations.shape[1:]):
            return observations.permute(0, 3, 1, 2)
        return observations


class VectorEncoder(nn.Module):
    """An MLP of two layers. Takes (batch, size) numbers."""

    name: ClassVar[str] = "MLP"

    def __init__(self, size: int, hidden_size: int, activation: Activation) -> None:
        super().__init__()
        self.first = nn.Linear(size, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.activation = activation
        self.features = hidden_size

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.first(observations.to(self.first.weight.dtype)))
        return self.activation(self.second(x))


class IndexEncoder(nn.Module):
    """An MLP of two layers on one-hot vectors. Takes (batch, k) indices of any dtype.

    The product of a matrix and k one-hot vectors is the sum of k of its columns, so the first layer is the sum
    of k rows of one table.

    Args:
        sizes: number of values of each index.
    """

    name: ClassVar[str] = "embedding"

    first_rows: torch.Tensor
    """(k,) int64: the first row of each index in the table."""

    def __init__(self, sizes: list[int], hidden_size: int, activation: Activation) -> None:
        super().__init__()
        self.register_buffer("first_rows", torch.tensor([0, *sizes[:-1]]).cumsum(0))
        self.table = nn.Embedding(sum(sizes), hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.activation = activation
        self.features = hidden_size
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the table so that the sum of the rows has unit variance, whatever their number."""
        nn.init.normal_(self.table.weight, std=len(self.first_rows) ** -0.5)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        rows = self.table(observations.long() + self.first_rows)
        return self.activation(self.second(self.activation(rows.sum(dim=1))))


class TupleEncoder(nn.Module):
    """One encoder per part of an observation, and a dense layer over their features.

    Takes a tuple of (batch, …) tensors.
    """

    def __init__(self, parts: list["Encoder"], hidden_size: int, activation: Activation) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        # What one part means may depend on another: without this layer their values would only add up.
        self.dense = nn.Linear(sum(part.features for part in parts), hidden_size)
        self.activation = activation
        self.features: int = hidden_size

    def forward(self, observations: tuple[torch.Tensor, ...]) -> torch.Tensor:
        features = [part(x) for part, x in zip(self.parts, observations, strict=True)]
        return self.activation(self.dense(torch.cat(features, dim=1)))


Encoder = ImageEncoder | GridPlanner | VectorEncoder | IndexEncoder | SequenceEncoder | TupleEncoder


def is_image(space: gym.Space) -> bool:
    """Whether observations are images: three-dimensional, at least 36×36."""
    return isinstance(space, gym.spaces.Box) and _is_image(space.shape)


def _is_image(shape: tuple[int, ...]) -> bool:
    if len(shape) != 3:
        return False
    return min(shape[:2] if channels_last(shape) else shape[1:]) >= IMAGE_SIDE


def as_tensor(observations: np.ndarray) -> torch.Tensor:
    """A batch of observations as a tensor; images as (batch, height, width, channels).

    Reordering inside the convolutions would take as long as the convolutions themselves.
    """
    shape = observations.shape[1:]
    if _is_image(shape) and not channels_last(shape):
        observations = with_channels_innermost(observations)
    return from_numpy(observations)


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor; of the unsigned integers that torch hardly supports as float32."""
    if array.dtype.kind == "u" and array.itemsize > 1:
        array = array.astype(np.float32)
    return torch.from_numpy(array)


def parts_of(encoder: Encoder) -> list[Encoder]:
    """The encoders of the parts of an observation, in order; the encoder itself if there is one."""
    return list(encoder.parts) if isinstance(encoder, TupleEncoder) else [encoder]  # type: ignore[arg-type]


def image_encoder_parameters(network: nn.Module) -> set[str]:
    """Names of the parameters of a network that are those of its encoders of images."""
    return {
        f"{place}.{name}"
        for place, module in network.named_modules()
        if isinstance(module, ImageEncoder)
        for name, _ in module.named_parameters()
    }


def encoder(
    space: gym.Space,
    hidden_size: int,
    cnn: str = "nature",
    activation: Activation = F.relu,
    layer_norm: bool = False,
    centred: bool = False,
) -> Encoder:
    """Build the encoder for an observation space.

    Args:
        space: a Box of one (vector), two (sequence, see `SequenceEncoder`) or three dimensions (an
            image where it is at least 36×36, else a grid), a MultiDiscrete (indices), or a Tuple of such.
        hidden_size: width of the dense layers.
        cnn: layers for images, a name in `perception.networks.cnn.CNNS`.
        activation: between the layers for vectors and indices.
        layer_norm, centred: for images, see `ImageEncoder`.

    Raises:
        ValueError: no encoder fits the space.
    """
    if isinstance(space, gym.spaces.Tuple):
        parts = [
            encoder(part, hidden_size, cnn, activation, layer_norm, centred)
            for part in space.spaces
        ]
        return TupleEncoder(parts, hidden_size, activation)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return IndexEncoder(space.nvec.tolist(), hidden_size, activation)
    if not isinstance(space, gym.spaces.Box) or len(space.shape) not in (1, 2, 3):
        raise ValueError(f"no encoder fits the observation space {space}")
    if is_image(space):
        return ImageEncoder(space, hidden_size, cnn, layer_norm, centred)
    if len(space.shape) == 3:
        return GridPlanner(space.shape, hidden_size)
    if len(space.shape) == 2:
        return SequenceEncoder(space.shape, hidden_size)
    return VectorEncoder(space.shape[0], hidden_size, activation)
