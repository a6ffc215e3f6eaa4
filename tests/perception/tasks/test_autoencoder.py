"""The deep autoencoder."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from perception.data.datasets import Tensors
from perception.data.images import Images
from perception.data.source import DataError, DataSource
from perception.tasks.autoencoder import Autoencoder, AutoencoderConfig, baselines, precisions

UNLABELLED = {"images": 1, "ink_box": None, "baselines": {"PCA": [0.0, None], "pixels": None}}


def test_it_learns_a_curve_that_no_plane_holds(fit: Callable[..., Autoencoder]) -> None:
    config = AutoencoderConfig(code_size=2, hidden_sizes=(64, 32), learning_rate=3e-3)
    data = Autoencoder.load_data(config, DataSource("digits"))
    task = fit(Autoencoder, config, data, 15)
    error = task.evaluate(task.batches(data.test, training=False))["squared error"]
    head, ours, pca, pixels = error.table
    assert head == ["model", "squared error", "precision@10"]
    assert 0.5 < ours[2] < 1
    assert 0.5 < pca[2] < pixels[2] < 1, "two numbers say less than all"
    assert ours[1] == pytest.approx(error.mean, abs=1e-3)
    assert ours[1] < 0.95 * pca[1]
    assert isinstance(data.test, Tensors)
    image = data.test.tensors[0][0, 0].numpy()
    (answer,) = task.predict([image])
    assert len(answer["code"]) == 2
    assert answer["squared_error"] > 0
    pictures = task.pictures(task.batches(data.test, training=False))
    assert list(pictures) == ["reconstructions", "similar"]


def test_the_error_of_pca_is_that_of_all_its_components_left_out() -> None:
    config = AutoencoderConfig(code_size=10)
    data = Autoencoder.load_data(config, DataSource("digits"))
    assert isinstance(data.train, Tensors)
    assert isinstance(data.test, Tensors)
    train, test = (part.tensors[0].flatten(1).numpy() / 255 for part in (data.train, data.test))
    left_out = PCA().fit(train).transform(test)[:, 10:]
    error, _ = data.metadata["baselines"]["PCA"]
    assert error == pytest.approx(np.square(left_out).sum(1).mean(), abs=1e-3)


def test_the_error_is_summed_over_an_image() -> None:
    config = AutoencoderConfig(code_size=1, hidden_sizes=())
    task = Autoencoder(config, UNLABELLED | {"shape": [1, 2, 2]})
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.zero_()
    images = torch.tensor([[[[255, 0], [0, 51]]]], dtype=torch.uint8)
    metrics = task.evaluate([(images, torch.zeros(1))])
    assert metrics["squared error"].mean == pytest.approx(1 + 0.2**2)
    assert list(metrics) == ["squared error"]


def test_a_code_of_more_numbers_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="at most 64"):
        Autoencoder.load_data(AutoencoderConfig(code_size=65), DataSource("digits"))


def test_precision_counts_the_nearest_others_of_the_same_class() -> None:
    # Two groups far apart, of 12 and 12; one of the first group is of another class.
    codes = (
        torch.arange(12.0).repeat(2)[:, None]
        + torch.tensor([0.0, 1000.0]).repeat_interleave(12)[:, None]
    )
    labels = torch.tensor([0] * 11 + [2] + [1] * 12)
    found = precisions(codes, labels)
    assert found[12:] == pytest.approx(1)
    assert found[0] == 1, "the eleventh is the farthest"
    assert found[10] == pytest.approx(0.9)
    assert found[11] == 0


def test_images_too_many_numbers_for_a_covariance_still_have_a_baseline() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 120, (3, 4, 40, 40), generator=generator, dtype=torch.uint8)
    labels = torch.arange(60) % 3
    images = patterns[labels] + torch.randint(
        0, 3, (60, 4, 40, 40), generator=generator, dtype=torch.uint8
    )
    origin: dict[str, object] = {}
    result = baselines(Images(images, labels, images, labels, ["a", "b", "c"], origin), 2)
    assert result["PCA"][0] < 1.0 < float((patterns.float() / 255).var(dim=0).sum())
    assert result["PCA"][1] == result["pixels"] == 1


@pytest.mark.parametrize("shape", [(1, 40, 44), (4, 39, 36), (3, 53, 47)])
@pytest.mark.parametrize("cnn", ["nips", "nature"])
def test_a_convolutional_one_learns_images_of_any_size(
    shape: tuple[int, int, int], cnn: str
) -> None:
    config = AutoencoderConfig(
        "convolutional", cnn, hidden_sizes=(32,), code_size=4, epochs=60, learning_rate=3e-3
    )  # type: ignore[arg-type]
    torch.manual_seed(0)
    task = Autoencoder(config, UNLABELLED | {"shape": list(shape)})
    image = torch.full((1, *shape), 255, dtype=torch.uint8)
    image[..., :20, :] = 0
    mean = task.evaluate([(image, torch.zeros(1))])["squared error"].mean
    assert mean == pytest.approx(float(image.float().sum() / 255))
    for step in range(60):
        task.train_step((image, torch.zeros(1)), step)
    assert task.evaluate([(image, torch.zeros(1))])["squared error"].mean < 0.2 * mean
    assert task.decode(task(image)).shape == (1, *shape)


def test_noise_is_in_the_input_only_and_what_it_took_is_filled_in(
    fit: Callable[..., Autoencoder],
) -> None:
    errors = {}
    for noise in (0.0, 0.5):
        config = AutoencoderConfig(noise=noise, epochs=15, code_size=16, hidden_sizes=(128,))
        data = Autoencoder.load_data(config, DataSource("digits"))
        task = fit(Autoencoder, config, data, 15)
        task.config = dataclasses.replace(config, noise=0.5)
        metrics = task.evaluate(task.batches(data.test, training=False))
        errors[noise] = metrics["squared error of noisy images"].mean
    assert errors[0.5] < 0.85 * errors[0.0]
    images = torch.full((200, 2, 5, 5), 9, dtype=torch.uint8)
    noisy = task.noisy(images, torch.Generator().manual_seed(0))
    assert (noisy == 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert (noisy[:, 0] == noisy[:, 1]).all(), "whole pixels"


def test_small_images_are_refused_by_convolutions() -> None:
    with pytest.raises(DataError, match="at least 36×36, and those of digits are 8×8"):
        Autoencoder.load_data(AutoencoderConfig("convolutional"), DataSource("digits"))
