"""Images without labels: any labelled set, or a folder or tar archive of image files in whatever folders.

Of loose files those of the most common size are taken, on white where they are transparent; every fifth, by name, is a
test image.
"""

from __future__ import annotations

import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.data.images import (
    HUB,
    INSTALLED,
    MOST_BYTES,
    SHIPPED,
    Images,
    read_image,
    read_images,
    too_large,
)
from perception.data.source import DataError, DataSource

_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
_LABELLED = ("train", "train.npz", "images.tar.gz")
"""One of these in a folder makes it a labelled set; so do MNIST's IDX files."""
_MOST_FILES = 1_000_000


def load_unlabelled(source: DataSource) -> Images:
    """Find and read images whose labels, if there are any, need not be used.

    Loose files get the label 0 and one class, "image".

    Raises:
        DataError: there are none, or they cannot be used.
    """
    if source.scheme is not None:
        return read_images(source)
    location = source.locate(SHIPPED, HUB, INSTALLED)
    if location.kind != "path" or _is_labelled(location.path):
        return read_images(source)
    images, others = _of_one_size(_held(_loose(location.path), location.path), location.path)
    test = np.arange(len(images)) % 5 == 4
    labels = torch.zeros(len(images), dtype=torch.int64)
    origin: dict[str, Any] = {
        "name": source.reference,
        "found": location.found,
        "licence": "not stated",
        "train": int((~test).sum()),
        "test": int(test.sum()),
    }
    if others:
        origin["of another size"] = others
    train = torch.from_numpy(~test)
    return Images(images[train], labels[train], images[~train], labels[~train], ["image"], origin)


def _is_labelled(place: Path) -> bool:
    if place.is_dir():
        named = any((place / name).exists() for name in _LABELLED)
        return named or any(place.glob("*-ubyte*"))
    try:
        with tarfile.open(place) as tar:
            return any("train" in Path(name).parts[:-1] for name in tar.getnames())
    except (OSError, tarfile.TarError, EOFError, zlib.error):
        return True  # read_images has the sentence


def _loose(place: Path) -> Iterator[np.ndarray]:
    """All image files, by name: of a folder and those below, or of the tar archives that it is or holds."""
    archives = [place] if place.is_file() else sorted(place.glob("*.tar*"))
    for archive in archives:
        try:
            with tarfile.open(archive) as tar:
                members = sorted((one for one in tar if one.isfile()), key=lambda one: one.name)
                for member in members[:_MOST_FILES]:
                    if member.name.lower().endswith(_ENDINGS):
                        data = tar.extractfile(member).read()  # type: ignore[union-attr]
                        yield _pixels(BytesIO(data), f"{archive}:{member.name}")
        except OSError as error:
            raise DataError(f"{archive} cannot be read: {error.strerror or error}") from error
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(f"{archive} is no tar archive that can be read: {error}") from error
    if place.is_dir() and not archives:
        for path in sorted(place.rglob("*"))[:_MOST_FILES]:
            if path.suffix.lower() in _ENDINGS and not path.name.startswith(
                "._"
            ):  # not macOS's notes
                yield _pixels(path, str(path))


def _held(images: Iterator[np.ndarray], place: Path) -> list[np.ndarray]:
    """The images in memory; DataError where they would fill it."""
    result, total = [], 0
    for image in images:
        total += image.nbytes
        if total > MOST_BYTES:
            raise too_large(place)
        result.append(image)
    return result


def _pixels(file: Any, name: str) -> np.ndarray:
    return np.asarray(read_image(file, name).convert("RGB"))


def _of_one_size(images: list[np.ndarray], place: Path) -> tuple[torch.Tensor, int]:
    """The images of the most common size, uint8 (n, channels, height, width), and how many others there are."""
    if not images:
        raise DataError(f"{place} holds no images ({', '.join(_ENDINGS)})")
    size, count = Counter(image.shape for image in images).most_common(1)[0]
    if count < 10:
        raise DataError(f"{place} holds {count} images of one size; at least 10 are needed")
    array = np.stack([image for image in images if image.shape == size])
    if (array[..., :1] == array).all():  # grey
        array = array[..., :1]
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy()), len(images) - count
