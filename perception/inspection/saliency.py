"""What a network looks at in an image: gradients, and what covering parts of the image changes.

The gradient of a score with respect to the pixels says which of them it would react to (Simonyan et al. 2014).
Occlusion covers a square of the image at every place and takes the change of the scores (Zeiler & Fergus 2014); a
square shows a blurred copy of the image, as by Greydanus et al. 2018, which brings no new edges in, or what is usually
seen there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perception.inspection.drawing import as_colours, blurred, overlaid, scaled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scores = Callable[[Tensor], Tensor]
Change = Callable[[Tensor, Tensor], Tensor]
"""(k,) scores of an image and (m, k) scores of changed ones → (m,) how much changed."""

_BATCH = 256


def gradient_map(scores: Scores, images: Tensor, chosen: Tensor) -> Tensor:
    """(n, height, width): the largest absolute derivative over the channels of each image's chosen score.

    Args:
        scores: images (n, channels, height, width) in 0…1 → (n, k).
        chosen: (n,) which of the scores.
    """
    images = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scores(images).gather(1, chosen[:, None]).sum(), images)
    return gradient.abs().amax(dim=1)


@torch.no_grad()
def occlusion_map(
    scores: Scores,
    image: Tensor,
    change: Change,
    cover: Tensor | None = None,
    patch: int = 0,
    stride: int = 0,
) -> Tensor:
    """(height, width): the mean change of the scores over the covered squares that a pixel lies in.

    Args:
        image: (channels, height, width) in 0…1.
        cover: (channels, height, width), what the squares show instead; a blurred copy of the image if None.
        patch: side of the squares in pixels; 0 for the square root of the image's side.
        stride: distance of the squares; 0 for two thirds of a side.
    """
    _, height, width = image.shape
    patch = patch or max(1, round(math.sqrt(min(height, width))))
    stride = stride or max(1, patch * 2 // 3)
    rows, columns = (
        torch.tensor(sorted({*range(0, side - patch, stride), side - patch}), device=image.device)
        for side in (height, width)
    )
    inside_row, inside_column = (
        (places[:, None] <= (pixels := torch.arange(side, device=image.device)))
        & (pixels < places[:, None] + patch)
        for places, side in ((rows, height), (columns, width))
    )
    covered = (inside_row[:, None, :, None] & inside_column[None, :, None, :]).flatten(0, 1)
    if cover is None:
        cover = blurred(image[None], patch / 2)[0]
    before = scores(image[None])[0]
    changes = torch.cat(
        [
            change(before, scores(torch.where(part[:, None], cover, image)))
            for part in covered.split(_BATCH)
        ]
    )
    weights = covered.float()
    return (changes[:, None, None] * weights).sum(dim=0) / weights.sum(dim=0)


def fall_of(chosen: int) -> Change:
    """How much a chosen score falls; 0 where it rises."""
    return lambda before, after: (before[chosen] - after[:, chosen]).clamp(min=0)


def squared_change(before: Tensor, after: Tensor) -> Tensor:
    """Half the squared distance of all scores, equation 2 of Greydanus et al. 2018."""
    return (after - before).square().sum(dim=1) / 2


def saliency_figure(
    images: Tensor,
    gradients: Tensor,
    occlusions: Tensor,
    titles: Sequence[str],
    colours: Sequence[str],
    stacked: bool = False,
    bars: Sequence[np.ndarray] = (),
    names: Sequence[str] = (),
) -> Figure:
    """A column for each image: the image, its gradient map, its occlusion map, each scaled by itself.

    Args:
        bars: numbers to draw below, (k,) for each image; the largest in red.
        names: of these numbers.
    """
    from matplotlib.figure import Figure

    count, rows = len(images), 4 if len(bars) else 3
    side = 1.6 if len(bars) else 1.15
    figure = Figure((max(3.0, side * count + 0.6), (side + 0.15) * rows), layout="constrained")
    grid = figure.subplots(rows, count, squeeze=False)
    for column, image in enumerate(images):
        picture = as_colours(image, stacked)
        grid[0, column].imshow(picture, vmin=0, vmax=1)
        grid[0, column].set_title(
            titles[column], fontsize=9, color=colours[column], parse_math=False
        )
        for row, maps in ((1, gradients), (2, occlusions)):
            grid[row, column].imshow(overlaid(picture, scaled(maps[column].cpu().numpy())))
    for axes, name in zip(grid[:, 0], ("image", "gradient", "occlusion"), strict=False):
        axes.set_ylabel(name, fontsize=9)
    for axes in grid[:3].flat:
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for column, values in enumerate(bars):
        axes = grid[3, column]
        shades = ["crimson" if value == values.max() else "steelblue" for value in values]
        axes.barh(range(len(values)), values, color=shades)
        margin = 0.15 * float(np.ptp(values)) + 1e-6
        axes.set_xlim(float(values.min()) - 3 * margin, float(values.max()) + margin)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", nbins=3)
        axes.set_yticks(
            range(len(values)), names if column == 0 else [""] * len(values), parse_math=False
        )
        axes.invert_yaxis()
    return figure
