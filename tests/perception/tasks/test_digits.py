"""Classification of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from perception.data.datasets import Tensors
from perception.data.source import DataError, DataSource
from perception.tasks.digits import Digits, DigitsConfig, make_network
from perception.tasks.task import TaskData


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Digits.load_data(DigitsConfig(), DataSource("digits"))


@pytest.fixture(scope="module")
def learnt(data: TaskData) -> Digits:
    """A CNN after six epochs."""
    torch.manual_seed(0)
    task = Digits(DigitsConfig(), data.metadata)
    step = 0
    for _ in range(6):
        for batch in task.batches(data.train, training=True):
            task.train_step(batch, step)
            step += 1
    task.eval()
    return task


def test_a_cnn_reads_unseen_digits_better_than_logistic_regression(
    learnt: Digits, data: TaskData
) -> None:
    metrics = learnt.evaluate(learnt.batches(data.test, training=False))
    assert next(iter(metrics)) == "accuracy"
    assert metrics["accuracy"].mean > 0.97
    head, ours, baseline = metrics["accuracy"].table
    assert head == ["model", "accuracy"]
    assert ours[1] == pytest.approx(metrics["accuracy"].mean, abs=1e-4)
    assert 0.9 < baseline[1] < ours[1]


@pytest.mark.parametrize(("network", "least"), [("linear", 0.8), ("mlp", 0.85)])
def test_the_other_networks_learn(
    network: Any, least: float, fit: Callable[..., Digits], data: TaskData
) -> None:
    config = DigitsConfig(network=network, learning_rate=3e-3)
    task = fit(Digits, config, data, 5)
    accuracy = task.evaluate(task.batches(data.test, training=False))["accuracy"]
    assert accuracy.mean > least


@pytest.mark.parametrize("light", [True, False])
def test_a_file_of_any_size_on_light_or_dark_ground_is_classified(
    learnt: Digits, data: TaskData, tmp_path: Path, light: bool
) -> None:
    assert isinstance(data.test, Tensors)
    images, labels = data.test.tensors
    paths = []
    for number in range(40):
        image = Image.fromarray(images[number, 0].numpy()).resize(
            (80, 80), Image.Resampling.BICUBIC
        )
        image = ImageOps.expand(image, 30, 0)
        image = ImageOps.invert(image) if light else image
        path = tmp_path / f"{number}.png"
        image.convert("RGB").save(path)
        paths.append(str(path))
    answers = learnt.predict(paths)
    right = [
        answer["class"] == str(int(label)) for answer, label in zip(answers, labels, strict=False)
    ]
    assert np.mean(right) > 0.8
    assert answers[0]["input"] == paths[0]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    alone = learnt.predict([Image.open(paths[3])])[0]
    assert (alone["class"], alone["input"]) == (answers[3]["class"], None)


def test_images_of_one_s_own_are_learnt(tmp_path: Path, fit: Callable[..., Digits]) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("left", "right"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(30):
                pixels = rng.integers(0, 60, (9, 11, 3), dtype=np.uint8)
                pixels[3:6, slice(1, 4) if name == "left" else slice(7, 10), 1] = 220
                Image.fromarray(pixels).save(folder / f"{number}.png")
    config = DigitsConfig(filters=4, hidden_size=16, learning_rate=0.01, batch_size=20)
    data = Digits.load_data(config, DataSource(str(tmp_path)))
    task = fit(Digits, config, data, 8)
    assert task.evaluate(task.batches(data.test, training=False))["accuracy"].mean == 1.0
    assert task.predict([tmp_path / "test" / "right" / "0.png"])[0]["class"] == "right"
    assert set(task.pictures(task.batches(data.test, training=False))) == {"examples", "confusion"}


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, (28, 14)),
        ({"pooling": "average"}, (28, 14)),
        ({"pooling": "none"}, (28, 28)),
        ({"stride": 2, "pooling": "none"}, (14, 7)),
        ({"kernel_size": 5, "padding": 0}, (24, 8)),
        ({"kernel_size": 5, "padding": 2, "stride": 3}, (10, 2)),
    ],
)
def test_kernel_stride_padding_and_pooling_give_the_sizes_of_the_formula(
    changes: dict[str, Any], sizes: tuple[int, int]
) -> None:
    config = DigitsConfig(filters=2, **changes)
    network = make_network(config, (1, 28, 28), 10)
    seen = []
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda *args: seen.append(args[2].shape[2]))
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert tuple(seen) == sizes
    averages = any(isinstance(layer, torch.nn.AvgPool2d) for layer in network)
    assert averages == (config.pooling == "average")


def test_a_cnn_needs_some_pixels() -> None:
    with pytest.raises(DataError, match="3×3 are too small"):
        make_network(DigitsConfig(), (1, 3, 3), 2)
    with pytest.raises(DataError, match="8×8 cannot be shifted by 8"):
        Digits.load_data(DigitsConfig(shift=8), DataSource("digits"))


def test_the_learning_rate_falls_to_zero(data: TaskData) -> None:
    task = Digits(DigitsConfig(epochs=2, learning_rate=0.5, batch_size=1000), data.metadata)
    batch = next(iter(task.batches(data.train, training=True)))
    rates = []
    for step in range(5):
        task.train_step(batch, step)
        rates.append(task.optimizers["main"].param_groups[0]["lr"])
    assert rates == [0.5, 0.375, 0.25, 0.125, 0.0]
