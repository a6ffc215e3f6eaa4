"""Deep networks for small images: AlexNet, VGG, GoogLeNet, ResNet, and one that learns fast.

One recipe trains all of them: stochastic gradient descent with Nesterov's momentum, a learning rate that rises
for a fifth of the updates and then falls to zero, weight decay, label smoothing, mirrored and shifted images,
bfloat16 where the processor has it. Without `--data` the images are pieces of frames of Atari games, and
the question is "which game is this?"; `--data cifar10` is the set that such networks are compared on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from perception.data.augmentation import shifted
from perception.data.datasets import Tensors
from perception.data.images import like_training_images, load_images, shape_of
from perception.networks.classifiers import Name, make_classifier, weights_of, whitening_filters
from perception.networks.precision import channels_innermost, image_scores
from perception.tasks.classification import (
    answers,
    confusion,
    hardest_examples,
    logistic_regression,
    metrics_of,
    predictions_of,
)
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BIAS_SCALE = 64
"""The fast network's normalisations learn their biases this much faster, as airbench's do."""


@dataclass(frozen=True, config=STRICT)
class ObjectsConfig:
    """Network and training."""

    network: Name = "fast"
    """Whose network, in its form for small images."""
    depth: Annotated[int, Field(ge=0, le=1000)] = 0
    """Layers of a resnet (20), convolutions of an alexnet (5), of each stage of vgg (2) and fast (2), modules of
    each stage of googlenet (3); 0 for the number in brackets."""
    width: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Channels of the first stage; 0 for 16 (resnet), 32 (fast) or 64."""
    shortcuts: bool = True
    """A resnet's shortcuts; without them it is a plain deep network with as many weights."""
    augment: bool = True
    """Learn from images that are mirrored and shifted by up to two pixels at random, and classify by the mean
    scores of an image and its mirror image."""
    epochs: Epochs = 6
    """Passes over the training images."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.15
    """The largest learning rate of gradient descent."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Nesterov's momentum."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-3
    """Weight decay."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of a label's probability that is spread over all classes."""
    batch_size: PositiveInt = 128
    """Images per update."""


class Objects(Task):
    """Classes of images; a batch is images uint8 (n, channels, height, width) and labels (n,)."""

    Config = ObjectsConfig
    default_data = "frames:atari"
    image_shape: tuple[int, int, int]
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ObjectsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.image_shape = shape_of(metadata)
        self.network = channels_innermost(
            make_classifier(
                config.network,
                self.image_shape,
                len(self.classes),
                config.depth,
                config.width,
                config.shortcuts,
            )
        )
        self.register_buffer("mean", torch.tensor(metadata["mean"]).view(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(metadata["deviation"]).view(-1, 1, 1))
        if config.network == "fast":
            with torch.no_grad():
                self.network[0].weight.copy_(torch.tensor(metadata["whitening"]))  # type: ignore[union-attr, operator]
        slow: list[Tensor] = []
        quick: list[Tensor] = []
        for name, parameter in self.network.named_parameters():
            norm = config.network == "fast" and name.endswith("bias") and not name.startswith("0.")
            if parameter.requires_grad:
                (quick if norm else slow).append(parameter)
        decay, quicker = config.weight_decay, _BIAS_SCALE
        groups: list[dict[str, Any]] = [{"params": slow, "scale": 1.0, "weight_decay": decay}]
        if quick:
            groups += [{"params": quick, "scale": quicker, "weight_decay": decay / quicker}]
        self.optimizers = {
            "main": torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.momentum > 0)
        }
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    @classmethod
    def load_data(cls, config: ObjectsConfig, source: DataSource) -> TaskData:
        images = load_images(source)
        train, test = (images.train, images.train_labels), (images.test, images.test_labels)
        sample = images.train[:5000].float() / 255
        mean = sample.mean(dim=(0, 2, 3), keepdim=True)
        deviation = sample.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-3)
        metadata = {
            "shape": list(images.shape),
            "classes": images.classes,
            "images": len(images.train),
            "mean": mean.flatten().tolist(),
            "deviation": deviation.flatten().tolist(),
            "whitening": whitening_filters((sample - mean) / deviation).tolist(),
            "baseline": list(logistic_regression(train, test)),
        }
        return TaskData(Tensors(*train), Tensors(*test), metadata, images.origin)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes, for images uint8; in evaluation the mean for an image and its mirror image."""
        scores = image_scores(self.network, self.normalised(images))
        if self.training or not self.config.augment:
            return scores
        return (scores + image_scores(self.network, self.normalised(images.flip(3)))) / 2

    def features(self, images: Tensor) -> Tensor:
        """What the last layer gets."""
        return image_scores(self.network[:-1], self.normalised(images))

    def normalised(self, images: Tensor) -> Tensor:
        """Floats with mean 0 and standard deviation 1 for each channel."""
        return (images.float() / 255 - self.mean) / self.deviation

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        images, labels = batch
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * group["scale"] * self.schedule(step)
        scores = self(shifted(images, 2, mirror=True) if self.config.augment else images)
        loss = F.cross_entropy(scores, labels, label_smoothing=self.config.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = (scores.argmax(dim=1) == labels).float().mean()
        return {"loss": loss.detach(), "training_accuracy": accuracy}

    def schedule(self, step: int) -> float:
        """Factor of the learning rate: from 0.2 to 1 in a fifth of the updates, then to 0."""
        done = min(1.0, (step + 1) / self.updates)
        return 0.2 + 4 * done if done < 0.2 else max(0.01, (1 - done) / 0.8)

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
        shape = self.image_shape
        images = [like_training_images(item, shape, None) for item in inputs]
        if not images:
            return []
        scores = self(torch.stack(images).to(self.device))
        return answers(inputs, scores.softmax(dim=1), self.classes)
