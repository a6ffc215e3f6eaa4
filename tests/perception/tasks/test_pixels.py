"""Images drawn pixel by pixel: likelihoods, and that they are learnt."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from perception.data.images import load_images
from perception.tasks.pixels import Pixels, PixelsConfig, drawn
from perception.tasks.task import DataError, DataSource


@pytest.mark.parametrize("network", ["pixelcnn", "row-lstm"])
def test_the_likelihoods_of_all_images_add_up_to_one(network: str) -> None:
    torch.manual_seed(0)
    metadata = {"shape": [1, 3, 3], "images": 1, "ink_box": None, "baselines": []}
    task = Pixels(PixelsConfig(network=network, depth=1, width=3), metadata)  # type: ignore[arg-type]
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
    with torch.no_grad():
        assert (-task.losses(images)).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_a_few_passes_beat_independent_pixels(train: Callable[..., int]) -> None:
    config = PixelsConfig(epochs=8, depth=2, width=8, learning_rate=1e-2, batch_size=64)
    data = Pixels.load_data(config, DataSource("digits"))
    torch.manual_seed(0)
    task = Pixels(config, data.metadata)
    train(task, data, config.epochs)
    score = task.evaluate(task.batches(data.test, training=False))["NLL"]
    (_, independent), (_, clusters) = data.metadata["baselines"]
    assert clusters < independent
    assert score.mean < independent - 1.2
    completed = task.pictures(task.batches(data.test, training=False))
    assert set(completed) == {"samples", "completions"}


def test_test_images_are_drawn_once_white_as_often_as_they_are_bright() -> None:
    images = load_images(DataSource("digits")).test
    binary = drawn(images, 0)
    assert torch.equal(binary, drawn(images, 0))
    assert set(binary.unique().tolist()) == {0, 255}
    assert binary.float().mean().item() == pytest.approx(images.float().mean().item(), rel=0.02)
    assert torch.equal(binary[images == 255], images[images == 255])
    assert not binary[images == 0].any()


def test_coloured_images_are_refused(tmp_path: object) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{tmp_path}/{number}.png")
    with pytest.raises(DataError, match="coloured"):
        Pixels.load_data(PixelsConfig(), DataSource(str(tmp_path)))
