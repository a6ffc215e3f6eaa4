"""The deep networks for small images."""

from typing import Any

import pytest
import torch
from torch import nn

from perception.networks.classifiers import (
    DEFAULTS,
    make_classifier,
    weights_of,
    whitening_filters,
)


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_each_gives_scores_and_every_weight_learns(name: Any, shape: tuple[int, int, int]) -> None:
    depth = 8 if name == "resnet" else 3
    network = make_classifier(name, shape, 7, depth, 8)
    assert isinstance(network[-1], nn.Linear)
    scores = network(torch.randn(4, *shape))
    assert scores.shape == (4, 7)
    scores.square().sum().backward()
    for key, parameter in network.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, key
    assert weights_of(make_classifier(name, shape, 7, depth, 16)) > 2 * weights_of(network)
    deeper = make_classifier(name, shape, 7, 14 if name == "resnet" else 4, 8)
    assert len(list(deeper.modules())) > len(list(network.modules()))


def test_the_published_sizes() -> None:
    layers = [
        layer
        for layer in make_classifier("resnet", (3, 32, 32), 10).modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert len(layers) == 20
    assert weights_of(make_classifier("resnet", (3, 32, 32), 10)) == 269_722  # He et al.: 0.27M


def test_shortcuts_have_no_weights_and_are_what_a_block_begins_as() -> None:
    with_, without = (
        make_classifier("resnet", (3, 32, 32), 10, 14, 8, shortcuts) for shortcuts in (True, False)
    )
    assert weights_of(with_) == weights_of(without)
    block = with_[1]
    nn.init.zeros_(block.norm.weight)
    x = torch.rand(2, 8, 6, 6)
    assert torch.equal(block(x), x)
    changing = with_[3]
    nn.init.zeros_(changing.norm.weight)
    result = changing(x)
    assert torch.equal(result[:, :8], x[:, :, ::2, ::2])
    assert not result[:, 8:].any()


@pytest.mark.parametrize(
    ("name", "depth", "side", "expected"),
    [
        ("resnet", 21, 32, "6n \\+ 2"),
        ("resnet", 2, 32, "6n \\+ 2"),
        ("alexnet", 2, 32, "3 convolutions or more"),
        ("fast", 0, 8, "too small for fast"),
        ("vgg", 0, 4, "too small for vgg"),
        ("alexnet", 0, 4, "too small for alexnet"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(
    name: Any, depth: int, side: int, expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        make_classifier(name, (3, side, side), 10, depth)


def test_whitened_patches_are_uncorrelated_with_variance_one() -> None:
    torch.manual_seed(0)
    images = torch.randn(200, 3, 16, 16).cumsum(dim=3)  # neighbours are alike
    images -= images.mean(dim=(0, 2, 3), keepdim=True)
    filters = whitening_filters(images)
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[12:], -filters[:12])
    answers = nn.functional.conv2d(images, filters[:12], stride=2).transpose(0, 1).flatten(1)
    assert torch.allclose(answers @ answers.T / answers.shape[1], torch.eye(12), atol=0.02)
