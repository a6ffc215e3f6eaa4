"""Random changes of images that leave their class as it is; batches (n, channels, height, width) in, the same out.

Random numbers come from PyTorch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(images: Tensor, most: int, mirror: bool = False) -> Tensor:
    """Each image shifted by up to `most` pixels in both directions, and mirrored in half of the cases if `mirror`.

    What comes in at the edge is a reflection. `most` is smaller than height and width. The result lies in memory
    with channels innermost.
    """
    n, _, height, width = images.shape
    padded = F.pad(images.float(), (most,) * 4, mode="reflect").to(images.dtype)
    rows = torch.arange(height) + torch.randint(2 * most + 1, (n, 1))
    columns = torch.arange(width) + torch.randint(2 * most + 1, (n, 1))
    if mirror:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))
    numbers = torch.arange(n).view(-1, 1, 1)
    rows, columns = rows.to(images.device), columns.to(images.device)
    return padded[numbers, :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned about its centre by its own angle, counter-clockwise, as floats.

    Values are interpolated linearly between pixels; what comes in at the edges is 0.

    Args:
        degrees: (n,) angles.
    """
    height, width = images.shape[-2:]
    cos, sin = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    zero = torch.zeros_like(cos)
    # The grid says where each pixel comes from, in coordinates that reach from −1 to 1 in both directions.
    affine = torch.stack(
        [
            torch.stack([cos, -sin * height / width, zero], dim=1),
            torch.stack([sin * width / height, cos, zero], dim=1),
        ],
        dim=1,
    ).to(images.device)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, align_corners=False)


def distorted(images: Tensor, most: float) -> Tensor:
    """Each image turned, scaled, sheared and shifted at random, and a square of it made grey, as floats.

    Args:
        most: the largest angle in radians, shear, and relative change of size and place.
    """
    n, _, height, width = images.shape
    angle, shear, *scales = ((2 * torch.rand(4, n) - 1) * most).unbind()
    cos, sin = angle.cos(), angle.sin()
    x_scale, y_scale = (1 + scale for scale in scales)
    place = (2 * torch.rand(2, n) - 1) * most
    affine = torch.stack(
        [
            torch.stack([cos * x_scale, shear - sin, place[0]], dim=1),
            torch.stack([sin + shear, cos * y_scale, place[1]], dim=1),
        ],
        dim=1,
    ).to(images.device)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    result = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    # Cutout (DeVries & Taylor 2017): a square of a third of the side.
    rows, columns = torch.arange(height), torch.arange(width)
    row, column = (torch.rand(n, 1) * size for size in (height, width))
    inside = ((rows - row).abs() < height / 6)[:, :, None] & ((columns - column).abs() < width / 6)[
        :, None
    ]
    return torch.where(inside[:, None].to(images.device), result.mean(), result)
