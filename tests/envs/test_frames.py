"""Pieces of frames of Atari games as labelled images."""

from typing import Any

import numpy as np
import pytest

from envs.frames import frames_data


def test_frames_are_the_same_again_and_the_test_has_episodes_of_its_own() -> None:
    train, test = frames_data("pong,breakout,pong", "images", {"frames": 20})
    assert (len(train), len(test)) == (32, 8)
    assert [name for _, name in test] == ["pong"] * 4 + ["breakout"] * 4
    assert all(image.shape == (32, 32) and image.dtype == np.uint8 for image, _ in train + test)
    assert all(len(np.unique(image)) > 1 for image, _ in train + test), "nothing to see"
    again, _ = frames_data("pong,breakout", "images", {"frames": 20})
    assert all((one[0] == other[0]).all() for one, other in zip(train, again, strict=True))
    seen = {image.tobytes() for image, _ in train}
    assert not any(image.tobytes() in seen for image, _ in test)


@pytest.mark.parametrize(
    ("name", "form", "options", "expected"),
    [
        ("pong,nothing", "images", {}, "no Atari game 'nothing'"),
        ("pong,pong", "images", {}, "two games or more"),
        ("atari", "acts", {}, "frames are images, not acts"),
        ("atari", "images", {"count": 3}, "no option 'count', only frames"),
        ("atari", "images", {"frames": 4}, "whole number from 5"),
        ("atari", "images", {"frames": True}, "whole number from 5"),
    ],
)
def test_what_frames_cannot_give_is_one_sentence(
    name: str, form: str, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        frames_data(name, form, options)
