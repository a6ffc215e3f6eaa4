"""Learning from few labels and many images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from perception.data.datasets import Tensors
from perception.data.source import DataError, DataSource
from perception.tasks.semi_supervised import (
    SemiSupervised,
    SemiSupervisedConfig,
    labelled_images,
)


def _accuracy(fit: Callable[..., SemiSupervised], method: Any, **changes: Any) -> float:
    config = SemiSupervisedConfig(labels=40, width=16, epochs=8, method=method, **changes)
    data = SemiSupervised.load_data(config, DataSource("digits"))
    task = fit(SemiSupervised, config, data, config.epochs)
    metrics = task.evaluate(task.batches(data.test, training=False))
    head, ours, logistic, spreading = metrics["accuracy"].table
    assert head == ["model", "accuracy"]
    assert ours[0] == f"cnn, {method}, 40 labels"
    assert logistic[0] == "logistic regression, 40 training images"
    assert 0.5 < logistic[1] < spreading[1]
    assert set(task.pictures(task.batches(data.test, training=False))) == {"examples", "features"}
    return metrics["accuracy"].mean


def test_images_without_labels_help(fit: Callable[..., SemiSupervised]) -> None:
    alone = _accuracy(fit, "labels-only")
    assert _accuracy(fit, "pseudo-labels") > alone > 0.5
    assert _accuracy(fit, "fixmatch", threshold=0.8) > alone


def test_labels_are_drawn_evenly_and_come_first() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 3)
    chosen = labelled_images(labels, 11, 0)
    assert len(set(chosen.tolist())) == 11
    assert sorted(np.bincount(labels[chosen]).tolist()) == [3, 4, 4]
    assert np.bincount(labels[labelled_images(labels, 20, 0)]).tolist()[2] == 3  # all there are
    assert not torch.equal(chosen, labelled_images(labels, 11, 1))
    assert torch.equal(chosen, labelled_images(labels, 11, 0))

    config = SemiSupervisedConfig(labels=50)
    data = SemiSupervised.load_data(config, DataSource("digits"))
    assert isinstance(data.train, Tensors)
    known = data.train.tensors[1] >= 0
    assert known.nonzero().flatten().tolist() == list(range(50))
    assert (data.origin["labels"], data.origin["draw"]) == (50, 0)


@pytest.mark.parametrize("count", [9, 1348])
def test_more_labels_than_images_or_fewer_than_classes_are_refused(count: int) -> None:
    with pytest.raises(DataError, match="from 10, the number of classes, to 1,347"):
        SemiSupervised.load_data(SemiSupervisedConfig(labels=count), DataSource("digits"))


def test_an_epoch_shows_every_image_once_beside_labelled_ones() -> None:
    config = SemiSupervisedConfig(labels=30, batch_size=100)
    data = SemiSupervised.load_data(config, DataSource("digits"))
    task = SemiSupervised(config, data.metadata)
    batches: list[Any] = list(task.batches(data.train, training=True))
    assert [len(batch[0]) for batch in batches] == [100] * 13 + [47]
    assert all(len(batch[1]) == len(batch[2]) == 25 for batch in batches)
    assert all((batch[2] >= 0).all() for batch in batches)
    assert task.updates == len(batches) * config.epochs


def test_the_weight_of_pseudo_labels_rises_and_fixmatch_takes_only_what_is_sure() -> None:
    config = SemiSupervisedConfig(labels=30, width=8)
    data = SemiSupervised.load_data(config, DataSource("digits"))
    task = SemiSupervised(config, data.metadata)
    batch = next(iter(task.batches(data.train, training=True)))
    weights = []
    for progress in (0.0, 0.1, 0.35, 0.6, 1.0):
        torch.manual_seed(0)
        weights.append(float(task.pseudo_labels(*batch, progress)["unlabelled_loss"].detach()))
    assert weights[:2] == [0.0, 0.0]
    assert weights[2:] == pytest.approx([weights[3] / 2, weights[3], weights[3]], rel=0.05)
    losses = task.fixmatch(*batch, 0.5)
    assert losses["sure_of"] == losses["unlabelled_loss"] == 0.0  # an untrained network is not
