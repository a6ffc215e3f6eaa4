"""Images without labels: loose files in folders or archives."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perception.data import unlabelled
from perception.data.images import load_images
from perception.data.source import DataError, DataSource
from perception.data.unlabelled import load_unlabelled


def _save(folder: Path, count: int, size: tuple[int, int] = (8, 9), mode: str = "RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{size[0]}-{number:03}.png")


def test_the_images_of_the_most_common_size_are_taken_from_all_folders(tmp_path: Path) -> None:
    _save(tmp_path / "a" / "b", 10)
    _save(tmp_path / "c", 5, mode="RGBA")
    _save(tmp_path / "c", 3, (16, 16))
    (tmp_path / "c" / "notes.txt").write_text("no image")
    images = load_unlabelled(DataSource(str(tmp_path)))
    assert images.train.shape == (12, 3, 9, 8)
    assert images.test.shape == (3, 3, 9, 8)
    assert images.origin["of another size"] == 3
    assert images.classes == ["image"]
    assert images.train_labels.tolist() == [0] * 12


def test_an_archive_is_the_same_as_its_folder(tmp_path: Path) -> None:
    _save(tmp_path / "files", 15, mode="L")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        tar.add(tmp_path / "files", "files")
    folder = load_unlabelled(DataSource(str(tmp_path / "files")))
    for place in (tmp_path / "all.tar", tmp_path):
        packed = load_unlabelled(DataSource(str(place)))
        assert torch.equal(packed.train, folder.train)
        assert packed.train.shape[1] == 1, "grey"


def test_labelled_sets_are_read_as_ever() -> None:
    one, other = load_unlabelled(DataSource("digits")), load_images(DataSource("digits"))
    assert torch.equal(one.train, other.train)
    assert one.classes == other.classes


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(tmp_path / f"{number}.png")
    assert (load_unlabelled(DataSource(str(tmp_path))).train == 255).all()


def test_what_holds_too_few_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load_unlabelled(DataSource(str(tmp_path)))
    _save(tmp_path, 4)
    with pytest.raises(DataError, match="holds 4 images of one size"):
        load_unlabelled(DataSource(str(tmp_path)))
    (tmp_path / "broken.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match="tar archive"):
        load_unlabelled(DataSource(str(tmp_path)))


def test_more_than_memory_should_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlabelled, "MOST_BYTES", 11 * 8 * 8 * 3)
    for number in range(12):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="GB of pixels"):
        load_unlabelled(DataSource(str(tmp_path)))
