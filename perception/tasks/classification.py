"""What tasks that classify images share: predictions of test batches, pictures of them, answers, the baseline."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.data.images import input_name, show_image
from perception.tasks.task import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BASELINE_NUMBERS = 10_000 * 28 * 28
"""The baseline is fitted to training images of this many numbers at most: it takes seconds then."""


@dataclass
class Predictions:
    """What a network says about test images."""

    images: Tensor
    """(n, channels, height, width) uint8."""
    labels: np.ndarray
    """(n,) the true classes."""
    probabilities: np.ndarray
    """(n, classes)."""

    @property
    def classes(self) -> np.ndarray:
        """(n,) the classes of the largest probabilities."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """(n,) 1.0 where the class is the true one, else 0.0."""
        return (self.classes == self.labels).astype(float)

    @property
    def likelihoods(self) -> np.ndarray:
        """(n,) probabilities of the true classes."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    @property
    def losses(self) -> np.ndarray:
        """(n,) cross-entropies."""
        return -np.log(self.likelihoods.clip(1e-12))


@torch.no_grad()
def predictions_of(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Predictions:
    """Predictions for batches of images uint8 and labels, by a network that gives scores."""
    rows = [
        (images.cpu(), labels.cpu(), network(images).float().softmax(dim=1).cpu())
        for images, labels in batches
    ]
    images, labels, probabilities = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return Predictions(images, labels.numpy(), probabilities.numpy())


def metrics_of(
    predictions: Predictions, name: str, baselines: Sequence[Sequence[Any]]
) -> dict[str, Metric]:
    """Accuracy, with a table of the model beside its baselines (name, accuracy), and the loss."""
    ours = [name, round(float(predictions.correct.mean()), 4)]
    table: list[Sequence[Any]] = [["model", "accuracy"], ours, *baselines]
    return {
        "accuracy": Metric(predictions.correct, table=table),
        "loss": Metric(predictions.losses),
    }


def hardest_examples(predictions: Predictions, classes: Sequence[str]) -> Figure:
    """The test images whose true class has the smallest probability, with the predicted class."""
    from matplotlib.figure import Figure

    chosen = np.argsort(predictions.likelihoods, kind="stable")[:32]
    # Numbers fit on a line, words do not.
    separator, fontsize = (" ", 8) if max(map(len, classes)) < 4 else ("\n", 7)
    figure = Figure((8, 5), layout="constrained")
    for axes, index in zip(figure.subplots(4, 8).flat, chosen, strict=False):
        show_image(axes, predictions.images[index])
        predicted, true = predictions.classes[index], predictions.labels[index]
        title = f"{classes[predicted]}  {predictions.probabilities[index].max():.0%}"
        title = title if predicted == true else f"{title}{separator}(is {classes[true]})"
        color = "black" if predicted == true else "crimson"
        axes.set_title(title, fontsize=fontsize, color=color)
    for axes in figure.axes:
        axes.axis("off")
    return figure


def confusion(predictions: Predictions, classes: Sequence[str]) -> Figure:
    """How many test images of each class (rows) were classified as which (columns)."""
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    numbers = range(len(classes))
    counts = confusion_matrix(predictions.labels, predictions.classes, labels=numbers)
    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.log1p(counts), cmap="Blues")
    if len(numbers) <= 20:
        for row, column in zip(*counts.nonzero(), strict=True):
            axes.text(
                column,
                row,
                counts[row, column],
                ha="center",
                va="center",
                color="white" if row == column else "black",
                fontsize=8,
            )
    axes.set_xticks(numbers, classes, rotation=90 if max(map(len, classes)) > 3 else 0)
    axes.set_yticks(numbers, classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def answers(
    inputs: Sequence[Any], probabilities: Tensor, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """JSON objects for a user's images: the class and all probabilities."""
    return [
        {
            "input": input_name(item),
            "class": classes[int(np.argmax(row))],
            "probabilities": {
                name: round(value, 4) for name, value in zip(classes, row, strict=True)
            },
        }
        for item, row in zip(inputs, probabilities.tolist(), strict=True)
    ]


def logistic_regression(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> tuple[str, float]:
    """Name and test accuracy of scikit-learn's logistic regression on pixels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    count = min(len(train[0]), max(2, _BASELINE_NUMBERS // train[0][0].numel()))
    chosen = torch.arange(count) * len(train[0]) // count  # evenly: they may be sorted by class
    images, test_images = (
        images.flatten(1).numpy() / 255 for images in (train[0][chosen], test[0])
    )
    model = LogisticRegression(max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(images, train[1][chosen].numpy())
    name = f"logistic regression, {count:,} training images"
    return name, round(float(model.score(test_images, test[1].numpy())), 4)


@torch.no_grad()
def feature_map(
    features: Callable[[Tensor], Tensor],
    predictions: Predictions,
    classes: Sequence[str],
    device: torch.device,
    most: int = 2000,
) -> Figure:
    """Test images as points: the two principal components of their features, coloured by true class."""
    from matplotlib.figure import Figure
    from sklearn.decomposition import PCA

    parts = predictions.images[:most].to(device).split(500)
    values = torch.cat([features(images) for images in parts])
    points = PCA(2, random_state=0).fit_transform(values.cpu().numpy())
    figure = Figure((6, 5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(classes):
        chosen = points[predictions.labels[:most] == number]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=4, label=name, color=f"C{number}" if number < 10 else None
        )
    axes.set_xlabel("first principal component of the features")
    axes.set_ylabel("second")
    if len(classes) <= 20:
        axes.legend(bbox_to_anchor=(1, 1), markerscale=3, frameon=False)
    return figure
