"""Images as figures and videos show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Images (n, channels, height, width) convolved with a Gaussian of this standard deviation in pixels."""
    if deviation < 0.1:
        return images
    reach = max(1, round(3 * deviation))
    places = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-(places**2) / (2 * deviation**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    channels = images.shape[1]
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=channels)
    return F.conv2d(rows, kernel.transpose(2, 3), groups=channels)


def as_colours(image: Tensor, stacked: bool) -> np.ndarray:
    """An image (channels, height, width) in 0…1 as (height, width, 3); of a stack of frames the newest."""
    image = image.detach().cpu().clamp(0, 1)
    if len(image) != 3 or stacked:
        # Frames of three colours one after the other, or grey ones.
        image = image[-3:] if len(image) % 3 == 0 and not stacked else image[-1:].expand(3, -1, -1)
    return image.permute(1, 2, 0).numpy()


def in_time(image: Tensor) -> np.ndarray:
    """A stack of grey frames in one picture (height, width, 3): the oldest red, the newest blue, those between green.

    What stands still is grey.
    """
    image = image.detach().cpu().clamp(0, 1)
    between = image[1:-1].mean(dim=0) if len(image) > 2 else (image[0] + image[-1]) / 2
    return torch.stack([image[0], between, image[-1]], dim=2).numpy()


def show(axes: Any, image: Tensor, stacked: bool = False) -> None:
    """Draw an image (channels, height, width) in 0…1, of a stack of frames the newest, without axes."""
    axes.imshow(as_colours(image, stacked), vmin=0, vmax=1)
    axes.axis("off")


def overlaid(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (height, width, 3) in 0…1, greyer and darker, with a map (height, width) in 0…1 in red to yellow."""
    from matplotlib import colormaps

    grey = image.mean(axis=2, keepdims=True) * 0.6
    strength = heat[..., None] ** 0.5 * 0.85
    return grey * (1 - strength) + colormaps["hot"](0.25 + 0.6 * heat)[..., :3] * strength


def scaled(heat: np.ndarray) -> np.ndarray:
    """A map, none of whose numbers is negative, from 0 to 1; its 99.5th percentile and more become 1."""
    most = np.quantile(heat, 0.995) if heat.size else 0.0
    most = most if most > 0 else heat.max(initial=0.0)
    return np.clip(heat / most, 0, 1) if most > 0 else np.zeros_like(heat)
