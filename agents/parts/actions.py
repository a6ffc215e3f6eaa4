"""Action distributions: from the output of a policy network to actions, log-probabilities and entropies.

Actions are sampled in NumPy with a given generator. Log-probabilities and entropies for learning are
computed in torch. A distribution works with *actions* in a standard form (numbered from 0, or bounded by
−1 and 1), which are what is learnt from; `to_env_actions` converts them to the form of the action space.
"""

import math
from abc import ABC, abstractmethod

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces


class ActionDistribution(ABC):
    """A family of distributions with `num_distribution_params` parameters for each observation."""

    num_distribution_params: int
    action_dtype: torch.dtype
    mask_size: int = 0
    """Length of an action mask; 0 for families without masks."""

    @abstractmethod
    def sample(
        self, distribution_params: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Sample actions (n,) or (n, size) from distribution_params (n, num_distribution_params)."""

    @abstractmethod
    def mode(self, distribution_params: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        """The most probable actions, (n,) or (n, size)."""

    @abstractmethod
    def to_env_actions(self, actions: np.ndarray) -> np.ndarray:
        """Convert actions to the form of the environment's action space."""

    @abstractmethod
    def log_prob(
        self, distribution_params: torch.Tensor, actions: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        """(n,) log-probability, or log-density, of each action."""

    @abstractmethod
    def entropy(
        self, distribution_params: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        """(n,) entropy in nats."""


class Categorical(ActionDistribution):
    """One or several independent categorical distributions; illegal actions have probability 0.

    Args:
        sizes: number of actions of each distribution.
        first: the action space's number for action 0, one for each distribution.
        several: whether actions are (n, len(sizes)) instead of (n,).
    """

    def __init__(self, sizes: list[int], first: np.ndarray, several: bool) -> None:
        self.sizes = sizes
        self.first = first
        self.num_distribution_params = self.mask_size = sum(sizes)
        self.several = several
        self.action_dtype = torch.int64

    def sample(
        self, distribution_params: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        # The argmax of logits plus Gumbel noise is distributed as their softmax (Gumbel 1954).
        noise = rng.gumbel(size=distribution_params.shape).astype(np.float32)
        return self.mode(distribution_params + noise, masks)

    def mode(self, distribution_params: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        logits = distribution_params
        if masks is not None:
            logits = np.where(masks, logits, -np.inf)
        if not self.several:
            return logits.argmax(axis=1)
        borders = np.cumsum(self.sizes)[:-1]
        return np.stack([part.argmax(axis=1) for part in np.split(logits, borders, axis=1)], 1)

    def to_env_actions(self, actions: np.ndarray) -> np.ndarray:
        return actions + self.first

    def _all_log_probs(
        self, logits: torch.Tensor, masks: torch.Tensor | None
    ) -> list[torch.Tensor]:
        """(n, size) for each distribution."""
        if masks is not None:
            # Finite, so that 0 · log 0 in the entropy, and its gradient, are 0.
            logits = logits.masked_fill(~masks, -1e9)
        return [part.log_softmax(dim=1) for part in logits.split(self.sizes, dim=1)]

    def log_prob(
        self, distribution_params: torch.Tensor, actions: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        columns = actions if self.several else actions.unsqueeze(1)
        parts = self._all_log_probs(distribution_params, masks)
        taken = [part.gather(1, columns[:, i : i + 1]) for i, part in enumerate(parts)]
        return torch.cat(taken, dim=1).sum(dim=1)

    def entropy(
        self, distribution_params: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        parts = self._all_log_probs(distribution_params, masks)
        return -sum((part.exp() * part).sum(dim=1) for part in parts)  # type: ignore[return-value]


class Gaussian(ActionDistribution):
    """Independent normal distributions over the numbers of a Box.

    Actions are scaled so that the bounds of the space are −1 and 1, and clipped to them only for the
    environment; the density is that of the unclipped action. A number with one bound or none is not scaled.
    """

    def __init__(self, space: spaces.Box) -> None:
        self.space = space
        self.size = int(np.prod(space.shape))
        self.num_distribution_params = 2 * self.size
        self.action_dtype = torch.float32
        self.bounded = space.bounded_below & space.bounded_above
        low = np.where(self.bounded, space.low, -1)
        high = np.where(self.bounded, space.high, 1)
        self.middle, self.half = high / 2 + low / 2, high / 2 - low / 2

    def sample(
        self, distribution_params: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        mean, log_std = np.split(distribution_params, 2, axis=1)
        return mean + np.exp(log_std) * rng.standard_normal(mean.shape, dtype=np.float32)

    def mode(self, distribution_params: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        return distribution_params[:, : self.size]

    def to_env_actions(self, actions: np.ndarray) -> np.ndarray:
        actions = actions.reshape(-1, *self.space.shape)
        scaled = self.middle + self.half * np.where(self.bounded, np.clip(actions, -1, 1), actions)
        return np.clip(scaled, self.space.low, self.space.high).astype(self.space.dtype)

    def log_prob(
        self, distribution_params: torch.Tensor, actions: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        mean, log_std = distribution_params.chunk(2, dim=1)
        deviation = (actions - mean) * torch.exp(-log_std)
        return (-0.5 * deviation * deviation - log_std - 0.5 * math.log(2 * math.pi)).sum(dim=1)

    def entropy(
        self, distribution_params: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        log_std = distribution_params.chunk(2, dim=1)[1]
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(dim=1)


def action_distribution(space: gym.Space) -> ActionDistribution:
    """The distribution for an action space.

    Raises:
        ValueError: for a space that is neither Discrete, MultiDiscrete, MultiBinary nor a Box of floats.
    """
    if isinstance(space, spaces.Discrete):
        return Categorical([int(space.n)], np.int64(space.start), several=False)  # type: ignore[arg-type]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return Categorical([int(n) for n in space.nvec], space.start, several=True)
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return Categorical([2] * space.shape[0], np.int8(0), several=True)  # type: ignore[arg-type]
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Gaussian(space)
    raise ValueError(
        "policy gradients need an action space of Discrete, MultiDiscrete, MultiBinary or a Box of"
        f" floats, and this environment has {space}"
    )
