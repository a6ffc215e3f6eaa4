"""Images that activate units do so more than random ones, and filters are the weights of the first layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from perception.inspection.filters import filter_figure, first_filters, maximise, maximised_figure
from perception.inspection.network import Network, find_layer


def test_gains_of_a_fitted_network_are_above_1(fitted: tuple[Network, Any, Any]) -> None:
    network = fitted[0]
    for layer in (find_layer(network, "network.1"), find_layer(network, "network.5"), None):
        found = maximise(network, layer, 5, seed=0, steps=40)
        assert len(found.units) == len(found.images) == 5
        gains = [gain for gain in found.gains if gain is not None]
        assert sum(gain > 1 for gain in gains) >= 4, (found.title, gains)
        assert (found.activations > found.random.max(dim=0).values).float().mean() >= 0.8
        assert found.images.min() >= 0
        assert found.images.max() <= 1


def test_the_image_of_a_filter_is_its_sign(convolutional: Callable[..., Network]) -> None:
    network = convolutional()
    found = maximise(network, find_layer(network, "0"), 6, seed=0, steps=40)
    assert found.images.shape == (6, 1, 3, 3), "no more than the filter sees"
    filters = first_filters(network)
    strong = filters.abs() > 0.5 * filters.abs().amax(dim=(1, 2, 3), keepdim=True)
    agree = ((found.images > 0.5) == (filters > 0))[strong]
    assert agree.float().mean() > 0.9


def test_dense_layers_have_filters_too() -> None:
    root = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 70))
    network = Network(root, (3, 4, 4), [str(n) for n in range(70)], root, root)
    filters = first_filters(network)
    assert filters.shape == (64, 3, 4, 4)
    torch.testing.assert_close(filters[5].flatten(), root[1].weight[5])  # type: ignore[union-attr]


def test_figures_have_a_part_for_every_image(convolutional: Callable[..., Network]) -> None:
    network = convolutional(channels=4)
    figure = filter_figure(first_filters(network), stacked=True)
    assert sum(bool(axes.images) for axes in figure.axes) == 6
    rows = [maximise(network, find_layer(network, "0"), 3, 0, 2), maximise(network, None, 4, 0, 2)]
    figure = maximised_figure(rows, stacked=True)
    assert sum(bool(axes.images) for axes in figure.axes) == 7
