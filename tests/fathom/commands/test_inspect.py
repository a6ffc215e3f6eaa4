"""`fathom inspect`: pictures of fits and agents, and a sentence where there is nothing to see."""

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import fathom
from agents.agent import RunContext
from agents.dqn import DQN, DQNConfig
from agents.ppo import PPO, PPOConfig
from fathom.cli import main

WORLD = '''
"""A light that is to be followed."""
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Light(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = Box(0, 255, (40, 44, 3), np.uint8)
    action_space = Discrete(3, start=1)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def get_action_meanings(self):
        return ["left", "stay", "right"]

    def _observation(self):
        image = np.full((40, 44, 3), 30, np.uint8)
        column = self.count % 40
        image[18:22, column : column + 4] = (255, 200, 60)
        return image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = int(self.np_random.integers(40))
        return self._observation(), {}

    def step(self, action):
        self.count += 1
        return self._observation(), float(action == 2), self.count % 16 == 0, False, {}

    def render(self):
        return self._observation()
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of digits, an autoencoder, a fit of texts, an agent with images and one without."""
    runs = tmp_path_factory.mktemp("made") / "runs"
    common: dict[str, Any] = {"progress": False, "runs_dir": runs, "threads": 1}
    digits = {"epochs": 1, "filters": 4, "hidden_size": 16}
    fathom.fit("digits", name="digits", **digits, **common)
    fathom.fit("digits", name="mlp", network="mlp", epochs=1, hidden_size=8, **common)
    fathom.fit("autoencoder", epochs=1, hidden_sizes=(16,), name="codes", **common)
    fathom.fit("descent", epochs=1, passes=1, name="descent", **common)
    world = runs.parent / "light.py"
    world.write_text(WORLD)
    small = {"steps": 64, "segment_steps": 64, "num_envs": 2, "rollout_steps": 16}
    agent = {**common, **small, "hidden_size": 8, "num_minibatches": 1, "evaluation_episodes": 1}
    fathom.train("ppo", f"{world}:Light", name="light", memory="gru", cnn="nips", **agent)
    fathom.train("ppo", "CartPole-v1", name="pole", **agent)
    return runs


@pytest.fixture
def runs(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made.parent)
    for pictures in made.glob("*/pictures"):
        shutil.rmtree(pictures)
    return made


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["inspect", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    for picture in result["pictures"]:
        assert Path(picture).stat().st_size > 500, picture
    return result


def sentence(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["inspect", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fathom: ")
    assert "Traceback" not in error
    return error


def names(result: dict[str, Any]) -> list[str]:
    return [Path(picture).name.removeprefix("inspect-") for picture in result["pictures"]]


def photo(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(256, size=(*size[::-1], 3), dtype=np.uint8)).convert(mode).save(
        path
    )
    return path


@pytest.mark.usefixtures("runs")
def test_without_more_it_lists_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(capsys, "digits")["table"]
    assert rows[1] == ["network.0", "Conv2d", "4×8×8"]
    rows = answer(capsys, "light")["table"]
    assert [row[0] for row in rows[1:3]] == ["cnn.convolutions.0", "cnn.convolutions.1"]


@pytest.mark.usefixtures("runs")
def test_a_fit_is_looked_into(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = answer(capsys, "digits", "filters")
    assert names(result) == ["filters.png", "activation.png"]
    gains = [row[4] for row in result["table"][1:] if row[0] == "scores"]
    assert len(gains) == 10
    assert sum(gain > 1 for gain in gains) >= 9
    result = answer(capsys, "digits", "filters", "--layer", "network.4")
    assert {row[0] for row in result["table"][1:]} == {"network.4 (Conv2d)"}

    result = answer(capsys, "digits", "saliency")
    assert names(result) == ["saliency.png"]
    assert [row[0] for row in result["table"][1:]] == list("0123456789")
    mine = photo(tmp_path / "mine.png", (20, 30), "LA")
    result = answer(capsys, "digits", "saliency", "--images", str(mine), str(mine))
    assert [row[0] for row in result["table"][1:]] == ["mine.png", "mine.png"]

    result = answer(capsys, "digits", "fool", "--epsilon", "0.2", "0.5")
    assert names(result) == ["fool.png", "adversarial.png", "noise.png"]
    accuracies = [row[1] for row in result["table"][1:4]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[-1] < accuracies[0]


@pytest.mark.usefixtures("runs")
def test_an_agent_is_looked_into(capsys: pytest.CaptureFixture[str]) -> None:
    result = answer(capsys, "light", "saliency", "--max-seconds", "1")
    assert names(result) == ["saliency.png", "saliency.mp4"]
    assert [row[0] for row in result["table"][1:]] == ["left", "stay", "right"]
    assert sum(row[2] for row in result["table"][1:]) == pytest.approx(1, abs=1e-3)
    result = answer(capsys, "light", "fool", "--episodes", "1", "--epsilon", "0.0157")
    assert names(result) == ["fool.png", "adversarial.png"]
    assert [row[0] for row in result["table"]] == ["ε", "0", "0.0157"]
    assert names(answer(capsys, "light", "filters")) == ["filters.png", "activation.png"]


@pytest.mark.usefixtures("runs")
def test_images_are_dreamt_and_painted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perception.inspection import dream, style

    monkeypatch.setattr(dream.dream, "__defaults__", (2,))
    monkeypatch.setattr(style.transfer, "__defaults__", (3,))
    grey, colours = photo(tmp_path / "a.png", (50, 40), "L"), photo(tmp_path / "b.jpg", (40, 60))
    for run in ("digits", "light"):
        result = answer(capsys, run, "dream", "--images", str(colours))
        assert names(result) == ["dream.png"]
        assert Image.open(result["pictures"][0]).size == (40, 60)
        result = answer(capsys, run, "--style", str(colours), "--content", str(grey))
        assert names(result) == ["style.png"]
        assert Image.open(result["pictures"][0]).size == (50, 40)
    weights = {"features.0.weight": torch.randn(4, 3, 3, 3), "features.0.bias": torch.zeros(4)}
    save_file(weights, tmp_path / "vgg.safetensors")
    pair = ["--style", str(colours), "--content", str(grey)]
    result = answer(capsys, "digits", *pair, "--vgg", str(tmp_path / "vgg.safetensors"))
    assert result["table"][-1][1] == "vgg.safetensors"
    assert "no safetensors" in sentence(capsys, "digits", *pair, "--vgg", str(grey))


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "inspect needs a run first"),
        (["digits", "fitlers"], "not 'fitlers'"),
        (["descent", "filters"], "classify or encode images"),
        (["pole", "saliency"], "sees no images"),
        (["codes", "fool"], "needs classes or actions"),
        (["digits", "filters", "--layer", "conv"], "the layers are network.0, network.1"),
        (["digits", "fool", "--epsilon", "1.5"], "must be at most 1"),
        (["digits", "fool", "--layer", "network.0"], "fool takes no --layer"),
        (["digits", "fool", "--episodes", "3"], "takes no --episodes"),
        (["digits", "saliency", "--images", "missing.png"], "there is no file missing.png"),
        (["digits", "saliency", "--images", "light.py"], "light.py is no image"),
        (["light", "saliency", "--images", "light.py"], "takes no --images"),
        (["digits", "dream"], "dream needs one image"),
        (["digits", "style", "--style", "dot.png"], "style needs two images"),
        (["digits", "--style", "dot.png", "--content", "dot.png"], "1×1 pixels"),
        (["mlp", "dream", "--images", "photo.png"], "has no convolutions"),
        (["digits", "dream", "--images", "photo.png", "--layer", "network.12"], "one size only"),
        (["nowhere", "filters"], "there is no run 'nowhere'"),
    ],
)
def test_bad_input_is_a_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    photo(Path("dot.png"), (1, 1))
    photo(Path("photo.png"), (40, 40))
    assert part in sentence(capsys, *words)


@pytest.mark.usefixtures("runs")
def test_codes_have_filters(capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(capsys, "codes", "filters")["table"]
    assert [row[1] for row in rows[1:] if row[0] == "scores"] == [str(n) for n in range(8)]


def test_a_run_from_elsewhere_imports_nothing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "light", tmp_path / "foreign")
    (tmp_path / "foreign" / "signature").unlink()
    assert "--trust" in sentence(capsys, str(tmp_path / "foreign"), "saliency")


SPACE = gym.spaces.Box(0, 255, (2, 40, 44), np.uint8)
ACTIONS = gym.spaces.Discrete(3, start=1)


@pytest.mark.parametrize("kind", ["dqn", "dqn-average", "dqn-bins", "ppo", "ppo-gru", "ppo-parts"])
def test_scores_are_what_actions_are_chosen_by(kind: str) -> None:
    """The largest score is the action of the evaluation policy, and has a gradient."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    context = RunContext(num_envs=1, segment_steps=100, total_steps=100)
    image = rng.integers(256, size=(4, *SPACE.shape), dtype=np.uint8)
    observations: Any = image
    space: gym.Space = SPACE
    if kind.startswith("dqn"):
        config = DQNConfig(
            num_envs=1,
            hidden_size=16,
            cnn="nips",
            evaluation_epsilon=0.0,
            tau=0.1 if kind == "dqn-average" else 0.0,
            value_bins=5 if kind == "dqn-bins" else 0,
        )
        agent: Any = DQN(space, ACTIONS, config, context)
    else:
        memory: Any = "gru" if kind == "ppo-gru" else "none"
        if kind == "ppo-parts":
            space = gym.spaces.Tuple([SPACE, gym.spaces.Box(-9, 9, (3,), np.float32)])
            observations = (image, rng.standard_normal((4, 3)).astype(np.float32))
        options = {"normalize_observations": kind == "ppo-parts", "memory": memory}
        config_ppo = PPOConfig(num_envs=1, hidden_size=16, num_minibatches=1, **options)
        agent = PPO(space, ACTIONS, config_ppo, context)
    parts = observations if isinstance(observations, tuple) else (observations,)
    tensors = [torch.from_numpy(part) for part in parts]
    tensors[0] = tensors[0].float().requires_grad_()
    scores = agent.scores(tuple(tensors))
    assert scores.shape == (4, 3)
    assert scores.dtype == torch.float32
    actions = agent.act(observations, None, np.ones(4, bool), rng)
    assert (scores.argmax(dim=1).numpy() + 1).tolist() == actions.tolist()
    (gradient,) = torch.autograd.grad(scores.max(dim=1).values.sum(), tensors[0])
    assert (gradient.abs().sum(dim=(1, 2, 3)) > 0).all()
