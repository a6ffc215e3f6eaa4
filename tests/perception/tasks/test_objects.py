"""Deep networks for small images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from envs.frames import frames_data
from perception.data.source import DataSource
from perception.tasks.objects import Objects, ObjectsConfig
from perception.tasks.task import TaskData

SMALL: dict[str, dict[str, int]] = {
    "alexnet": {"width": 8},
    "vgg": {"width": 8},
    "googlenet": {"width": 16, "depth": 1},
    "resnet": {"depth": 8, "width": 8},
    "fast": {"width": 8},
}


@pytest.fixture(scope="module")
def data() -> TaskData:
    source = DataSource("frames:pong,qbert,enduro", {"frames": 80}, {"frames": frames_data})
    return Objects.load_data(ObjectsConfig(), source)


@pytest.mark.parametrize("network", SMALL)
def test_each_network_learns_which_game_a_piece_is_of(
    network: Any, fit: Callable[..., Objects], data: TaskData
) -> None:
    config = ObjectsConfig(network=network, epochs=6, batch_size=16, **SMALL[network])
    task = fit(Objects, config, data, 6)
    accuracy = task.evaluate(task.batches(data.test, training=False))["accuracy"]
    assert accuracy.mean > 0.8
    head, ours, baseline = accuracy.table
    assert head == ["model", "accuracy"]
    assert ours[0].startswith(f"{network}, ")
    assert baseline[0].startswith("logistic regression")
    assert data.test[0][0].shape == (1, 32, 32)
    (answer,) = task.predict([np.full((210, 160, 3), 90, np.uint8)])
    assert answer["class"] in ("enduro", "pong", "qbert")
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_filters_of_the_fast_network_s_first_layer_whiten_and_stay(
    fit: Callable[..., Objects], data: TaskData
) -> None:
    task = fit(Objects, ObjectsConfig(epochs=1, width=8), data, 1)
    filters = torch.tensor(data.metadata["whitening"])
    assert torch.equal(task.network[0].weight, filters)  # type: ignore[arg-type]
    assert filters.shape == (8, 1, 2, 2)


def test_an_image_and_its_mirror_image_are_classified_alike(data: TaskData) -> None:
    images = data.test[slice(8)][0]  # type: ignore[index]
    for augment in (True, False):
        config = ObjectsConfig(network="vgg", width=8, augment=augment)
        task = Objects(config, data.metadata).eval()
        with torch.no_grad():
            alike = torch.equal(task(images), task(images.flip(3)))
        assert alike == augment


def test_the_learning_rate_rises_for_a_fifth_and_falls_to_almost_nothing(data: TaskData) -> None:
    config = ObjectsConfig(epochs=10, batch_size=192, learning_rate=0.5, network="vgg", width=8)
    task = Objects(config, data.metadata)
    assert task.updates == 10
    factors = [task.schedule(step) for step in range(10)]
    assert factors[:3] == pytest.approx([0.6, 1.0, 0.875])
    assert factors[-1] == 0.01
    assert sorted(factors[1:], reverse=True) == factors[1:]
    task.train_step((data.train[0][0][None], data.train[0][1][None]), 1)
    assert task.optimizers["main"].param_groups[0]["lr"] == pytest.approx(0.5)
