"""Layers and their activations, and tasks that answer to floats as to the images they stand for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from perception.inspection.network import (
    Network,
    activations,
    find_layer,
    layers_of,
    main_layers,
)
from perception.networks.precision import full_precision
from perception.tasks import load_task
from perception.tasks.task import DataError


def test_layers_are_those_that_compute(convolutional: Callable[..., Network]) -> None:
    layers = layers_of(convolutional())
    assert [layer.name for layer in layers] == ["0", "1", "2", "3", "4", "5", "8"]
    assert layers[3].shape == (6, 8, 8)
    assert layers[-1].shape == (4,)


def test_main_layers_are_normalised_ones_without_the_scores(
    convolutional: Callable[..., Network],
) -> None:
    assert [layer.name for layer in main_layers(convolutional(), 5)] == ["1", "4"]
    assert [layer.name for layer in main_layers(convolutional(classes=5), 5)] == ["1", "4"]


def test_an_unknown_layer_is_answered_with_those_there_are(
    convolutional: Callable[..., Network],
) -> None:
    with pytest.raises(DataError, match="no layer 'conv'; the layers are 0, 1, 2"):
        find_layer(convolutional(), "conv")


def test_activations_are_from_before_a_rectifier_in_place(
    convolutional: Callable[..., Network],
) -> None:
    network = convolutional()
    images = torch.rand(2, 1, 16, 16)
    normalised, rectified = activations(
        network.scores, [find_layer(network, name).module for name in ("1", "2")], images
    )
    assert normalised.min() < 0
    torch.testing.assert_close(normalised.relu(), rectified)


def test_what_lies_behind_the_layer_is_not_computed(
    convolutional: Callable[..., Network],
) -> None:
    network = convolutional()
    module = find_layer(network, "4").module
    (answers,) = activations(network.convolve, [module], torch.rand(1, 1, 40, 50))
    assert answers.shape == (1, 8, 20, 25), "the dense layer could not take this size"


METADATA: dict[str, Any] = {
    "shape": [1, 16, 16],
    "classes": ["a", "b", "c"],
    "images": 10,
    "ink_box": None,
    "mean": [0.4],
    "deviation": [0.3],
    "whitening": torch.randn(8, 1, 2, 2).tolist(),
    "pca_error": 1.0,
}
DIGITS: dict[str, Any] = {
    "task": "digits",
    "config": {"filters": 4},
    "metadata": {**METADATA, "baseline": ["", 0.0]},
}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("digits", {"filters": 4}),
        ("digits", {"network": "mlp", "hidden_size": 8}),
        ("objects", {"network": "fast", "width": 4}),
        ("objects", {"network": "resnet", "depth": 8, "width": 4}),
        ("semi-supervised", {"width": 4}),
        ("transfer", {}),
        ("autoencoder", {"hidden_sizes": (8,), "code_size": 2}),
    ],
)
def test_tasks_take_floats_as_the_images_they_stand_for(name: str, config: dict) -> None:
    kind = load_task(name)
    torch.manual_seed(0)
    task = kind(kind.Config(**config), {**METADATA, "pretrained": DIGITS}).eval()
    assert task.image_shape == (1, 16, 16)
    images = torch.randint(256, (2, 1, 16, 16), dtype=torch.uint8)
    floats = images.float().requires_grad_()
    with full_precision():
        scores = task(floats)
        torch.testing.assert_close(scores, task(images))
    assert scores.dtype == torch.float32
    (gradient,) = torch.autograd.grad(scores[:, 0].sum(), floats)
    assert gradient.abs().sum() > 0
