"""Encoders: networks from raw observations to features, by observation space.

A CNN for an image, a planner for a grid, an MLP for a vector, an RNN for a sequence, and one encoder per
part for a Tuple. Each takes a batch of raw observations and gives (batch, `features`).
"""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.cnn import CNN, CNNS
from perception.networks.planes import with_channels_innermost
from perception.networks.planning import GridPlanner
from perception.networks.rnn import SequenceEncoder

Activation = Callable[[torch.Tensor], torch.Tensor]


class ImageEncoder(nn.Module):
    """A CNN and one dense layer, as in Mnih et al. 2013 and 2015.

    Takes (batch, channels, height, width) or (batch, height, width, channels) uint8.

    Args:
        shape: of one image, in either order.
        layer_norm: layer normalisation before the dense layer's rectifiers (Ba et al. 2016).
        centred: subtract `mean_picture` from every image, and initialise biases to zero (LeCun et al. 1998,
            "Efficient BackProp", section 4.3). Otherwise the constant background dominates the input of the
            dense layer, and a filter that it switches off stays off.
    """

    mean_picture: torch.Tensor
    """(1, channels, height, width) in 0…1; zeros until `centre` is called."""

    def __init__(
        self,
        shape: tuple[int, ...],
        hidden_size: int,
        cnn: str,
        layer_norm: bool = False,
        centred: bool = False,
    ) -> None:
        super().__init__()
        if not _channels_first(shape):
            shape = (shape[2], shape[0], shape[1])
        self.cnn = CNN((shape[0], shape[1], shape[2]), CNNS[cnn])
        self.dense = nn.Linear(self.cnn.features, hidden_size)
        self.norm = nn.LayerNorm(hidden_size) if layer_norm else nn.Identity()
        self.features = hidden_size
        self.centred = centred
        if centred:
            self.register_buffer("mean_picture", torch.zeros(1, *shape))
            for layer in (*self.cnn.convolutions, self.dense):
                nn.init.zeros_(layer.bias)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        images = self._in_order(observations).to(memory_format=torch.channels_last)
        if self.centred:
            images = (images * (1 / 255) - self.mean_picture).to(self.dense.weight.dtype)
        else:
            images = images.to(self.dense.weight.dtype) * (1 / 255)
        return F.relu(self.norm(self.dense(self.cnn(images))))

    @torch.no_grad()
    def centre(self, observations: torch.Tensor) -> None:
        """Set `mean_picture` to the mean of these images."""
        self.mean_picture.copy_(self._in_order(observations).float().mean(dim=0) / 255)

    @staticmethod
    def _in_order(observations: torch.Tensor) -> torch.Tensor:
        """As (batch, channels, height, width)."""
        if _channels_first(observations.shape[1:]):
            return observations
        return observations.permute(0, 3, 1, 2)


class VectorEncoder(nn.Module):
    """An MLP of two layers. Takes (batch, size) numbers."""

    def __init__(self, size: int, hidden_size: int, activation: Activation) -> None:
        super().__init__()
        self.first = nn.Linear(size, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size)
        self.activation = activation
        self.features = hidden_size

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.first(observations.to(self.first.weight.dtype)))
        return self.activation(self.second(x))


class TupleEncoder(nn.Module):
    """One encoder per part of an observation; their features are concatenated.

    Takes a tuple of (batch, …) tensors.
    """

    def __init__(self, parts: list["Encoder"]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.features: int = sum(part.features for part in parts)

    def forward(self, observations: tuple[torch.Tensor, ...]) -> torch.Tensor:
        features = [part(x) for part, x in zip(self.parts, observations, strict=True)]
        return torch.cat(features, dim=1)


Encoder = ImageEncoder | GridPlanner | VectorEncoder | SequenceEncoder | TupleEncoder


def is_image(space: gym.Space) -> bool:
    """Whether observations are images: uint8, three-dimensional, at least 36×36."""
    return isinstance(space, gym.spaces.Box) and _is_picture(space.shape, space.dtype)


def _is_picture(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    return dtype == np.uint8 and len(shape) == 3 and sorted(shape)[-2] >= 36


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image is channels × height × width, judged by its sides: channels are few."""
    return shape[0] < shape[-1]


def as_tensor(observations: np.ndarray) -> torch.Tensor:
    """A batch of observations as a tensor; images as (batch, height, width, channels).

    Reordering inside the convolutions would take as long as the convolutions themselves.
    """
    shape = observations.shape[1:]
    if _is_picture(shape, observations.dtype) and _channels_first(shape):
        observations = with_channels_innermost(observations)
    return torch.from_numpy(observations)


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
            image where it is bytes and at least 36×36, else a grid), or a Tuple of such.
        hidden_size: width of the dense layers.
        cnn: layers for images, a name in `perception.networks.cnn.CNNS`.
        activation: between the layers for vectors.
        layer_norm, centred: for images, see `ImageEncoder`.

    Raises:
        ValueError: no encoder fits the space.
    """
    if isinstance(space, gym.spaces.Tuple):
        parts = [
            encoder(part, hidden_size, cnn, activation, layer_norm, centred)
            for part in space.spaces
        ]
        return TupleEncoder(parts)
    if not isinstance(space, gym.spaces.Box) or len(space.shape) not in (1, 2, 3):
        raise ValueError(f"no encoder fits the observation space {space}")
    if is_image(space):
        return ImageEncoder(space.shape, hidden_size, cnn, layer_norm, centred)
    if len(space.shape) == 3:
        return GridPlanner(space.shape, hidden_size)
    if len(space.shape) == 2:
        return SequenceEncoder(space.shape, hidden_size)
    return VectorEncoder(space.shape[0], hidden_size, activation)
