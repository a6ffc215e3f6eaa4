"""Positions of Go to learn from: the replay memory of self-play, and the symmetries of the board."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from agents.search.go_search import Evaluate
from envs.go import core


class Position(NamedTuple):
    """A position of a game of self-play."""

    planes: np.ndarray
    """Packed bits."""
    policy: np.ndarray
    """(size² + 1,) float16: the policy that the search found."""
    colour: int
    """Of the player to move."""


@dataclass(frozen=True)
class SelfPlay:
    """The n newest positions of self-play, oldest first; planes as packed bits."""

    planes: np.ndarray
    policies: np.ndarray
    winners: np.ndarray
    owners: np.ndarray

    NAMES: ClassVar = ("replay.planes", "replay.policies", "replay.winners", "replay.owners")

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> "SelfPlay":
        """A memory without positions, for planes of this shape."""
        points = shape[1] * shape[2]
        return cls(
            np.zeros((0, -(-shape[0] * points // 8)), np.uint8),
            np.zeros((0, points + 1), np.float16),
            np.zeros(0, np.int8),
            np.zeros((0, points), np.int8),
        )

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> "SelfPlay":
        """The memory that `tensors` gave, for planes of this shape.

        Raises:
            ValueError, KeyError: they are of another board, or not all there.
        """
        wanted = cls.empty(shape).tensors()
        n = len(tensors[cls.NAMES[0]])
        for name, tensor in wanted.items():
            if tensors[name].dtype != tensor.dtype or tensors[name].shape != (n, *tensor.shape[1:]):
                raise ValueError("its replay memory is of another board")
        return cls(*(tensors[name].cpu().numpy() for name in cls.NAMES))

    def with_game(self, game: list[Position], score: float, owners: np.ndarray) -> "SelfPlay":
        """A memory with the positions of a game added.

        Args:
            score: black minus white; 0 for a draw or if unknown.
            owners: (size, size) as from `envs.go.core.owners`.
        """
        view = np.array([1 if position.colour == core.BLACK else -1 for position in game], np.int8)
        black = np.where(owners == core.WHITE, -1, owners).astype(np.int8).ravel()
        return SelfPlay(
            np.concatenate([self.planes, np.stack([position.planes for position in game])]),
            np.concatenate([self.policies, np.stack([position.policy for position in game])]),
            np.concatenate([self.winners, view * np.int8(np.sign(score))]),
            np.concatenate([self.owners, view[:, None] * black]),
        )

    def newest(self, n: int) -> "SelfPlay":
        """A memory of the last n positions."""
        return SelfPlay(self.planes[-n:], self.policies[-n:], self.winners[-n:], self.owners[-n:])

    def batch(
        self, rows: np.ndarray, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Planes, policies, winners and owners of these rows, as `AlphaGo._update` takes them."""
        bits = np.unpackbits(self.planes[rows], axis=1, count=int(np.prod(shape)))
        return (
            bits.reshape(-1, *shape),
            self.policies[rows].astype(np.float32),
            self.winners[rows],
            self.owners[rows].reshape(-1, *shape[1:]),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays by name, for a checkpoint."""
        parts = (self.planes, self.policies, self.winners, self.owners)
        return dict(zip(self.NAMES, map(torch.from_numpy, parts), strict=True))


def symmetric(
    planes: np.ndarray, policies: np.ndarray, owners: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apply symmetries of the board to positions: four rotations, and each of them mirrored.

    Args:
        planes: (n, planes, size, size)
        policies: (n, size² + 1)
        owners: (n, size, size)
        which: (n,) 0…7; 0 is the identity.

    Returns:
        planes and policies of the same shapes, and owners (n, size²) float32
    """
    n, _, size, _ = planes.shape
    source = symmetries(size)[which]
    turned = np.take_along_axis(planes.reshape(n, -1, size * size), source[:, None, :-1], axis=2)
    return (
        turned.reshape(planes.shape),
        np.take_along_axis(policies, source, axis=1),
        np.take_along_axis(owners.reshape(n, -1), source[:, :-1], axis=1).astype(np.float32),
    )


def in_all_symmetries(evaluate: Evaluate) -> Evaluate:
    """Evaluate each position in all eight symmetries, and average the values and the log-probabilities (the
    ensemble of Maddison et al. 2015)."""

    def mean(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, depth, size, _ = planes.shape
        sources = symmetries(size)
        shown = planes.reshape(n, depth, -1)[:, :, sources[:, :-1]].swapaxes(1, 2)
        logits, values = evaluate(shown.reshape(8 * n, depth, size, size))
        logits = logits.reshape(n, 8, -1)
        logits = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
        back = np.empty_like(logits)
        np.put_along_axis(back, sources[None], logits, axis=2)
        return back.mean(axis=1), values.reshape(n, 8).mean(axis=1)

    return mean


@cache
def symmetries(size: int) -> np.ndarray:
    """(8, size² + 1): the source of each point of a transformed board; a pass stays a pass."""
    places = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(places, k) for k in range(4)]
    points = np.stack([x.ravel() for x in [*turns, *(np.fliplr(x) for x in turns)]])
    return np.concatenate([points, np.full((8, 1), size * size)], axis=1)
