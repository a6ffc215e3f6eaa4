"""What tasks that generate images share: how far their images are from real ones, the baseline, and pictures.

The distance is Fréchet's between two normal distributions, fitted to features of real and of generated images (Heusel
et al. 2017). The features are not Inception's but what the last layer of a classifier from another fit gets, so that
distances compare only where that classifier and the number of images are the same. Real training images against real
test images give the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from perception.data.images import Images, shape_of, show_image, visible
from perception.data.unlabelled import load_unlabelled
from perception.networks.generative import LEAST_SIDE
from perception.tasks.pretrained import (
    description,
    like_other_images,
    open_classifier,
    small_classifier,
)
from perception.tasks.task import DataError, DataSource, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COMPARED = 2_000
"""Images of each side that a distance compares, at most."""
LEAST_COMPARED = 100
"""Fewer say nothing: a covariance of many features needs many images."""
_DRAWS = 5
_MIXTURE_IMAGES = 5_000
_GRID = 8

Sample = Callable[[int, torch.Generator], Tensor]
"""Generates so many images, uint8 (n, channels, height, width)."""


def load_images_to_draw(source: DataSource) -> Images:
    """Images of at least 8×8, with or without labels.

    Raises:
        DataError: there are none, or they are smaller.
    """
    images = load_unlabelled(source)
    if min(images.shape[1:]) < LEAST_SIDE:
        raise DataError(
            f"images of {images.shape[1]}×{images.shape[2]} are too small: at least "
            f"{LEAST_SIDE}×{LEAST_SIDE} is needed"
        )
    return images


def classifier_for(reference: str, source: DataSource, images: Images, default: str) -> Task | None:
    """The classifier whose features are compared: another fit's, or a small one of the default data; else None."""
    if reference:
        return open_classifier(source, reference)
    return small_classifier(images) if source.reference == default else None


def needed(classifier: Task | None, source: DataSource) -> Task:
    """The classifier; DataError where there is none."""
    if classifier is None:
        raise DataError(
            f"to compare images of {source.reference}, name a fit of digits, objects or semi-supervised whose "
            "features are used, by --features RUN"
        )
    return classifier


def comparison(classifier: Task, images: Images) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and weights from which a task compares its images with real ones.

    The metadata hold the distances of training images and of the baseline, PCA with a Gaussian mixture.

    Raises:
        DataError: there are too few test images.
    """
    if len(images.test) < LEAST_COMPARED:
        raise DataError(
            f"{images.origin['name']} has {len(images.test)} test images; to compare generated images with them "
            f"at least {LEAST_COMPARED} are needed"
        )
    real = features_of(classifier, images.test[:MOST_COMPARED])
    order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(0))
    other = features_of(classifier, images.train[order[: len(real)]])
    mixture = features_of(classifier, mixture_samples(images.train, len(real)))
    metadata = {
        "classifier": description(classifier),
        "floor": round(frechet_distance(real, other), 4),
        "mixture": round(frechet_distance(real, mixture), 4),
    }
    weights = {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    return metadata, weights


@torch.no_grad()
def features_of(classifier: Any, images: Tensor) -> np.ndarray:
    """Features (n, k) of images uint8."""
    shape = shape_of(classifier.metadata)
    parts = like_other_images(images, shape).to(classifier.device).split(500)
    return torch.cat([classifier.features(part) for part in parts]).double().cpu().numpy()


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared Fréchet distance of the normal distributions of two sets of features (n, k).

    |m₁ − m₂|² + tr(C₁ + C₂ − 2 √(C₁C₂)) (Dowson & Landau 1982).
    """
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    # The trace of the root is the sum of the roots of the eigenvalues, which are real and not negative.
    roots = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    shift = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    return max(0.0, float(shift + np.trace(first) + np.trace(second) - 2 * roots))


@torch.no_grad()
def distances(classifier: Any, real: Tensor, sample: Sample) -> np.ndarray:
    """Distances from real images uint8 of five draws of as many generated ones, always the same draws."""
    real = real[:MOST_COMPARED]
    features = features_of(classifier, real)
    return np.array(
        [
            frechet_distance(
                features,
                features_of(classifier, sample(len(real), torch.Generator().manual_seed(draw))),
            )
            for draw in range(_DRAWS)
        ]
    )


@torch.no_grad()
def class_counts(classifier: Any, images: Tensor) -> np.ndarray:
    """How many of the images uint8 the classifier takes for each of its classes."""
    shape = shape_of(classifier.metadata)
    parts = like_other_images(images, shape).to(classifier.device).split(500)
    classes = torch.cat([classifier(part).argmax(dim=1) for part in parts]).cpu().numpy()
    return np.bincount(classes, minlength=len(classifier.classes))


def mixture_samples(images: Tensor, count: int) -> Tensor:
    """Images uint8 drawn from a mixture of 10 Gaussians in the plane of up to 40 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    chosen = torch.arange(min(len(images), _MIXTURE_IMAGES)) * len(images)
    rows = images[chosen // min(len(images), _MIXTURE_IMAGES)].flatten(1).numpy() / 255
    pca = PCA(min(40, *rows.shape), svd_solver="covariance_eigh").fit(rows)
    mixture = GaussianMixture(min(10, len(rows) // 10), random_state=0, reg_covar=1e-4)
    codes, _ = mixture.fit(pca.transform(rows)).sample(count)
    pixels = pca.inverse_transform(codes).clip(0, 1) * 255
    return torch.from_numpy(np.rint(pixels).astype(np.uint8)).view(count, *images.shape[1:])


# -- pictures ------------------------------------------------------------------------------------------


def grid(images: Tensor, columns: int = _GRID) -> np.ndarray:
    """Images uint8 (n, channels, height, width) side by side, enlarged, as one of (height, width, 3)."""
    images = visible(images)
    _, channels, height, width = images.shape
    rows = len(images) // columns
    framed = torch.full((rows * columns, channels, height + 1, width + 1), 64, dtype=torch.uint8)
    framed[:, :, :height, :width] = images[: rows * columns].cpu()
    parts = framed.view(rows, columns, channels, height + 1, width + 1)
    whole = parts.permute(0, 3, 1, 4, 2).reshape(
        rows * (height + 1), columns * (width + 1), channels
    )
    factor = max(1, round(480 / whole.shape[1]))
    pixels = whole.numpy().repeat(factor, axis=0).repeat(factor, axis=1)
    return pixels if channels == 3 else pixels.repeat(3, axis=2)


def nearest_images(generated: Tensor, train: Tensor) -> Figure:
    """Generated images, left, and the five training images that are nearest to each, in pixels."""
    from matplotlib.figure import Figure

    distances = torch.cdist(generated.flatten(1).float(), train.flatten(1).float())
    nearest = distances.topk(min(5, len(train)), largest=False).indices
    figure = Figure((5, 0.85 * len(generated) + 0.4), layout="constrained")
    rows = figure.subplots(len(generated), 1 + nearest.shape[1], squeeze=False)
    for row, image, others in zip(rows, generated, nearest, strict=True):
        for axes, shown in zip(row, [image, *train[others]], strict=True):
            show_image(axes, shown)
    rows[0][0].set_title("generated", fontsize=8)
    rows[0][1].set_title("nearest", fontsize=8)
    return figure


def table_of(name: str, values: np.ndarray, metadata: dict[str, Any]) -> list[Sequence[Any]]:
    """The model's distance between the baseline's and the floor."""
    return [
        ["model", "Fréchet distance"],
        [name, round(float(values.mean()), 4)],
        ["PCA and Gaussian mixture", metadata["mixture"]],
        ["real training images", metadata["floor"]],
    ]
