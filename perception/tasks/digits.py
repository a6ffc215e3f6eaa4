"""Image classification: a linear model, a multi-layer perceptron, or a convolutional network.

The loss is the cross-entropy of the softmax, the score the accuracy on the test images, beside
scikit-learn's logistic regression. Without `--data` it learns scikit-learn's 8×8 digits; with
`--data mnist` MNIST (LeCun et al. 1998), and any labelled images of one size (see `perception.data.images`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import (
    ink_box,
    input_name,
    like_training_images,
    load_images,
    show_image,
)
from perception.tasks.task import STRICT, DataError, DataSource, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BASELINE_IMAGES = 10_000
"""Logistic regression is fitted to this many training images at most: it takes seconds then."""


@dataclass(frozen=True, config=STRICT)
class DigitsConfig:
    """Network and training."""

    network: Literal["linear", "mlp", "cnn"] = "cnn"
    """Softmax of a linear map, two hidden layers, or two convolutional blocks."""
    epochs: PositiveInt = 12
    """Passes over the training images."""
    hidden_size: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Units of a hidden layer (mlp, cnn)."""
    filters: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Filters of the first convolution; the second has twice as many."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability of hidden units."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of Adam."""
    batch_size: PositiveInt = 64
    """Images per update."""


def make_network(config: DigitsConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network from images (n, *shape) in 0…1 to scores (n, classes)."""
    channels, height, width = shape
    hidden, dropout = config.hidden_size, config.dropout
    if config.network == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))
    if config.network == "mlp":
        return nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden, classes),
        )
    if min(height, width) < 4:
        raise DataError(f"the cnn needs images of at least 4×4, not {height}×{width}")
    filters = config.filters
    return nn.Sequential(
        *(nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()),
        nn.MaxPool2d(2),
        *(nn.Conv2d(filters, 2 * filters, 3, padding=1), nn.BatchNorm2d(2 * filters), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *(nn.Linear(2 * filters * (height // 4) * (width // 4), hidden), nn.ReLU()),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


class Digits(Task):
    """Classes of images; a batch is images uint8 (n, channels, height, width) and labels (n,)."""

    Config = DigitsConfig
    default_data = "digits"

    def __init__(self, config: DigitsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.network = make_network(config, tuple(metadata["shape"]), len(self.classes))
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}

    @classmethod
    def load_data(cls, config: DigitsConfig, source: DataSource) -> TaskData:
        images = load_images(source)
        train, test = (
            Tensors(images.train, images.train_labels),
            Tensors(images.test, images.test_labels),
        )
        fitted = min(len(train), _BASELINE_IMAGES)
        metadata = {
            "shape": list(images.shape),
            "classes": images.classes,
            "ink_box": ink_box(images.train),
            "baseline": [
                f"logistic regression, {fitted:,} training images",
                baseline_accuracy(train, test),
            ],
        }
        return TaskData(train, test, metadata, images.origin)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes."""
        return self.network(images.float() / 255)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        images, labels = batch
        scores = self(images)
        loss = F.cross_entropy(scores, labels)
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        accuracy = (scores.argmax(dim=1) == labels).float().mean()
        return {"loss": loss.detach(), "training_accuracy": accuracy}

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        probabilities, labels, _ = self._test(batches)
        correct = (probabilities.argmax(axis=1) == labels).astype(float)
        weights = sum(parameter.numel() for parameter in self.parameters())
        table = [
            ["model", "accuracy"],
            [f"{self.config.network}, {weights:,} weights", round(float(correct.mean()), 4)],
            self.metadata["baseline"],
        ]
        likelihoods = probabilities[np.arange(len(labels)), labels]
        loss = -np.log(likelihoods.clip(1e-12))
        return {
            "accuracy": Metric(correct, table=table),
            "loss": Metric(loss),
        }

    @torch.no_grad()
    def _test(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, ...]:
        """Probabilities (n, classes), labels (n,) and images of test batches."""
        rows = [
            (self(images).softmax(dim=1).cpu(), labels.cpu(), images.cpu())
            for images, labels in batches
        ]
        probabilities, labels, images = (
            torch.cat(parts).numpy() for parts in zip(*rows, strict=True)
        )
        return probabilities, labels, images

    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """The test images classified least surely, and the confusion matrix."""
        from matplotlib.figure import Figure
        from sklearn.metrics import confusion_matrix

        probabilities, labels, images = self._test(batches)
        predicted = probabilities.argmax(axis=1)
        hardest = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")[:32]
        examples = Figure((8, 5), layout="constrained")
        for axes, index in zip(examples.subplots(4, 8).flat, hardest, strict=False):
            show_image(axes, torch.from_numpy(images[index]))
            right = predicted[index] == labels[index]
            title = f"{self.classes[predicted[index]]}  {probabilities[index].max():.0%}"
            title = title if right else f"{title} (is {self.classes[labels[index]]})"
            axes.set_title(title, fontsize=8, color="black" if right else "crimson")
        numbers = range(len(self.classes))
        counts = confusion_matrix(labels, predicted, labels=numbers)
        confusion = Figure((5, 5), layout="constrained")
        axes = confusion.subplots()
        axes.imshow(np.log1p(counts), cmap="Blues")
        if len(numbers) <= 20:
            for row, column in zip(*counts.nonzero(), strict=True):
                color = "white" if row == column else "black"
                axes.text(
                    column,
                    row,
                    counts[row, column],
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=8,
                )
        axes.set_xticks(numbers, self.classes)
        axes.set_yticks(numbers, self.classes)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        return {"examples": examples, "confusion": confusion}

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes of image files (or Pillow images, or arrays) of any size."""
        shape, box = tuple(self.metadata["shape"]), self.metadata["ink_box"]
        images = [like_training_images(item, shape, box) for item in inputs]
        if not images:
            return []
        results = self(torch.stack(images).to(self.device)).softmax(dim=1).tolist()
        return [
            {
                "input": input_name(item),
                "class": self.classes[max(range(len(row)), key=row.__getitem__)],
                "probabilities": {
                    name: round(value, 4) for name, value in zip(self.classes, row, strict=True)
                },
            }
            for item, row in zip(inputs, results, strict=True)
        ]


def baseline_accuracy(train: Tensors, test: Tensors) -> float:
    """Test accuracy of scikit-learn's logistic regression on pixels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    (images, labels), (test_images, test_labels) = (
        [
            tensor.flatten(1).numpy() / 255 if tensor.ndim > 1 else tensor.numpy()
            for tensor in part.tensors
        ]
        for part in (train, test)
    )
    model = LogisticRegression(max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(images[:_BASELINE_IMAGES], labels[:_BASELINE_IMAGES])
    return round(float(model.score(test_images, test_labels)), 4)
