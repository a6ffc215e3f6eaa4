"""What generated images are compared by: the Fréchet distance, its baseline, the nearest images."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from perception.data.images import load_images
from perception.tasks.generation import (
    class_counts,
    classifier_for,
    comparison,
    distances,
    frechet_distance,
    grid,
    mixture_samples,
    nearest_images,
    needed,
)
from perception.tasks.task import DataError, DataSource, Task

SOURCE = DataSource("digits")


@pytest.fixture(scope="module")
def classifier() -> Task:
    return needed(classifier_for("", SOURCE, load_images(SOURCE), "digits"), SOURCE)


def test_the_distance_equals_that_with_scipys_matrix_root() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(300, 5)), rng.normal(1, 2, (200, 5)) @ rng.normal(size=(5, 5))
    first, second = np.cov(one.T), np.cov(other.T)
    shift = np.square(one.mean(0) - other.mean(0)).sum()
    expected = shift + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(one, other) == pytest.approx(expected)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_of_normal_numbers_it_is_that_of_their_means_and_deviations() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, (100_000, 2)), rng.normal(3, 2, (100_000, 2))
    assert frechet_distance(one, other) == pytest.approx(2 * (9 + 1), rel=0.02)


def test_real_images_are_nearer_than_a_mixture_and_that_nearer_than_noise(classifier: Task) -> None:
    images = load_images(SOURCE)
    metadata, weights = comparison(classifier, images)
    assert all(name.startswith("classifier.") for name in weights)

    def noise(count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)

    of_noise = distances(classifier, images.test, noise)
    assert 0 < metadata["floor"] < metadata["mixture"] < of_noise.min()
    assert (distances(classifier, images.test, noise) == of_noise).all()


def test_classes_of_real_images_are_counted_as_they_are(classifier: Task) -> None:
    images = load_images(SOURCE)
    counts = class_counts(classifier, images.test)
    assert counts.sum() == len(images.test)
    assert np.abs(counts - np.bincount(images.test_labels)).max() <= 10


def test_a_mixture_draws_images_of_the_same_shape_again_and_again() -> None:
    images = load_images(SOURCE)
    samples = mixture_samples(images.train, 30)
    assert samples.shape == (30, 1, 8, 8)
    assert samples.dtype == torch.uint8
    assert torch.equal(samples, mixture_samples(images.train, 30))


def test_copies_of_training_images_find_themselves() -> None:
    train = load_images(SOURCE).train
    figure = nearest_images(train[[5, 9]], train)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])


def test_a_grid_holds_each_image_in_its_place() -> None:
    images = torch.arange(16, dtype=torch.uint8).view(16, 1, 1, 1).expand(-1, 3, 2, 2)
    pixels = grid(images, 4)
    factor = pixels.shape[1] // 12
    assert pixels.shape == (12 * factor, 12 * factor, 3)
    assert pixels[3 * factor, 6 * factor].tolist() == [6, 6, 6]


def test_other_data_need_a_named_fit() -> None:
    with pytest.raises(DataError, match="--features RUN"):
        needed(classifier_for("", DataSource("mnist"), load_images(SOURCE), "digits"), SOURCE)
