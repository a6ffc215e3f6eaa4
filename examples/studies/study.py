"""What studies of learning share: data, a plain training loop, networks, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fathom.errors import printable
from fathom.statistics import student_interval
from perception.data.augmentation import rotated, shifted
from perception.data.images import load_images
from perception.data.source import DataError, DataSource

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#1f6fb2", "#d9731a", "#2f9e5f", "#8a8a8a"


@dataclass(frozen=True)
class Data:
    """Images (n, channels, height, width) as floats in 0…1, and labels (n,)."""

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    quick: bool
    """Whether a study shall only take seconds: fewer seeds, networks and updates."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> int:
        """Numbers of an image."""
        return self.train[0].numel()

    @property
    def classes(self) -> int:
        """How many."""
        return int(self.train_labels.max()) + 1

    def moved(self, images: Tensor) -> Tensor:
        """Each image turned by up to 15° and shifted by up to 2 of 28 pixels at random."""
        shift = max(1, min(self.shape[1:]) // 14)
        return rotated(shifted(images, shift), 30 * torch.rand(len(images)) - 15)

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Training images and their labels, others for each seed."""
        chosen = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return self.train[chosen[:count]], self.train_labels[chosen[:count]]


def load(name: str | None, quick: bool) -> Data:
    """The named images; without a name MNIST where it is found, or else scikit-learn's digits.

    Raises:
        DataError: there are no such images.
    """
    try:
        images = load_images(DataSource(name or "mnist"))
    except DataError as error:
        if name:
            raise
        print(f"without MNIST, on scikit-learn's 8×8 digits: {printable(str(error))}")
        name, images = "digits", load_images(DataSource("digits"))
    if min(images.shape[1:]) < 8:
        raise DataError(f"images of {images.shape[1]}×{images.shape[2]} are too small: 8×8 or more")
    if len(images.train) < 100:
        raise DataError(f"{len(images.train)} training images are too few: 100 or more")
    return Data(
        name or "mnist",
        images.train.float() / 255,
        images.train_labels,
        images.test.float() / 255,
        images.test_labels,
        quick,
    )


@dataclass
class Result:
    """What a study measured."""

    heading: str
    """What the rows are."""
    rows: dict[str, dict[str, list[float]]]
    """Row → column → a value for each seed; a single value is a published one."""
    spread: Literal["interval", "range"] = "interval"
    """What the table says beside the mean: Student's 95 % interval, or the smallest and the largest value."""
    curves: dict[str, Any] = field(default_factory=dict)
    """More for the figure."""


def learn(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    updates: int,
    *,
    learning_rate: float = 1e-3,
    batch_size: int = 100,
    weight_decay: float = 0.0,
    change: Callable[[Tensor], Tensor] | None = None,
    every: int = 0,
    watch: Callable[[], Any] | None = None,
) -> list[Any]:
    """Train by Adam on the cross-entropy; the learning rate falls to 0 along a line.

    Args:
        weight_decay: decoupled (AdamW, Loshchilov & Hutter 2019).
        change: of the images of every batch.
        every: after so many updates `watch` is called.

    Returns:
        What `watch` gave.
    """
    network.train()
    adam = torch.optim.AdamW(
        network.parameters(), learning_rate, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1, 0, updates)
    order, seen = torch.randperm(len(images)), []
    for update in range(updates):
        if len(order) < min(batch_size, len(images)):
            order = torch.randperm(len(images))
        chosen, order = order[:batch_size], order[batch_size:]
        batch = change(images[chosen]) if change else images[chosen]
        loss = F.cross_entropy(network(batch), labels[chosen])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if watch and (update + 1) % every == 0:
            seen.append(watch())
            network.train()
    return seen


@torch.no_grad()
def scores(network: nn.Module, images: Tensor) -> Tensor:
    """(n, classes), by the network as it is used."""
    network.eval()
    return torch.cat([network(part) for part in images.split(500)])


def error(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """How many of 100 images are classified wrongly."""
    return 100 * float((scores(network, images).argmax(dim=1) != labels).float().mean())


def loss_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The cross-entropy."""
    return float(F.cross_entropy(scores(network, images), labels))


def mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    activation: type[nn.Module] = nn.ReLU,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Hidden layers, with initial weights that suit the activation (Glorot & Bengio 2010, He et al. 2015)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip([inputs, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, after), activation(), nn.Dropout(dropout)]
    layers.append(nn.Linear([inputs, *hidden][-1], classes))
    for layer in linear_layers(layers):
        if activation is nn.ReLU:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def linear_layers(layers: nn.Sequential | list[nn.Module]) -> list[nn.Linear]:
    """From the input to the output."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def both_errors(network: nn.Module, images: Tensor, labels: Tensor, data: Data) -> dict[str, float]:
    """In %."""
    return {
        "training error": error(network, images, labels),
        "test error": error(network, data.test, data.test_labels),
    }


Rows = dict[str, dict[str, list[float]]]


def add(rows: Rows, row: str, values: dict[str, float]) -> None:
    """Append the values of a seed to a row."""
    for column, value in values.items():
        rows.setdefault(row, {}).setdefault(column, []).append(value)


# -- tables and figures -------------------------------------------------------------------------


def one_plot() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure((6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def two_plots() -> tuple[Figure, tuple[Any, Any]]:
    from matplotlib.figure import Figure

    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, (left, right)


def line(axes: Any, x: Sequence[float], values: list[list[float]], colour: str, label: str) -> None:
    """Means, joined by a line, and a dot for each seed."""
    axes.plot(x, [np.mean(one) for one in values], color=colour, lw=2, label=label)
    for place, one in zip(x, values, strict=True):
        axes.plot([place] * len(one), one, "o", color=colour, ms=5, alpha=0.5)


def cell(values: list[float], column: str, spread: str) -> str:
    """The mean of the seeds' values, and their spread."""
    mean = float(np.mean(values))
    if column.startswith("gradient"):
        return f"{mean:.1e}"
    if len(values) == 1:
        text = f"{mean:.1f}"
    elif spread == "range":
        text = f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})"
    else:
        text = f"{mean:.1f} ± {student_interval(np.array(values))[1] - mean:.1f}"
    return text.replace("-", "−")


def table(result: Result) -> str:
    """A table in Markdown."""
    columns = list(dict.fromkeys(column for found in result.rows.values() for column in found))
    lines = [[result.heading, *columns], ["---"] * (1 + len(columns))]
    for row, found in result.rows.items():
        cells = [cell(found[c], c, result.spread) if c in found else "–" for c in columns]
        lines.append([row, *cells])
    return "".join(f"| {' | '.join(one)} |\n" for one in lines)
