"""Observations of any Gymnasium space as plain arrays.

Whatever a world shows becomes images, grids, sequences, indices and one vector, told apart by their
dimensions, so that one encoder a kind is enough and agents never see a dictionary:

=====================================================  ==================================
Box or MultiBinary in 3 dimensions                     an image or a grid, as it is
Box with bounds in 2 dimensions, at least 36×36        an image of one channel: (1, height, width)
Box in 4 dimensions, two neighbours at least 36×36     an image: (height, width, all the rest)
any other Box                                          part of the vector, flattened
any other MultiBinary                                  part of the vector, 0 and 1
Text, and spaces of strings like it                    part of the vector: counts of hashed words
Discrete, MultiDiscrete                                indices from 0, together one MultiDiscrete
Sequence                                               (32, k + 1): its last 32 elements, oldest
                                                       first; the last column marks where one is
Dict, Tuple                                            one of each of what is in them
=====================================================  ==================================

A number of more than 4,096 values is written with several digits, so that a table with a row for each
value of a digit stays small.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

SEQUENCE_LENGTH = 32
WORD_BUCKETS = 64
"""Words are counted by hash (Weinberger et al. 2009, "Feature hashing")."""
MOST_VALUES = 4_096
"""Of one index; a larger number becomes digits."""
IMAGE_SIDE = 36
"""Least height and width of an image, which the convolutions need."""
LARGEST_BOUND = 1e9
"""Larger bounds, such as those of a dtype, say nothing about the numbers."""

FlatObservation = np.ndarray | tuple[np.ndarray, ...]
"""A batch of observations: one array, or one for each space of a Tuple."""


class Part(NamedTuple):
    """An elementary space of an observation, and what it becomes."""

    path: tuple[Any, ...]
    """The keys that lead to it; empty if it is the whole observation."""
    space: gym.Space
    flat: gym.Space
    """A Box of 3 dimensions (an image or a grid), 2 (a sequence) or 1 (in the vector), or a MultiDiscrete."""

    @property
    def name(self) -> str:
        """As a person would name it, such as `camera` or `robot.arm`; empty if it is the whole."""
        return ".".join(str(key) for key in self.path)

    def of(self, batch: Any) -> Any:
        """Its values in a batch of observations."""
        for key in self.path:
            batch = batch[key]
        return batch


def batch_of_one(space: gym.Space, observation: Any) -> Any:
    """A batch of one observation of a space, as a vector environment of it would return."""
    empty: Any = create_empty_array(space, n=1)
    return concatenate(space, [observation], empty)


class ObservationFlattener:
    """Turns batches of a space's observations into plain arrays.

    Args:
        space: of one environment.

    Raises:
        ValueError: the space holds something that cannot be made numbers of.
    """

    def __init__(self, space: gym.Space) -> None:
        self.parts = list(_parts(space, ()))
        """The elementary spaces, in the order of the space."""
        self._alone = isinstance(space, (spaces.Box, spaces.MultiBinary)) and (
            len(space.shape) == 3 or (len(space.shape) == 1 and isinstance(space, spaces.Box))
        )
        flat, sizes, width = [], [], 0
        for part in self.parts:
            if isinstance(part.flat, spaces.MultiDiscrete):
                sizes += part.flat.nvec.tolist()
            elif is_vector(part.flat) and not self._alone:
                width += part.flat.shape[0]  # type: ignore[index]
            else:
                flat.append(part.flat)
        if sizes:
            flat.append(_indices(sizes))
        if width:
            flat.append(_numbers((width,)))
        self.space: gym.Space = flat[0] if len(flat) == 1 else spaces.Tuple(flat)
        """A Box or a MultiDiscrete, or a Tuple of such: images, grids and sequences in order, then the
        indices, the vector last."""

    def __call__(self, batch: Any) -> FlatObservation:
        """Arrays of shape (n, …) from a vector environment's batch: copies, in the dtypes of `space`.

        Raises:
            IndexError: an index out of its range.
            TypeError: floats for a space of integers.
            ValueError: an integer that the space's dtype cannot hold.
        """
        if self._alone:
            return _cast(batch, self.space.dtype)
        arrays, indices, vector = [], [], []
        for part in self.parts:
            values = part.of(batch)
            if isinstance(part.flat, spaces.MultiDiscrete):
                indices.append(_as_indices(part.space, values))  # type: ignore[arg-type]
            elif is_vector(part.flat):
                vector.append(_as_vector(part.space, values))
            elif isinstance(part.space, spaces.Sequence):
                arrays.append(_as_sequences(part.space, values))
            else:
                arrays.append(_as_image(_cast(values, part.flat.dtype)))
        for columns in (indices, vector):
            if columns:
                arrays.append(np.concatenate(columns, axis=1))
        return arrays[0] if len(arrays) == 1 else tuple(arrays)

    def name_of_invalid(self, batch: Any) -> str:
        """The part of a batch that holds a number that is not finite, as a person would name it."""
        for part in self.parts:
            values = part.of(batch)
            if isinstance(part.space, spaces.Sequence):
                values = _as_sequences(part.space, values)
            elif not isinstance(part.space, spaces.Box):
                continue
            if not np.isfinite(values).all():
                return "observation" + "".join(f"[{key!r}]" for key in part.path)
        return "observation"


def is_vector(flat: gym.Space) -> bool:
    """Whether a flat space is a vector of numbers."""
    return isinstance(flat, spaces.Box) and len(flat.shape) == 1


def finite_bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds as float64, and where both of them say something about the numbers; all of the space's shape."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return low, high, (low >= -LARGEST_BOUND) & (high <= LARGEST_BOUND)


def image_axis(shape: tuple[int, ...]) -> int | None:
    """The first of the two neighbouring dimensions that are height and width; None for what is no image.

    Both must be at least 36. Of several pairs it is one of equal sides, or else that with the fewest
    channels.
    """
    pairs = [i for i in range(len(shape) - 1) if min(shape[i : i + 2]) >= IMAGE_SIDE]
    if not pairs:
        return None
    return min(pairs, key=lambda i: (shape[i] != shape[i + 1], -shape[i] * shape[i + 1]))


def _parts(space: gym.Space, path: tuple[Any, ...]) -> Iterator[Part]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _parts(inner, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from _parts(inner, (*path, index))
    else:
        yield Part(path, space, _flat_space(space))


def _flat_space(space: gym.Space) -> gym.Space:
    """What an elementary space becomes."""
    if isinstance(space, spaces.Sequence):
        element = space.feature_space
        if not isinstance(element, (spaces.Box, spaces.Discrete, spaces.MultiBinary)):
            raise ValueError(
                f"no encoder fits a sequence of {element}; one of Box, Discrete or MultiBinary would do"
            )
        return _numbers((SEQUENCE_LENGTH, _vector_size(element) + 1))
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        return _indices([size for n in _sizes(space) for size in _digit_sizes(n)])
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 3:
        return spaces.Box(0, 1, space.shape, np.int8)
    if isinstance(space, spaces.Box):
        if len(space.shape) in (1, 3) and np.prod(space.shape):
            return space
        if _is_image(space):
            low, high = (_as_image(bound[None])[0] for bound in (space.low, space.high))
            return spaces.Box(low, high, low.shape, space.dtype.type)
    size = _vector_size(space)
    if size:
        return _numbers((size,))
    raise ValueError(
        f"no encoder fits the observation space {space}; Box, Discrete, MultiDiscrete,"
        " MultiBinary, Text, Sequence, Dict or Tuple would do"
    )


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _indices(sizes: list[int]) -> spaces.MultiDiscrete:
    return spaces.MultiDiscrete(sizes, np.int16)  # type: ignore[arg-type]


def _is_image(space: spaces.Box) -> bool:
    """Whether a Box of 2 or 4 dimensions is one; without bounds, two dimensions may be any table."""
    if len(space.shape) == 2 and not finite_bounds(space)[2].all():
        return False
    return len(space.shape) in (2, 4) and image_axis(space.shape) is not None


def _is_text(space: gym.Space) -> bool:
    # By the type of its elements, for packages bring their own, as MiniGrid its MissionSpace.
    return space.dtype is not None and np.dtype(space.dtype).kind == "U"


def _vector_size(space: gym.Space) -> int:
    """How many numbers a part of the vector, or an element of a sequence, takes; 0 where it is none."""
    if isinstance(space, spaces.Discrete):
        return sum(_digit_sizes(int(space.n)))
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        return int(np.prod(space.shape))
    return WORD_BUCKETS if _is_text(space) else 0


def _sizes(space: spaces.Discrete | spaces.MultiDiscrete) -> list[int]:
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    return [int(n) for n in space.nvec.ravel()]


def _digit_sizes(n: int) -> list[int]:
    """Numbers of values of the digits, in one base, that write 0…n − 1; the most significant first."""
    count = next(k for k in range(1, 64) if MOST_VALUES**k >= n)
    base = round(n ** (1 / count))  # equal digits: of the squares of a grid, row and column
    base += base**count < n
    return [-(-n // base ** (count - 1)), *[base] * (count - 1)]


def _as_indices(space: spaces.Discrete | spaces.MultiDiscrete, values: Any) -> np.ndarray:
    """(n, …) values of an elementary space as (n, digits) int16."""
    sizes = _sizes(space)
    numbers = (np.asarray(values, np.int64) - space.start).reshape(len(values), -1)
    if (numbers < 0).any() or (numbers >= sizes).any():
        raise IndexError("a number lies outside the space")
    if max(sizes) > MOST_VALUES:
        digits = [_digits(numbers[:, i], n) for i, n in enumerate(sizes)]
        numbers = np.concatenate(digits, axis=1)
    return numbers.astype(np.int16)


def _digits(numbers: np.ndarray, n: int) -> np.ndarray:
    """(b,) numbers in 0…n − 1 as (b, digits) int64."""
    sizes, columns = _digit_sizes(n), []
    for base in sizes[:0:-1]:
        numbers, digit = np.divmod(numbers, base)
        columns.append(digit)
    return np.stack([numbers, *columns[::-1]], axis=1)


def _as_vector(space: gym.Space, values: Any) -> np.ndarray:
    """(n, …) values of an elementary space as (n, size) float32."""
    if _is_text(space):
        return np.stack([_word_counts(text) for text in values])
    return np.asarray(values, dtype=np.float32).reshape(len(values), -1)


def _as_image(images: np.ndarray) -> np.ndarray:
    """(n, …) images of 2 to 4 dimensions in 3: (1, height, width), as they are, or channels last."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4:
        return images
    axis = image_axis(images.shape[1:])
    assert axis is not None
    images = np.moveaxis(images, (axis + 1, axis + 2), (1, 2))
    return images.reshape(*images.shape[:3], -1)


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


def _word_counts(text: str) -> np.ndarray:
    counts = np.zeros(WORD_BUCKETS, np.float32)
    for word in re.findall(r"\w+", str(text).lower()):
        counts[zlib.crc32(word.encode()) % WORD_BUCKETS] += 1
    return counts


def _as_sequences(space: spaces.Sequence, values: Any) -> np.ndarray:
    """A tuple of sequences of any lengths as (n, 32, k + 1) float32, padded at the end."""
    element = space.feature_space
    width = _vector_size(element)
    padded = np.zeros((len(values), SEQUENCE_LENGTH, width + 1), np.float32)
    for i, sequence in enumerate(values):
        elements = list(sequence)[-SEQUENCE_LENGTH:]
        if not elements:
            continue
        if isinstance(element, spaces.Discrete):
            numbers = _one_hot(_as_indices(element, elements), _digit_sizes(int(element.n)))
        else:
            numbers = _as_vector(element, np.asarray(elements))
        padded[i, : len(elements), :width] = numbers
        padded[i, : len(elements), width] = 1
    return padded


def _one_hot(indices: np.ndarray, sizes: list[int]) -> np.ndarray:
    """(b, digits) indices as (b, sum of sizes) float32, one 1 for each digit."""
    rows = np.zeros((len(indices), sum(sizes)), np.float32)
    first = np.cumsum([0, *sizes[:-1]])
    np.put_along_axis(rows, indices + first, 1, axis=1)
    return rows
