"""Image classification: a linear model, a multi-layer perceptron, or a convolutional network.

The loss is the cross-entropy of the softmax, the score the accuracy on the test images, beside
scikit-learn's logistic regression. Without `--data` it learns scikit-learn's 8×8 digits; with
`--data mnist` MNIST (LeCun et al. 1998), and any labelled images of one size (see `perception.data.images`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.augmentation import shifted
from perception.data.datasets import Tensors
from perception.data.images import ink_box, like_training_images, load_images, shape_of
from perception.networks.classifiers import weights_of
from perception.networks.precision import channels_innermost, image_scores
from perception.tasks.classification import (
    answers,
    confusion,
    hardest_examples,
    logistic_regression,
    metrics_of,
    predictions_of,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, config=STRICT)
class DigitsConfig:
    """Network and training."""

    network: Literal["linear", "mlp", "cnn"] = "cnn"
    """Softmax of a linear map, two hidden layers, or two convolutional blocks."""
    epochs: Epochs = 12
    """Passes over the training images."""
    hidden_size: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Units of a hidden layer (mlp, cnn)."""
    filters: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Filters of the first convolution; the second has twice as many."""
    kernel_size: Annotated[int, Field(ge=1, le=100)] = 3
    """Height and width of a filter."""
    stride: Annotated[int, Field(ge=1, le=100)] = 1
    """Pixels from one place of a filter to the next."""
    padding: Annotated[int, Field(ge=0, le=100)] = 1
    """Rows and columns of zeros around the image before a convolution."""
    pooling: Literal["max", "average", "none"] = "max"
    """What each block makes of 2×2 numbers: the largest, the mean, or nothing."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability of hidden units."""
    shift: Annotated[int, Field(ge=0, le=100)] = 0
    """Training images are shifted by up to so many pixels at random."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 64
    """Images per update."""


def make_network(config: DigitsConfig, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """A network from images (n, *shape) in 0…1 to scores (n, classes); its last layer is linear."""
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
    features = nn.Sequential(
        *block(config, channels, config.filters),
        *block(config, config.filters, 2 * config.filters),
        nn.Flatten(),
    )
    try:
        with torch.no_grad():
            size = features.eval()(torch.zeros(1, *shape)).shape[1]
    except RuntimeError as error:
        raise DataError(
            f"images of {height}×{width} are too small for two blocks of this cnn: a smaller "
            "kernel_size or stride, more padding or no pooling makes them fit"
        ) from error
    return nn.Sequential(
        *features.train().children(),
        *(nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(dropout)),
        nn.Linear(hidden, classes),
    )


def block(config: DigitsConfig, before: int, after: int) -> list[nn.Module]:
    """Convolution, batch normalisation, rectifier, pooling."""
    pooling: dict[str, list[nn.Module]] = {
        "max": [nn.MaxPool2d(2)],
        "average": [nn.AvgPool2d(2)],
        "none": [],
    }
    return [
        nn.Conv2d(before, after, config.kernel_size, config.stride, config.padding),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        *pooling[config.pooling],
    ]


class Digits(Task):
    """Classes of images; a batch is images uint8 (n, channels, height, width) and labels (n,)."""

    Config = DigitsConfig
    default_data = "digits"
    image_shape: tuple[int, int, int]

    def __init__(self, config: DigitsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.image_shape = shape_of(metadata)
        network = make_network(config, self.image_shape, len(self.classes))
        self.network = channels_innermost(network)
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    @classmethod
    def load_data(cls, config: DigitsConfig, source: DataSource) -> TaskData:
        images = load_images(source)
        train, test = (images.train, images.train_labels), (images.test, images.test_labels)
        if config.shift >= min(images.shape[1:]):
            raise DataError(
                f"images of {images.shape[1]}×{images.shape[2]} cannot be shifted by {config.shift} pixels"
            )
        metadata = {
            "shape": list(images.shape),
            "classes": images.classes,
            "images": len(images.train),
            "ink_box": ink_box(images.train),
            "baseline": list(logistic_regression(train, test)),
        }
        return TaskData(Tensors(*train), Tensors(*test), metadata, images.origin)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes, for images uint8."""
        return image_scores(self.network, images.float() / 255)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer gets."""
        return image_scores(self.network[:-1], images.float() / 255)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        images, labels = batch
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        scores = self(shifted(images, self.config.shift) if self.config.shift else images)
        loss = F.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = (scores.argmax(dim=1) == labels).float().mean()
        return {"loss": loss.detach(), "training_accuracy": accuracy}

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        predictions = predictions_of(self, batches)
        name = f"{self.config.network}, {weights_of(self.network):,} weights"
        return metrics_of(predictions, name, [self.metadata["baseline"]])

    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """The test images classified least surely, and the confusion matrix."""
        predictions = predictions_of(self, batches)
        return {
            "examples": hardest_examples(predictions, self.classes),
            "confusion": confusion(predictions, self.classes),
        }

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes of image files (or Pillow images, or arrays) of any size."""
        shape, box = self.image_shape, self.metadata["ink_box"]
        images = [like_training_images(item, shape, box) for item in inputs]
        if not images:
            return []
        scores = self(torch.stack(images).to(self.device))
        return answers(inputs, scores.softmax(dim=1), self.classes)
