"""Action distributions: from the output of a policy network to actions, log-probabilities and entropies.

Actions are sampled in NumPy with a given generator. Log-probabilities and entropies for learning are
computed in torch. A distribution works with *actions* in a standard form (numbered from 0, or bounded by
−1 and 1), which are what is learnt from; `to_env_actions` converts them to the form of the action space.
The actions of a `Dict` or a `Tuple` are independent parts: the columns of one array, whose probabilities
multiply.
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch.nn import functional as F

MOST_NUMBERS = 100_000
"""Of the integers of a Box, each of which has its own probability."""


class ActionDistribution(ABC):
    """A family of distributions with `num_distribution_params` parameters for each observation.

    The parameters are the outputs of the network, then log standard deviations, which are learnt weights.
    """

    num_outputs: int
    """Parameters that depend on the observation."""
    num_log_stds: int = 0
    num_features: int
    """Numbers that describe an action to a network."""
    action_dtype: torch.dtype
    mask_size: int = 0
    """Length of an action mask; 0 for families without masks."""

    @property
    def num_distribution_params(self) -> int:
        """All parameters."""
        return self.num_outputs + self.num_log_stds

    @abstractmethod
    def sample(
        self, distribution_params: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Sample actions (n,) or (n, size) from distribution_params (n, num_distribution_params)."""

    @abstractmethod
    def mode(self, distribution_params: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        """The most probable actions, (n,) or (n, size)."""

    @abstractmethod
    def to_env_actions(self, actions: np.ndarray) -> Any:
        """Convert actions to a batch of the action space: an array, or a dict or tuple of batches."""

    @abstractmethod
    def from_env_actions(self, env_actions: Any) -> np.ndarray:
        """Convert a batch of the action space to actions; those outside a Box are clipped to it.

        Raises:
            ValueError: they are not in the action space.
        """

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

    @abstractmethod
    def features(self, actions: torch.Tensor) -> torch.Tensor:
        """(n, num_features) float32: numbered actions one-hot, others as the environment gets them."""


class Categorical(ActionDistribution):
    """One or several independent categorical distributions; illegal actions have probability 0.

    Args:
        sizes: number of actions of each distribution.
        first: the action space's number for action 0, one for each distribution or for all.
        space: actions are (n, len(sizes)), or (n,) for a `Discrete`.
    """

    def __init__(self, sizes: list[int], first: Any, space: gym.Space) -> None:
        self.sizes = sizes
        self.first = first
        self.space = space
        self.several = not isinstance(space, spaces.Discrete)
        self.num_outputs = self.num_features = self.mask_size = sum(sizes)
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
        numbers = (actions + self.first).astype(self.space.dtype)
        return numbers.reshape(len(actions), *(self.space.shape or ()))

    def from_env_actions(self, env_actions: Any) -> np.ndarray:
        numbers = np.asarray(env_actions)
        if numbers.dtype.kind not in "biu" or numbers.shape[1:] != (self.space.shape or ()):
            raise ValueError(f"they are {numbers.dtype} {numbers.shape[1:]}, not of {self.space}")
        actions = numbers.reshape(len(numbers), -1).astype(np.int64) - self.first
        if (actions < 0).any() or (actions >= self.sizes).any():
            raise ValueError(f"a number is outside {self.space}")
        return actions if self.several else actions[:, 0]

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

    def features(self, actions: torch.Tensor) -> torch.Tensor:
        columns = actions if self.several else actions.unsqueeze(1)
        parts = [F.one_hot(columns[:, i], size) for i, size in enumerate(self.sizes)]
        return torch.cat(parts, dim=1).float()


class Gaussian(ActionDistribution):
    """Independent normal distributions over the numbers of a Box.

    Actions are scaled so that the bounds of the space are −1 and 1, and clipped to them only for the
    environment; the density is that of the unclipped action. A number with one bound or none is not scaled.
    """

    def __init__(self, space: spaces.Box) -> None:
        self.space = space
        self.size = int(np.prod(space.shape))
        self.num_outputs = self.num_log_stds = self.num_features = self.size
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

    def from_env_actions(self, env_actions: Any) -> np.ndarray:
        values = np.asarray(env_actions)
        if values.dtype.kind not in "fiu" or values.shape[1:] != self.space.shape:
            raise ValueError(f"they are {values.dtype} {values.shape[1:]}, not of {self.space}")
        if not np.isfinite(values).all():
            raise ValueError("a number is not finite")
        scaled = (values - self.middle) / np.where(self.half > 0, self.half, 1)
        actions = np.where(self.bounded, np.clip(scaled, -1, 1), values)
        return actions.reshape(len(values), -1).astype(np.float32)

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

    def features(self, actions: torch.Tensor) -> torch.Tensor:
        bounded = torch.from_numpy(self.bounded.ravel()).to(actions.device)
        return torch.where(bounded, actions.clamp(-1, 1), actions)


class Product(ActionDistribution):
    """Independent distributions over the parts of a `Dict` or a `Tuple`.

    Actions are (n, columns) float32: those of the parts side by side. A mask has the entries of the numbered
    parts one after the other.
    """

    def __init__(self, space: spaces.Dict | spaces.Tuple) -> None:
        self.keys = list(space.spaces) if isinstance(space, spaces.Dict) else None
        inner = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        self.parts = [action_distribution(part) for part in inner]
        widths = [
            len(part.mode(np.zeros((1, part.num_distribution_params)), None).ravel())
            for part in self.parts
        ]
        self.columns = _slices(widths)
        self.outputs = _slices([part.num_outputs for part in self.parts])
        self.log_stds = _slices([part.num_log_stds for part in self.parts])
        self.masks = _slices([part.mask_size for part in self.parts])
        self.num_outputs = self.outputs[-1].stop
        self.num_log_stds = self.log_stds[-1].stop
        self.mask_size = self.masks[-1].stop
        self.num_features = sum(part.num_features for part in self.parts)
        self.action_dtype = torch.float32

    def sample(
        self, distribution_params: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        split = zip(self.parts, self._split(distribution_params, masks), strict=True)
        return _side_by_side([part.sample(*given, rng) for part, given in split])

    def mode(self, distribution_params: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        split = zip(self.parts, self._split(distribution_params, masks), strict=True)
        return _side_by_side([part.mode(*given) for part, given in split])

    def to_env_actions(self, actions: np.ndarray) -> Any:
        values = [
            part.to_env_actions(_own_form(part, actions[:, columns]))
            for part, columns in zip(self.parts, self.columns, strict=True)
        ]
        return tuple(values) if self.keys is None else dict(zip(self.keys, values, strict=True))

    def from_env_actions(self, env_actions: Any) -> np.ndarray:
        wanted = dict if self.keys is not None else tuple
        keys: list[Any] = list(range(len(self.parts))) if self.keys is None else self.keys
        if not isinstance(env_actions, wanted) or len(env_actions) != len(self.parts):
            raise ValueError("they have other parts")
        try:
            batches = [env_actions[key] for key in keys]
        except KeyError as error:
            raise ValueError(f"they have no part {error}") from error
        pairs = zip(self.parts, batches, strict=True)
        return _side_by_side([part.from_env_actions(batch) for part, batch in pairs])

    def log_prob(
        self, distribution_params: torch.Tensor, actions: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        split = self._split(distribution_params, masks)
        return torch.stack(
            [
                part.log_prob(params, _own_form(part, actions[:, columns]), legal)
                for part, columns, (params, legal) in zip(
                    self.parts, self.columns, split, strict=True
                )
            ]
        ).sum(dim=0)

    def entropy(
        self, distribution_params: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        split = zip(self.parts, self._split(distribution_params, masks), strict=True)
        return torch.stack([part.entropy(*given) for part, given in split]).sum(dim=0)

    def features(self, actions: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.parts, self.columns, strict=True)
        return torch.cat(
            [part.features(_own_form(part, actions[:, columns])) for part, columns in pairs], dim=1
        )

    def _split(self, distribution_params: Any, masks: Any) -> list[tuple[Any, Any]]:
        """Parameters and masks of each part, arrays or tensors."""
        join = torch.cat if isinstance(distribution_params, torch.Tensor) else np.concatenate
        result = []
        for part, outputs, log_stds, legal in zip(
            self.parts, self.outputs, self.log_stds, self.masks, strict=True
        ):
            params = distribution_params[:, outputs]
            if part.num_log_stds:
                start, stop = self.num_outputs + log_stds.start, self.num_outputs + log_stds.stop
                params = join([params, distribution_params[:, start:stop]], 1)
            result.append(
                (params, masks[:, legal] if masks is not None and part.mask_size else None)
            )
        return result


def _slices(widths: list[int]) -> list[slice]:
    """Slices of these widths, one after the other."""
    borders = np.cumsum([0, *widths]).tolist()
    return [slice(start, stop) for start, stop in pairwise(borders)]


def _side_by_side(actions: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([x.reshape(len(x), -1) for x in actions], axis=1, dtype=np.float32)


def _own_form(part: ActionDistribution, columns: Any) -> Any:
    """A part's actions, as it takes them, from its columns: an array or a tensor."""
    if not isinstance(part, Categorical):
        return columns
    numbers = columns.long() if isinstance(columns, torch.Tensor) else columns.astype(np.int64)
    return numbers if part.several else numbers[:, 0]


def action_distribution(space: gym.Space) -> ActionDistribution:
    """The distribution for an action space.

    Raises:
        ValueError: for a space that is none of those below, or too many integers.
    """
    if isinstance(space, spaces.Discrete):
        return Categorical([int(space.n)], space.start, space)
    if isinstance(space, spaces.MultiDiscrete):
        return Categorical(space.nvec.ravel().tolist(), space.start.ravel(), space)
    if isinstance(space, spaces.MultiBinary):
        return Categorical([2] * int(np.prod(space.shape)), 0, space)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Gaussian(space)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        low, high = space.low.ravel().tolist(), space.high.ravel().tolist()
        sizes = [b - a + 1 for a, b in zip(low, high, strict=True)]
        if sum(sizes) > MOST_NUMBERS:
            raise ValueError(
                f"policy gradients give each integer of a Box its own probability, {MOST_NUMBERS:,} at most,"
                f" and {space} has {sum(sizes):,}; a Box of floats has no such limit"
            )
        return Categorical(sizes, space.low.ravel().astype(np.int64), space)
    if isinstance(space, (spaces.Dict, spaces.Tuple)) and len(space.spaces):
        return Product(space)
    raise ValueError(
        "policy gradients need an action space of Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or"
        f" Tuple of these, and this environment has {space}"
    )
