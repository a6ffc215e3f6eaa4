"""What every task is to the one who runs it: a model, epochs of learning, a test."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Model(Protocol):
    """A network with what it takes to use it."""

    network: nn.Module

    def description(self) -> dict[str, Any]:
        """All but the weights, ready for JSON."""
        ...


class Task(ABC):
    """Learns from examples and is tested on others.

    Args:
        config: of the class's `Config`.
        model: on the device where it learns; it always has the weights that are to be used.
        examples: to learn from.
    """

    Config: ClassVar[type]
    """A frozen dataclass: its fields are the command-line flags, their docstrings the help."""

    epochs: ClassVar[int]
    """Epochs where nobody says how many."""

    data: ClassVar[str]
    """What it learns from where nobody says."""

    learner: Learner[Any]

    @abstractmethod
    def __init__(self, config: Any, model: Any, examples: Sequence[Any]) -> None: ...

    @staticmethod
    @abstractmethod
    def new_model(config: Any, examples: Sequence[Any]) -> Any:
        """A model for these examples, its weights drawn by PyTorch's generator.

        Raises:
            ValueError: a hyperparameter makes no sense.
        """

    @staticmethod
    @abstractmethod
    def described(description: Any) -> Any:
        """The model that a description is of, its weights not yet read; ValueError if it is none."""

    @abstractmethod
    def epoch(self) -> Iterator[dict[str, float]]:
        """Learn from every example once; all randomness comes from PyTorch's generator.

        Every report has the examples done in this epoch as `steps`.
        """

    @staticmethod
    @abstractmethod
    def test(model: Any, examples: Sequence[Any]) -> dict[str, Any]:
        """How good a model is, ready for JSON.

        `score` is the name of what is judged by, `mean` its value, `interval` that value's 95 %
        bootstrap interval over examples, `sentences` their number, `measures` more numbers by name,
        and `table` rows of a table, the first of which is its head.
        """


class Learner(Generic[Network]):
    """Adam (Kingma & Ba 2015) on a copy of a network, which itself becomes the copies' average.

    The exponential average of the weights (Polyak & Juditsky 1992) stands in for a learning rate that
    falls and, unlike that, need not know when learning will end.

    Args:
        average: the network that is used.
        learning_rate: Adam's.
        decay: of the average at an update, once there have been many.
    """

    def __init__(self, average: Network, learning_rate: float, decay: float) -> None:
        self.network: Network = copy.deepcopy(average).train()
        """The network that learns."""
        self.updates = 0
        self._decay = decay
        self._average = dict(average.named_parameters())
        self._learning = dict(self.network.named_parameters())
        self._adam = torch.optim.Adam(self._learning.values(), lr=learning_rate, fused=True)

    def update(self, loss: torch.Tensor, largest: float = 5.0) -> None:
        """Go a step down the gradient, shortened to `largest`."""
        self._adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._learning.values(), largest)
        self._adam.step()
        self.updates += 1
        # Early on, the average reaches back over a tenth of the updates only.
        keep = min(self._decay, self.updates / (self.updates + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._average.values()), list(self._learning.values()), 1 - keep
            )

    def weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights."""
        return {name: parameter.detach() for name, parameter in self._average.items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """What else it takes to go on: the weights that learn, and Adam's moments."""
        result = {f"learning.{name}": p.detach() for name, p in self._learning.items()}
        for name, parameter in self._learning.items():
            moments = self._adam.state.get(parameter, {})
            result |= {f"{kind}.{name}": value for kind, value in moments.items()}
        return result

    def load(
        self, weights: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor], updates: int
    ) -> None:
        """Go back to where `weights`, `tensors` and `updates` were.

        Raises:
            ValueError: they are of another network.
        """
        copy_weights(weights, self._average)
        copy_weights({name: tensors.get(f"learning.{name}") for name in weights}, self._learning)
        for name, parameter in self._learning.items():
            moments = {
                kind: tensors[f"{kind}.{name}"].to(parameter.device)
                for kind in ("step", "exp_avg", "exp_avg_sq")
                if f"{kind}.{name}" in tensors
            }
            if moments:
                self._adam.state[parameter] = moments
        self.updates = updates


def copy_weights(
    source: dict[str, torch.Tensor] | dict[str, torch.Tensor | None],
    target: dict[str, nn.Parameter],
) -> None:
    """Give a network's parameters other values; raises ValueError where they are another network's."""
    if source.keys() != target.keys():
        raise ValueError("the weights are of another network")
    with torch.no_grad():
        for name, parameter in target.items():
            value = source[name]
            if value is None or value.shape != parameter.shape:
                raise ValueError(f"the weights {name} are of another network")
            parameter.copy_(value)
