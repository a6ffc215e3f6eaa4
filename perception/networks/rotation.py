"""Convolutions equivariant to rotations by 90° (Cohen & Welling 2016, "Group equivariant convolutional networks").

The group p4 holds the translations and the four rotations by multiples of 90°. A feature of it has a plane for
each rotation: (n, channels, 4, height, width). When the image turns by 90° counter-clockwise, each plane turns,
and takes the place of the next one (`turn`). `P4Lifting` maps images to such features, `P4Convolution` features
to features; normalisation over (n, 4, height, width) for each channel, as by `BatchNorm3d`, rectifiers, and
pooling within a plane keep the property. Spatial pooling does so exactly where the sides are multiples of its
window. `pool_rotations` then leaves (n, channels, height, width), which turns as the image does; the maximum or
mean over all places of that does not change at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def turn(features: Tensor, times: int = 1) -> Tensor:
    """p4 features (..., 4, height, width), or filters, as `times` rotations of the image by 90° leave them.

    Rotations are counter-clockwise, as `torch.rot90(image, times, (-2, -1))`. Height and width are exchanged by
    an odd number of them.
    """
    return features.roll(times, -3).rot90(times, (-2, -1))


def pool_rotations(features: Tensor) -> Tensor:
    """The largest of the four rotations: (n, channels, 4, height, width) to (n, channels, height, width)."""
    return features.amax(dim=-3)


class _P4(nn.Module):
    """Filters (filters, …, size, size) with He's initial weights, and a bias for each, shared by its rotations."""

    def __init__(self, filters: int, inputs: tuple[int, ...], size: int, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.weight = nn.Parameter(torch.empty(filters, *inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(filters))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (math.prod(inputs) * size * size)))

    def _convolve(self, planes: Tensor, rotated: Tensor) -> Tensor:
        """All rotations of the filters (filters, 4, planes, size, size) in one convolution of (n, planes, …)."""
        result = F.conv2d(planes, rotated.flatten(0, 1), padding=self.padding)
        return result.unflatten(1, rotated.shape[:2]) + self.bias.view(-1, 1, 1, 1)


class P4Lifting(_P4):
    """Convolution of images with each filter in four rotations.

    Takes (n, channels, height, width), gives (n, filters, 4, height, width), with stride 1.

    Args:
        channels: of the images.
        filters: number of filters, each of which gives four planes.
        size: height and width of a filter.
        padding: rows and columns of zeros around.
    """

    def __init__(self, channels: int, filters: int, size: int = 3, padding: int = 1) -> None:
        super().__init__(filters, (channels,), size, padding)

    def forward(self, images: Tensor) -> Tensor:
        rotated = torch.stack([self.weight.rot90(r, (-2, -1)) for r in range(4)], dim=1)
        return self._convolve(images, rotated)


class P4Convolution(_P4):
    """Convolution of p4 features with filters on the group.

    Takes (n, channels, 4, height, width), gives (n, filters, 4, height, width) with stride 1. A
    filter has 4 × channels × size × size weights, and is turned as features are.

    Args:
        channels: of the features.
        filters: number of filters, each of which gives four planes.
        size: height and width of a filter.
        padding: rows and columns of zeros around.
    """

    def __init__(self, channels: int, filters: int, size: int = 3, padding: int = 1) -> None:
        super().__init__(filters, (channels, 4), size, padding)

    def forward(self, features: Tensor) -> Tensor:
        rotated = torch.stack([turn(self.weight, r) for r in range(4)], dim=1)
        return self._convolve(features.flatten(1, 2), rotated.flatten(2, 3))
