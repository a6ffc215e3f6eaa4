"""Episodes with captions."""

from typing import Any

import numpy as np
import pytest

from envs.episodes import FRAMES, episodes_data


@pytest.mark.parametrize(("name", "side"), [("maze", 21), ("pong", 40)])
def test_episodes_are_the_same_again_with_captions(name: str, side: int) -> None:
    train, test, made = episodes_data(name, "captioned-videos", {"episodes": 15})
    assert (len(train), len(test)) == (12, 3)
    assert made["seeds"]
    assert all(video.shape == (FRAMES, side, side, 3) for video, _ in train + test)
    assert all(video.dtype == np.uint8 and caption for video, caption in train + test)
    again, _, _ = episodes_data(name, "captioned-videos", {"episodes": 15})
    for (one, text), (other, same) in zip(train, again, strict=True):
        assert (one == other).all()
        assert text == same


@pytest.mark.parametrize("name", ["maze", "pong"])
def test_words_name_pixels_of_one_colour_of_a_frame(name: str) -> None:
    train, _, _ = episodes_data(name, "captions", {"episodes": 15})
    for image, caption, objects in train:
        words = caption.split()
        assert [words[place] for place, _ in objects] == [
            words[i + 1] for i, word in enumerate(words) if word == "the"
        ]
        for place, mask in objects:
            assert mask.any()
            if words[place] != "agent":  # it may carry the key
                assert len(np.unique(image[mask], axis=0)) == 1


def test_what_happens_in_a_maze_is_in_order() -> None:
    train, _, _ = episodes_data("maze", "captioned-videos", {"episodes": 100})
    events = ["takes the key", "opens the door", "reaches the goal"]
    seen = set()
    for _, caption in train:
        there = [event in caption for event in events]
        assert there == sorted(there, reverse=True), "each needs the one before"
        seen.add(sum(there))
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("name", "form", "options", "expected"),
    [
        ("chess", "captions", {}, "episodes of maze and pong"),
        ("maze", "images", {}, "not images"),
        ("maze", "captions", {"frames": 3}, "only episodes"),
        ("maze", "captions", {"episodes": 3}, "from 10"),
        ("maze", "captions", {"episodes": True}, "from 10"),
    ],
)
def test_what_there_is_not_is_one_sentence(
    name: str, form: str, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        episodes_data(name, form, options)
