"""DeepDream: an image changed so that a layer answers it more and more (Mordvintsev et al. 2015).

Gradient ascent on the squared activations of a layer, at several sizes from small to large (octaves), with the image
moved at random before each step (jitter), and steps of the same mean size whatever the gradient's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.inspection.network import Layer, Network, activations, main_layers
from perception.tasks.task import DataError

OCTAVES, OCTAVE_SCALE = 4, 1.4
STEPS, STEP_SIZE = 20, 0.012
SMALLEST = 32
"""Least height and width of an image."""


def in_channels(network: Network, images: Tensor) -> Tensor:
    """Colour images (n, 3, height, width) as the network takes them.

    A network that sees no colours gets each of the three by itself, (3 n, channels, height, width); where it sees a
    stack of frames, all of them are the same.
    """
    channels = network.shape[0]
    if channels == 3 and not network.stacked:
        return images
    return images.flatten(0, 1)[:, None].expand(-1, channels, -1, -1)


def convolutions(network: Network, most: int = 100) -> list[Layer]:
    """The main layers that take images of any size.

    Raises:
        DataError: there are none.
    """
    layers = [layer for layer in main_layers(network, most) if layer.spatial]
    if not layers:
        raise DataError("the network has no convolutions, which images of another size need")
    return layers


def dream(
    network: Network, layer: Layer, image: Tensor, seed: int, steps: int = STEPS
) -> tuple[Tensor, float, float]:
    """The image as the layer would have it, and the layer's mean squared activation before and after.

    Args:
        image: (3, height, width) in 0…1.
        steps: at each size.
    """
    random = torch.Generator().manual_seed(seed)

    def answer(images: Tensor) -> Tensor:
        inputs = in_channels(network, images)
        return activations(network.convolve, [layer.module], inputs)[0].square().mean()

    original = image[None]
    with torch.no_grad():
        before = float(answer(original))
    sizes = [
        [max(SMALLEST, round(side / OCTAVE_SCALE**number)) for side in image.shape[1:]]
        for number in reversed(range(OCTAVES))
    ]
    detail = torch.zeros_like(F.interpolate(original, sizes[0]))
    result = original
    for size in sizes:
        base = F.interpolate(original, size, mode="bilinear", antialias=True)
        result = base + F.interpolate(detail, size, mode="bilinear")
        for _ in range(steps):
            shift = torch.randint(-8, 9, (2,), generator=random).tolist()
            moved = result.roll(shift, (2, 3)).detach().requires_grad_()
            (gradient,) = torch.autograd.grad(answer(moved), moved)
            gradient = gradient.roll([-x for x in shift], (2, 3))
            step = STEP_SIZE * gradient / (gradient.abs().mean() + 1e-12)
            result = (result + step).clamp(0, 1)
        detail = result - base
    with torch.no_grad():
        return result[0], before, float(answer(result))
