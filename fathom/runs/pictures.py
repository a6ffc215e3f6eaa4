"""The pictures of a fit: those of its end, and one after every epoch, which become a video."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from fathom.runs.folder import RunFolder
from perception.data.images import read_image
from perception.data.source import DataError

SNAPSHOTS = "snapshots"
"""Folder of the pictures after every epoch, named by the updates done."""

_FRAME_MS = 80
"""How long a frame of a video is shown."""
_LAST_FRAME_MS = 1_000
_MOST_FRAMES = 200
_LARGEST_SNAPSHOT = 1 << 24


def save_snapshot(run: RunFolder, updates: int, picture: np.ndarray) -> None:
    """Keep a task's picture after so many updates, uint8 (height, width, 3)."""
    folder = run.files / SNAPSHOTS
    folder.make()
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    folder.replace(f"{updates:012d}.png", buffer.getvalue())


def video_of_snapshots(run: RunFolder) -> dict[str, np.ndarray]:
    """The kept pictures as frames uint8 (n, height, width, 3) under the name "training"; none if there are none."""
    if run.files.kind(SNAPSHOTS) is None:
        return {}
    folder = run.files / SNAPSHOTS
    names = sorted(name for name in folder.names() if name.endswith(".png"))
    names = names[:: -(-len(names) // _MOST_FRAMES) or 1]
    pictures = []
    for name in names:
        file = io.BytesIO(folder.read(name, _LARGEST_SNAPSHOT))
        try:
            pictures.append(np.asarray(read_image(file, name).convert("RGB")))
        except DataError:  # another program's
            continue
    pictures = [picture for picture in pictures if picture.shape == pictures[-1].shape]
    return {"training": np.stack(pictures)} if pictures else {}


@contextmanager
def text_as_it_is() -> Iterator[None]:
    """Draw names of classes as they are, where matplotlib would take what is between dollar signs for a formula."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):
        yield


def save_pictures(run: RunFolder, pictures: Mapping[str, Any]) -> list[Path]:
    """Write figures and images as PNG, videos as GIF, to a run's folder of pictures; gives the files.

    Args:
        pictures: by name, figures of matplotlib's, images uint8 (height, width, 3), or frames (n, height, width, 3).
    """
    paths = []
    for name, picture in pictures.items():
        folder = run.files / "pictures"
        folder.make()
        if isinstance(picture, np.ndarray) and picture.ndim == 4:
            buffer = io.BytesIO()
            _write_gif(buffer, picture)
            filename, content = f"{name}.gif", buffer.getvalue()
        else:
            filename, content = f"{name}.png", as_png(picture)
        folder.replace(filename, content)
        paths.append(run.pictures / filename)
    return paths


def as_png(picture: Any) -> bytes:
    """A figure of matplotlib's, or an image uint8 (height, width, 3), as PNG."""
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        Image.fromarray(picture).save(buffer, "png")
    else:
        picture.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    return buffer.getvalue()


def _write_gif(file: BinaryIO, frames: np.ndarray) -> None:
    """Write frames (n, height, width, 3), all in the colours of the last one, which makes small files."""
    last = Image.fromarray(frames[-1]).quantize(64)
    images = [
        Image.fromarray(frame).quantize(palette=last, dither=Image.Dither.NONE) for frame in frames
    ]
    shown = [_FRAME_MS] * (len(images) - 1) + [_LAST_FRAME_MS]
    images[0].save(file, "gif", save_all=True, append_images=images[1:], duration=shown, loop=0)
