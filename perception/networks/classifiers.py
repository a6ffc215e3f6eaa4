"""Five networks that made image recognition deep, in their forms for small images.

Each maps images (n, channels, height, width), floats with zero mean, to scores (n, classes), and is an
`nn.Sequential` whose last layer is linear: all before it gives the features. Batch normalisation (Ioffe & Szegedy
2015) is in all of them, so that one training recipe fits all. `width` is the channels of the first stage, later
stages have multiples of it; `depth` counts what the literature counts for each network.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Name = Literal["alexnet", "vgg", "googlenet", "resnet", "fast"]

DEFAULTS: dict[str, tuple[int, int]] = {
    "alexnet": (5, 64),
    "vgg": (2, 64),
    "googlenet": (3, 64),
    "resnet": (20, 16),
    "fast": (2, 32),
}
"""Depth and width: convolutions in all (alexnet), in each of three stages (vgg, fast), modules in each of
three stages (googlenet), layers in all (resnet)."""


def make_classifier(
    name: Name,
    shape: tuple[int, int, int],
    classes: int,
    depth: int = 0,
    width: int = 0,
    shortcuts: bool = True,
) -> nn.Sequential:
    """A network by name.

    Args:
        shape: channels, height and width of the images.
        depth: 0 for the default.
        width: 0 for the default.
        shortcuts: False leaves a resnet's out: then it is a plain deep network with as many weights.

    Raises:
        ValueError: the network cannot have this depth, or needs larger images.
    """
    depth, width = depth or DEFAULTS[name][0], width or DEFAULTS[name][1]
    if name == "resnet":
        network = resnet(shape[0], classes, depth, width, shortcuts)
    elif name == "alexnet":
        network = alexnet(shape, classes, depth, width)
    else:
        network = {"vgg": vgg, "googlenet": googlenet, "fast": fast}[name](
            shape[0], classes, depth, width
        )
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise ValueError(
            f"images of {shape[1]}×{shape[2]} are too small for {name} (32×32 is usual)"
        ) from error
    return network.train()


def convolution(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, rectifier; the size of the image stays, over the stride."""
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def alexnet(shape: tuple[int, int, int], classes: int, depth: int, width: int) -> nn.Sequential:
    """Krizhevsky et al. 2012: few wide convolutions, three poolings, two large hidden layers with dropout."""
    if depth < 3:
        raise ValueError(f"alexnet has 3 convolutions or more, not {depth}")
    if min(shape[1:]) < 8:
        raise ValueError(f"images of {shape[1]}×{shape[2]} are too small for alexnet")
    sizes = [width, 3 * width, 6 * width, *[4 * width] * depth][:depth]
    channels = shape[0]
    layers: list[nn.Module] = []
    for number, after in enumerate(sizes):
        layers.append(convolution(channels, after, 5 if number == 0 else 3))
        if number in (0, 1, depth - 1):
            layers.append(nn.MaxPool2d(2))
        channels = after
    features, hidden = channels * (shape[1] // 8) * (shape[2] // 8), 16 * width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        *(nn.Dropout(0.5), nn.Linear(features, hidden), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU()),
        nn.Linear(hidden, classes),
    )


def vgg(channels: int, classes: int, depth: int, width: int) -> nn.Sequential:
    """Simonyan & Zisserman 2014: nothing but 3×3 convolutions and poolings, which double the channels."""
    layers: list[nn.Module] = []
    for factor in (1, 2, 4):
        for _ in range(depth):
            layers.append(convolution(channels, factor * width))
            channels = factor * width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


class Inception(nn.Module):
    """A module of GoogLeNet (Szegedy et al. 2014): windows of 1×1, 3×3, 5×5 and a pooling, side by side.

    Convolutions of 1×1 before the large windows keep them cheap. Gives eight times `unit` channels.
    """

    def __init__(self, channels: int, unit: int) -> None:
        super().__init__()
        few = max(1, unit // 2)
        self.branches = nn.ModuleList(
            [
                convolution(channels, 2 * unit, 1),
                nn.Sequential(convolution(channels, 3 * unit, 1), convolution(3 * unit, 4 * unit)),
                nn.Sequential(convolution(channels, few, 1), convolution(few, unit, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(channels, unit, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def googlenet(channels: int, classes: int, depth: int, width: int) -> nn.Sequential:
    """Szegedy et al. 2014: a convolution, three stages of inception modules, a global average."""
    layers: list[nn.Module] = [convolution(channels, width)]
    channels = width
    for number, factor in enumerate((1, 2, 4)):
        unit = max(1, factor * width // 8)
        for _ in range(depth):
            layers.append(Inception(channels, unit))
            channels = 8 * unit
        if number < 2:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


class Block(nn.Module):
    """Two convolutions, whose result is added to what they take: they learn a residual (He et al. 2015).

    Where the size changes, the shortcut leaves out every second row and column and adds channels of zeros. So
    shortcuts have no weights, and a network without them has as many.
    """

    def __init__(self, before: int, after: int, shortcut: bool) -> None:
        super().__init__()
        self.stride, self.more, self.shortcut = (
            1 if before == after else 2,
            after - before,
            shortcut,
        )
        self.first = convolution(before, after, stride=self.stride)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        result = self.norm(self.second(self.first(x)))
        if self.shortcut:
            kept = x[:, :, :: self.stride, :: self.stride]
            result = result + F.pad(kept, (0, 0, 0, 0, 0, self.more))
        return result.relu()


def resnet(channels: int, classes: int, depth: int, width: int, shortcuts: bool) -> nn.Sequential:
    """He et al. 2015, their network for CIFAR-10: 6n + 2 layers in three stages of n blocks."""
    blocks, rest = divmod(depth - 2, 6)
    if rest or not blocks:
        raise ValueError(f"resnet has 8, 14, 20, 26, … layers (6n + 2), not {depth}")
    layers: list[nn.Module] = [convolution(channels, width)]
    before = width
    for factor in (1, 2, 4):
        for _ in range(blocks):
            layers.append(Block(before, factor * width, shortcuts))
            before = factor * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def fast(channels: int, classes: int, depth: int, width: int) -> nn.Sequential:
    """A network for short trainings, with the ideas of Page's and Jordan's (airbench, 2024).

    The first layer is no parameter: its filters whiten 2×2 patches (`whitening_filters`; until then they
    are random). Convolutions start as identities. Pooling comes early, and normalisation has no scale.
    """
    patch = 4 * channels
    layers: list[nn.Module] = [nn.Conv2d(channels, 2 * patch, 2), nn.GELU()]
    layers[0].weight.requires_grad_(False)  # type: ignore[union-attr, operator]
    before = 2 * patch
    for factor in (1, 4, 4):
        for number in range(depth):
            after = factor * width
            layer = nn.Conv2d(before, after, 3, padding=1, bias=False)
            with torch.no_grad():
                nn.init.dirac_(layer.weight[: min(before, after)])
            layers += [layer, *([nn.MaxPool2d(2)] if number == 0 else [])]
            layers += [_norm_without_scale(after), nn.GELU()]
            before = after
    head = nn.Linear(before, classes, bias=False)
    with torch.no_grad():
        head.weight /= 9  # small scores at first: no class is sure
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)


def _norm_without_scale(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def whitening_filters(images: Tensor) -> Tensor:
    """Filters (8 × channels, channels, 2, 2) whose answers to patches of 2×2 are uncorrelated, of variance 1.

    They are the eigenvectors of the patches' covariance over the square root of the eigenvalues, and the same
    with the other sign.

    Args:
        images: (n, channels, height, width) floats with zero mean.
    """
    channels = images.shape[1]
    patches = F.unfold(images, 2, stride=2).transpose(1, 2).reshape(-1, 4 * channels).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + 5e-4).sqrt()).T.float().view(-1, channels, 2, 2)
    return torch.cat([filters, -filters])


def weights_of(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(
        math.prod(parameter.shape) for parameter in network.parameters() if parameter.requires_grad
    )
