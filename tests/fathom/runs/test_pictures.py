"""A picture after every epoch, and the video that they become."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fathom.cli import main
from fathom.runs.folder import RunFolder
from fathom.runs.pictures import SNAPSHOTS, text_as_it_is, video_of_snapshots

FIT = [
    "fit",
    "pixels",
    "--depth",
    "1",
    "--width",
    "2",
    "--batch-size",
    "256",
    "--threads",
    "1",
    "--name",
    "p",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main([*FIT, "--epochs", "2", "--runs-dir", str(folder)]) == 0
    return folder


def test_every_epoch_leaves_a_picture_and_they_become_a_video(runs: Path) -> None:
    names = sorted(path.name for path in (runs / "p" / SNAPSHOTS).iterdir())
    assert names == ["000000000006.png", "000000000012.png"], "named by the updates done"
    with Image.open(runs / "p" / "pictures" / "training.gif") as video:
        assert video.n_frames == 2


def test_drawn_images_are_written_pixel_by_pixel(runs: Path) -> None:
    snapshot = runs / "p" / SNAPSHOTS / "000000000012.png"
    with Image.open(runs / "p" / "pictures" / "samples.png") as one, Image.open(snapshot) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_a_fit_that_is_extended_adds_its_pictures(runs: Path) -> None:
    steps = str(3 * 1347)
    assert main(["resume", str(runs / "p"), "--steps", steps]) == 0
    assert len(video_of_snapshots(RunFolder.find(str(runs / "p")))["training"]) == 3


def test_pictures_that_are_none_or_of_another_size_are_left_out(runs: Path) -> None:
    run = RunFolder.find(str(runs / "p"))
    frames = len(video_of_snapshots(run)["training"])
    folder = runs / "p" / SNAPSHOTS
    (folder / "000000000001.png").write_bytes(b"no picture")
    Image.new("RGB", (5, 5)).save(folder / "000000000002.png")
    (folder / "notes.txt").write_text("mine")
    assert len(video_of_snapshots(run)["training"]) == frames


def test_a_name_with_dollar_signs_is_drawn_as_it_is(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    with text_as_it_is():
        figure = Figure()
        figure.text(0, 0, r"$\no{formula$")
    figure.savefig(tmp_path / "name.png")  # a formula with such an error cannot be drawn
