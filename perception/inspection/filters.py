"""What units look for: the filters of the first layer, and images that activate a unit most.

Activation maximisation (Erhan et al. 2009) is gradient ascent on the image. Without regularisation it ends in
high frequencies that activate the unit and show nothing; here the image moves by a few pixels before every step
(jitter, Mordvintsev et al. 2015) and is blurred a little after it, less and less (Yosinski et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perception.inspection.drawing import as_colours, blurred, in_time
from perception.inspection.network import Layer, Network, activations, layers_of
from perception.tasks.task import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 120
_RANDOM_IMAGES = 128
_MOST_FILTERS = 64


@dataclass
class Maximised:
    """Images that activate units of one layer most."""

    title: str
    units: list[str]
    images: Tensor
    """(units, channels, height, width) in 0…1; of a convolution only what its units see."""
    activations: Tensor
    """(units,) that the images cause."""
    random: Tensor
    """(random images, units) activations that images of uniform noise cause."""

    @property
    def gains(self) -> list[float | None]:
        """Activations over the mean absolute activation of random images; None for a unit that noise does not reach."""
        typical = self.random.abs().mean(dim=0).tolist()
        reached = self.activations.tolist()
        return [x / mean if mean > 0 else None for x, mean in zip(reached, typical, strict=True)]


def maximise(
    network: Network, layer: Layer | None, most: int, seed: int, steps: int = STEPS
) -> Maximised:
    """Images that activate units of a layer most, or scores, less the mean score, if `layer` is None.

    Args:
        most: units at most, those that vary most over random images. Of a convolution the unit in the middle of
            each channel is taken.
        steps: of gradient ascent.
    """
    apply, shape = network.scores, network.shape
    random = torch.Generator().manual_seed(seed)

    def outputs(images: Tensor) -> Tensor:
        if layer is None:
            scores = apply(images)
            return scores - scores.mean(dim=1, keepdim=True)
        result = activations(apply, [layer.module], images)[0]
        return (
            result if result.ndim == 2 else result[..., result.shape[2] // 2, result.shape[3] // 2]
        )

    with torch.no_grad():
        noise = torch.rand(_RANDOM_IMAGES, *shape, generator=random).to(network.device)
        answers = outputs(noise)
    units = answers.shape[1]
    chosen = torch.arange(units, device=network.device)
    if units > most:
        chosen = answers.std(dim=0).topk(most).indices.sort().values
    images = 0.5 + 0.02 * torch.randn(len(chosen), *shape, generator=random)
    images = images.to(network.device)
    side = min(shape[1:])
    reach = 0 if layer is not None and layer.spatial else side // 16
    seen = torch.zeros(shape[1:], dtype=torch.bool, device=network.device)
    for step in range(steps):
        shift = torch.randint(-reach, reach + 1, (2,), generator=random).tolist()
        moved = images.roll(shift, (2, 3)).requires_grad_()
        (gradient,) = torch.autograd.grad(outputs(moved).gather(1, chosen[:, None]).sum(), moved)
        gradient = gradient.roll([-x for x in shift], (2, 3))
        seen |= (gradient != 0).any(dim=0).any(dim=0)
        size = gradient.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        images = images + 0.04 * float(seen.sum() * shape[0]) ** 0.5 * gradient / (size + 1e-12)
        width = side * (0.01 + 0.02 * (1 - step / steps))
        images = blurred(images, width).clamp(0, 1)
    with torch.no_grad():
        reached = outputs(images).gather(1, chosen[:, None]).squeeze(1)
    if layer is not None and layer.spatial:
        rows, columns = (seen.any(dim=side).nonzero().flatten().tolist() for side in (1, 0))
        if rows:
            images = images[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Maximised(
        title="scores" if layer is None else f"{layer.name} ({layer.kind})",
        units=[network.names[unit] if layer is None else str(unit) for unit in chosen.tolist()],
        images=images,
        activations=reached,
        random=answers[:, chosen],
    )


def first_filters(network: Network) -> Tensor:
    """(filters, channels, height, width): weights of the first layer, at most 64 filters.

    Raises:
        DataError: it has none.
    """
    for layer in layers_of(network):
        if isinstance(layer.module, nn.Conv2d):
            return layer.module.weight.detach()[:_MOST_FILTERS]
        if isinstance(layer.module, nn.Linear):
            return layer.module.weight.detach()[:_MOST_FILTERS].unflatten(1, network.shape)
    raise DataError(
        "the network has neither a convolution nor a dense layer, so there are no filters"
    )


def filter_figure(filters: Tensor, stacked: bool) -> Figure:
    """Filters as images: colours where they see colours, else red where a weight is positive, blue where negative.

    Of a stack of frames a filter is a row, the newest frame on the right.
    """
    from matplotlib.figure import Figure

    count, channels, height, width = filters.shape
    filters = filters.cpu()
    most = float(filters.abs().max()) or 1.0
    if channels == 3 and not stacked:
        columns = min(16, count)
        pictures = [(x / most + 1) / 2 for x in filters]
    else:
        columns = min(8 if channels == 1 else max(1, 8 // channels), count)
        gap = torch.full((height, 1), torch.nan)
        pictures = []
        for x in filters / most:
            tiles = [part for frame in x for part in (frame, gap)][:-1]
            pictures.append(torch.cat(tiles, dim=1)[None])
    rows = -(-count // columns)
    ratio = pictures[0].shape[2] / pictures[0].shape[1]
    figure = Figure((8, max(1.0, 7.6 / columns / ratio * rows + 0.5)), layout="constrained")
    for axes, picture in zip(
        figure.subplots(rows, columns, squeeze=False).flat, pictures, strict=False
    ):
        if len(picture) == 3:
            axes.imshow(picture.permute(1, 2, 0).numpy())
        else:
            axes.imshow(picture[0].numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    for axes in figure.axes:
        axes.axis("off")
    size = f"{height}×{width}"
    times = (
        f", each over {channels} frames, the newest on the right" if channels not in (1, 3) else ""
    )
    figure.suptitle(f"{count} filters of the first layer, {size}{times}", fontsize=10)
    return figure


def maximised_figure(rows: list[Maximised], stacked: bool) -> Figure:
    """The images, a row for each layer, with their gains."""
    from matplotlib.figure import Figure

    columns = max(len(row.units) for row in rows)
    figure = Figure((max(4.0, 1.05 * columns), 1.6 * len(rows) + 0.3), layout="constrained")
    for part, row in zip(figure.subfigures(len(rows), 1, squeeze=False).flat, rows, strict=True):
        seen = "×".join(map(str, row.images.shape[2:]))
        part.suptitle(f"{row.title}, {seen} pixels", fontsize=9, x=0.01, ha="left")
        for axes, image, unit, gain in zip(
            part.subplots(1, columns, squeeze=False).flat,
            row.images,
            row.units,
            row.gains,
            strict=False,
        ):
            axes.imshow(in_time(image) if stacked else as_colours(image, False), vmin=0, vmax=1)
            axes.set_title(
                unit if gain is None else f"{unit}  ×{gain:.3g}", fontsize=7, parse_math=False
            )
        for axes in part.axes:
            axes.axis("off")
    return figure
