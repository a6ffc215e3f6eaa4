"""Videos of one's own."""

import contextlib
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from perception.data import videos
from perception.data.source import DataError, DataSource
from perception.data.videos import load_videos, read_video


def _frames(count: int) -> np.ndarray:
    """Frames (count, 32, 48, 3), brighter and brighter."""
    levels = np.linspace(0, 240, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 32, 48, 3)).copy()


def _gif(path: Path, count: int) -> Path:
    first, *rest = (Image.fromarray(frame) for frame in _frames(count))
    first.save(path, save_all=True, append_images=rest, duration=50)
    return path


def _mp4(path: Path, count: int) -> Path:
    writer = imageio_ffmpeg.write_frames(str(path), (48, 32), fps=10, macro_block_size=1)
    writer.send(None)
    for frame in _frames(count):
        writer.send(frame.tobytes())
    writer.close()
    return path


@pytest.mark.parametrize("make", [_gif, _mp4])
@pytest.mark.parametrize("count", [3, 300])
def test_a_file_gives_frames_evenly_over_its_time(tmp_path: Path, make: object, count: int) -> None:
    name = "v.gif" if make is _gif else "v.mp4"
    video = read_video(make(tmp_path / name, count), 3)  # type: ignore[operator]
    assert video.shape == (3, 32, 48, 3)
    assert np.abs(video.mean(axis=(1, 2, 3)) - [0, 120, 240]).max() < 12


def test_an_array_is_a_video_and_large_frames_are_shrunk() -> None:
    assert read_video(_frames(5), 5).tolist() == _frames(5).tolist()
    assert read_video(np.zeros((2, 100, 60, 3), np.uint8), 4).shape == (4, 34, 20, 3)
    with pytest.raises(DataError, match="array uint8"):
        read_video(np.zeros((2, 8, 8, 3)), 2)


def test_a_folder_of_ones_own_with_videos_of_several_sizes(tmp_path: Path) -> None:
    for number in range(4):
        _gif(tmp_path / f"{number}.gif", 4)
    np_frames = [Image.new("RGB", (24, 16), (200, 0, 0))] * 2
    np_frames[0].save(tmp_path / "4.gif", save_all=True, append_images=np_frames[1:])
    rows = "".join(f"{n}.gif,it gets bright\n" for n in range(5))
    (tmp_path / "captions.csv").write_text(f"video,caption\n{rows}")
    data = load_videos(DataSource(str(tmp_path)), 2)
    assert (len(data.train), len(data.test)) == (4, 1)
    assert data.test[0][0].shape == (2, 32, 48, 3)


@pytest.mark.parametrize("name", ["none.gif", "a" * 300, "a\0b", ""])
def test_what_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"no file|a video is a file"):
        read_video(name, 2)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no video at all", b"\0" * 1000])
@pytest.mark.parametrize("name", ["v.gif", "v.mp4"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_video(tmp_path / name, 2)
    assert "\n" not in str(error.value)


def test_broken_images_with_frames_are_refused(tmp_path: Path) -> None:
    path = _gif(tmp_path / "v.gif", 3)
    whole = path.read_bytes()
    for length in range(13, len(whole), 7):
        path.write_bytes(whole[:length])
        with contextlib.suppress(DataError):
            read_video(path, 2)
    pages = [Image.new("RGB", (20, 20)), Image.new("RGB", (30, 10))]
    pages[0].save(tmp_path / "v.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="frames of different sizes"):
        read_video(tmp_path / "v.tiff", 2)


def test_what_takes_too_long_or_too_much_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _gif(tmp_path / "v.gif", 5)
    (tmp_path / "captions.csv").write_text("video,caption\n" + "v.gif,bright\n" * 5)
    monkeypatch.setattr(videos, "_MOST_BYTES", 5 * 2 * 32 * 48 * 3 - 1)
    with pytest.raises(DataError, match=r"2 frames of each video of .* take more than"):
        load_videos(DataSource(str(tmp_path)), 2)
    monkeypatch.setattr(videos, "_MOST_PIXELS_IN_ALL", 4 * 32 * 48)
    with pytest.raises(DataError, match="is too long: 5 frames"):
        read_video(path, 2)
