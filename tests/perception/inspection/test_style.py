"""Style transfer lowers its loss; a VGG is built from its weights alone."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from perception.inspection.dream import convolutions, in_channels
from perception.inspection.network import Network
from perception.inspection.style import Features, gram, shrunk, transfer, vgg_features
from perception.tasks.task import DataError


def test_a_gram_matrix_forgets_places() -> None:
    answers = torch.rand(1, 3, 4, 5)
    shuffled = answers.flatten(2)[:, :, torch.randperm(20)].view(1, 3, 4, 5)
    torch.testing.assert_close(gram(answers), gram(shuffled))
    torch.testing.assert_close(gram(answers)[0, 0, 1], (answers[0, 0] * answers[0, 1]).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_style_comes_nearer(convolutional: Callable[..., Network], channels: int) -> None:
    network = convolutional(channels)
    layers = [layer.module for layer in convolutions(network)]
    features = Features(
        lambda images: network.convolve(in_channels(network, images)), layers, layers[-1]
    )
    torch.manual_seed(1)
    content, style = torch.rand(3, 32, 40), 0.5 * torch.rand(3, 36, 32).round()
    result = transfer(features, content, style, steps=15)
    assert result.image.shape == content.shape
    assert result.style[1] < 0.3 * result.style[0]
    assert result.content[0] == 0
    assert 0 < result.content[1] < 1


def vgg(*sizes: int) -> dict[str, torch.Tensor]:
    """Random weights with torchvision's names; 0 is a pooling."""
    tensors, before, number = {}, 3, 0
    for size in sizes:
        if size:
            tensors[f"features.{number}.weight"] = torch.randn(size, before, 3, 3) / 5
            tensors[f"features.{number}.bias"] = torch.zeros(size)
            before, number = size, number + 2
        else:
            number += 1
    return tensors


def test_poolings_of_a_vgg_are_the_gaps_between_its_numbers() -> None:
    features = vgg_features(vgg(4, 4, 0, 6, 6, 0, 8))
    kinds = [type(layer) for layer in features.apply.children()]  # type: ignore[union-attr, attr-defined]
    expected = [nn.Conv2d, nn.ReLU] * 2 + [nn.AvgPool2d] + [nn.Conv2d, nn.ReLU] * 2
    assert kinds[1:] == [*expected, nn.AvgPool2d, nn.Conv2d, nn.ReLU]
    assert [layer.out_channels for layer in features.style] == [4, 6, 8]
    result = transfer(features, torch.rand(3, 32, 32), torch.rand(3, 32, 32), steps=5)
    assert result.style[1] < result.style[0]


def test_normalisations_of_a_vgg_are_used() -> None:
    tensors = {
        "features.0.weight": torch.randn(4, 3, 3, 3),
        "features.0.bias": torch.zeros(4),
        **{f"features.1.{name}": torch.full((4,), 2.0) for name in ("weight", "bias")},
        **{f"features.1.running_{name}": torch.full((4,), 1.0) for name in ("mean", "var")},
        "features.1.num_batches_tracked": torch.tensor(3),
        "features.3.weight": torch.randn(4, 4, 3, 3),
        "features.3.bias": torch.zeros(4),
    }
    layers = list(vgg_features(tensors).apply.children())  # type: ignore[attr-defined]
    assert isinstance(layers[2], nn.BatchNorm2d)
    assert layers[2].weight.tolist() == [2] * 4
    assert not any(isinstance(layer, nn.AvgPool2d) for layer in layers)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"features.0.weight": torch.zeros(4, 1, 3, 3), "features.0.bias": torch.zeros(4)},
        {"features.0.weight": torch.zeros(4, 3, 3, 3)},
        {"features.0.weight": torch.zeros(4, 3, 2, 3), "features.0.bias": torch.zeros(4)},
        vgg(4) | {"features.2.weight": torch.zeros(4, 7, 3, 3), "features.2.bias": torch.zeros(4)},
        vgg(4) | {"features.1.weight": torch.zeros(4)},
    ],
)
def test_other_weights_are_a_sentence(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(DataError, match="no weights of a VGG"):
        vgg_features(tensors)


def test_only_large_images_are_shrunk() -> None:
    assert shrunk(torch.rand(3, 40, 20), 40).shape == (3, 40, 20)
    assert shrunk(torch.rand(3, 200, 100), 50).shape == (3, 50, 25)
