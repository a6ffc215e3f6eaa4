"""Transfer: what a network learned from other images helps where few images have labels.

Three copies of one network learn the same labelled images, side by side: *frozen* keeps the features of another
fit, what its convolutions give, and learns a new last layer only; *fine-tuned* starts from them and learns all
weights; *from scratch* starts from random weights. The other fit is one of `digits`, `objects` or
`semi-supervised`, named by `--pretrained RUN`. Without one, a small CNN first learns the digits 0 to 4 of
scikit-learn's 8×8 digits, and the few labelled images are of 5 to 9. Yosinski et al. 2014, "How transferable are
features in deep neural networks?"
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import Images, ink_box, like_training_images, load_images, shape_of
from perception.tasks.classification import (
    answers,
    feature_map,
    hardest_examples,
    logistic_regression,
    predictions_of,
)
from perception.tasks.pretrained import (
    description,
    like_other_images,
    open_classifier,
    rebuilt,
    small_classifier,
)
from perception.tasks.semi_supervised import labelled_images
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EPOCH = 2_000
"""Labelled images are repeated until an epoch has at least so many: few updates would teach nothing."""


@dataclass(frozen=True, config=STRICT)
class TransferConfig:
    """Labels and training."""

    pretrained: str = ""
    """The other fit, by its folder or its name in `runs`; without one, of digits 0 to 4."""
    labels: Annotated[int, Field(ge=2, le=1_000_000)] = 100
    """Labelled images to learn from, as many of each class as possible."""
    draw: NonNegativeInt = 0
    """Which images these are: another number, others drawn at random."""
    epochs: Epochs = 5
    """Passes over the labelled images, which are repeated to 2,000."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 50
    """Images per update."""


class Transfer(Task):
    """Classes of images; a batch is images uint8 (n, channels, height, width) and labels (n,)."""

    Config = TransferConfig
    path_hyperparameters = ("pretrained",)
    default_data = "digits"
    image_shape: tuple[int, int, int]

    def __init__(self, config: TransferConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.image_shape = shape_of(metadata["pretrained"]["metadata"])
        self.frozen = self.untrained()
        self.tuned = copy.deepcopy(self.frozen)
        self.scratch = self.untrained()
        for parameter in self.frozen.network[:-1].parameters():
            parameter.requires_grad_(False)
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizers = {"main": torch.optim.Adam(learning, config.learning_rate, fused=True)}
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    def untrained(self) -> Any:
        """The task of the other fit with random weights, and a new last layer after its features."""
        other = self.metadata["pretrained"]
        task = rebuilt(other)
        task.network = task.network[: feature_layers(task.network) + 1]
        task.network[-1] = nn.Identity()
        with torch.no_grad():
            size = task(torch.zeros(1, *shape_of(other["metadata"]))).shape[1]
        task.network[-1] = nn.Linear(size, len(self.classes))
        return task

    @classmethod
    def load_data(cls, config: TransferConfig, source: DataSource) -> TaskData:
        images = load_images(source)
        if config.pretrained:
            other: Any = open_classifier(source, config.pretrained)
        elif source.reference == cls.default_data:
            other = small_classifier(with_classes(images, range(5)))
            images = with_classes(images, range(5, 10))
        else:
            raise DataError(
                f"to transfer to {source.reference}, name another fit by --pretrained RUN, such as one of "
                "`fathom fit digits`"
            )
        shape = shape_of(other.metadata)
        chosen = labelled_images(images.train_labels, config.labels, config.draw)
        train = like_other_images(images.train[chosen], shape), images.train_labels[chosen]
        test = like_other_images(images.test, shape), images.test_labels
        repeated = torch.arange(len(chosen)).repeat(-(-_EPOCH // len(chosen)))
        metadata = {
            "classes": images.classes,
            "images": len(repeated),
            "ink_box": ink_box(images.train),
            "pretrained": description(other),
            "baseline": list(logistic_regression(train, test)),
        }
        dropped = range(feature_layers(other.network), len(other.network))
        new = tuple(f"network.{number}." for number in dropped)
        learned = {
            name: tensor for name, tensor in other.state_dict().items() if not name.startswith(new)
        }
        return TaskData(
            Tensors(*(part[repeated] for part in train)),
            Tensors(*test),
            metadata,
            {
                **images.origin,
                "train": len(repeated),
                "test": len(test[0]),
                "labels": len(chosen),
                "draw": config.draw,
                "pretrained": config.pretrained or "digits 0 to 4",
            },
            weights={
                f"{copy}.{name}": learned[name] for copy in ("frozen", "tuned") for name in learned
            },
        )

    def train(self, mode: bool = True) -> Self:
        """Frozen features stay as they are: their normalisations keep the statistics of the other fit."""
        super().train(mode)
        self.frozen.eval()
        return self

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        images, labels = batch
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        losses = {
            name: F.cross_entropy(network(images), labels)
            for name, network in self.networks().items()
        }
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # they share no weights
        optimizer.step()
        return {f"{name}_loss": loss.detach() for name, loss in losses.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes by the frozen features."""
        return self.frozen(images)

    def networks(self) -> dict[str, nn.Module]:
        """The three networks by name."""
        return {"frozen": self.frozen, "fine-tuned": self.tuned, "from scratch": self.scratch}

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        tests = list(batches)
        correct = {
            name: predictions_of(network, tests).correct
            for name, network in self.networks().items()
        }
        table = [
            ["model", "accuracy"],
            *(
                [f"{name}, {self.config.labels:,} labels", round(float(values.mean()), 4)]
                for name, values in correct.items()
            ),
            self.metadata["baseline"],
        ]
        gain = correct["frozen"] - correct["from scratch"]
        return {
            "accuracy of frozen features": Metric(correct["frozen"], table=table),
            "fine-tuned": Metric(correct["fine-tuned"]),
            "from scratch": Metric(correct["from scratch"]),
            "frozen over scratch": Metric(gain),
        }

    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """The least sure test images of the frozen network, and all in the plane of its features."""
        predictions = predictions_of(self.frozen, batches)
        return {
            "examples": hardest_examples(predictions, self.classes),
            "features": feature_map(self.frozen.features, predictions, self.classes, self.device),
        }

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes, by the frozen features, of image files (or Pillow images, or arrays) of any size."""
        box = self.metadata["ink_box"]
        images = [like_training_images(item, self.image_shape, box) for item in inputs]
        if not images:
            return []
        scores = self(torch.stack(images).to(self.device))
        return answers(inputs, scores.softmax(dim=1), self.classes)


def feature_layers(network: nn.Sequential) -> int:
    """How many first layers give features: all convolutions, or without one all but the last layer.

    Hidden layers after the convolutions know the classes of the other fit too well to tell others apart.
    """
    flat = [number for number, layer in enumerate(network) if isinstance(layer, nn.Flatten)]
    return flat[-1] + 1 if flat[-1] else len(network) - 1


def with_classes(images: Images, classes: range) -> Images:
    """The images of some classes only."""
    train = (images.train_labels >= classes.start) & (images.train_labels < classes.stop)
    test = (images.test_labels >= classes.start) & (images.test_labels < classes.stop)
    return dataclasses.replace(
        images,
        train=images.train[train],
        train_labels=images.train_labels[train] - classes.start,
        test=images.test[test],
        test_labels=images.test_labels[test] - classes.start,
        classes=images.classes[classes.start : classes.stop],
    )
