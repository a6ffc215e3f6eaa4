"""A dream activates its layer more, at the size of the image."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from perception.inspection.dream import convolutions, dream, in_channels
from perception.inspection.network import Network, find_layer
from perception.tasks.task import DataError


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_dream_activates_its_layer_more(
    convolutional: Callable[..., Network], channels: int
) -> None:
    network = convolutional(channels)
    image = torch.rand(3, 36, 50)
    result, before, after = dream(network, find_layer(network, "4"), image, 0, steps=4)
    assert result.shape == image.shape
    assert after > 1.2 * before > 0
    again, *_ = dream(network, find_layer(network, "4"), image, 0, steps=4)
    assert torch.equal(result, again)


def test_networks_without_colours_see_each_by_itself(
    convolutional: Callable[..., Network],
) -> None:
    images = torch.rand(2, 3, 5, 6)
    assert in_channels(convolutional(3), images) is images
    parts = in_channels(convolutional(4), images)
    assert parts.shape == (6, 4, 5, 6)
    assert torch.equal(parts[4, 2], images[1, 1])


def test_without_convolutions_it_is_a_sentence() -> None:
    root = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Linear(3, 2))
    with pytest.raises(DataError, match="no convolutions"):
        convolutions(Network(root, (1, 4, 4), ["a", "b"], root, root))
