"""A network that is looked into: scores of images, and the activations of its layers.

A layer is any module that the network calls; a forward hook takes what it gives, and stops the network when the
last of the layers that were asked for has been reached, so that images of any size reach the convolutions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.tasks.task import DataError

_PASSING = (nn.Dropout, nn.Identity, nn.Flatten)
"""Modules that compute nothing."""


@dataclass(frozen=True)
class Network:
    """Scores of images, differentiable, and the modules that compute them."""

    scores: Callable[[Tensor], Tensor]
    """(n, *shape) floats in 0…1 → (n, len(names)) floats."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images."""
    names: Sequence[str]
    """What the scores are of, such as classes or actions."""
    root: nn.Module
    """Its modules are the layers."""
    convolve: Callable[[Tensor], object]
    """Computes at least the convolutions, for images of any size."""
    stacked: bool = False
    """Whether the channels are grey frames one after the other, rather than colours."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.root.parameters()).device


@dataclass(frozen=True)
class Layer:
    """A module that the network calls."""

    name: str
    """Its path among the modules, such as "network.4"."""
    module: nn.Module
    shape: tuple[int, ...]
    """Of what it gives for one image: channels, height and width, or units."""

    @property
    def units(self) -> int:
        """Channels of a convolution, else numbers."""
        return self.shape[0]

    @property
    def spatial(self) -> bool:
        """Whether it gives an image for each of its channels."""
        return len(self.shape) == 3

    @property
    def kind(self) -> str:
        """The class of the module."""
        return type(self.module).__name__


@torch.no_grad()
def layers_of(network: Network) -> list[Layer]:
    """The layers, in the order in which they are computed."""
    result: dict[str, Layer] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim in (2, 4) and len(output) == 1:
                result.setdefault(name, Layer(name, module, tuple(output.shape[1:])))

        return hook

    with contextlib.ExitStack() as stack:
        for name, module in network.root.named_modules():
            if name and not isinstance(module, (*_PASSING, nn.Sequential, nn.ModuleList)):
                stack.enter_context(_hooked(module, note(name)))
        network.scores(torch.zeros(1, *network.shape, device=network.device))
    return list(result.values())


def find_layer(network: Network, name: str) -> Layer:
    """A layer by its name.

    Raises:
        DataError: there is none; names those that there are.
    """
    layers = layers_of(network)
    for layer in layers:
        if layer.name == name:
            return layer
    raise DataError(
        f"there is no layer {name!r}; the layers are {', '.join(layer.name for layer in layers)}"
    )


def main_layers(network: Network, most: int) -> list[Layer]:
    """Convolutions and dense layers, evenly chosen where there are more than `most`.

    Where normalisation follows, its result is taken: its sign is what the rectifier after it sees. The last layer,
    which gives the scores, is left out.
    """
    layers = layers_of(network)
    chosen: list[Layer] = []
    for number, layer in enumerate(layers):
        if isinstance(layer.module, nn.Conv2d | nn.Linear):
            following = layers[number + 1] if number + 1 < len(layers) else None
            normed = following is not None and "Norm" in following.kind
            chosen.append(following if normed and following is not None else layer)
    if chosen and chosen[-1].shape == (len(network.names),):
        chosen.pop()
    if len(chosen) > most:
        chosen = [chosen[round(i * (len(chosen) - 1) / (most - 1))] for i in range(most)]
    return chosen


class _Reached(Exception):
    """All layers that were asked for have been computed."""


def activations(
    apply: Callable[[Tensor], object], modules: Sequence[nn.Module], images: Tensor
) -> list[Tensor]:
    """What modules give when a network is applied to images; the rest of the network is not computed."""
    found: dict[int, Tensor] = {}

    def keep(number: int) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, output: Tensor) -> None:
            # A copy: a rectifier may work in place.
            found.setdefault(number, output.clone())
            if len(found) == len(modules):
                raise _Reached

        return hook

    with contextlib.ExitStack() as stack:
        for number, module in enumerate(modules):
            stack.enter_context(_hooked(module, keep(number)))
        with contextlib.suppress(_Reached):
            apply(images)
    return [found[number] for number in range(len(modules))]


@contextlib.contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
