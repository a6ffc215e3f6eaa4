"""The learning recipe: what to do about a network that is bad on training data, or on test data.

    python examples/studies/recipe.py                  # all studies
    python examples/studies/recipe.py cures rotation   # two of them
    python examples/studies/recipe.py --output docs    # also rewrites the tables of docs/recipe.md

Six studies of small networks on a part of MNIST, where the data source finds it (`--data` names other images), or else
on scikit-learn's 8×8 digits. Each prints a table, keeps its values in `recipe.json`, and draws `recipe-STUDY.png`. Tables
of a `recipe.md` in the output folder, between `<!-- STUDY -->` and `<!-- end -->`, are rewritten.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fathom.errors import printable
from fathom.files import replace_file
from fathom.statistics import student_interval
from perception.data.augmentation import rotated
from perception.data.source import DataError
from perception.networks.classifiers import weights_of
from perception.networks.rotation import P4Convolution, P4Lifting, pool_rotations

from study import (  # isort: skip - lies beside this file
    BLUE, GREEN, GREY, ORANGE, Data, Result, Rows, add, both_errors, error, learn, line, linear_layers, load, loss_of,
    mlp, one_plot, table, two_plots,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# -- bad on training data: a larger model --------------------------------------------------------------


def capacity(data: Data) -> Result:
    """Networks with one hidden layer, from too small to large enough."""
    count, updates, seeds = (1_000, 200, 1) if data.quick else (5_000, 600, 3)
    rows: Rows = {}
    for units in (2, 64) if data.quick else (2, 4, 8, 32, 128):
        for seed in range(seeds):
            torch.manual_seed(seed)
            images, labels = data.draw(count, seed)
            network = mlp(data.pixels, [units], data.classes)
            learn(network, images, labels, updates, learning_rate=3e-3)
            name = f"{units}, {weights_of(network):,} weights"
            add(rows, name, both_errors(network, images, labels, data))
    return Result("hidden units", rows)


def draw_capacity(result: Result) -> Figure:
    figure, axes = one_plot()
    units = [row.split(",")[0] for row in result.rows]
    for column, colour in (("training error", ORANGE), ("test error", BLUE)):
        line(axes, range(len(units)), [row[column] for row in result.rows.values()], colour, column)
    axes.set_xticks(range(len(units)), units)
    axes.set_xlabel("hidden units")
    axes.set_ylabel("error in %")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    return figure


# -- bad on training data: the activation --------------------------------------------------------------


def activations(data: Data) -> Result:
    """Sigmoid and ReLU in networks of more and more layers; gradients before the first update."""
    count, updates, seeds, width = (1_000, 200, 1, 32) if data.quick else (5_000, 500, 3, 64)
    rows: Rows = {}
    curves: dict[str, list[list[float]]] = {}
    depths = (1, 8) if data.quick else (1, 3, 5, 8)
    for name, activation in (("sigmoid", nn.Sigmoid), ("ReLU", nn.ReLU)):
        for depth in depths:
            for seed in range(seeds):
                torch.manual_seed(seed)
                images, labels = data.draw(count, seed)
                network = mlp(data.pixels, [width] * depth, data.classes, activation)
                gradients = gradient_sizes(network, images[:1_000], labels[:1_000])
                learn(network, images, labels, updates, learning_rate=2e-3)
                found = both_errors(network, images, labels, data)
                found["gradient, first layer"] = gradients[0]
                found["gradient, last hidden layer"] = gradients[depth - 1]
                add(rows, f"{name}, {depth}", found)
                if depth == depths[-1]:
                    curves.setdefault(name, []).append(gradients)
    return Result("activation, hidden layers", rows, curves=curves)


def gradient_sizes(network: nn.Sequential, images: Tensor, labels: Tensor) -> list[float]:
    """The root mean square of the loss's gradient for the weights of each layer."""
    layers = linear_layers(network)
    loss = F.cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(loss, [layer.weight for layer in layers])
    return [float(gradient.square().mean().sqrt()) for gradient in gradients]


def draw_activations(result: Result) -> Figure:
    figure, (left, right) = two_plots()
    for name, colour in (("sigmoid", ORANGE), ("ReLU", BLUE)):
        own = {row: found for row, found in result.rows.items() if row.startswith(name)}
        depths = [int(row.split(", ")[1]) for row in own]
        line(left, depths, [found["training error"] for found in own.values()], colour, name)
        sizes = np.exp(np.log(result.curves[name]).mean(axis=0))
        right.plot(range(1, len(sizes) + 1), sizes, "o-", color=colour, label=name)
    left.set_xticks(depths)
    left.set_xlabel("hidden layers")
    left.set_ylabel("training error in %")
    left.set_ylim(0)
    right.set_yscale("log")
    right.set_xticks(range(1, len(sizes) + 1))
    right.set_xlabel(f"layer (1: first, {len(sizes)}: output)")
    right.set_ylabel("gradient of a weight, root mean square")
    right.legend(frameon=False)
    return figure


# -- bad on training data: layers learned one by one ---------------------------------------------------


def pretraining(data: Data) -> Result:
    """Deep networks from a random start, and from layers that were learned one by one without labels.

    Greedy layer-wise pre-training (Hinton & Salakhutdinov 2006, Bengio et al. 2007): each layer learns to give back
    what it gets from the layer below, of which three tenths are set to 0 (Vincent et al. 2008), from all images. Then
    the whole network learns the labels of few of them.
    """
    count, updates, seeds, hidden = (
        (300, 200, 1, [64] * 3) if data.quick else (1_000, 400, 3, [200] * 5)
    )
    of_layer = 300 if data.quick else 600
    rows: Rows = {}
    curves: dict[str, list[list[float]]] = {}
    for name, activation in (("sigmoid", nn.Sigmoid), ("ReLU", nn.ReLU)):
        for start in ("random", "layer by layer"):
            for seed in range(seeds):
                torch.manual_seed(seed)
                images, labels = data.draw(count, seed)
                network = mlp(data.pixels, hidden, data.classes, activation)
                if start == "layer by layer":
                    pretrain(network, data.train, of_layer)
                row = f"{name}, {start}"
                watch = _test_error_of(network, data)
                seen = learn(network, images, labels, updates, every=updates // 20, watch=watch)
                curves.setdefault(row, []).append(seen)
                add(rows, row, both_errors(network, images, labels, data))
    return Result(f"activation, start of {len(hidden)} hidden layers", rows, curves=curves)


def _test_error_of(network: nn.Module, data: Data) -> Callable[[], float]:
    return lambda: error(network, data.test[:2_000], data.test_labels[:2_000])


def pretrain(network: nn.Sequential, images: Tensor, updates: int, noise: float = 0.3) -> None:
    """Learn each hidden layer of an `mlp` as a denoising autoencoder of what the layers below give."""
    flatten, *layers = network
    inputs = flatten(images)
    while len(layers) > 1:  # the last one gives the scores
        (linear, activation, _), layers = layers[:3], layers[3:]
        decoder = nn.Linear(linear.out_features, linear.in_features)
        adam = torch.optim.Adam([*linear.parameters(), *decoder.parameters()], 1e-3, fused=True)
        for _ in range(updates):
            batch = inputs[torch.randint(len(inputs), (100,))]
            seen = batch * (torch.rand_like(batch) >= noise)
            loss = F.mse_loss(decoder(activation(linear(seen))), batch)
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            inputs = activation(linear(inputs))


def draw_pretraining(result: Result) -> Figure:
    figure, axes = one_plot()
    looks = zip((ORANGE, BLUE), ("sigmoid", "ReLU"), strict=True)
    for colour, name in looks:
        for start, style in (("random", "--"), ("layer by layer", "-")):
            curves = np.array(result.curves[f"{name}, {start}"])
            places = np.linspace(0, 100, curves.shape[1] + 1)[1:]
            axes.plot(places, curves.mean(axis=0), style, color=colour, label=f"{name}, {start}")
    axes.set_xlabel("% of the updates with labels")
    axes.set_ylabel("test error in %")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    return figure


# -- bad on training data: the start -------------------------------------------------------------------


def starts(data: Data) -> Result:
    """The same images learned from several random starts, by small and large networks, and by scale of the start.

    The scale multiplies the initial weights of He et al. 2015 in a network of five hidden layers.
    """
    count, updates, seeds = (500, 100, 2) if data.quick else (2_000, 300, 8)
    images, labels = data.draw(count, 0)
    rows: Rows = {}
    for units in (4, 64) if data.quick else (4, 16, 128):
        for seed in range(seeds):
            torch.manual_seed(seed)
            network = mlp(data.pixels, [units], data.classes)
            learn(network, images, labels, updates, learning_rate=3e-3)
            add(rows, f"{units} hidden units", both_errors(network, images, labels, data))
    for scale in (0, 1) if data.quick else (0, 0.2, 1, 3):
        for seed in range(seeds):
            torch.manual_seed(seed)
            network = mlp(data.pixels, [64] * 5, data.classes)
            with torch.no_grad():
                for layer in linear_layers(network):
                    layer.weight *= scale
            learn(network, images, labels, updates, learning_rate=3e-3)
            add(rows, f"5 × 64, scale {scale}", both_errors(network, images, labels, data))
    return Result("network", rows, "range")


def draw_starts(result: Result) -> Figure:
    figure, parts = two_plots()
    names = [[row for row in result.rows if ("scale" in row) == scales] for scales in (False, True)]
    for axes, rows, label in zip(
        parts,
        names,
        ("hidden units", "scale of the initial weights, five hidden layers"),
        strict=True,
    ):
        for place, row in enumerate(rows):
            values = result.rows[row]["test error"]
            spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else [0]
            axes.plot(place + np.array(spread), values, "o", color=BLUE, alpha=0.6, ms=4)
            axes.hlines(np.mean(values), place - 0.3, place + 0.3, color=ORANGE, lw=2)
        ticks = [row.split()[-1] if "scale" in row else row.split()[0] for row in rows]
        axes.set_xticks(range(len(rows)), ticks)
        axes.set_xlabel(label)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_ylabel("test error in %, a dot for each start")
    return figure


# -- good on training data, bad on test data -----------------------------------------------------------

CURES = (
    *("none", "weight decay", "PCA to 30 numbers", "dropout"),
    *("augmentation", "ten times the data"),
)


def cures(data: Data) -> Result:
    """Few training images, and what helps a network that learns them by heart."""
    count, updates, seeds, units = (100, 200, 1, 128) if data.quick else (500, 800, 5, 128)
    rows: Rows = {}
    curves: dict[str, list[Any]] = {}
    for cure in CURES:
        for seed in range(seeds):
            torch.manual_seed(seed)
            images, labels = data.draw(10 * count if "data" in cure else count, seed)
            network = mlp(
                30 if "PCA" in cure else data.pixels,
                [units, units],
                data.classes,
                dropout=0.5 if "dropout" in cure else 0.0,
            )
            if "PCA" in cure:
                network = nn.Sequential(PCA(images, 30), network)

            def losses(
                network: nn.Module = network, images: Tensor = images, labels: Tensor = labels
            ) -> tuple[float, float]:
                return (
                    loss_of(network, images[:500], labels[:500]),
                    loss_of(network, data.test[:2_000], data.test_labels[:2_000]),
                )

            seen = learn(
                network,
                images,
                labels,
                updates,
                weight_decay=1.0 if cure == "weight decay" else 0.0,
                change=data.moved if "augmentation" in cure else None,
                batch_size=50,
                every=updates // 20,
                watch=losses,
            )
            found = both_errors(network, images, labels, data)
            if cure != "none":
                found["better than none"] = rows["none"]["test error"][seed] - found["test error"]
            add(rows, cure, found)
            curves.setdefault(cure, []).append(seen)
    updates_seen = list(range(updates // 20, updates + 1, updates // 20))
    return Result("cure", rows, curves={"updates": updates_seen, "losses": curves})


class PCA(nn.Module):
    """Images to the coordinates along their first principal components."""

    def __init__(self, images: Tensor, components: int) -> None:
        super().__init__()
        flat = images.flatten(1)
        self.mean: Tensor
        self.axes: Tensor
        self.register_buffer("mean", flat.mean(dim=0))
        directions = torch.linalg.svd(flat - self.mean, full_matrices=False).Vh
        self.register_buffer("axes", directions[:components].T.contiguous())

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.mean) @ self.axes


def draw_cures(result: Result) -> Figure:
    figure, (left, right) = two_plots()
    for cure, colour in (("none", ORANGE), ("dropout", GREEN), ("augmentation", BLUE)):
        losses = np.array(result.curves["losses"][cure]).mean(axis=0)
        left.plot(result.curves["updates"], losses[:, 0], "--", color=colour)
        left.plot(result.curves["updates"], losses[:, 1], "-", color=colour, label=cure)
    left.plot([], [], "--", color=GREY, label="on training images")
    left.set_xlabel("updates")
    left.set_ylabel("cross-entropy on test images")
    left.set_ylim(0)
    left.legend(frameon=False)
    names = list(result.rows)[::-1]
    for place, cure in enumerate(names):
        values = result.rows[cure]["test error"]
        low, high = student_interval(np.array(values))
        right.plot([low, high], [place, place], color=BLUE, lw=2)
        right.plot(np.mean(values), place, "o", color=BLUE)
    right.set_yticks(range(len(names)), names)
    right.set_xlabel("test error in %")
    right.set_xlim(0)
    return figure


# -- bad on other test data: rotated images ------------------------------------------------------------

PUBLISHED = {
    "published: CNN": {"0°": 98.94, "30°": 85.29, "60°": 30.91, "90°": 13.71, "any angle": 42.0},
    "published: p4": {"any angle": 83.0},
    "published: trained rotated": {"any angle": 92.8},
}
"""Test accuracy in %."""


class PlaneCNN(nn.Sequential):
    """Two convolutions with pooling and batch normalisation, and a linear layer."""

    def __init__(self, shape: tuple[int, int, int], filters: int, classes: int) -> None:
        channels, height, width = shape
        super().__init__(
            *(nn.Conv2d(channels, filters, 3, padding=1), nn.MaxPool2d(2)),
            *(nn.BatchNorm2d(filters), nn.ReLU()),
            *(nn.Conv2d(filters, 2 * filters, 3, padding=1), nn.MaxPool2d(2)),
            *(nn.BatchNorm2d(2 * filters), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(2 * filters * (height // 4) * (width // 4), classes)),
        )


class P4CNN(nn.Module):
    """The same on the group p4, for square images: the linear layer is a convolution as large as its planes.

    Where the side is a multiple of 4, the scores of an image turned by 90°, 180° or 270° are those of the image.
    """

    def __init__(self, shape: tuple[int, int, int], filters: int, classes: int) -> None:
        super().__init__()
        channels, side, _ = shape
        self.features = nn.Sequential(
            *(P4Lifting(channels, filters), nn.MaxPool3d((1, 2, 2))),
            *(nn.BatchNorm3d(filters), nn.ReLU()),
            *(P4Convolution(filters, 2 * filters), nn.MaxPool3d((1, 2, 2))),
            *(nn.BatchNorm3d(2 * filters), nn.ReLU()),
            P4Convolution(2 * filters, classes, size=side // 4, padding=0),
        )

    def forward(self, images: Tensor) -> Tensor:
        return pool_rotations(self.features(images)).flatten(1)


def rotation(data: Data) -> Result:
    """A CNN and a p4 network, trained on upright and on rotated images, tested on rotated ones.

    Half as many filters, four planes each, give the p4 network as many weights in its second convolution, and
    twice as many in its last layer.
    """
    count, updates, seeds, filters = (1_000, 100, 1, 4) if data.quick else (10_000, 200, 3, 8)
    if data.shape[1] != data.shape[2]:
        raise DataError("the study of rotation needs square images")
    chosen = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:1_000]
    images, labels = data.test[chosen], data.test_labels[chosen]
    angles = list(range(0, 360, 90 if data.quick else 30))
    at = {
        f"{angle}°": rotated(images, torch.full((len(images),), float(angle))) for angle in angles
    }
    rows: Rows = {}
    curves: dict[str, list[list[float]]] = {}

    def turned(batch: Tensor) -> Tensor:
        return rotated(batch, 360 * torch.rand(len(batch)))

    for kind, make in (("CNN", PlaneCNN), ("p4", P4CNN)):
        for training, change in (("upright", None), ("rotated", turned)):
            for seed in range(seeds):
                torch.manual_seed(seed)
                network = make(data.shape, filters if kind == "CNN" else filters // 2, data.classes)
                examples = data.draw(count, seed)
                learn(network, *examples, updates, learning_rate=5e-3, change=change)
                accuracy = {name: 100 - error(network, part, labels) for name, part in at.items()}
                shown: list[str] = ["0°", "30°", "60°", "90°"]
                found = {name: accuracy[name] for name in shown if name in at}
                found["multiples of 90°"] = float(
                    np.mean([accuracy[f"{angle}°"] for angle in (0, 90, 180, 270)])
                )
                found["any angle"] = float(np.mean(list(accuracy.values())))
                name = f"{kind}, trained {training}"
                add(rows, name, found)
                curves.setdefault(name, []).append(list(accuracy.values()))
    for name, accuracies in PUBLISHED.items():
        add(rows, name, accuracies)
    return Result("network", rows, curves={"angles": angles, "accuracies": curves})


def draw_rotation(result: Result) -> Figure:
    figure, axes = one_plot()
    styles = ((ORANGE, "-"), (ORANGE, "--"), (BLUE, "-"), (BLUE, "--"))
    angles = [*result.curves["angles"], 360]
    for (name, values), (colour, style) in zip(
        result.curves["accuracies"].items(), styles, strict=True
    ):
        mean = np.mean(values, axis=0)
        axes.plot(angles, [*mean, mean[0]], style, color=colour, label=name)
    axes.set_xticks(range(0, 361, 30))
    axes.set_xlabel("angle of the test images in degrees")
    axes.set_ylabel("test accuracy in %")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


# -- values, figures and tables in files ---------------------------------------------------------------


STUDIES: dict[str, tuple[Callable[[Data], Result], Callable[[Result], Figure]]] = {
    "capacity": (capacity, draw_capacity),
    "activations": (activations, draw_activations),
    "pretraining": (pretraining, draw_pretraining),
    "starts": (starts, draw_starts),
    "cures": (cures, draw_cures),
    "rotation": (rotation, draw_rotation),
}


def keep(folder: Path, name: str, result: Result, about: dict[str, Any]) -> None:
    """Write values, figure and table of a study."""
    path = folder / "recipe.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    values[name] = {**about, "result": asdict(result)}
    replace_file(path, (json.dumps(values) + "\n").encode())
    picture = io.BytesIO()
    STUDIES[name][1](result).savefig(picture, format="png", dpi=110)
    replace_file(folder / f"recipe-{name}.png", picture.getvalue())
    page = folder / "recipe.md"
    if page.exists():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(
            pattern, lambda found: found[1] + table(result) + found[2], page.read_text(), flags=re.S
        )
        replace_file(page, text.encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run studies; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(STUDIES)}; all")
    parser.add_argument("--data", metavar="PATH_OR_NAME", help="MNIST, or else the 8×8 digits")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--output", type=Path, default=Path("recipe"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.studies if name not in STUDIES]:
        parser.error(f"there is no study {printable(unknown[0])!r}; known: {', '.join(STUDIES)}")
    try:
        data = load(options.data, options.quick)
        options.output.mkdir(parents=True, exist_ok=True)
        for name in options.studies or STUDIES:
            started = time.process_time()
            result = STUDIES[name][0](data)
            seconds = round(time.process_time() - started)
            about = {"data": data.name, "quick": data.quick, "processor_seconds": seconds}
            keep(options.output, name, result, about)
            print(f"\n{name}, {printable(data.name)}, {seconds} s of processor time")
            print(f"\n{table(result)}", end="", flush=True)
    except (DataError, OSError) as failure:
        print(f"recipe: {printable(str(failure))}", file=sys.stderr)
        return 2
    print(f"\nvalues and figures: {printable(str(options.output))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
