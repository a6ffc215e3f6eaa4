"""How networks are fooled: adversarial examples, and noise that they are sure of.

FGSM (Goodfellow et al. 2015) moves every pixel by ε in the direction that raises the loss; I-FGSM (Kurakin et al.
2017) takes ten smaller steps and stays within ε of the image. Noise that a network holds for something with high
confidence is found by gradient ascent from random pixels (Nguyen et al. 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.inspection.drawing import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scores = Callable[[Tensor], Tensor]
"""Images (n, channels, height, width) in 0…1 → (n, classes)."""

ITERATIONS = 10
SURE = 0.99
_BATCH = 250
_NOISE_STEPS = 500


def _gradient(scores: Scores, images: Tensor, labels: Tensor) -> Tensor:
    """Of the cross-entropy with respect to the images."""
    images = images.detach().clone().requires_grad_()
    loss = F.cross_entropy(scores(images), labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0]


def fgsm(scores: Scores, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Images within ε, in every pixel, that the network is less right about."""
    return (images + epsilon * _gradient(scores, images, labels).sign()).clamp(0, 1)


def iterative_fgsm(
    scores: Scores, images: Tensor, labels: Tensor, epsilon: float, steps: int = ITERATIONS
) -> Tensor:
    """The same in several steps of 2 ε / steps, each brought back to within ε."""
    result = images
    for _ in range(steps):
        result = result + 2 * epsilon / steps * _gradient(scores, result, labels).sign()
        result = (images + (result - images).clamp(-epsilon, epsilon)).clamp(0, 1)
    return result


ATTACKS: dict[str, Callable[[Scores, Tensor, Tensor, float], Tensor]] = {
    "FGSM": fgsm,
    "I-FGSM": iterative_fgsm,
}


@dataclass
class Attacked:
    """Images after an attack."""

    images: Tensor
    classes: Tensor
    """(n,) what the network says of them."""
    probabilities: Tensor
    """(n,) how sure it is of that."""


def attacked(scores: Scores, images: Tensor, labels: Tensor, name: str, epsilon: float) -> Attacked:
    """Attack images in batches; at ε 0 they stay as they are."""
    results = []
    for some, known in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
        changed = ATTACKS[name](scores, some, known, epsilon) if epsilon else some
        with torch.no_grad():
            probabilities, classes = scores(changed).softmax(dim=1).max(dim=1)
        results.append((changed, classes, probabilities))
    return Attacked(*(torch.cat(parts) for parts in zip(*results, strict=True)))


def sure_noise(
    scores: Scores, shape: tuple[int, int, int], classes: int, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For each class an image of noise, changed until the network is 99 % sure of it, and its probability.

    A step moves the pixels by three hundredths in the mean, later ones by less, so that it stays noise to the eye.
    """
    images = torch.rand(classes, *shape, generator=torch.Generator().manual_seed(seed)).to(device)
    targets = torch.arange(classes, device=device)
    for step in range(_NOISE_STEPS):
        with torch.no_grad():
            probabilities = scores(images).softmax(dim=1).gather(1, targets[:, None]).squeeze(1)
        if (probabilities >= SURE).all():
            break
        gradient = _gradient(scores, images, targets)
        size = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 1e-12
        moved = (images - 0.03 * (1 - step / _NOISE_STEPS) * gradient / size).clamp(0, 1)
        images = torch.where((probabilities < SURE)[:, None, None, None], moved, images)
    with torch.no_grad():
        return images, scores(images).softmax(dim=1).gather(1, targets[:, None]).squeeze(1)


def curve_figure(
    epsilons: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    name: str,
    chance: float | None,
) -> Figure:
    """A score against ε, a line for each attack."""
    from matplotlib.figure import Figure

    figure = Figure((5, 3.4), layout="constrained")
    axes = figure.subplots()
    for label, values in curves.items():
        axes.plot(epsilons, values, marker="o", markersize=4, label=label)
    if chance is not None:
        axes.axhline(chance, color="grey", linewidth=0.8, linestyle=":", label="chance")
        axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("ε, the largest change of a pixel (1: from black to white)")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def examples_figure(
    images: Tensor, rows: Sequence[tuple[str, Attacked]], labels: Tensor, classes: Sequence[str]
) -> Figure:
    """Images above what an attack makes of them, a row for each, with what the network then says; red where wrong."""
    from matplotlib.figure import Figure

    count = len(images)
    figure = Figure((1.1 * count + 0.5, 1.45 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, result) in zip(grid, rows, strict=True):
        for axes, image, kind, sure, label in zip(
            line, result.images, result.classes.tolist(), result.probabilities.tolist(), labels.tolist(),
            strict=True,
        ):  # fmt: skip
            show(axes, image)
            colour = "black" if kind == label else "crimson"
            axes.set_title(
                f"{classes[kind]}  {sure:.0%}", fontsize=8, color=colour, parse_math=False
            )
        line[0].axis("on")
        line[0].set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=9)
    return figure


def noise_figure(images: Tensor, probabilities: Tensor, classes: Sequence[str]) -> Figure:
    """Noise, with the class that the network is sure of."""
    from matplotlib.figure import Figure

    columns = min(10, len(images))
    rows = -(-len(images) // columns)
    figure = Figure((1.05 * columns, 1.35 * rows + 0.2), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).flat
    for axes, image, sure, name in zip(
        cells, images, probabilities.tolist(), classes, strict=False
    ):
        show(axes, image)
        axes.set_title(f"{name}  {sure:.1%}", fontsize=8, parse_math=False)
    for axes in figure.axes:
        axes.axis("off")
    return figure
