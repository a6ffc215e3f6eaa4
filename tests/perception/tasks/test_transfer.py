"""What one fit learned, used in another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fathom
from perception.data.datasets import Tensors
from perception.data.source import DataError, DataSource
from perception.networks.classifiers import DEFAULTS, make_classifier
from perception.tasks.digits import DigitsConfig, make_network
from perception.tasks.pretrained import like_other_images
from perception.tasks.slot_filling import SlotFilling
from perception.tasks.task import TaskData
from perception.tasks.transfer import Transfer, TransferConfig, feature_layers

CONFIG = TransferConfig(labels=50, epochs=3)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Transfer.load_data(CONFIG, DataSource("digits"))


def test_frozen_features_stay_and_all_three_learn(
    fit: Callable[..., Transfer], data: TaskData
) -> None:
    task = fit(Transfer, CONFIG, data, 3)
    learned = {name.removeprefix("frozen.") for name in data.weights if name.startswith("frozen.")}
    assert "network.4.weight" in learned
    assert "network.5.running_mean" in learned
    assert "network.9.weight" not in learned, "a layer after the convolutions"
    state = task.state_dict()
    for name in learned:
        start = data.weights[f"frozen.{name}"]
        assert torch.equal(state[f"frozen.{name}"], start), name
        assert torch.equal(data.weights[f"tuned.{name}"], start)
    assert not torch.equal(state["tuned.network.4.weight"], data.weights["tuned.network.4.weight"])
    metrics = task.evaluate(task.batches(data.test, training=False))
    frozen, tuned, scratch, gain = metrics.values()
    assert min(frozen.mean, tuned.mean, scratch.mean) > 0.8
    assert gain.mean == pytest.approx(frozen.mean - scratch.mean)
    assert [row[0] for row in frozen.table] == [
        "model",
        "frozen, 50 labels",
        "fine-tuned, 50 labels",
        "from scratch, 50 labels",
        "logistic regression, 50 training images",
    ]
    (answer,) = task.predict([data.test[0][0][0].numpy()])
    assert answer["class"] in "56789"


def test_few_labelled_images_are_repeated_to_an_epoch(data: TaskData) -> None:
    assert isinstance(data.train, Tensors)
    images, labels = data.train.tensors
    assert len(images) == 2000
    assert len(np.unique(images.numpy(), axis=0)) == 50
    assert np.bincount(labels).tolist() == [400] * 5
    assert data.metadata["classes"] == list("56789")


def test_features_are_what_the_convolutions_give() -> None:
    cnn = make_network(DigitsConfig(), (1, 8, 8), 10)
    assert isinstance(cnn[feature_layers(cnn) - 1], torch.nn.Flatten)
    mlp = make_network(DigitsConfig(network="mlp"), (1, 8, 8), 10)
    assert feature_layers(mlp) == len(mlp) - 1
    for name in DEFAULTS:
        network = make_classifier(name, (3, 32, 32), 5, width=8)  # type: ignore[arg-type]
        assert isinstance(network[feature_layers(network) - 1], torch.nn.Flatten)


def test_images_take_the_shape_of_the_other_fit_s() -> None:
    grey = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    colour = like_other_images(grey, (3, 16, 12))
    assert colour.shape == (2, 3, 16, 12)
    assert (colour == 100).all()
    assert torch.equal(like_other_images(colour, (1, 8, 8)), grey)
    assert like_other_images(grey, (1, 8, 8)) is grey


def test_the_other_fit_is_needed_and_must_have_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        images = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / f"{part}.npz", images=images, labels=np.arange(12) % 3)
    with pytest.raises(DataError, match="name another fit by --pretrained RUN"):
        Transfer.load_data(TransferConfig(labels=6), DataSource(str(tmp_path)))
    config = TransferConfig(labels=6, pretrained="other")
    with pytest.raises(DataError, match="there is no fit 'other'"):
        Transfer.load_data(config, DataSource(str(tmp_path)))
    source = DataSource(str(tmp_path), open_fit=lambda _: SlotFilling.__new__(SlotFilling))
    with pytest.raises(DataError, match="other is a fit of another task than digits, objects and"):
        Transfer.load_data(config, source)


def test_a_fit_of_another_run_is_where_a_transfer_starts(tmp_path: Path) -> None:
    options: dict[str, Any] = {"runs_dir": tmp_path, "threads": 1, "epochs": 1}
    digits = fathom.fit("digits", name="a", filters=4, **options)
    run = fathom.fit(
        "transfer", data="digits", name="b", pretrained=str(digits.folder), labels=20, **options
    )
    before, after = digits.task(), run.task()
    assert torch.equal(after.frozen.network[4].weight, before.network[4].weight)
    score = run.evaluations()[-1]
    assert score["protocol"]["pretrained"] == str(digits.folder)
    assert "from scratch" in score["measures"]
    with pytest.raises(fathom.FathomError, match="nowhere"):
        fathom.fit("transfer", name="c", pretrained="nowhere", **options)
