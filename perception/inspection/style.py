"""Style transfer: the content of one image in the style of another (Gatys et al. 2016).

Content is what a deep layer answers, place by place; style is how the channels of several layers go together,
whatever the place: their Gram matrices. An image that starts as the content is optimised for both by L-BFGS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.inspection.network import activations
from perception.tasks.task import DataError

STEPS = 100
STYLE_WEIGHT = 30.0
"""Weight of the style's loss to the content's; both are relative to what they start from or aim at."""
_SMOOTHNESS = 1e-3

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, which torchvision's networks are trained with."""


@dataclass(frozen=True)
class Features:
    """The layers that content and style are seen by."""

    apply: Callable[[Tensor], object]
    """Takes images (n, 3, height, width) in 0…1 of any size."""
    style: Sequence[nn.Module]
    content: nn.Module


@dataclass(frozen=True)
class Transferred:
    """The image, and the losses of style and content at the start and at the end."""

    image: Tensor
    """(3, height, width) in 0…1."""
    style: tuple[float, float]
    content: tuple[float, float]


def gram(answers: Tensor) -> Tensor:
    """(n, channels, channels): mean products of channels, for answers (n, channels, height, width)."""
    rows = answers.flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]


def transfer(features: Features, content: Tensor, style: Tensor, steps: int = STEPS) -> Transferred:
    """The content in the style.

    Args:
        content, style: (3, height, width) in 0…1, each of any size.
        steps: of L-BFGS.
    """
    modules = [*features.style, features.content]

    def answers(image: Tensor) -> list[Tensor]:
        return activations(features.apply, modules, image[None])

    with torch.no_grad():
        grams = [gram(one) for one in answers(style)[:-1]]
        wanted = answers(content)[-1]

    def losses(image: Tensor) -> tuple[Tensor, Tensor]:
        *others, last = answers(image)
        distances = [
            (gram(one) - target).square().sum() / (target.square().sum() + 1e-12)
            for one, target in zip(others, grams, strict=True)
        ]
        away = (last - wanted).square().sum() / (wanted.square().sum() + 1e-12)
        return torch.stack(distances).mean(), away

    image = content.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        differing, away = losses(image)
        rough = image.diff(dim=1).square().mean() + image.diff(dim=2).square().mean()
        outside = (image - image.clamp(0, 1)).square().sum()
        loss = STYLE_WEIGHT * differing + away + _SMOOTHNESS * rough + outside
        loss.backward()
        return loss

    optimizer.step(closure)
    result = image.detach().clamp(0, 1)
    with torch.no_grad():
        first, last = losses(content), losses(result)
    return Transferred(result, (float(first[0]), float(last[0])), (float(first[1]), float(last[1])))


class _Normalised(nn.Module):
    """Colours with ImageNet's mean and deviation."""

    def forward(self, images: Tensor) -> Tensor:
        mean, deviation = (
            torch.tensor(values, device=images.device).view(3, 1, 1)
            for values in (_MEAN, _DEVIATION)
        )
        return (images - mean) / deviation


def vgg_features(tensors: Mapping[str, Tensor]) -> Features:
    """A VGG (Simonyan & Zisserman 2014) from weights with torchvision's names, such as "features.0.weight".

    The gaps between the numbers say where its poolings are, which here take means, as the paper recommends. Style is
    seen by the first convolution of each of the first five stages, content by the second of the fourth, or by the
    last one.

    Raises:
        DataError: these are no such weights.
    """
    weights = {
        int(match[1]): tensor.float()
        for name, tensor in tensors.items()
        if (match := re.fullmatch(r"features\.([0-9]{1,3})\.weight", name))
    }
    numbers = sorted(number for number, weight in weights.items() if weight.ndim == 4)
    if not numbers or weights[numbers[0]].shape[1] != 3:
        raise DataError(
            "these are no weights of a VGG: there is no features.0.weight for images of three colours"
        )
    layers: list[nn.Module] = [_Normalised()]
    stages: list[list[nn.Module]] = [[]]
    for place, number in enumerate(numbers):
        convolution = _convolution(tensors, weights, number)
        layers.append(convolution)
        stages[-1].append(convolution)
        normed = number + 1 in weights
        if normed:
            layers.append(_normalisation(tensors, number + 1))
        layers.append(nn.ReLU())
        following = numbers[place + 1] if place + 1 < len(numbers) else None
        if following is not None and following - number > 2 + normed:
            layers.append(nn.AvgPool2d(2))
            stages.append([])
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, 64, 64))
    except RuntimeError as error:
        raise DataError(
            "these are no weights of a VGG: its layers do not fit one another"
        ) from error
    deep = stages[min(3, len(stages) - 1)]
    return Features(network, [stage[0] for stage in stages[:5]], deep[min(1, len(deep) - 1)])


def _convolution(
    tensors: Mapping[str, Tensor], weights: Mapping[int, Tensor], number: int
) -> nn.Conv2d:
    weight = weights[number]
    after, before, height, width = weight.shape
    bias = tensors.get(f"features.{number}.bias")
    if height != width or height % 2 == 0 or bias is None or bias.shape != (after,):
        raise DataError(
            f"these are no weights of a VGG: features.{number} is no convolution of one"
        )
    layer = nn.Conv2d(before, after, height, padding=height // 2)
    layer.load_state_dict({"weight": weight, "bias": bias.float()})
    return layer


def _normalisation(tensors: Mapping[str, Tensor], number: int) -> nn.BatchNorm2d:
    names = ("weight", "bias", "running_mean", "running_var")
    found = {name: tensors.get(f"features.{number}.{name}") for name in names}
    if any(tensor is None or tensor.ndim != 1 for tensor in found.values()):
        raise DataError(
            f"these are no weights of a VGG: features.{number} is no normalisation of one"
        )
    layer = nn.BatchNorm2d(len(tensors[f"features.{number}.weight"]))
    try:
        layer.load_state_dict(found, strict=False)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise DataError(
            f"these are no weights of a VGG: the parts of features.{number} differ in size"
        ) from error
    return layer


def shrunk(image: Tensor, most: int) -> Tensor:
    """An image (channels, height, width) with sides of at most `most` pixels."""
    scale = most / max(image.shape[1:])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1:]]
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
