"""The network that fits an observation space.

An image gets a CNN, a vector an MLP. Every encoder takes a batch of raw observations and
gives (batch, `features`).
"""

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from perception.cnn import CNN, CNNS


class ImageEncoder(nn.Module):
    """A CNN and one dense layer, as in Mnih et al. 2013 and 2015.

    Takes (batch, channels, height, width) uint8, or height × width × channels where
    `channels_last`.
    """

    def __init__(self, space: gym.spaces.Box, hidden: int, cnn: str) -> None:
        super().__init__()
        shape = space.shape if len(space.shape) == 3 else (1, *space.shape)
        # An image has few channels and many rows: the short side tells which order it is in.
        self.channels_last = shape[-1] < shape[0]
        if self.channels_last:
            shape = (shape[2], shape[0], shape[1])
        self.shape = shape
        self.cnn = CNN((shape[0], shape[1], shape[2]), CNNS[cnn])
        self.dense = nn.Linear(self.cnn.features, hidden)
        self.features = hidden

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        if self.channels_last:
            observations = observations.permute(0, 3, 1, 2)
        images = observations.view(-1, *self.shape) if observations.dim() == 3 else observations
        images = images.to(memory_format=torch.channels_last)
        images = images.to(self.dense.weight.dtype) * (1 / 255)
        return F.relu(self.dense(self.cnn(images)))


class VectorEncoder(nn.Module):
    """Two dense layers. Takes (batch, …) numbers, flattened."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(size, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.features = hidden

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(observations.flatten(1).to(self.first.weight.dtype)))
        return F.relu(self.second(x))


def is_image(space: gym.Space) -> bool:
    """Whether observations are pictures: bytes in two or three dimensions, at least 36×36."""
    return (
        isinstance(space, gym.spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) in (2, 3)
        and sorted(space.shape)[-2] >= 36
    )


def encoder(space: gym.Space, hidden: int, cnn: str = "nature") -> ImageEncoder | VectorEncoder:
    """Build the encoder for an observation space.

    Args:
        space: a Box; of bytes and at least 36×36 it is an image, else a vector.
        hidden: width of the dense layers.
        cnn: what images get, a name in `perception.cnn.CNNS`.

    Raises:
        ValueError: no encoder fits the space.
    """
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"no encoder fits the observation space {space}; a Box would do")
    if is_image(space):
        return ImageEncoder(space, hidden, cnn)
    return VectorEncoder(int(np.prod(space.shape)), hidden)
