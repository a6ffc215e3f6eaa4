"""The deep autoencoder."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from perception.data.datasets import Tensors
from perception.data.source import DataError, DataSource
from perception.tasks.autoencoder import Autoencoder, AutoencoderConfig


def test_it_learns_a_curve_that_no_plane_holds(fit: Callable[..., Autoencoder]) -> None:
    config = AutoencoderConfig(code_size=2, hidden_sizes=(64, 32), learning_rate=3e-3)
    data = Autoencoder.load_data(config, DataSource("digits"))
    task = fit(Autoencoder, config, data, 15)
    error = task.evaluate(task.batches(data.test, training=False))["squared error"]
    head, ours, pca = error.table
    assert head == ["model", "squared error"]
    assert ours[1] == pytest.approx(error.mean, abs=1e-3)
    assert ours[1] < 0.95 * pca[1]
    assert isinstance(data.test, Tensors)
    image = data.test.tensors[0][0, 0].numpy()
    (answer,) = task.predict([image])
    assert len(answer["code"]) == 2
    assert answer["squared_error"] > 0
    assert list(task.pictures(task.batches(data.test, training=False))) == ["reconstructions"]


def test_the_error_of_pca_is_that_of_all_its_components_left_out() -> None:
    config = AutoencoderConfig(code_size=10)
    data = Autoencoder.load_data(config, DataSource("digits"))
    assert isinstance(data.train, Tensors)
    assert isinstance(data.test, Tensors)
    train, test = (part.tensors[0].flatten(1).numpy() / 255 for part in (data.train, data.test))
    left_out = PCA().fit(train).transform(test)[:, 10:]
    assert data.metadata["pca_error"] == pytest.approx(np.square(left_out).sum(1).mean(), abs=1e-3)


def test_the_error_is_summed_over_an_image() -> None:
    config = AutoencoderConfig(code_size=1, hidden_sizes=())
    task = Autoencoder(config, {"shape": [1, 2, 2], "ink_box": None, "pca_error": 0.0})
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.zero_()
    images = torch.tensor([[[[255, 0], [0, 51]]]], dtype=torch.uint8)
    metric = task.evaluate([(images,)])["squared error"]
    assert metric.mean == pytest.approx(1 + 0.2**2)


def test_a_code_of_more_numbers_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="at most 64"):
        Autoencoder.load_data(AutoencoderConfig(code_size=65), DataSource("digits"))
