"""Wrappers by reference, and those for pictures: part of the run, its protocol, its evaluation, its videos."""

import json
from pathlib import Path

import numpy as np
import pytest

from fathom import cli
from fathom.environments import resolve
from fathom.environments.wrappers import GREY, RESIZE, STACK, wrapper_references
from fathom.errors import FathomError

SOURCE = """
import gymnasium, numpy as np
from gymnasium.spaces import Box, Discrete


class Camera(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, kind: str = "uint8", render_mode=None):
        self.render_mode = render_mode
        high = {"uint8": 255, "uint16": 65535, "float32": 1.0}[kind]
        self.observation_space = Box(0, high, (60, 80, 3), np.dtype(kind).type)
        self.action_space = Discrete(2)

    def look(self):
        space = self.observation_space
        return (self.np_random.random(space.shape) * space.high.max()).astype(space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.look(), {}

    def step(self, action):
        self.time += 1
        return self.look(), 1.0, self.time == 10, False, {}

    def render(self):
        return np.zeros((20, 20, 3), np.uint8)


class Halved(gymnasium.RewardWrapper):
    def __init__(self, env, by: float = 2):
        super().__init__(env)
        self.by = by

    def reward(self, reward):
        return reward / self.by


def plus(env):
    return gymnasium.wrappers.TransformReward(env, lambda reward: reward + 1)


def nothing(env):
    return None


class NoWrapper(gymnasium.Env):
    pass
"""

SHORT = (
    "--steps 32 --segment-steps 32 --rollout-steps 8 --num-envs 2 --hidden-size 8"
    " --evaluation-episodes 2 --threads 1 --name run"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "camera.py"
    path.write_text(SOURCE)
    return path


def test_a_run_s_wrappers_are_used_everywhere_and_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    words = ["camera.py:Camera", "--wrap", "camera.py:Halved", "--wrap", "camera:plus"]
    words += ["--wrap", 'camera.py:Halved{"by": 4}', "--grey", "--resize", "40x44"]
    assert cli.main(["train", "ppo", *words, *SHORT.split()]) == 0
    out = capsys.readouterr().out
    score = 10 * (1 / 2 + 1) / 4
    assert f"evaluation {score}" in out
    assert 'Halved{"by": 4}' in out, "it is in the protocol"
    monkeypatch.chdir(file.parent / "runs")
    monkeypatch.syspath_prepend(str(file.parent))
    assert cli.main(["evaluate", "run", "--runs-dir", ".", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mean"] == score
    assert result["protocol"]["wrappers"].startswith(f"{file}:Halved, camera:plus, {file}:Halved{{")
    assert cli.main(["record", "run", "--runs-dir", "."]) == 0
    assert cli.main(["resume", "run", "--runs-dir", ".", "--steps", "64"]) == 0
    assert "may differ" not in capsys.readouterr().out


def test_wrappers_are_keywords_in_python(file: Path) -> None:
    import fathom

    run = fathom.train(
        "ppo",
        f"{file}:Camera",
        wrap=[f"{file}:Halved"],
        grey=True,
        frame_stack=3,
        resize="40",
        steps=32,
        num_envs=2,
        rollout_steps=8,
        evaluation_episodes=2,
        runs_dir=file.parent / "runs",
        progress=False,
    )
    assert run.evaluate(episodes=1).mean == 5
    assert len(run.config.wrappers) == 4


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_pictures_are_resized_and_stacked(file: Path, kind: str) -> None:
    spec = resolve(f"{file}:Camera", {"kind": kind})
    wrapped = spec.wrapped_in(wrapper_references(resize="30x40", frame_stack=2))
    env, plain = wrapped.make_single(None), spec.make_single(None)
    picture, whole = env.reset(seed=1)[0], plain.reset(seed=1)[0]
    assert picture.shape == env.observation_space.shape == (2, 30, 40, 3)
    assert picture.dtype == whole.dtype
    assert picture in env.observation_space
    means = whole.astype(float).reshape(30, 2, 40, 2, 3).mean(axis=(1, 3))
    tolerance = {"uint8": 1.01, "uint16": 0.51, "float32": 1e-6}[kind]
    np.testing.assert_allclose(picture[-1], means, atol=tolerance, rtol=1e-6)


def test_grey_pictures_are_resized(file: Path) -> None:
    spec = resolve(f"{file}:Camera").wrapped_in(wrapper_references(grey=True, resize="84"))
    assert spec.make_single(None).reset(seed=1)[0].shape == (84, 84)


@pytest.mark.parametrize(
    ("environment", "words", "expected"),
    [
        ("CartPole-v1", "--grey", "CartPole-v1 cannot be wrapped in gymnasium.wrappers:Grayscale"),
        ("CartPole-v1", "--resize 84", "it resizes pictures (height, width)"),
        ("{file}:Camera", "--resize large", "--resize must be a size such as 84, or 84x96"),
        ("{file}:Camera", "--resize 0", "--resize must be a size such as 84, or 84x96"),
        ("{file}:Camera", "--resize " + "9" * 5_000, "--resize must be a size such as 84"),
        (
            "{file}:Camera",
            "--wrap camera",
            "a wrapper is given as module:Wrapper or path/to/file.py",
        ),
        ("{file}:Camera", "--wrap {file}:Half", "camera.py has no wrapper 'Half'"),
        ("{file}:Camera", "--wrap {file}:NoWrapper", "cannot be wrapped in"),
        ("{file}:Camera", "--wrap {file}:nothing", "is no wrapper: it makes a NoneType"),
        ("{file}:Camera", "--wrap {file}:Halved{{by}}", "must be a JSON object such as"),
        ("{file}:Camera", '--wrap {file}:Halved{{"x":1}}', "unexpected keyword argument 'x'"),
        ("{file}:Camera", "--wrap nowhere:Half", "there is no module 'nowhere'"),
        ("{file}:Camera", "--frame-stack 0", "--frame-stack must be at least 1, not 0"),
        ("ALE/Pong-v5", "--grey", "ALE/Pong-v5 is made grey, resized and stacked already"),
        ("ALE/Pong-v5", "--wrap gymnasium.wrappers:ClipReward", "are for other environments"),
    ],
)
def test_a_wrapper_that_cannot_be_is_one_sentence(
    file: Path, environment: str, words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ["--runs-dir", str(file.parent / "runs")]
    given = words.format(file=file).split()
    assert (
        cli.main(["train", "ppo", environment.format(file=file), *SHORT.split(), *given, *runs])
        == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not (file.parent / "runs").exists()


@pytest.mark.parametrize(
    ("package", "words"),
    [("gymnasium", "--grey"), ("fathom", "--resize 40"), ("gymnasium", "--frame-stack 2")],
)
def test_a_folder_of_the_user_s_is_never_taken_for_the_wrappers_for_pictures(
    file: Path, package: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = file.parent / package / "environments" if package == "fathom" else file.parent / package
    inner.mkdir(parents=True)
    for folder in {inner, file.parent / package}:
        (folder / "__init__.py").touch()
    (inner / "wrappers.py").write_text("raise SystemExit('it was run')")
    monkeypatch.chdir(file.parent)
    assert cli.main(["train", "ppo", f"{file}:Camera", *words.split(), *SHORT.split()]) == 0
    assert cli.main(["evaluate", "run"]) == 0


def test_editing_a_wrapper_s_file_changes_no_run_that_goes_on(file: Path) -> None:
    spec = resolve(f"{file}:Camera").wrapped_in((f"{file}:Halved",))
    file.write_text(SOURCE.replace("reward / self.by", "reward * 1000"))
    env = spec.make_single(None)
    env.reset(seed=1)
    assert env.step(0)[1] == 0.5


def test_a_wrapper_s_constructor_imports_the_user_s_modules(tmp_path: Path) -> None:
    (tmp_path / "agents.py").write_text("bonus = 7")
    (tmp_path / "late.py").write_text(
        "import gymnasium\n\ndef late(env):\n    from agents import bonus\n"
        "    return gymnasium.wrappers.TransformReward(env, lambda reward: bonus)\n"
    )
    env = resolve("CartPole-v1").wrapped_in((f"{tmp_path / 'late.py'}:late",)).make_single(None)
    env.reset(seed=1)
    assert env.step(0)[1] == 7


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [
        (STACK + '{"stack_size": 100000000}', "stack_size must be at most 64, not 100000000"),
        (STACK + '{"stack_size": "4"}', "stack_size must be"),
        (STACK + "{}", "stack_size is missing"),
        (RESIZE + '{"shape": [100000, 10]}', "shape must be less than 16,384"),
        (RESIZE + '{"shape": [10]}', "the arguments of"),
        (GREY + '{"keep_dim": 1}', "keep_dim must be"),
        (STACK + '{"x":' + "[" * 100_000, "must be a JSON object"),
        (STACK + '{"x":' + "9" * 5_000 + "}", "must be a JSON object"),
    ],
)
def test_arguments_of_the_wrappers_for_pictures_have_bounds(wrapper: str, expected: str) -> None:
    with pytest.raises(FathomError) as error:
        resolve("CartPole-v1").wrapped_in((wrapper,))
    assert expected in str(error.value)


def test_wrappers_for_pictures_cannot_fill_the_memory_together(file: Path) -> None:
    spec = resolve(f"{file}:Camera").wrapped_in(tuple([STACK + '{"stack_size": 64}'] * 4))
    with pytest.raises(FathomError, match="an observation would have 3,774,873,600 numbers"):
        spec.make_single(None)


EXPERT = """
import gymnasium, numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class Known(CartPoleEnv):
    def expert_action(self, observations, action_masks=None):
        return (observations[:, 2] > 0).astype(np.int64)


def scaled(env):
    return gymnasium.wrappers.TransformObservation(env, lambda o: -o, env.observation_space)


def mirrored(env):
    return gymnasium.wrappers.TransformAction(env, lambda a: 1 - a, env.action_space)


def plain(env):
    return gymnasium.wrappers.TransformReward(env, lambda reward: reward + 1)


def stacked(env):
    return gymnasium.wrappers.FrameStackObservation(env, 2)
"""


@pytest.mark.parametrize(
    ("wrapper", "reaches"),
    [("plain", True), ("scaled", False), ("mirrored", False), ("stacked", False)],
)
def test_an_expert_is_used_only_where_it_gets_its_own_observations(
    tmp_path: Path, wrapper: str, reaches: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.py"
    path.write_text(EXPERT)
    words = [f"{path}:Known", "--env.max_episode_steps", "20", "--wrap", f"{path}:{wrapper}"]
    words += ["--steps", "64", "--evaluation-episodes", "1", "--runs-dir", str(tmp_path / "runs")]
    assert cli.main(["train", "scripted", *words]) == (0 if reaches else 2)
    if not reaches:
        assert "none outside of wrappers that change observations" in capsys.readouterr().err
