"""Pieces of frames of Atari games, as images to classify: which game is this?

A player that acts at random plays each game, some episodes for training and others for the test. From each kept
frame a square of 96×96 of its 210×160 pixels is cut at a random place where there is something to see, and shrunk to
32×32 grey pixels. Everything is drawn with fixed seeds: the games and the number of frames name one data set (with
one version of ale-py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ale_py
import numpy as np
from ale_py import roms

GAMES = (
    *("beam_rider", "boxing", "breakout", "enduro", "freeway"),
    *("ms_pacman", "pong", "qbert", "seaquest", "space_invaders"),
)
"""What `frames:atari` stands for."""
FRAMES = 300
"""Frames of each game by default; a fifth of them is the test."""
_MOST = 100_000
_SKIP = 4
"""Frames from one to the next kept; actions change as often."""
_EPISODE = 100
"""An episode gives up to this many frames."""
_SIDE, _SHRINK = 96, 3
_PLAIN = 40
"""Pixels of another colour that a piece needs."""


def frames_data(
    name: str, form: str, options: Mapping[str, Any]
) -> tuple[list[tuple[np.ndarray, str]], list[tuple[np.ndarray, str]]]:
    """Training and test images of games: the data of the scheme `frames:GAMES`.

    Args:
        name: "atari", or two games or more with commas between, such as "pong,breakout".
        form: "images": rows of an image uint8 (32, 32) and the name of its game.
        options: `{"frames": n}`, those of a game, training and test together.

    Raises:
        ValueError: there is no such game, form or option; the message is one sentence.
    """
    if form != "images":
        raise ValueError(f"frames are images, not {form}")
    if unknown := sorted(options.keys() - {"frames"}):
        raise ValueError(f"frames of games have no option {unknown[0]!r}, only frames")
    count = options.get("frames", FRAMES)
    if type(count) is not int or not 5 <= count <= _MOST:
        raise ValueError(f"frames must be a whole number from 5 to {_MOST:,}, not {count!r}")
    games = list(GAMES) if name == "atari" else [game.strip() for game in name.split(",")]
    if wrong := [game for game in games if game not in roms.get_all_rom_ids()]:
        raise ValueError(f"there is no Atari game {wrong[0]!r}; ids look like space_invaders")
    if len(set(games)) < 2:
        raise ValueError("frames: needs atari, or two games or more, as in frames:pong,breakout")
    train, test = [], []
    for game in dict.fromkeys(games):
        held_out = max(1, count // 5)
        train += [(image, game) for image in _images(game, count - held_out, 1)]
        test += [(image, game) for image in _images(game, held_out, 2)]
    return train, test


def _images(game: str, count: int, seed: int) -> list[np.ndarray]:
    """Pieces of frames of episodes played at random with this seed."""
    path = roms.get_rom_path(game)
    assert path is not None
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setInt("frame_skip", _SKIP)
    ale.setFloat("repeat_action_probability", 0.25)
    ale.loadROM(path)
    rng = np.random.default_rng(seed)
    actions, images = ale.getMinimalActionSet(), []
    for number in range(count):
        if ale.game_over() or number % _EPISODE == 0:
            ale.reset_game()
            for _ in range(int(rng.integers(5, 40))):
                ale.act(actions[int(rng.integers(len(actions)))])
        ale.act(actions[int(rng.integers(len(actions)))])
        images.append(_piece(ale.getScreenGrayscale(), rng))
    return images


def _piece(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square at a random place of a frame (height, width), shrunk by averaging; no plain one if possible."""
    for _ in range(10):
        row, column = (int(rng.integers(size - _SIDE + 1)) for size in frame.shape)
        square = frame[row : row + _SIDE, column : column + _SIDE]
        if np.count_nonzero(square != square[0, 0]) > _PLAIN:
            break
    side = _SIDE // _SHRINK
    return square.reshape(side, _SHRINK, side, _SHRINK).mean(axis=(1, 3)).astype(np.uint8)
