"""Random numbers that are the same in compiled code and in Python: SplitMix64 (Steele, Lea & Flood 2014)."""

from collections.abc import Sequence

import numba
import numpy as np


def reseed(
    states: np.ndarray | None,
    num_envs: int,
    seed: int | Sequence[int | None] | None,
    fresh: np.random.Generator,
) -> np.ndarray:
    """Return the generators of a vector environment after a reset, (num_envs, 1) uint64.

    Args:
        states: those before the reset, which continue where no seed is given; None at the first reset.
        seed: environment i gets `seed + i`, or the i-th seed of a list unless that is None.
        fresh: draws seeds at the first reset if none are given.
    """
    if isinstance(seed, int):
        return np.arange(seed, seed + num_envs, dtype=np.uint64)[:, None]
    if states is None:
        states = fresh.integers(2**31, size=(num_envs, 1), dtype=np.uint64)
    for i, own in enumerate(seed or ()):
        if own is not None:
            states[i] = own
    return states


@numba.njit(cache=True)
def draw(random: np.ndarray) -> np.uint64:
    """Return the next 64 bits and advance the generator, (1,) uint64."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True)
def below(random: np.ndarray, n: int) -> int:
    """Return a random integer in 0…n−1."""
    return int(np.int64(draw(random) >> np.uint64(33)) * n >> 31)


@numba.njit(cache=True)
def chance(random: np.ndarray) -> float:
    """Return a random number in [0, 1)."""
    return np.float64(draw(random) >> np.uint64(11)) / 9007199254740992.0
