"""`--encoder RUN`: the encoder of images of another run, or of a fit, as the initial one of a training."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

import fathom
from agents.dqn import DQN
from fathom.runs.checkpoint import read_checkpoint
from fathom.runs.run import Run

HERE = f"{Path(__file__)}:"
SHORT: dict[str, Any] = {
    "steps": 128, "segment_steps": 64, "evaluation_episodes": 0, "threads": 1, "num_envs": 4,
    "progress": False, "hidden_size": 8, "cnn": "nips",
}  # fmt: skip
OWN = {
    "dqn": {"learning_starts": 40, "replay_capacity": 200, "layer_norm": True, "tau": 0.01},
    "ppo": {"rollout_steps": 8},
    "a2c": {},
    "reinforce": {},
}
PARTS = {"convolutional": {"network": "convolutional", "hidden_sizes": (8,), "code_size": 2}}


class Column(gymnasium.Env):
    """A reward for naming the bright half of an image."""

    observation_space: Any = Box(0, 255, (1, 36, 36), np.uint8)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._left = 8
        return self._next(), {}

    def step(self, action: Any) -> Any:
        reward = float(action == self._half)
        self._left -= 1
        return self._next(), reward, False, self._left == 0, {}

    def _next(self) -> Any:
        self._half = int(self.np_random.integers(2))
        image = self.np_random.integers(50, size=(1, 36, 36), dtype=np.uint8)
        image[:, :, 18 * self._half :][:, :, :18] += 180
        return image


class Beside(Column):
    """The same image beside a number."""

    observation_space = Dict(
        {"image": Column.observation_space, "number": Box(0, 1, (1,), np.float32)}
    )

    def _next(self) -> Any:
        return {"image": super()._next(), "number": np.zeros(1, np.float32)}


class Large(Column):
    """A larger image."""

    observation_space = Box(0, 255, (1, 60, 60), np.uint8)

    def _next(self) -> Any:
        return np.pad(super()._next(), ((0, 0), (0, 24), (0, 24)))


class Two(Column):
    """Two images."""

    observation_space = Dict({"a": Column.observation_space, "b": Column.observation_space})

    def _next(self) -> Any:
        image = super()._next()
        return {"a": image, "b": image}


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DQN, "compiles", False)


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fits, with and without layer normalisation and the mean image, and a dense one."""
    folder = tmp_path_factory.mktemp("fits")
    for name, options in (
        ("normed", {"subtract_mean_image": False}),
        ("plain", {"subtract_mean_image": False, "layer_norm": False}),
        ("centred", {"layer_norm": False}),
        ("dense", {"network": "dense"}),
    ):
        given = PARTS["convolutional"] | options
        fathom.fit(
            "autoencoder", data=f"frames:{HERE}Column", data_args={"frames": 40}, epochs=1, name=name,
            runs_dir=folder, progress=False, threads=1, **given,
        )  # fmt: skip
    return folder


def start(folder: Path, agent: str, name: str, environment: str = "Column", **options: Any) -> Run:
    given = {**SHORT, **OWN[agent], **options}
    return fathom.train(agent, HERE + environment, runs_dir=folder, name=name, **given)


def weights(run: Run, number: int, place: str = "encoder.") -> dict[str, torch.Tensor]:
    state = read_checkpoint(run.files / "checkpoints", number).state.weights
    return {
        name.removeprefix(place): tensor for name, tensor in state.items() if name.startswith(place)
    }


def eyes(fit: Run) -> dict[str, torch.Tensor]:
    found = fit.trained_checkpoint().state.weights
    return {name[5:]: tensor for name, tensor in found.items() if name.startswith("eyes.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("agent", OWN)
def test_an_encoder_is_copied_and_a_frozen_one_never_changes(
    tmp_path: Path, fits: Path, agent: str
) -> None:
    fit = fathom.load(fits / ("normed" if agent == "dqn" else "plain"))
    run = start(tmp_path, agent, "frozen", encoder=fit, freeze_encoder=True)
    expected = {"run": str(fit.folder.resolve()), "step": 32, "part": "encoder"}
    assert run.config.weights == expected
    for number in (0, 1, 2):
        assert same(weights(run, number), eyes(fit))
    before, after = (weights(run, number, "") for number in (0, 2))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    heads = {name for name in before if not name.startswith("encoder.")}
    assert changed == heads, "all else learns"

    free = start(tmp_path, agent, "free", encoder=fit)
    assert same(weights(free, 0), eyes(fit))
    assert not same(weights(free, 2), eyes(fit))


def test_a_frozen_run_that_is_continued_ends_the_same(tmp_path: Path, fits: Path) -> None:
    options = {"encoder": str(fits / "plain"), "freeze_encoder": True, "anneal_lr": False}
    whole = start(tmp_path, "ppo", "whole", **options)
    half = start(tmp_path, "ppo", "half", **{**options, "steps": 64})
    fathom.resume(half, steps=128, progress=False)
    assert same(weights(half, 2, ""), weights(whole, 2, ""))
    # From there on it may learn.
    thawed = fathom.resume(half, steps=256, freeze_encoder=False, progress=False)
    assert not same(weights(thawed, 4), weights(thawed, 2))


def test_the_mean_image_is_that_of_the_new_run(tmp_path: Path, fits: Path) -> None:
    fit = fathom.load(fits / "centred")
    run = start(tmp_path, "ppo", "a", encoder=fit, subtract_mean_image=True, freeze_encoder=True)
    taken, learnt = eyes(fit), weights(run, 2)
    theirs, ours = (float(one["mean_picture"].mean()) for one in (taken, learnt))
    assert ours == pytest.approx(theirs, rel=0.1)
    assert not torch.equal(learnt.pop("mean_picture"), taken.pop("mean_picture"))
    assert same(learnt, taken)


def test_an_agent_s_encoder_goes_to_another_agent_where_the_image_is_a_part(tmp_path: Path) -> None:
    source = start(tmp_path, "a2c", "source")
    run = start(tmp_path, "ppo", "b", "Beside", encoder="source")
    assert same(weights(run, 0, "encoder.parts.0."), weights(source, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hidden_size": 16}, "hidden_size is 8 there and 16 here"),
        ({"encoder": "normed"}, "layer_norm is True there and False here"),
        ({"encoder": "centred"}, "subtract_mean_image is True there and False here"),
        ({"cnn": "nature"}, "cnn is nips there and nature here$"),
        ({"environment": "Large"}, r"number of features \(.*\) is 288 there and 1152 here$"),
        ({"encoder": "dense"}, "dense has 0 encoders of images"),
        ({"environment": "Two"}, "the ppo of .*Two has 2 encoders of images"),
        ({"encoder": "nowhere"}, "there is no run 'nowhere'"),
        ({"weights": "plain"}, "give these or --encoder"),
    ],
)
def test_an_encoder_that_does_not_fit_is_one_sentence(
    fits: Path, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(fathom.FathomError, match=expected):
        start(fits, "ppo", "refused", **{"encoder": "plain", **options})
    assert not (fits / "refused").exists()


def test_only_encoders_of_images_can_be_frozen(tmp_path: Path) -> None:
    for agent in ("dqn", "ppo"):
        options: dict[str, Any] = {"layer_norm": False} if agent == "dqn" else {}
        with pytest.raises(fathom.FathomError, match="freeze_encoder needs images"):
            fathom.train(
                agent, "CartPole-v1", runs_dir=tmp_path, freeze_encoder=True, **SHORT, **options
            )
