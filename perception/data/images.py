"""Labelled images: scikit-learn's digits, MNIST and its kin, or one's own in class folders.

A folder is recognised by its content: `train.npz` and `test.npz` with `images` (n, height, width[, 3]) and
`labels` (n,), both of whole numbers; or MNIST's IDX files, such as `train-images-idx3-ubyte.gz`; or
`train/CLASS/*.png` and `test/CLASS/*.png` (any format that Pillow reads, all images of one size), which may be
packed as `images.tar.gz`. Images are uint8 tensors (n, channels, height, width).
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from perception.data.source import DataError, DataSource, Location

SHIPPED = {"digits": "scikit-learn"}
HUB = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}
INSTALLED = {"fashion-mnist": "/usr/share/datasets/fashion-mnist"}
"""Where Debian's package `dataset-fashion-mnist` puts it."""
_LICENCES = {
    "digits": "CC BY 4.0 (UCI), with scikit-learn (BSD)",
    "mnist": "not stated by its authors",
    "fashion-mnist": "MIT",
}
_CLASSES = {
    "fashion-mnist": [
        *("T-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "boot"),
    ],
}
"""Names of classes that the files only number."""
_MOST_PIXELS = 50_000_000
_MOST_CLASSES = 10_000
MOST_BYTES = 4 << 30
"""Bytes that images of one data set may take in memory, and files of it unpacked."""
_MOST_MODEL_PIXELS = 1 << 20
_MOST_CHANNELS = 64
BROKEN = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, SyntaxError, EOFError),
    *(struct.error, Image.DecompressionBombError),
)
"""What Pillow raises for files that it cannot read."""


@dataclass
class Images:
    """Training and test images with their classes."""

    train: torch.Tensor
    """(n, channels, height, width) uint8."""
    train_labels: torch.Tensor
    """(n,) int64."""
    test: torch.Tensor
    test_labels: torch.Tensor
    classes: list[str]
    origin: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width


def load_images(source: DataSource) -> Images:
    """Find and read images of several classes.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    return read_images(source, least_classes=2)


def read_images(source: DataSource, least_classes: int = 1) -> Images:
    """Find and read labelled images, perhaps all of one class; DataError as for `load_images`."""
    name = Path(source.reference).name
    made: dict[str, Any] = {}
    if source.scheme is not None:
        train_rows, test_rows, made = source.provide_with_origin("images")
        (parts, classes), found = _rows(train_rows, test_rows), f"made by {source.reference}"
    else:
        location = source.locate(SHIPPED, HUB, INSTALLED, _LICENCES)
        (parts, classes), found = _read(location), location.found
        numbered = [str(number) for number in range(len(classes))]
        classes = _CLASSES.get(name, classes) if classes == numbered else classes
    train, train_labels, test, test_labels = parts
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"the training images of {source.reference} are {_size(train)}, the test images {_size(test)}"
        )
    if len(np.unique(train_labels)) < least_classes:
        raise DataError(f"the training images of {source.reference} are all of one class")
    if test_labels.max() >= len(classes):
        raise DataError(f"the test images of {source.reference} have classes that training lacks")
    origin = {
        "name": source.reference,
        "found": found,
        "licence": _LICENCES.get(name, "not stated"),
        "train": len(train),
        "test": len(test),
        **made,
    }
    return Images(
        _tensor(train),
        torch.from_numpy(train_labels.astype(np.int64)),
        _tensor(test),
        torch.from_numpy(test_labels.astype(np.int64)),
        classes,
        origin,
    )


def _read(location: Location) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Training images and labels, test images and labels, and the names of the classes."""
    if location.kind == "hub":
        return _hub(location.value)
    folder = location.path
    if location.kind == "path" and folder.name.endswith((".tar", ".tar.gz", ".tgz")):
        return _class_folders(_packed_images(folder), folder)
    if location.kind == "path" and (folder / "images.tar.gz").is_file():
        return _class_folders(_packed_images(folder / "images.tar.gz"), folder / "images.tar.gz")
    if location.kind == "shipped":
        parts = _digits()
    elif (folder / "train.npz").is_file():
        parts = (*_npz(folder / "train.npz"), *_npz(folder / "test.npz"))
    elif any(folder.glob("train-images-idx3-ubyte*")):
        parts = (*_idx(folder, "train"), *_idx(folder, "t10k"))
    else:
        return _class_folders(_files(folder), folder)
    return parts, [str(number) for number in range(int(parts[1].max(initial=0)) + 1)]


def _rows(train: list[Any], test: list[Any]) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Stack rows of an image uint8 (height, width[, channels]) and the name of its class."""
    classes = sorted({name for _, name in train})
    number = {name: index for index, name in enumerate(classes)}
    parts = []
    for part in (train, test):
        labels = np.array([number.get(name, len(classes)) for _, name in part])
        parts += [np.stack([image for image, _ in part]), labels]
    return tuple(parts), classes


def _tensor(images: np.ndarray) -> torch.Tensor:
    images = images[..., None] if images.ndim == 3 else images
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def _size(images: np.ndarray) -> str:
    return "×".join(str(number) for number in images.shape[1:])


def _digits() -> tuple[np.ndarray, ...]:
    """1,797 handwritten digits, 8×8 with 17 grey levels; a quarter, stratified, is the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)
    train, test, train_labels, test_labels = train_test_split(
        images, data.target, test_size=0.25, random_state=42, stratify=data.target
    )
    return train, train_labels, test, test_labels


def too_large(place: Path) -> DataError:
    """The error of images that would fill the memory."""
    return DataError(
        f"{place} holds more than {MOST_BYTES >> 30} GB of pixels; shrink the images first"
    )


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if sum(member.file_size for member in file.zip.infolist()) > MOST_BYTES:
                raise too_large(path)
            images, labels = file["images"], file["labels"]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no .npz file with images and labels: {error}") from error
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{path}: images must be uint8 (n, height, width) or (n, height, width, 3), "
            f"not {images.dtype} {images.shape}"
        )
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        raise DataError(f"{path}: images have {images.shape[3]} channels; 1 or 3 are allowed")
    fits = labels.shape == (len(images),) and labels.dtype.kind in "iu"
    if not fits or labels.min() < 0 or labels.max() >= _MOST_CLASSES:
        raise DataError(
            f"{path}: labels must be {len(images)} whole numbers from 0 to {_MOST_CLASSES - 1:,}"
        )
    return images, labels


def _idx(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's own files: a head of big-endian numbers (kind, sizes), then bytes; may be gzipped."""
    arrays = []
    for kind, dimensions in (("images", 3), ("labels", 1)):
        path = folder / f"{part}-{kind}-idx{dimensions}-ubyte"
        path = path if path.is_file() else path.with_name(f"{path.name}.gz")
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise too_large(path)
            if data[:4] != bytes((0, 0, 8, dimensions)):
                raise ValueError("it does not begin like one")
            sizes = np.frombuffer(data, ">i4", dimensions, 4)
            arrays.append(np.frombuffer(data, np.uint8, -1, 4 + 4 * dimensions).reshape(sizes))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is no IDX file of {kind}: {error}") from error
    images, labels = arrays
    if len(images) != len(labels) or not images.size:
        raise DataError(f"{folder} has {len(images)} images and {len(labels)} labels in {part}")
    return images, labels


ImageFile = tuple[str, str, str, Any]
"""Part ("train" or "test"), class, the file's name for people, and the file."""


def _files(folder: Path) -> Iterator[ImageFile]:
    """The images in `train/CLASS` and `test/CLASS`, by name."""
    if not (folder / "train").is_dir() or not (folder / "test").is_dir():
        raise DataError(
            f"{folder} holds no images in a known form: neither train.npz and test.npz, nor the "
            "folders train/CLASS and test/CLASS"
        )
    for part in ("train", "test"):
        for home in sorted(path for path in (folder / part).iterdir() if path.is_dir()):
            files = sorted(path for path in home.glob("*") if path.is_file())
            if not files and part == "train":
                raise DataError(f"{home} holds no images")
            for path in files:
                yield part, home.name, str(path), path


def _packed_images(archive: Path) -> Iterator[ImageFile]:
    """The same from a tar archive, which is not unpacked."""
    try:
        with tarfile.open(archive) as tar:
            files, total = {}, 0
            for one in tar:
                if one.isfile():
                    total += one.size
                    if total > MOST_BYTES:
                        raise too_large(archive)
                    files[one.name] = tar.extractfile(one).read()  # type: ignore[union-attr]
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is no tar archive that can be read: {error}") from error
    for name, data in sorted(files.items(), key=lambda item: PurePosixPath(item[0]).parts):
        *_, part, kind, _ = ("", "", *PurePosixPath(name).parts)
        if part in ("train", "test"):
            yield part, kind, f"{archive}:{name}", io.BytesIO(data)


def _class_folders(
    files: Iterable[ImageFile], place: Path
) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Read images of one size; the classes are those of training, by name."""
    images: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    names: dict[str, list[str]] = {"train": [], "test": []}
    first: tuple[int, ...] | None = None
    total = 0
    for part, kind, path, file in files:
        image = np.asarray(read_image(file, path).convert("RGB"))
        first = first or image.shape
        if image.shape != first:
            raise DataError(
                f"{path} is {image.shape[1]}×{image.shape[0]}, other images are "
                f"{first[1]}×{first[0]}: all must be of one size"
            )
        total += image.nbytes
        if total > MOST_BYTES:
            raise too_large(place)
        images[part].append(image)
        names[part].append(kind)
    classes = sorted(set(names["train"]))
    if more := set(names["test"]) - set(classes):
        raise DataError(f"{place}/test has the class {min(more)}, which {place}/train lacks")
    for part in ("train", "test"):
        if not images[part]:
            raise DataError(f"{place / part} holds no images")
    arrays = [np.stack(images[part]) for part in ("train", "test")]
    if all((array[..., :1] == array).all() for array in arrays):  # grey
        arrays = [array[..., 0] for array in arrays]
    labels = [np.array([classes.index(name) for name in names[part]]) for part in names]
    return (arrays[0], labels[0], arrays[1], labels[1]), classes


def _hub(identifier: str) -> tuple[tuple[np.ndarray, ...], list[str]]:
    import datasets

    try:
        data = datasets.load_dataset(identifier)
    except Exception as error:  # many kinds, of several libraries
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{identifier} cannot be fetched from the Hub: {reason[0]}") from error
    parts = []
    for part in ("train", "test"):
        column = "img" if identifier == HUB["cifar10"] else "image"
        images = [np.asarray(image) for image in data[part][column]]
        parts += [np.stack(images), np.array(data[part]["label"])]
    return tuple(parts), list(data["train"].features["label"].names)


# -- a user's own image --------------------------------------------------------------------------------


def read_image(item: Any, name: str | None = None) -> Image.Image:
    """An image, upright, on white where it is transparent; grey ("L") or "RGB".

    Args:
        item: a path or a file, or an image of Pillow's, or a uint8 array (height, width[, 3]).
        name: what errors call it.

    Raises:
        DataError: it is no image.
    """
    name = str(item) if name is None else name
    try:
        if isinstance(item, Image.Image):
            image = item
        elif isinstance(item, np.ndarray):
            image = Image.fromarray(item)
        else:
            image = Image.open(item)
        if image.width * image.height > _MOST_PIXELS:
            raise DataError(f"{name} has more than {_MOST_PIXELS // 1_000_000} million pixels")
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):  # 16 or 32 bits
            levels = np.asarray(image, np.float64)
            deep = image.mode.startswith("I;16") or (image.mode == "I" and levels.max() > 255)
            most = 65535.0 if deep else 255.0
            return Image.fromarray(np.rint(levels.clip(0, most) * (255 / most)).astype(np.uint8))
        if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
        if image.mode == "RGBA":
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"there is no file {name}") from error
    except BROKEN as error:
        raise DataError(f"{name} is no image that can be read: {error}") from error


def input_name(item: Any) -> str | None:
    """The path of an input, None for an image in memory."""
    return None if isinstance(item, Image.Image | np.ndarray) else str(item)


def show_image(axes: Any, image: torch.Tensor) -> None:
    """Draw an image (channels, height, width), uint8 or 0…1, without axes."""
    pixels = visible(image).permute(1, 2, 0).numpy()
    most = 255 if image.dtype == torch.uint8 else 1
    axes.imshow(pixels if len(image) == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=most)
    axes.axis("off")


def visible(images: torch.Tensor) -> torch.Tensor:
    """The channels of images (…, channels, height, width) that are shown: grey, colours, or the last frame of a stack."""
    return images if images.shape[-3] == 3 else images[..., -1:, :, :]


def shape_of(metadata: Mapping[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model was made for, from its metadata.

    Raises:
        ValueError: there are no such images, or they are too large to compute with.
    """
    shape = metadata["shape"]
    if (
        not isinstance(shape, list | tuple)
        or [type(side) for side in shape] != [int] * 3
        or min(shape) < 1
    ):
        raise ValueError("the shape of an image is its channels, height and width")
    channels, height, width = shape
    if channels > _MOST_CHANNELS:
        raise ValueError(f"an image has at most {_MOST_CHANNELS} channels, not {channels}")
    if height * width > _MOST_MODEL_PIXELS:
        raise ValueError(
            f"images of {height:,}×{width:,} are too large: a network takes at most {_MOST_MODEL_PIXELS:,} pixels"
        )
    return channels, height, width


def ink_box(images: torch.Tensor) -> float | None:
    """The size of drawings relative to their images; None for images that are no drawings.

    Drawings, such as digits, are grey, bright on a dark border, and centred. The size is the median of the
    larger side of the bounding box.
    """
    if images.shape[1] != 1:
        return None
    grey = images[:2000, 0].float() / 255
    border = torch.cat([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], dim=1)
    sizes, centres = zip(*(_extent((grey > 0.2).any(dim=side)) for side in (1, 2)), strict=True)
    off_centre = (torch.cat(centres) - 0.5).abs().mean()
    if (border < 0.2).float().mean() < 0.6 or off_centre > 0.1:
        return None
    return float(torch.maximum(*sizes).median())


def _extent(there: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Length and centre, from 0 to 1, of what reaches from the first to the last True of (n, side)."""
    side = there.shape[1]
    places = torch.arange(side)
    first = torch.where(there, places, side).amin(dim=1)
    end = torch.where(there, places, -1).amax(dim=1) + 1
    return (end - first).clamp(min=0) / side, (first + end) / (2 * side)


def like_training_images(item: Any, shape: tuple[int, int, int], box: float | None) -> torch.Tensor:
    """A user's image in the form of the training images, uint8 (channels, height, width).

    Where these are stacks of frames, all frames are the image in grey.

    Args:
        item: as `read_image` takes it.
        shape: channels, height and width of the training images.
        box: their `ink_box`; a drawing is made bright on dark, cut out, scaled to this size and centred.
            A drawing that already has the right size and a dark border is taken as it is.
    """
    channels, height, width = shape
    image = read_image(item).convert("RGB" if channels == 3 else "L")
    if box is None:
        resized = image.resize((width, height), Image.Resampling.LANCZOS)
        return _tensor(np.asarray(resized)[None])[0].expand(channels, -1, -1)
    if not 0 < box <= 1:
        raise ValueError(f"the size of a drawing is a share of its image, not {box}")
    pixels = np.asarray(image, np.float64)
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    background = float(np.median(edge))
    if grey.shape == (height, width) and background < 64:
        return _tensor(pixels.astype(np.uint8)[None])[0]
    if background > (grey.min() + grey.max()) / 2:
        pixels, grey, background = 255 - pixels, 255 - grey, 255 - background
    strength = grey.max() - background
    if strength < 10:
        raise DataError(f"{item} shows nothing: all pixels are alike")
    scaled = ((pixels - background) * (255 / strength)).clip(0, 255).astype(np.uint8)
    rows, columns = (
        np.flatnonzero((grey - background > 0.3 * strength).any(axis=side)) for side in (1, 0)
    )
    drawing = Image.fromarray(scaled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = box * min(height, width) / max(drawing.size)
    size = [max(1, round(side * scale)) for side in drawing.size]
    drawing = drawing.resize(
        (size[0], size[1]), Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    )
    canvas = Image.new(drawing.mode, (width, height))
    canvas.paste(drawing, ((width - size[0]) // 2, (height - size[1]) // 2))
    small = np.asarray(canvas, np.float64)
    small = np.rint(small * (255 / max(small.max(), 1)))  # thin strokes get faint by scaling
    return _tensor(small.astype(np.uint8)[None])[0]
