"""Networks between images and codes: the encoder, or discriminator, and the generator of DCGAN.

Radford et al. 2015: convolutions with stride 2 instead of poolings on the way to the code, transposed convolutions on
the way back. Two of them each, which suits images of 8×8 to 64×64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEAST_SIDE = 8
"""Least height and width of an image."""


def code_of_image(shape: tuple[int, int, int], outputs: int, width: int) -> nn.Sequential:
    """A network from images (n, *shape) to (n, outputs): two convolutions with stride 2, one linear layer.

    Args:
        shape: channels, height and width, of at least 8×8.
        width: filters of the first convolution; the second has twice as many.
    """
    height, width_of_map = shape[1] // 2 // 2, shape[2] // 2 // 2
    return nn.Sequential(
        *(nn.Conv2d(shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2)),
        nn.Flatten(),
        nn.Linear(2 * width * height * width_of_map, outputs),
    )


class ImageOfCode(nn.Module):
    """A network from codes (n, inputs) to images (n, *shape) as logits: a linear layer, two transposed convolutions.

    Args:
        shape: channels, height and width.
        width: filters before the last convolution; before the first there are twice as many.
    """

    def __init__(self, shape: tuple[int, int, int], inputs: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        start = (2 * width, math.ceil(shape[1] / 4), math.ceil(shape[2] / 4))
        self.layers = nn.Sequential(
            *(nn.Linear(inputs, math.prod(start), bias=False), nn.Unflatten(1, start)),
            *(nn.BatchNorm2d(2 * width), nn.ReLU()),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            *(nn.BatchNorm2d(width), nn.ReLU()),
            nn.ConvTranspose2d(width, shape[0], 4, 2, 1),
        )

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)[:, :, : self.shape[1], : self.shape[2]]


def bytes_of(images: Tensor) -> Tensor:
    """Images of numbers in 0…1 as uint8."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
