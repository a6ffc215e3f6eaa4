"""Videos with captions: episodes of a world, or one's own.

A folder of one's own holds videos, GIF files or what ffmpeg reads, and the tables `train.csv` and `test.csv`, or only
`captions.csv`, of which every fifth row is the test, with the columns `video` (a path within the folder) and `caption`.
Of each video a few frames are taken, evenly over its time, and shrunk to 48 pixels or fewer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from perception.data.images import BROKEN, read_image
from perception.data.scenes import captions_of
from perception.data.source import DataError, DataSource

_LONG_SIDE = 48
_KEPT = 64
_MOST_FRAMES, _MOST_PIXELS = 100_000, 1 << 24
_MOST_PIXELS_IN_ALL = 1 << 34
"""Of all frames of a video: about 8,000 of 1920×1080 pixels."""
_MOST_BYTES = 1 << 29


@dataclass
class CaptionedVideos:
    """Training and test videos, each frames uint8 (frames, height, width, 3) and a caption."""

    train: list[tuple[np.ndarray, str]]
    test: list[tuple[np.ndarray, str]]
    origin: dict[str, Any]


def load_videos(source: DataSource, frames: int) -> CaptionedVideos:
    """Find, read or make videos with captions.

    Args:
        frames: of each video.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    made: dict[str, Any] = {}
    if source.scheme is not None:
        found, licence = f"made by {source.scheme}:", "that of the world"
        rows, tests, made = source.provide_with_origin("captioned-videos")
        train, test = ([(spread(video, frames), text) for video, text in part] for part in (rows, tests))  # fmt: skip
    else:
        location = source.locate()
        found, licence = location.found, "not stated"
        train, test = _own(location.path, frames)
    sizes = {"train": len(train), "test": len(test)}
    origin = {"name": source.reference, "found": found, "licence": licence, **made, **sizes}
    return CaptionedVideos(train, test, origin)


def _own(
    folder: Path, frames: int
) -> tuple[list[tuple[np.ndarray, str]], list[tuple[np.ndarray, str]]]:
    """Training and test videos of a folder, all of the size of the first."""
    train, test = captions_of(folder, "video")
    result: list[tuple[np.ndarray, str]] = []
    for row in [*train, *test]:
        video = read_video(row.path, frames)
        video = scaled(video, result[0][0].shape[2:0:-1]) if result else video
        if (len(train) + len(test)) * video.size > _MOST_BYTES:
            raise DataError(
                f"{frames} frames of each video of {folder} take more than {_MOST_BYTES >> 20} MB"
            )
        result.append((video, row.caption))
    return result[: len(train)], result[len(train) :]


def spread(video: np.ndarray, frames: int) -> np.ndarray:
    """So many frames of a video, evenly over its time, from the first to the last."""
    return video[np.rint(np.linspace(0, len(video) - 1, frames)).astype(int)]


def scaled(video: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The same video with frames of another size (width, height)."""
    if video.shape[2:0:-1] == tuple(size):
        return video
    width, height = size
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in video])


def read_video(item: Any, frames: int) -> np.ndarray:
    """Frames uint8 (frames, height, width, 3) of a video, of 48 pixels or fewer.

    Args:
        item: the path of a GIF or of what ffmpeg reads, or an array (any frames, height, width, 3) uint8.

    Raises:
        DataError: it is no video.
    """
    if isinstance(item, np.ndarray):
        if item.ndim != 4 or item.shape[3] != 3 or item.dtype != np.uint8 or not item.size:
            raise DataError(
                f"a video is an array uint8 (frames, height, width, 3), not {item.dtype} {item.shape}"
            )
        return np.stack([_shrunk(frame) for frame in spread(item, frames)])
    if not isinstance(item, str | Path) or not str(item):
        raise DataError(f"a video is a file or an array of frames, not {item!r}")
    path = Path(item)
    if not os.path.isfile(path):  # False also for a name that is too long
        raise DataError(f"there is no file {path}")
    kept: list[np.ndarray] = []
    every = 1
    pixels = 0
    for number, frame in enumerate(_gif(path) if _is_image(path) else _film(path)):
        pixels += frame.width * frame.height
        if number >= _MOST_FRAMES:
            raise DataError(f"{path} has more than {_MOST_FRAMES:,} frames")
        if pixels > _MOST_PIXELS_IN_ALL:
            raise DataError(
                f"{path} is too long: {number + 1:,} frames have more than {_MOST_PIXELS_IN_ALL >> 30}"
                " billion pixels"
            )
        if number % every == 0:
            kept.append(_shrunk(np.asarray(read_image(frame, str(path)).convert("RGB"))))
            if kept[-1].shape != kept[0].shape:
                raise DataError(f"{path} has frames of different sizes")
        if len(kept) > 2 * max(_KEPT, frames):  # half as many, evenly
            kept, every = kept[::2], 2 * every
    if not kept:
        raise DataError(f"{path} has no frames")
    return spread(np.stack(kept), frames)


def _is_image(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except BROKEN:
        return False


def _gif(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(
                    f"{path} has frames of more than {_MOST_PIXELS >> 20} million pixels"
                )
            for frame in ImageSequence.Iterator(image):
                yield frame.copy()
    except BROKEN as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no video that can be read: {error}") from error


def _film(path: Path) -> Iterator[Image.Image]:
    import imageio_ffmpeg

    try:
        stream = imageio_ffmpeg.read_frames(str(path.resolve()))
        width, height = next(stream)["size"]
        if width * height > _MOST_PIXELS:
            raise DataError(f"{path} has frames of more than {_MOST_PIXELS >> 20} million pixels")
        for data in stream:
            yield Image.frombuffer("RGB", (width, height), data)
    except (OSError, RuntimeError, KeyError, ValueError, StopIteration) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no video that can be read") from error


def _shrunk(frame: np.ndarray) -> np.ndarray:
    factor = -(-max(frame.shape[:2]) // _LONG_SIDE)
    return frame if factor == 1 else np.asarray(Image.fromarray(frame).reduce(factor))
