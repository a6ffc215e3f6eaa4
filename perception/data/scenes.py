"""Images with captions: scenes made by code, frames of episodes (`episodes:NAME`), or one's own.

A scene has one to three objects in its quarters, shapes and handwritten digits (scikit-learn's) in five colours, and a caption that
names them in reading order. A fifth of the combinations of colour, object and place occurs in test scenes only, and each of
these scenes has one at least; their digits are other images than those of training.

A folder of one's own holds images of one size and the tables `train.csv` and `test.csv`, or only `captions.csv`, of which
every fifth row is the test, with the columns `image` (a path within the folder) and `caption`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perception.data.images import read_image
from perception.data.source import DataError, DataSource
from perception.data.tables import file_in, read_table
from perception.data.texts import words_of

SHIPPED = {"scenes": "Fathom"}
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (230, 60, 50),
    "green": (60, 190, 80),
    "blue": (80, 120, 250),
    "yellow": (240, 220, 60),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle", "cross")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = ("top left", "top right", "bottom left", "bottom right")
SIDE = 32
_OBJECTS = 3
_MOST_ROWS, _MOST_BYTES, _MOST_WORDS = 100_000, 1 << 29, 40


class Captioned(NamedTuple):
    """An image with its caption."""

    image: np.ndarray
    """uint8 (height, width, 3)."""
    caption: str
    objects: Sequence[tuple[int, np.ndarray]] = ()
    """Which word, by its place in the caption, names what is where: bool (height, width)."""


@dataclass
class CaptionedImages:
    """Training and test images with captions."""

    train: list[Captioned]
    test: list[Captioned]
    origin: dict[str, Any]


def load_captioned(source: DataSource, count: int) -> CaptionedImages:
    """Find, read or make images with captions.

    Args:
        count: of training scenes, where the data are scenes; a sixth as many are the test.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    made: dict[str, Any] = {}
    if source.scheme is not None:
        found, licence = f"made by {source.scheme}:", "that of the world"
        rows, tests, made = source.provide_with_origin("captions")
        train, test = [Captioned(*row) for row in rows], [Captioned(*row) for row in tests]
    else:
        location = source.locate(SHIPPED)
        found = location.found
        if location.kind == "shipped":
            found, licence = "drawn by Fathom", "none; digits: CC BY 4.0 (UCI), with scikit-learn"
            train = scenes(count, 1, test=False)
            test = scenes(max(1, count // 6), 2, test=True)
        else:
            licence = "not stated"
            train, test = _own(location.path)
    sizes = {"train": len(train), "test": len(test)}
    origin = {"name": source.reference, "found": found, "licence": licence, **made, **sizes}
    return CaptionedImages(train, test, origin)


# -- scenes ----------------------------------------------------------------------------------------------


def held_out(colour: str, thing: str, place: int) -> bool:
    """Whether a combination of colour, object and place is for test scenes only."""
    number = 3 * list(COLOURS).index(colour) + (*SHAPES, *DIGITS).index(thing) + place
    return number % 5 == 0


def scenes(count: int, seed: int, *, test: bool) -> list[Captioned]:
    """Scenes with captions; a seed and a count name them."""
    rng = np.random.default_rng(seed)
    pairs = [(colour, thing) for colour in COLOURS for thing in (*SHAPES, *DIGITS)]
    seen = [[pair for pair in pairs if not held_out(*pair, place)] for place in range(len(PLACES))]
    new = [[pair for pair in pairs if held_out(*pair, place)] for place in range(len(PLACES))]
    result = []
    for _ in range(count):
        number = int(rng.integers(1, _OBJECTS + 1))
        places = sorted(rng.choice(len(PLACES), number, replace=False).tolist())
        unseen = places[int(rng.integers(number))] if test else -1
        objects = []
        for place in places:
            choice = new[place] if place == unseen else pairs if test else seen[place]
            objects.append((choice[int(rng.integers(len(choice)))], place))
        result.append(_scene(objects, rng, test))
    return result


def _scene(
    objects: list[tuple[tuple[str, str], int]], rng: np.random.Generator, test: bool
) -> Captioned:
    image = np.full((SIDE, SIDE, 3), rng.integers(20, 70), np.float64)
    words: list[str] = []
    named = []
    for (colour, thing), place in objects:
        ink = _drawn(thing, rng, test)
        height, width = ink.shape
        half = SIDE // 2
        row = place // 2 * half + int(rng.integers(half - height + 1))
        column = place % 2 * half + int(rng.integers(half - width + 1))
        part = image[row : row + height, column : column + width]
        part += ink[..., None] * (np.array(COLOURS[colour]) - part)
        mask = np.zeros((SIDE, SIDE), bool)
        mask[row : row + height, column : column + width] = ink > 0.3
        words += [*(["and"] if words else []), "a", colour, thing]
        named.append((len(words) - 1, mask))
        words += PLACES[place].split()
    image += rng.integers(-15, 16, image.shape, np.int8)
    return Captioned(image.clip(0, 255).astype(np.uint8), " ".join(words), named)


def _drawn(thing: str, rng: np.random.Generator, test: bool) -> np.ndarray:
    """How much of each pixel a drawn object covers, 0…1 (height, width)."""
    if thing in DIGITS:
        images = _digits(DIGITS.index(thing), test)
        return images[int(rng.integers(len(images)))]
    return _shape(thing, int(rng.integers(9, 14)))


@functools.cache
def _shape(name: str, side: int) -> np.ndarray:
    y, x = (np.mgrid[:side, :side] + 0.5) / side * 2 - 1
    inside = {
        "circle": x * x + y * y <= 1,
        "square": np.ones_like(x, bool),
        "triangle": np.abs(x) <= (y + 1) / 2,
        "cross": (np.abs(x) <= 0.35) | (np.abs(y) <= 0.35),
    }
    return inside[name].astype(np.float64)


@functools.cache
def _digits(digit: int, test: bool) -> np.ndarray:
    """Images of a digit (n, 14, 14), 0…1; every fifth is for the test."""
    from scipy.ndimage import zoom

    images, labels = _all_digits()
    chosen = images.reshape(-1, 8, 8)[labels == digit] / 16
    is_test = np.arange(len(chosen)) % 5 == 4
    return zoom(1.3 * chosen[is_test == test], (1, 1.75, 1.75), order=1).clip(0, 1)


@functools.cache
def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


# -- images of one's own ---------------------------------------------------------------------------------


def _own(folder: Path) -> tuple[list[Captioned], list[Captioned]]:
    train, test = captions_of(folder, "image")
    result: list[Captioned] = []
    for row in [*train, *test]:
        image = np.asarray(read_image(row.path).convert("RGB"))
        height, width, _ = result[0].image.shape if result else image.shape
        if image.shape[:2] != (height, width):
            raise DataError(
                f"{row.where}: the image is {image.shape[1]}×{image.shape[0]}, the first {width}×{height}: all"
                " must be of one size"
            )
        if (len(train) + len(test)) * image.size > _MOST_BYTES:
            raise DataError(f"the images of {folder} take more than {_MOST_BYTES >> 20} MB")
        result.append(Captioned(image, row.caption))
    return result[: len(train)], result[len(train) :]


class CaptionRow(NamedTuple):
    """A row of a table of captions."""

    path: Path
    caption: str
    where: str
    """File and line, for errors."""


def captions_of(folder: Path, column: str) -> tuple[list[CaptionRow], list[CaptionRow]]:
    """Training and test rows of a folder's tables.

    Args:
        column: that of the paths, "image" or "video".

    Raises:
        DataError: there are no such tables, or a row cannot be used.
    """
    names = [name for name in ("train.csv", "test.csv") if (folder / name).is_file()]
    if len(names) == 2:
        train, test = (_table(folder, name, column) for name in names)
        return train, test
    if not (folder / "captions.csv").is_file():
        raise DataError(
            f"{folder} holds no captions: there must be train.csv and test.csv, or captions.csv, with the columns"
            f" {column} and caption"
        )
    rows = _table(folder, "captions.csv", column)
    if len(rows) < 5:
        raise DataError(f"{folder / 'captions.csv'} has {len(rows)} captions, and 5 are needed")
    return [row for i, row in enumerate(rows) if i % 5 < 4], rows[4::5]


def _table(folder: Path, name: str, column: str) -> list[CaptionRow]:
    (_, head), *rows = read_table(folder / name)
    head = [cell.strip().lower() for cell in head]
    if column not in head or "caption" not in head:
        raise DataError(
            f"{folder / name}, line 1: there must be columns named {column} and caption"
        )
    if not 0 < len(rows) <= _MOST_ROWS:
        raise DataError(
            f"{folder / name} must have 1 to {_MOST_ROWS:,} rows below the head, not {len(rows):,}"
        )
    result = []
    for line, cells in rows:
        where = f"{folder / name}, line {line}"
        if len(cells) != len(head):
            raise DataError(f"{where}: {len(cells)} cells for {len(head)} columns")
        name, caption = cells[head.index(column)], cells[head.index("caption")]
        if not words_of(caption):
            raise DataError(f"{where}: there is no caption")
        result.append(CaptionRow(file_in(folder, name, where), caption, where))
    return result


# -- as numbers ------------------------------------------------------------------------------------------


def vocabulary(captions: Sequence[str]) -> tuple[list[str], int]:
    """The words of captions, and the number of words of the longest, 40 at most."""
    words = sorted({word for caption in captions for word in words_of(caption)})
    return words, min(_MOST_WORDS, max(len(words_of(caption)) for caption in captions))


def longest_of(metadata: Mapping[str, Any]) -> int:
    """The number of words of the longest caption that a model writes, from its metadata.

    Raises:
        ValueError: it is none that `vocabulary` gives.
    """
    longest = metadata["longest"]
    if type(longest) is not int or not 1 <= longest <= _MOST_WORDS:
        raise ValueError(f"a caption has 1 to {_MOST_WORDS} words, not {longest!r}")
    return longest


def caption_numbers(captions: Sequence[str], words: Sequence[str], longest: int) -> Tensor:
    """Captions as numbers of their words, int64 (n, longest + 1).

    Args:
        words: the known words, numbered from 3; 0 pads, 1 is a word not known, 2 ends a caption.
        longest: words of a caption, without its end; longer ones are cut.
    """
    numbers = {word: number for number, word in enumerate(words, 3)}
    result = torch.zeros(len(captions), longest + 1, dtype=torch.long)
    for row, caption in zip(result, captions, strict=True):
        known = [numbers.get(word, 1) for word in words_of(caption)][:longest]
        row[: len(known) + 1] = torch.tensor([*known, 2])
    return result


def caption_text(numbers: Tensor, words: Sequence[str]) -> str:
    """The known words of a row of `caption_numbers`."""
    return " ".join(words[number - 3] for number in numbers.tolist() if number > 2)


def object_masks(rows: Sequence[Captioned], longest: int, cells: tuple[int, int]) -> Tensor:
    """Where the object is that each word names, bool (n, longest + 1, *cells); all False for other words."""
    places, named = [], []
    for i, row in enumerate(rows):
        for place, mask in row.objects:
            if place < longest:
                places.append((i, place))
                named.append(mask)
    masks = torch.zeros(len(rows), longest + 1, *cells, dtype=torch.bool)
    if named:
        shrunk = F.adaptive_max_pool2d(torch.from_numpy(np.stack(named)).float(), cells) > 0
        masks[tuple(torch.tensor(places).T)] = shrunk
    return masks


def pixels(images: Sequence[np.ndarray]) -> Tensor:
    """Images or videos (…, height, width, 3) as a tensor uint8 (n, …, 3, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.stack(images), -1, -3)))
