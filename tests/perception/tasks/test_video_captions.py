"""Captions of videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perception.tasks.task import DataSource
from perception.tasks.video_captions import VideoCaptions, VideoCaptionsConfig


def _moving_dots(
    name: str, form: str, options: Any
) -> tuple[list[tuple[np.ndarray, str]], list[tuple[np.ndarray, str]]]:
    """A dot that ends in the middle, whichever side it came from."""
    assert form == "captioned-videos"
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(120):
        right = bool(rng.integers(2))
        video = np.zeros((3, 9, 9, 3), np.uint8)
        for frame, column in zip(video, (0, 2, 4) if right else (8, 6, 4), strict=True):
            row = int(rng.integers(7))
            frame[row : row + 3, max(0, column - 1) : column + 2] = 255
        rows.append((video, f"goes {'right' if right else 'left'}"))
    return rows[:80], rows[80:]


def test_motion_is_seen_in_the_video_and_not_in_the_last_frame(
    fit: Callable[..., Any], tmp_path: Path
) -> None:
    config = VideoCaptionsConfig(
        frames=3, epochs=8, features=16, width=16, batch_size=8, learning_rate=1e-2
    )
    data = VideoCaptions.load_data(config, DataSource("dots:", {}, {"dots": _moving_dots}))
    task = fit(VideoCaptions, config, data, config.epochs)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert metrics["exact match"].mean > 0.95
    assert 0.2 < metrics["last frame only"].mean < 0.8
    difference = metrics["exact match"].mean - metrics["last frame only"].mean
    assert abs(metrics["video over last frame"].mean - difference) < 1e-9
    video, caption = _moving_dots("", "captioned-videos", {})[1][0]
    first, *rest = (Image.fromarray(frame) for frame in video)
    first.save(tmp_path / "v.gif", save_all=True, append_images=rest)
    answers = task.predict([str(tmp_path / "v.gif"), video])
    assert [answer["caption"] for answer in answers] == [caption, caption]
