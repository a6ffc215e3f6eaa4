"""Images of what agents observe, as data: `frames:ENV` and `frames:RUN`."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

import fathom
from fathom.cli import main
from fathom.runs.task_learner import data_source
from fathom.runs.world_frames import frames_data
from perception.data.images import load_images
from perception.data.source import DataError
from perception.data.unlabelled import load_unlabelled

HERE = f"{Path(__file__)}:"
FEW = {"frames": 40}


class Bars(gymnasium.Env):
    """Observes two images of a bright column: the one of the last action, and one of noise from 0 to 1."""

    observation_space: Any = Box(0, 255, (2, 36, 40), np.uint8)
    action_space = Discrete(40)

    def __init__(self, illegal: int = 0) -> None:
        self.illegal = illegal

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._observation(0), self._info()

    def step(self, action: Any) -> Any:
        done = self.np_random.random() < 0.1
        return self._observation(int(action)), 0.0, bool(done), False, self._info()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.arange(40) >= self.illegal} if self.illegal else {}

    def _observation(self, column: int) -> Any:
        image = np.zeros((2, 36, 40), np.uint8)
        image[0, :, column] = 200
        image[1] = self.np_random.integers(256, size=(36, 40))
        return image


class Masked(Bars):
    """Its first 30 actions are illegal."""

    def __init__(self) -> None:
        super().__init__(illegal=30)


class Mixed(Bars):
    """The first image as floats from −1 to 1, beside a number."""

    observation_space = Dict(
        {"image": Box(-1, 1, (36, 40, 1), np.float32), "number": Box(0, 1, (1,), np.float32)}
    )

    def _observation(self, column: int) -> Any:
        image = super()._observation(column)[0, ..., None] / np.float32(127.5) - 1
        return {"image": image.astype(np.float32), "number": np.zeros(1, np.float32)}


class Endless(Bars):
    """Bars without bounds."""

    observation_space = Box(-np.inf, np.inf, (2, 36, 40), np.float32)

    def _observation(self, column: int) -> Any:
        return super()._observation(column).astype(np.float32)


def images(name: str, **options: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    train, test, made = frames_data(name, "images", options or FEW)  # type: ignore[misc]
    return np.stack([image for image, _ in train]), np.stack([image for image, _ in test]), made


def test_frames_of_an_environment_are_its_observations_the_same_again_each_time() -> None:
    train, test, made = images(HERE + "Bars")
    assert (train.shape, test.shape, train.dtype) == ((32, 36, 40, 2), (8, 36, 40, 2), np.uint8)
    assert made == {"policy": "random", "frames_seed": 0, "images": "observations"}
    columns = train[:, 0, :, 0].argmax(axis=1)
    assert (train[np.arange(32), :, columns, 0] == 200).all()
    assert len(set(columns)) > 10, "actions are random"
    again = images(HERE + "Bars")
    assert (train == again[0]).all()
    assert (test == again[1]).all()
    seen = {image.tobytes() for image in train}
    assert not any(image.tobytes() in seen for image in test)


def test_random_actions_are_legal() -> None:
    train, test, _ = images(HERE + "Masked", frames=200)
    columns = np.concatenate([train, test])[:, 0, :, 0].argmax(axis=1)
    # A new episode shows column 0, and every tenth step begins one.
    assert set(columns) == {0, *range(30, 40)}


def test_floats_become_bytes_by_their_bounds_and_other_parts_are_left_out() -> None:
    train, _, _ = images(HERE + "Mixed")
    assert train.shape == (32, 36, 40, 1)
    assert set(np.unique(train)) == {0, 200}


def test_an_atari_game_gives_the_stack_of_four_frames_that_agents_get() -> None:
    train, test, made = images("ALE/Breakout-v5")
    assert (train.shape, test.shape) == ((32, 84, 84, 4), (8, 84, 84, 4))
    assert (train[..., 3] != train[..., 0]).any()
    assert made["images"] == "observations"


def test_pictures_are_rendered_where_observations_are_none() -> None:
    pytest.importorskip("pygame")
    train, _, made = images("CartPole-v1", frames=10)
    assert train.shape == (8, 58, 86, 3)
    assert made["images"] == "rendered"


def test_tasks_without_labels_read_them_and_those_with_labels_say_what_is_missing() -> None:
    source = data_source(f"frames:{HERE}Bars", FEW)
    loaded = load_unlabelled(source)
    assert loaded.shape == (2, 36, 40)
    assert loaded.origin["policy"] == "random"
    with pytest.raises(DataError, match="all of one class"):
        load_images(source)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (HERE + "Bars", {"frames": 9}, "whole number from 10"),
        (HERE + "Bars", {"games": 3}, "no option 'games'"),
        (HERE + "Bars", {"frames": 1_000_000}, "ask for at most --data.frames 745654"),
        (HERE + "Endless", {}, "no finite bounds"),
        (HERE + "Nothing", {}, "no environment 'Nothing'"),
        ("ALE/Nothing-v5", {}, "there is no environment"),
        ("pong,nothing", {}, "no Atari game 'nothing'"),
    ],
)
def test_what_frames_cannot_give_is_one_sentence(
    name: str, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises((ValueError, fathom.FathomError), match=expected):
        frames_data(name, "images", options)


def test_frames_of_a_run_are_those_that_its_agent_sees_and_a_fit_finds_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = fathom.train(
        "ppo", HERE + "Bars", steps=64, num_envs=4, rollout_steps=8, hidden_size=8, cnn="nips",
        evaluation_episodes=0, name="bars", progress=False, threads=1,
    )  # fmt: skip
    train, _, made = images("bars")
    assert made["policy"] == "ppo bars at step 64"
    # Its greedy policy is not random: it prefers few columns.
    assert len(set(train[:, 0, :, 0].argmax(axis=1))) < 10
    fit = fathom.fit(
        "autoencoder", data="frames:bars", data_args={"frames": 20}, hidden_sizes=(4,), code_size=2,
        epochs=1, name="eyes", progress=False, threads=1,
    )  # fmt: skip
    assert fit.config.data == f"frames:{run.folder.resolve()}"
    assert fit.config.protocol["policy"] == "ppo bars at step 64"
    monkeypatch.chdir("/")
    assert fathom.load(tmp_path / "runs" / "eyes").evaluate().count == 4

    monkeypatch.chdir(tmp_path)
    (run.folder / "signature").unlink()
    assert main(["evaluate", "runs/eyes"]) == 2
    assert f"would import {Path(__file__)}" in capsys.readouterr().err
