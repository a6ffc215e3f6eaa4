"""A recording is a video that plays, and is there only when it is whole."""

import json
import resource
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from fathom.environments import resolve
from fathom.errors import FathomError
from fathom.recording import as_rgb, check_rendering, record, write_video

EXAMPLE = Path(__file__).parents[2] / "examples" / "corridor.py"


class Right:
    """An agent that always takes the second action."""

    def act(
        self, observations: np.ndarray, masks: Any, starts: Any, rng: np.random.Generator
    ) -> np.ndarray:
        assert len(observations) == 1
        return np.ones(1, dtype=np.int64)

    def annotate(self, env: Any, observations: np.ndarray, masks: Any) -> None:
        assert len(observations) == 1


AGENT: Any = Right()


def test_the_film_plays(tmp_path: Path) -> None:
    world = resolve(f"{EXAMPLE}:Corridor", {"length": "7"})
    paths = record(AGENT, world, tmp_path, episodes=2, seed=1, name="walk")
    assert [path.name for path in paths] == ["walk-1.mp4", "walk-2.mp4"]
    notes = [path.with_suffix(".json") for path in paths]
    assert sorted(tmp_path.iterdir()) == sorted([*paths, *notes])
    reader = imageio_ffmpeg.read_frames(paths[0])
    about = next(reader)
    assert about["fps"] == 5
    width, height = about["size"]
    assert width % 2 == height % 2 == 0
    frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    assert 4 <= len(frames) <= 7
    noted = json.loads(notes[0].read_text())
    assert (noted["fps"], noted["seed"]) == (5, 1)
    assert len(noted["rewards"]) == len(frames) - 1
    assert noted["rewards"][-1] > 0  # for the end of the corridor
    start, end = frames[0].astype(int), frames[-1].astype(int)
    assert np.abs(start - end).max() > 100
    # The walker, in orange, has come to the right end.
    assert end[height // 2, -width // 14, 0] > 200 > start[height // 2, -width // 14, 0]


def test_atari_is_enlarged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from envs import atari

    world = resolve("ALE/Pong-v5", {})
    make = atari.make_single

    def short(*arguments: Any) -> Any:
        from gymnasium.wrappers import TimeLimit

        return TimeLimit(make(*arguments), 8)

    monkeypatch.setattr("envs.atari.make_single", short)
    (path,) = record(AGENT, world, tmp_path / "videos", episodes=1, seed=1, name="pong")
    about = next(imageio_ffmpeg.read_frames(path))
    assert about["size"] == (480, 630)
    assert about["fps"] == 15
    assert about["duration"] == pytest.approx(9 / 15, abs=0.1)


def test_a_world_that_cannot_be_seen(tmp_path: Path) -> None:
    blind = EXAMPLE.read_text().replace('["rgb_array"]', '["ansi"]')
    (tmp_path / "blind.py").write_text(blind)
    world = resolve(f"{tmp_path / 'blind.py'}:Corridor", {})
    with pytest.raises(FathomError, match="rgb_array"):
        record(AGENT, world, tmp_path / "videos", episodes=1, seed=1, name="walk")
    assert list((tmp_path / "videos").iterdir()) == []


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    class Fails(Right):
        def act(self, *_: Any) -> np.ndarray:
            raise RuntimeError("broken")

    agent: Any = Fails()
    world = resolve(f"{EXAMPLE}:Corridor", {})
    with pytest.raises(RuntimeError, match="broken"):
        record(agent, world, tmp_path, episodes=1, seed=1, name="walk")
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_a_full_disk_cuts_off_leaves_the_one_before(tmp_path: Path) -> None:
    world = resolve(f"{EXAMPLE}:Corridor", {"length": "7"})
    (video,) = record(AGENT, world, tmp_path, episodes=1, seed=1, name="walk")
    whole, limits = video.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, limits[1]))
    try:
        with pytest.raises(FathomError, match=r"walk.mp4 could not be written whole"):
            record(AGENT, world, tmp_path, episodes=1, seed=1, name="walk")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert video.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == [video.with_suffix(".json"), video]


def test_a_film_that_a_full_disk_cuts_off_in_the_middle_is_one_sentence(tmp_path: Path) -> None:
    def frames() -> Generator[np.ndarray]:
        rng = np.random.default_rng(0)
        for _ in range(600):
            yield rng.integers(0, 255, (160, 160, 3), np.uint8)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(FathomError, match=r"a.mp4 could not be written whole"):
            write_video(tmp_path / "a.mp4", frames(), 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_pictures_of_several_sizes_make_no_film(tmp_path: Path) -> None:
    def frames() -> Generator[np.ndarray]:
        for size in (16, 16, 32):
            yield np.zeros((size, size, 3), np.uint8)

    with pytest.raises(FathomError, match="from 16×16 to 32×32 after 2 frames"):
        write_video(tmp_path / "a.mp4", frames(), 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (np.full((4, 6), 7, np.uint8), (7, 7, 7)),
        (np.full((4, 6, 1), 7, np.uint8), (7, 7, 7)),
        (np.full((4, 6, 4), (1, 2, 3, 99), np.uint8), (1, 2, 3)),
        (np.full((4, 6, 3), (0.0, 0.5, 1.0)), (0, 128, 255)),
        (np.full((4, 6, 3), (0.0, 100.4, 255.0), np.float32), (0, 100, 255)),
        (np.full((4, 6), True), (255, 255, 255)),
        (np.full((4, 6, 3), (1, 2, 255)), (1, 2, 255)),
        ([[[1, 2, 3]] * 6] * 4, (1, 2, 3)),
    ],
)
def test_frames_of_every_kind_are_recorded(frame: Any, expected: tuple[int, ...]) -> None:
    rgb = as_rgb(frame)
    assert (rgb.shape, rgb.dtype) == ((4, 6, 3), np.uint8)
    assert (rgb == expected).all()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (None, "render\\(\\) gives NoneType"),
        ("text", "render\\(\\) gives str"),
        ([np.zeros((2, 4, 4, 3))], "float64 \\(1, 2, 4, 4, 3\\)"),
        (np.zeros((4, 4, 2)), "float64 \\(4, 4, 2\\)"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 \\(0, 4, 3\\)"),
        (np.full((4, 4), 700), "numbers from 700 to 700"),
        (np.full((4, 4), np.nan), "numbers from nan to nan"),
        (np.full((4, 4), -0.5), "numbers from -0.5 to"),
    ],
)
def test_what_is_no_picture_is_said(frame: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        as_rgb(frame)


def _painter(tmp_path: Path, render: str, fps: str = "5") -> Any:
    """An environment like the corridor, with another `render` and another `render_fps`."""
    head, tail = EXAMPLE.read_text().split("    def render(self)")
    assert '"render_fps": 5' in head
    head = head.replace('"render_fps": 5', f'"render_fps": {fps}')
    body = f"    def render(self):\n        {render}\n\n    def _unused(self)"
    (tmp_path / "painter.py").write_text(head + body + tail)
    return resolve(f"{tmp_path / 'painter.py'}:Corridor", {})


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        ("raise RuntimeError('no display')", "failed at line .*, in render: RuntimeError: no disp"),
        ("raise SystemExit(3)", "failed at line .*, in render: SystemExit: 3"),
        ("return None", "cannot be recorded: render\\(\\) gives NoneType, and a picture is"),
    ],
)
def test_a_render_that_fails_is_one_sentence(tmp_path: Path, render: str, expected: str) -> None:
    world = _painter(tmp_path, render)
    for attempt in (
        lambda: check_rendering(world),
        lambda: record(AGENT, world, tmp_path / "videos", 1, 1, "walk"),
    ):
        with pytest.raises(FathomError, match=expected):
            attempt()
    assert not list((tmp_path / "videos").iterdir())


def test_mujoco_without_a_display_names_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", ModuleType("mujoco"))
    world = _painter(tmp_path, "raise RuntimeError('gladLoadGL error')")
    with pytest.raises(FathomError, match=r"gladLoadGL error; .* `export MUJOCO_GL=egl`"):
        check_rendering(world)


@pytest.mark.parametrize("fps", ["np.int64(5)", "np.float32(5.0)", "5.0"])
def test_frames_a_second_of_any_kind_of_number(tmp_path: Path, fps: str) -> None:
    world = _painter(tmp_path, "return np.zeros((8, 8))", fps)
    (path,) = record(AGENT, world, tmp_path, 1, 1, "walk")
    assert next(imageio_ffmpeg.read_frames(path))["fps"] == 5


def test_a_long_video_is_cut_and_that_is_said(tmp_path: Path) -> None:
    class Stays(Right):
        def act(self, *_: Any) -> np.ndarray:
            return np.zeros(1, dtype=np.int64)

    agent: Any = Stays()
    world = resolve(f"{EXAMPLE}:Corridor", {"length": "10"})
    said: list[str] = []
    (path,) = record(agent, world, tmp_path, 1, 1, "walk", max_seconds=2, warn=said.append)
    assert imageio_ffmpeg.count_frames_and_secs(path)[0] == 10
    assert said == [
        f"{path} was cut after 2 seconds, before the end of its episode; --max-seconds allows more"
    ]
    record(agent, world, tmp_path, 1, 1, "walk", max_seconds=60, warn=said.append)
    assert len(said) == 1
