"""What a model imagines is shown beside what happens, and its errors are those of its predictions."""

from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.agent import RunContext
from agents.muzero import MuZero, MuZeroConfig
from fathom.environments import resolve
from fathom.errors import FathomError
from fathom.imagination import imagine

EXAMPLE = Path(__file__).parents[2] / "examples" / "corridor.py"


class Knowing(MuZero):
    """Always goes right, in a corridor of five squares, and imagines what will be, or that nothing changes."""

    knows = True

    def act(self, *_: Any) -> np.ndarray:
        return np.ones(1, np.int64)

    def imagine(self, observations: Any, actions: np.ndarray) -> np.ndarray:
        ahead = np.arange(actions.shape[1] + 1)[None, :, None] * self.knows
        return observations[:, None] + ahead * np.array([1 / 4, 1 / 20], np.float32)


def agent(kind: type[MuZero], space: spaces.Space) -> MuZero:
    torch.manual_seed(0)
    config = MuZeroConfig(simulations=2, hidden_size=8, width=4)
    return kind(space, spaces.Discrete(2), config, RunContext(8, 100, 100))


@pytest.mark.parametrize("knows", [True, False])
def test_the_errors_are_those_of_the_predictions(tmp_path: Path, knows: bool) -> None:
    world = resolve(f"{EXAMPLE}:Corridor", {"length": "5"})
    player: Any = agent(Knowing, world.spaces()[0])
    player.knows = knows
    result = imagine(player, world, tmp_path, 3, 2, 7, "walk", max_seconds=60)
    assert [path.name for path in result.videos] == ["walk-imagine-1.mp4", "walk-imagine-2.mp4"]
    assert result.picture.read_bytes()[1:4] == b"PNG"
    frames, _ = imageio_ffmpeg.count_frames_and_secs(result.videos[0])
    assert 4 <= frames <= 5
    per_step = (1 / 4**2 + 1 / 20**2) / 2
    np.testing.assert_allclose(result.unchanged, np.arange(4) ** 2 * per_step, atol=1e-6)
    expected = np.zeros(4) if knows else result.unchanged
    np.testing.assert_allclose(result.errors, expected, atol=1e-6)


def test_an_imagined_maze_is_a_picture(tmp_path: Path) -> None:
    world = resolve("Fathom/Maze-v0", {"width": "5", "height": "5"})
    space, actions = world.spaces()
    config = MuZeroConfig(simulations=2, hidden_size=8, width=4)
    player = MuZero(space, actions, config, RunContext(8, 100, 100))
    result = imagine(player, world, tmp_path, 2, 1, 0, "maze", max_seconds=1)
    assert result.videos[0].stat().st_size > 1000
    assert len(result.errors) == 3


def test_what_cannot_be_imagined_is_said(tmp_path: Path) -> None:
    world = resolve(f"{EXAMPLE}:Corridor")
    box = world.spaces()[0]
    other: Any = object()
    with pytest.raises(FathomError, match="only runs of muzero have a model that can imagine"):
        imagine(other, world, tmp_path, 3, 1, 0, "x", 60)
    two = agent(MuZero, spaces.Tuple([box, spaces.MultiDiscrete([3])]))
    with pytest.raises(FathomError, match="cannot be shown: only a single image"):
        imagine(two, world, tmp_path, 3, 1, 0, "x", 60)
    with pytest.raises(FathomError, match="whole number from 1 to 200, not 0"):
        imagine(agent(MuZero, box), world, tmp_path, 0, 1, 0, "x", 60)
