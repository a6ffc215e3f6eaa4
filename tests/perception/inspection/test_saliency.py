"""Maps are where the network reads; occlusion is that of captum."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from perception.inspection.network import Network
from perception.inspection.saliency import (
    fall_of,
    gradient_map,
    occlusion_map,
    saliency_figure,
    squared_change,
)


def test_the_gradient_of_a_network_that_reads_one_pixel_is_there(one_pixel: Network) -> None:
    images = torch.rand(2, 1, 12, 16)
    maps = gradient_map(one_pixel.scores, images, torch.tensor([0, 1]))
    assert maps.shape == (2, 12, 16)
    assert maps.nonzero().tolist() == [[0, 5, 9], [1, 5, 9]]
    assert maps[:, 5, 9].tolist() == [3, 3]


@pytest.mark.parametrize(("patch", "stride"), [(1, 1), (3, 1), (3, 2), (0, 0)])
def test_occlusion_finds_the_pixel_too(one_pixel: Network, patch: int, stride: int) -> None:
    image = torch.zeros(1, 12, 16)
    image[0, 5, 9] = 1
    heat = occlusion_map(one_pixel.scores, image, fall_of(0), None, patch, stride)
    reach = patch or 3
    assert heat[5, 9] == heat.max() > 0
    far = heat.clone()
    far[5 - reach + 1 : 5 + reach, 9 - reach + 1 : 9 + reach] = 0
    assert far.sum() == 0


def test_a_score_that_rises_is_no_fall(one_pixel: Network) -> None:
    image = torch.zeros(1, 12, 16)
    image[0, 5, 9] = 1
    assert occlusion_map(one_pixel.scores, image, fall_of(1)).sum() == 0
    assert occlusion_map(one_pixel.scores, image, squared_change).sum() > 0


def test_what_covers_is_what_was_given(one_pixel: Network) -> None:
    image = torch.rand(1, 12, 16)
    assert occlusion_map(one_pixel.scores, image, squared_change, image).sum() == 0
    cover = torch.zeros(1, 12, 16)
    heat = occlusion_map(one_pixel.scores, image, fall_of(0), cover, 1, 1)
    torch.testing.assert_close(heat[5, 9], 3 * image[0, 5, 9])


def test_occlusion_is_captums(convolutional: Callable[..., Network]) -> None:
    captum = pytest.importorskip("captum.attr")
    network = convolutional()
    image, cover = torch.rand(2, 1, 16, 16)
    ours = occlusion_map(network.scores, image, lambda a, b: a[2] - b[:, 2], cover, 3, 1)
    theirs = captum.Occlusion(network.scores).attribute(
        image[None], (1, 3, 3), target=2, baselines=cover[None]
    )
    torch.testing.assert_close(ours, theirs[0, 0], rtol=1e-3, atol=1e-6)


def test_the_figure_has_three_pictures_for_each_image_and_bars() -> None:
    images, maps = torch.rand(2, 3, 12, 16), torch.rand(2, 12, 16)
    figure = saliency_figure(images, maps, maps, ["a", "b"], ["black", "red"])
    assert len(figure.axes) == 6
    bars = [np.array([0.1, 0.9]), np.array([0.5, 0.4])]
    figure = saliency_figure(images, maps, maps, ["a", "b"], ["black"] * 2, False, bars, ["x", "y"])
    assert len(figure.axes) == 8
