"""Semi-supervised classification: few images have labels, and the many others help.

Two methods, beside learning from the labels only. Pseudo-labels (Lee 2013): the class that the network
holds most likely is taken as the label of an image without one, with a weight that grows during training.
FixMatch (Sohn et al. 2020): only a class that the network is sure of for a slightly shifted image is taken, and
is then learnt for a strongly distorted copy of it. Without `--data` it learns scikit-learn's 8×8 digits; the methods
are compared on MNIST (`--data mnist`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from perception.data.augmentation import distorted, shifted
from perception.data.datasets import Tensors
from perception.data.images import Images, ink_box, like_training_images, load_images, shape_of
from perception.networks.classifiers import make_classifier
from perception.networks.precision import channels_innermost, image_scores
from perception.tasks.classification import (
    answers,
    feature_map,
    hardest_examples,
    logistic_regression,
    metrics_of,
    predictions_of,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELLED_SHARE = 4
"""An update sees a labelled image for so many unlabelled ones."""
_SPREADING_IMAGES = 3_000
"""The baseline spreads labels over this many images at most: it takes seconds then."""


@dataclass(frozen=True, config=STRICT)
class SemiSupervisedConfig:
    """Labels, method and training."""

    labels: Annotated[int, Field(ge=2, le=1_000_000)] = 100
    """Training images that keep their label, as many of each class as possible."""
    draw: NonNegativeInt = 0
    """Which images keep it: another number, others drawn at random."""
    method: Literal["labels-only", "pseudo-labels", "fixmatch"] = "fixmatch"
    """What is learnt from images without labels."""
    unlabelled_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the loss on them; of pseudo-labels it rises from 0 at a tenth of the updates to this at 6 tenths."""
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Probability from which fixmatch takes a class."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Filters of the first of three convolutions; each further one has twice as many."""
    epochs: Epochs = 30
    """Passes over all training images."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 128
    """Unlabelled images per update; a quarter as many labelled ones are added."""


class SemiSupervised(Task):
    """Classes of images; a training batch is unlabelled images, labelled images, and their labels."""

    Config = SemiSupervisedConfig
    default_data = "digits"
    image_shape: tuple[int, int, int]

    def __init__(self, config: SemiSupervisedConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.image_shape = shape_of(metadata)
        network = make_classifier(
            "vgg", self.image_shape, len(self.classes), depth=1, width=config.width
        )
        self.network = channels_innermost(network)
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    @classmethod
    def load_data(cls, config: SemiSupervisedConfig, source: DataSource) -> TaskData:
        images = load_images(source)
        labelled = labelled_images(images.train_labels, config.labels, config.draw)
        hidden = torch.ones(len(images.train), dtype=torch.bool)
        hidden[labelled] = False
        # Labelled images come first; the others have the label −1.
        train = torch.cat([images.train[labelled], images.train[hidden]])
        labels = torch.full((len(train),), -1)
        labels[: len(labelled)] = images.train_labels[labelled]
        metadata = {
            "shape": list(images.shape),
            "classes": images.classes,
            "images": len(train),
            "ink_box": ink_box(images.train),
            "baselines": baselines(train, labels, images),
        }
        origin = {**images.origin, "labels": len(labelled), "draw": config.draw}
        test = Tensors(images.test, images.test_labels)
        return TaskData(Tensors(train, labels), test, metadata, origin)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterable[Any]:
        return (
            self._training_batches(dataset)
            if training
            else super().batches(dataset, training=False)
        )

    def _training_batches(self, dataset: Any) -> Iterator[tuple[Tensor, ...]]:
        """All images in a random order as unlabelled ones, each time with labelled ones drawn at random."""
        images, labels = dataset.tensors
        count, size = int((labels >= 0).sum()), self.config.batch_size
        for chosen in torch.randperm(len(images)).split(size):
            labelled = torch.randint(count, (max(1, size // _LABELLED_SHARE),))
            batch = images[chosen], images[labelled], labels[labelled]
            yield tuple(tensor.to(self.device) for tensor in batch)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes, for images 0…255."""
        return image_scores(self.network, images.float() / 255)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer gets."""
        return image_scores(self.network[:-1], images.float() / 255)

    def train_step(self, batch: tuple[Tensor, Tensor, Tensor], step: int) -> dict[str, Tensor]:
        unlabelled, labelled, labels = batch
        progress = min(1.0, step / self.updates)
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (1 - progress)
        losses = {
            "labels-only": self.labels_only,
            "pseudo-labels": self.pseudo_labels,
            "fixmatch": self.fixmatch,
        }[self.config.method](unlabelled, labelled, labels, progress)
        loss = losses["loss"] + self.config.unlabelled_weight * losses.get("unlabelled_loss", 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def labels_only(
        self, unlabelled: Tensor, labelled: Tensor, labels: Tensor, progress: float
    ) -> dict[str, Tensor]:
        """Cross-entropy of the labelled images, slightly shifted."""
        return {"loss": F.cross_entropy(self(slightly_shifted(labelled)), labels)}

    def pseudo_labels(
        self, unlabelled: Tensor, labelled: Tensor, labels: Tensor, progress: float
    ) -> dict[str, Tensor]:
        """Lee 2013: the most likely class of every unlabelled image counts as its label, more and more."""
        images = slightly_shifted(torch.cat([labelled, unlabelled]))
        scores, unlabelled_scores = self(images).split([len(labelled), len(unlabelled)])
        weight = min(1.0, max(0.0, (progress - 0.1) / 0.5))
        guesses = unlabelled_scores.detach().argmax(dim=1)
        return {
            "loss": F.cross_entropy(scores, labels),
            "unlabelled_loss": weight * F.cross_entropy(unlabelled_scores, guesses),
        }

    def fixmatch(
        self, unlabelled: Tensor, labelled: Tensor, labels: Tensor, progress: float
    ) -> dict[str, Tensor]:
        """Sohn et al. 2020: what is sure of a shifted image is learnt for a distorted one."""
        images = [slightly_shifted(torch.cat([labelled, unlabelled])), distorted(unlabelled, 0.3)]
        sizes = [len(labelled), len(unlabelled), len(unlabelled)]
        scores, weak, strong = self(torch.cat(images)).split(sizes)
        probabilities, guesses = weak.detach().softmax(dim=1).max(dim=1)
        sure = (probabilities >= self.config.threshold).float()
        losses = F.cross_entropy(strong, guesses, reduction="none")
        return {
            "loss": F.cross_entropy(scores, labels),
            "unlabelled_loss": (sure * losses).mean(),
            "sure_of": sure.mean(),
        }

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        predictions = predictions_of(self, batches)
        name = f"cnn, {self.config.method}, {self.config.labels:,} labels"
        return metrics_of(predictions, name, self.metadata["baselines"])

    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """The test images classified least surely, and the test images in the plane of their features."""
        predictions = predictions_of(self, batches)
        return {
            "examples": hardest_examples(predictions, self.classes),
            "features": feature_map(self.features, predictions, self.classes, self.device),
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


def slightly_shifted(images: Tensor) -> Tensor:
    """Images shifted by up to a sixteenth of their height."""
    most = images.shape[2] // 16
    return shifted(images, most) if most else images


def labelled_images(labels: Tensor, count: int, draw: int) -> Tensor:
    """Numbers of `count` images, as many of each class as possible, drawn at random.

    Raises:
        DataError: there are fewer images, or more classes.
    """
    classes = int(labels.max()) + 1
    if not classes <= count <= len(labels):
        raise DataError(
            f"labels must be from {classes}, the number of classes, to {len(labels):,}, the number of "
            f"training images, not {count:,}"
        )
    shuffled = torch.from_numpy(np.random.default_rng(draw).permutation(len(labels)))
    # Images in the order of their rank within their class: every class's first, every class's second, …
    ranks = torch.zeros(len(labels), dtype=torch.int64)
    for number in range(classes):
        members = labels[shuffled] == number
        ranks[members] = torch.arange(int(members.sum()))
    return shuffled[ranks.argsort(stable=True)[:count]]


def baselines(train: Tensor, labels: Tensor, images: Images) -> list[list[Any]]:
    """Test accuracy of scikit-learn's models: of the labels only, and with labels spread to neighbours."""
    from sklearn.semi_supervised import LabelSpreading

    known = labels >= 0
    test = images.test, images.test_labels
    rows, test_rows = (part.flatten(1).numpy() / 255 for part in (train, test[0]))
    count = min(len(rows), max(_SPREADING_IMAGES, 2 * int(known.sum())))
    spreading = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2)
    spreading.fit(rows[:count], labels[:count].numpy())
    score = round(float(spreading.score(test_rows, test[1].numpy())), 4)
    return [
        list(logistic_regression((train[known], labels[known]), test)),
        [f"label spreading, {count:,} images, {int(known.sum()):,} labels", score],
    ]
