"""Observations of any Gymnasium space as plain arrays.

Whatever a world shows becomes images, grids, sequences and one vector, told apart by their
dimensions, so that one encoder a kind is enough and agents never see a dictionary:

=====================================================  ==================================
Box or MultiBinary in 3 dimensions                     an image or a grid, as it is
Box of bytes in 2 dimensions, at least 36×36           an image of one channel: (1, height, width)
any other Box                                          part of the vector, flattened
Discrete, MultiDiscrete, any other MultiBinary         part of the vector, one-hot or 0 and 1
Text, and spaces of strings like it                    part of the vector: counts of hashed words
Sequence                                               (32, k + 1): its last 32 elements, oldest
                                                       first; the last column marks where one is
Dict, Tuple                                            one of each of what is in them
=====================================================  ==================================
"""

import re
import zlib
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SEQUENCE_LENGTH = 32
WORD_BUCKETS = 64
"""Words are counted by hash (Weinberger et al. 2009, "Feature hashing")."""

FlatObservation = np.ndarray | tuple[np.ndarray, ...]
"""A batch of observations: one array, or one for each space of a Tuple."""


class ObservationFlattener:
    """Turns batches of a space's observations into plain arrays.

    Args:
        space: of one environment.

    Raises:
        ValueError: the space holds something that cannot be made numbers of.
    """

    def __init__(self, space: gym.Space) -> None:
        self._leaves = list(_leaves(space, ()))
        dimensions = (1, 3) if isinstance(space, spaces.Box) else (3,)
        self._alone = (
            isinstance(space, (spaces.Box, spaces.MultiBinary)) and len(space.shape) in dimensions
        )
        size = sum(_vector_size(leaf) for _, leaf in self._leaves if _is_vector(leaf))
        parts: list[gym.Space] = [
            _plain_space(leaf) for _, leaf in self._leaves if not _is_vector(leaf)
        ]
        if self._alone:
            parts = [_plain_space(space)]
        elif size:
            parts.append(spaces.Box(-np.inf, np.inf, (size,), np.float32))
        self.space: gym.Space = parts[0] if len(parts) == 1 else spaces.Tuple(parts)
        """A Box, or a Tuple of them: images, grids and sequences in order, the vector last."""

    def __call__(self, batch: Any) -> FlatObservation:
        """Arrays of shape (n, …) from a vector environment's batch: copies, in the dtypes of `space`.

        Raises:
            TypeError: floats for a space of integers.
            ValueError: an integer that the space's dtype cannot hold.
        """
        if self._alone:
            return _cast(batch, self.space.dtype)
        parts, vector = [], []
        for path, leaf in self._leaves:
            values = batch
            for key in path:
                values = values[key]
            if _is_vector(leaf):
                vector.append(_as_vector(leaf, values))
            elif isinstance(leaf, spaces.Sequence):
                parts.append(_as_sequences(leaf, values))
            else:
                pictures = _cast(values, leaf.dtype)
                parts.append(pictures if pictures.ndim == 4 else pictures[:, None])
        if vector:
            parts.append(np.concatenate(vector, axis=1))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def name_of_invalid(self, batch: Any) -> str:
        """The part of a batch that holds a number that is not finite, as a person would name it."""
        for path, leaf in self._leaves:
            values = batch
            for key in path:
                values = values[key]
            array = _as_sequences(leaf, values) if isinstance(leaf, spaces.Sequence) else values
            if isinstance(leaf, (spaces.Box, spaces.Sequence)) and not np.isfinite(array).all():
                return "observation" + "".join(f"[{key!r}]" for key in path)
        return "observation"


def _is_picture(space: gym.Space) -> bool:
    if isinstance(space, spaces.MultiBinary):
        return len(space.shape) == 3
    if not isinstance(space, spaces.Box):
        return False
    grey = len(space.shape) == 2 and space.dtype == np.uint8 and min(space.shape) >= 36
    return grey or len(space.shape) == 3


def _is_vector(leaf: gym.Space) -> bool:
    return not _is_picture(leaf) and not isinstance(leaf, spaces.Sequence)


def _leaves(space: gym.Space, path: tuple[Any, ...]) -> Any:
    """Every elementary space with the keys that lead to it."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from _leaves(inner, (*path, index))
    elif isinstance(space, spaces.Sequence):
        element = space.feature_space
        if not isinstance(element, (spaces.Box, spaces.Discrete, spaces.MultiBinary)):
            raise ValueError(
                f"no encoder fits a sequence of {element}; one of Box, Discrete or MultiBinary would do"
            )
        yield path, space
    elif _vector_size(space) or _is_picture(space):
        yield path, space
    else:
        raise ValueError(
            f"no encoder fits the observation space {space}; Box, Discrete, MultiDiscrete,"
            " MultiBinary, Text, Sequence, Dict or Tuple would do"
        )


def _is_text(space: gym.Space) -> bool:
    # By the type of its elements, for packages bring their own, as MiniGrid its MissionSpace.
    return space.dtype is not None and np.dtype(space.dtype).kind == "U"


def _vector_size(space: gym.Space) -> int:
    """How many numbers a part of the vector takes; 0 where the space is none."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        return int(np.prod(space.shape))
    return WORD_BUCKETS if _is_text(space) else 0


def _plain_space(leaf: gym.Space) -> gym.Space:
    if isinstance(leaf, spaces.Sequence):
        shape = (SEQUENCE_LENGTH, _vector_size(leaf.feature_space) + 1)
        return spaces.Box(-np.inf, np.inf, shape, np.float32)
    if isinstance(leaf, spaces.MultiBinary):
        return spaces.Box(0, 1, leaf.shape, np.int8)
    assert isinstance(leaf, spaces.Box)
    if len(leaf.shape) == 2:
        return spaces.Box(leaf.low[None], leaf.high[None], (1, *leaf.shape), np.uint8)
    return leaf


def _as_vector(leaf: gym.Space, values: Any) -> np.ndarray:
    """(n, …) values of an elementary space as (n, size) float32."""
    if isinstance(leaf, spaces.Discrete):
        return _one_hot(np.asarray(values) - int(leaf.start), int(leaf.n))
    if isinstance(leaf, spaces.MultiDiscrete):
        digits = (np.asarray(values) - leaf.start).reshape(len(values), -1)
        sizes = leaf.nvec.ravel()
        columns = [_one_hot(digits[:, i], k) for i, k in enumerate(sizes)]
        return np.concatenate(columns, axis=1)
    if _is_text(leaf):
        return np.stack([_word_counts(text) for text in values])
    return np.asarray(values, dtype=np.float32).reshape(len(values), -1)


def _cast(values: Any, dtype: np.dtype | None) -> np.ndarray:
    """A copy as `dtype`, which compiled kernels and the replay memory rely on."""
    assert dtype is not None
    array = np.asarray(values)
    if array.dtype.kind == "f" and dtype.kind != "f":
        raise TypeError(f"it has {array.dtype} numbers and the space {dtype}")
    # NumPy wraps a number that does not fit, such as 300 to 44.
    if dtype.kind in "iu" and not np.can_cast(array.dtype, dtype) and array.size:
        limits = np.iinfo(dtype)
        for value in (array.min(), array.max()):
            if not limits.min <= int(value) <= limits.max:
                raise ValueError(f"it has the number {value}, which {dtype} cannot hold")
    return np.array(array, dtype=dtype)


def _one_hot(digits: np.ndarray, n: int) -> np.ndarray:
    """(b,) numbers in 0…n−1 as (b, n) float32."""
    if (digits < 0).any():  # which would count from the end
        raise IndexError("a number lies below the space's first")
    rows = np.zeros((len(digits), n), np.float32)
    rows[np.arange(len(digits)), digits] = 1
    return rows


def _word_counts(text: str) -> np.ndarray:
    counts = np.zeros(WORD_BUCKETS, np.float32)
    for word in re.findall(r"\w+", str(text).lower()):
        counts[zlib.crc32(word.encode()) % WORD_BUCKETS] += 1
    return counts


def _as_sequences(leaf: spaces.Sequence, values: Any) -> np.ndarray:
    """A tuple of sequences of any lengths as (n, 32, k + 1) float32, padded at the end."""
    width = _vector_size(leaf.feature_space)
    padded = np.zeros((len(values), SEQUENCE_LENGTH, width + 1), np.float32)
    for i, sequence in enumerate(values):
        elements = list(sequence)[-SEQUENCE_LENGTH:]
        if elements:
            padded[i, : len(elements), :width] = _as_vector(
                leaf.feature_space, np.asarray(elements)
            )
            padded[i, : len(elements), width] = 1
    return padded
