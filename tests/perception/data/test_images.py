"""Reading labelled images, and a user's own."""

import gzip
import shutil
import sys
import tarfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from perception.data import images
from perception.data.images import (
    INSTALLED,
    ink_box,
    like_training_images,
    load_images,
    read_image,
)
from perception.data.source import DataError, DataSource


def _npz(folder: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        arrays = {
            "images": rng.integers(0, 256, (6, 5, 4), dtype=np.uint8),
            "labels": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        }
        if part == "train":
            arrays |= changes
        np.savez(folder / f"{part}.npz", **arrays)
    return folder


def test_npz_files_are_read(tmp_path: Path) -> None:
    data = load_images(DataSource(str(_npz(tmp_path))))
    assert data.train.shape == data.test.shape == (6, 1, 5, 4)
    assert (data.shape, data.classes) == ((1, 5, 4), ["0", "1", "2"])
    assert data.train.dtype == torch.uint8
    assert data.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    colours = np.arange(6 * 5 * 4 * 3, dtype=np.uint8).reshape(6, 5, 4, 3)
    with pytest.raises(DataError, match="are 5×4×3, the test images 5×4"):
        load_images(DataSource(str(_npz(tmp_path, images=colours))))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": np.zeros((6, 5, 4))}, "must be uint8 .* not float64"),
        ({"images": np.zeros((0, 5, 4), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((6, 5, 4, 2), np.uint8)}, "2 channels"),
        ({"labels": np.zeros(5, int)}, "must be 6 whole numbers"),
        ({"labels": np.full(6, -1)}, "whole numbers from 0"),
        ({"labels": np.full(6, 10**9)}, "whole numbers from 0 to 9,999"),
        ({"labels": np.zeros(6)}, "whole numbers"),
        ({"labels": np.zeros(6, int)}, "all of one class"),
        ({"labels": np.array([0, 1, 0, 1, 0, 1])}, "classes that training lacks"),
    ],
)
def test_broken_npz_files_get_one_sentence(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        load_images(DataSource(str(_npz(tmp_path, **changes))))


def test_a_truncated_or_empty_npz_file_gets_one_sentence(tmp_path: Path) -> None:
    path = _npz(tmp_path) / "train.npz"
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"nothing"):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"train\.npz is no \.npz file"):
            load_images(DataSource(str(tmp_path)))
    np.savez(path, pictures=np.zeros(3))
    with pytest.raises(DataError, match=r"train\.npz is no \.npz file"):
        load_images(DataSource(str(tmp_path)))


def _folders(home: Path, colour: bool = False) -> Path:
    for part in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            folder = home / part / name
            folder.mkdir(parents=True)
            for index in range(2):
                pixels = np.full((6, 7, 3), 20 + 100 * number + index, np.uint8)
                pixels[..., 0] += 5 * colour
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return home


@pytest.mark.parametrize("colour", [False, True])
def test_class_folders_are_read(tmp_path: Path, colour: bool) -> None:
    data = load_images(DataSource(str(_folders(tmp_path, colour))))
    assert data.classes == ["cat", "dog"]
    assert data.train.shape == (4, 3 if colour else 1, 6, 7)
    assert data.train_labels.tolist() == [0, 0, 1, 1]
    assert data.train[:, -1, 0, 0].tolist() == [20, 21, 120, 121]


def test_broken_class_folders_get_one_sentence(tmp_path: Path) -> None:
    home = _folders(tmp_path)
    (home / "test" / "cow").mkdir()
    shutil.copy(next((home / "test" / "dog").iterdir()), home / "test" / "cow")
    with pytest.raises(DataError, match="has the class cow"):
        load_images(DataSource(str(home)))
    (home / "train" / "cow").mkdir()
    with pytest.raises(DataError, match="cow holds no images"):
        load_images(DataSource(str(home)))
    (home / "train" / "cow" / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"a.png is no image"):
        load_images(DataSource(str(home)))
    Image.new("L", (3, 3)).save(home / "train" / "cow" / "a.png")
    with pytest.raises(DataError, match="must be of one size"):
        load_images(DataSource(str(home)))
    with pytest.raises(DataError, match="no images in a known form"):
        load_images(DataSource(str(home / "train")))


def test_class_folders_are_read_from_a_tar_archive_too(tmp_path: Path) -> None:
    home = _folders(tmp_path / "plain", colour=True)
    plain = load_images(DataSource(str(home)))
    packed = tmp_path / "packed"
    packed.mkdir()
    archive = packed / "images.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(home.rglob("*.*"), reverse=True):
            tar.add(path, path.relative_to(home))
    for place in (packed, archive):
        data = load_images(DataSource(str(place)))
        assert torch.equal(data.train, plain.train)
        assert torch.equal(data.test_labels, plain.test_labels)
        assert data.classes == plain.classes
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"nothing", b""):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=r"no tar archive that can be read|cannot be read"):
            load_images(DataSource(str(packed)))


@pytest.mark.parametrize("form", ["npz", "folders", "tar", "idx"])
def test_images_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """In compressed files, too, which say nothing of it by their size."""
    place = tmp_path / "data"
    place.mkdir()
    if form == "npz":
        _npz(place)
    elif form == "idx":
        head = bytes((0, 0, 8, 3)) + np.array((5, 4, 4), ">i4").tobytes()
        (place / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + bytes(80)))
    else:
        home = _folders(place if form == "folders" else tmp_path)
        if form == "tar":
            with tarfile.open(place / "images.tar.gz", "w:gz") as tar:
                for part in ("train", "test"):
                    tar.add(home / part, part)
    monkeypatch.setattr(images, "MOST_BYTES", 90)
    with pytest.raises(DataError, match="GB of pixels"):
        load_images(DataSource(str(place)))


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_s_own_files_are_read(tmp_path: Path, zipped: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 6), ("t10k", 4)):
        arrays[part] = rng.integers(0, 256, (count, 5, 4), dtype=np.uint8)
        labels = (np.arange(count) % 2).astype(np.uint8)
        for kind, array in (("images-idx3", arrays[part]), ("labels-idx1", labels)):
            head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
            content = head + array.tobytes()
            name = f"{part}-{kind}-ubyte" + (".gz" if zipped else "")
            (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    data = load_images(DataSource(str(tmp_path)))
    assert np.array_equal(data.train[:, 0].numpy(), arrays["train"])
    assert data.test_labels.tolist() == [0, 1, 0, 1]
    path = next(tmp_path.glob("train-images*"))
    whole = path.read_bytes()
    for wrong in (whole[:-9], b"", b"nothing"):
        path.write_bytes(wrong)
        with pytest.raises(
            DataError, match=r"train-images-idx3-ubyte.* is no IDX file|cannot be read"
        ):
            load_images(DataSource(str(tmp_path)))


def test_known_data_are_found_where_a_package_puts_them_or_the_sentence_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    place = tmp_path / "place"
    monkeypatch.setitem(INSTALLED, "fashion-mnist", str(place))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"fashion_mnist \(licence: MIT\).*pip install datasets"):
        load_images(DataSource("fashion-mnist"))
    place.mkdir()
    labels = np.arange(20) % 10
    for part in ("train", "test"):
        np.savez(place / f"{part}.npz", images=np.zeros((20, 3, 3), np.uint8), labels=labels)
    data = load_images(DataSource("fashion-mnist"))
    assert data.origin["found"] == str(place)
    assert (data.classes[0], data.classes[9]) == ("T-shirt", "boot")


def test_a_scheme_s_images_are_read() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    rows = [(image, "pong"), (image + 1, "breakout")], [(image + 2, "pong")]
    data = load_images(DataSource("frames:two", schemes={"frames": lambda *_: rows}))
    assert data.classes == ["breakout", "pong"]
    assert data.train_labels.tolist() == [1, 0]
    assert torch.equal(data.test[0, 0], torch.from_numpy(image + 2))
    assert data.origin["found"] == "made by frames:two"


def test_the_hub_s_data_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Part(dict[str, Any]):
        features = {"label": SimpleNamespace(names=["zero", "one"])}

    part = Part(image=[Image.new("L", (4, 4), 9), Image.new("L", (4, 4))], label=[0, 1])
    fake = ModuleType("datasets")
    fake.load_dataset = lambda identifier: {"train": part, "test": part}  # type: ignore[attr-defined]
    fake.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    data = load_images(DataSource("mnist"))
    assert (data.classes, data.shape) == (["zero", "one"], (1, 4, 4))
    assert data.origin["found"].endswith("ylecun/mnist")

    def fails(identifier: str) -> None:
        raise ConnectionError("no network\nat all")

    fake.load_dataset = fails  # type: ignore[attr-defined]
    with pytest.raises(
        DataError, match=r"ylecun/mnist cannot be fetched from the Hub: no network$"
    ):
        load_images(DataSource("mnist"))


# -- a user's own image --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_images_of_every_mode_are_read(tmp_path: Path, mode: str) -> None:
    grey = Image.new("L", (30, 20), 255)
    ImageDraw.Draw(grey).rectangle((10, 5, 15, 15), fill=0)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = grey.convert(mode)
    path = tmp_path / "image.tif"
    image.save(path)
    result = np.asarray(read_image(str(path)).convert("L"))
    assert result.shape == (20, 30)
    assert (result[0, 0], result[10, 12]) == (255, 0)


def test_a_dark_image_of_16_bits_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png")).max() == 1


def test_a_transparent_background_is_white_and_a_turned_photograph_upright(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(read_image(clear)).min() == 255
    photo = Image.new("L", (8, 4))
    exif = photo.getexif()
    exif[0x0112] = 6  # turned by a quarter
    photo.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (4, 8)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no image"])
def test_a_file_that_is_no_image_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file\.png is no image"):
        read_image(path)
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50), np.uint8)).save(whole)
    path.write_bytes(whole.read_bytes()[:500])
    with pytest.raises(DataError, match=r"file\.png is no image"):
        read_image(path)
    with pytest.raises(DataError, match="no file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="is no image"):
        read_image(tmp_path)


@pytest.mark.parametrize("dark", [True, False])
def test_a_drawing_is_cut_out_scaled_and_centred_bright_on_dark(dark: bool) -> None:
    image = Image.new("L", (300, 200), 10 if dark else 240)
    ImageDraw.Draw(image).rectangle((200, 20, 219, 119), fill=230 if dark else 30)
    (pixels,) = like_training_images(image, (1, 28, 28), 20 / 28)
    rows, columns = np.flatnonzero(pixels.amax(1) > 50), np.flatnonzero(pixels.amax(0) > 50)
    assert (rows[0], rows[-1]) == (4, 23)
    assert (columns[0], columns[-1]) == (12, 15)
    assert (pixels.max(), pixels.min()) == (255, 0)


def test_other_images_are_only_resized() -> None:
    image = Image.new("RGB", (30, 20), (200, 100, 50))
    result = like_training_images(image, (3, 8, 6), None)
    assert result.shape == (3, 8, 6)
    assert result[:, 0, 0].tolist() == [200, 100, 50]


def test_an_image_that_shows_nothing_gets_one_sentence() -> None:
    with pytest.raises(DataError, match="shows nothing"):
        like_training_images(Image.new("L", (9, 9), 128), (1, 8, 8), 1.0)


def test_digits_are_known_for_drawings_and_photographs_are_not() -> None:
    assert ink_box(load_images(DataSource("digits")).train) == 1.0
    noise = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
    assert ink_box(noise) is None
    corner = torch.zeros(50, 1, 9, 9, dtype=torch.uint8)
    corner[:, :, 1:3, 1:3] = 255
    assert ink_box(corner) is None, "where it is may matter"
    assert ink_box(corner.roll((3, 3), (2, 3))) == pytest.approx(2 / 9)


def test_a_drawing_of_the_training_size_is_taken_as_it_is() -> None:
    pixels = torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)
    pixels[:, [0, -1]] = pixels[:, :, [0, -1]] = 0
    assert torch.equal(like_training_images(pixels[0].numpy(), (1, 8, 8), 1.0), pixels)
