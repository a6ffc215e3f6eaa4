"""Distributions over actions: from a policy's outputs to actions, probabilities and entropies.

Actions are drawn in NumPy, from the generator that is given; probabilities for learning are computed
in torch, from the same outputs. What is learnt from is the *choice*, which `to_environment` turns into
the action the environment gets.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

Bounds = Literal["clipped", "squashed"]


class ActionDistribution(ABC):
    """A family of distributions; `outputs` parameters a state."""

    outputs: int
    choice_dtype: torch.dtype
    mask_size: int = 0
    """Length of an action mask; 0 where the family takes none."""

    @abstractmethod
    def sample(
        self, outputs: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw choices, (n,) or (n, parts), from (n, outputs)."""

    @abstractmethod
    def mode(self, outputs: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        """The likeliest choices, of the same shape."""

    @abstractmethod
    def to_environment(self, choices: np.ndarray) -> np.ndarray:
        """The actions that the environment gets."""

    @abstractmethod
    def log_probability(
        self, outputs: torch.Tensor, choices: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        """(n,) logarithm of each choice's probability or density."""

    @abstractmethod
    def entropy(self, outputs: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        """(n,) entropy in nats."""


class Categorical(ActionDistribution):
    """One or several independent choices among numbered actions; illegal ones have probability 0."""

    def __init__(self, sizes: list[int], starts: np.ndarray, several: bool) -> None:
        self.sizes = sizes
        self.starts = starts
        self.outputs = self.mask_size = sum(sizes)
        self.several = several
        self.choice_dtype = torch.int64

    def sample(
        self, outputs: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        # The largest of logits with Gumbel noise is distributed as the softmax says (Gumbel 1954).
        return self.mode(outputs + rng.gumbel(size=outputs.shape).astype(np.float32), masks)

    def mode(self, outputs: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        if masks is not None:
            outputs = np.where(masks, outputs, -np.inf)
        if not self.several:
            return outputs.argmax(axis=1)
        borders = np.cumsum(self.sizes)[:-1]
        return np.stack([part.argmax(axis=1) for part in np.split(outputs, borders, axis=1)], 1)

    def to_environment(self, choices: np.ndarray) -> np.ndarray:
        return choices + self.starts

    def _log_probabilities(
        self, outputs: torch.Tensor, masks: torch.Tensor | None
    ) -> list[torch.Tensor]:
        if masks is not None:
            # A finite number, for the entropy's 0 · log 0 and its gradient must be 0.
            outputs = outputs.masked_fill(~masks, -1e9)
        return [part.log_softmax(dim=1) for part in outputs.split(self.sizes, dim=1)]

    def log_probability(
        self, outputs: torch.Tensor, choices: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        columns = choices if self.several else choices.unsqueeze(1)
        parts = self._log_probabilities(outputs, masks)
        chosen = [part.gather(1, columns[:, i : i + 1]) for i, part in enumerate(parts)]
        return torch.cat(chosen, dim=1).sum(dim=1)

    def entropy(self, outputs: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        parts = self._log_probabilities(outputs, masks)
        return -sum((part.exp() * part).sum(dim=1) for part in parts)  # type: ignore[return-value]


class Gaussian(ActionDistribution):
    """Independent normal distributions, kept within the action space's bounds.

    Choices live where the bounds are −1 and 1. `clipped` cuts off what lies outside; `squashed` takes
    the hyperbolic tangent (Haarnoja et al. 2018, appendix C). The density is that of the choice
    before either: the change of variables is the same under two policies, so their ratio needs none.
    A number without a bound on either side is not scaled; it is cut off at the other, if it has one.
    """

    def __init__(self, space: spaces.Box, bounds: Bounds) -> None:
        self.space = space
        self.bounds = bounds
        self.size = int(np.prod(space.shape))
        self.outputs = 2 * self.size
        self.choice_dtype = torch.float32
        self.bounded = space.bounded_below & space.bounded_above
        low = np.where(self.bounded, space.low, -1)
        high = np.where(self.bounded, space.high, 1)
        self.middle, self.half = high / 2 + low / 2, high / 2 - low / 2

    def sample(
        self, outputs: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        mean, log_std = np.split(outputs, 2, axis=1)
        return mean + np.exp(log_std) * rng.standard_normal(mean.shape, dtype=np.float32)

    def mode(self, outputs: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        return outputs[:, : self.size]

    def to_environment(self, choices: np.ndarray) -> np.ndarray:
        choices = choices.reshape(-1, *self.space.shape)
        unit = np.tanh(choices) if self.bounds == "squashed" else np.clip(choices, -1, 1)
        actions = self.middle + self.half * np.where(self.bounded, unit, choices)
        return np.clip(actions, self.space.low, self.space.high).astype(self.space.dtype)

    def log_probability(
        self, outputs: torch.Tensor, choices: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        mean, log_std = outputs.chunk(2, dim=1)
        deviation = (choices - mean) * torch.exp(-log_std)
        return (-0.5 * deviation * deviation - log_std - 0.5 * math.log(2 * math.pi)).sum(dim=1)

    def entropy(self, outputs: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        log_std = outputs.chunk(2, dim=1)[1]
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(dim=1)


def distribution(space: gym.Space, bounds: Bounds) -> ActionDistribution:
    """The family that fits an action space.

    Raises:
        ValueError: none does.
    """
    if isinstance(space, spaces.Discrete):
        return Categorical([int(space.n)], np.int64(space.start), several=False)  # type: ignore[arg-type]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return Categorical([int(n) for n in space.nvec], space.start, several=True)
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return Categorical([2] * space.shape[0], np.int8(0), several=True)  # type: ignore[arg-type]
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Gaussian(space, bounds)
    raise ValueError(
        "policy gradients need actions of Discrete, MultiDiscrete, MultiBinary or a Box of floats, "
        f"and this environment's are {space}"
    )
