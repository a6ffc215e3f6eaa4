"""The environment that is used is what is judged: inside wrappers, with what its constructor set."""

from pathlib import Path

import pytest

from envs.hooks import find_hook
from fathom import cli
from fathom.environments import resolve
from fathom.environments.check import check
from fathom.errors import FathomError

SOURCE = '''
import gymnasium, numpy as np
from gymnasium.spaces import Box, Discrete


class Works(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, render_mode: str | None = None):
        self.observation_space, self.action_space = Box(-1, 1, (2,), np.float32), Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action):
        self.time += 1
        return self.np_random.random(2, dtype=np.float32), 1.0, self.time == 10, False, {"grade": 1}

    def render(self):
        return np.zeros((20, 20, 3), np.uint8)


class Fine(gymnasium.Wrapper):
    """Nothing wrong with it."""

    def __init__(self, render_mode: str | None = None):
        super().__init__(Works(render_mode))


class OtherInside(Fine):
    """Never resets the environment inside, and is well all the same."""

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode)
        self.inside = Works()

    def reset(self, *, seed=None, options=None):
        return self.inside.reset(seed=seed)

    def step(self, action):
        return self.inside.step(action)


class NoMetadata(Works):
    metadata = None


class OwnMetadata(Works):
    metadata = None

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode)
        fps = np.float64(5)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, "measures": ["grade"]}


class WholeFps(Works):
    metadata = {"render_modes": ["rgb_array"], "render_fps": np.int64(5)}


class ClassMetadata(Fine):
    metadata = {"render_modes": ["rgb_array"], "render_fps": np.float32(5), "measures": ("grade",)}


class Shape(Fine):
    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode)
        self.observation_space = Box(-1, 1, (8,), np.float32)


class Mask(Fine):
    def reset(self, **given):
        observation, info = super().reset(**given)
        return observation, info | {"action_mask": np.ones(3, bool)}

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, info | {"action_mask": np.ones(3, bool)}


class Reward(Fine):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, np.array([reward]), *rest


class Done(Fine):
    def step(self, action):
        observation, reward, over, *rest = super().step(action)
        return observation, reward, over or None, *rest


class Four(Fine):
    def step(self, action):
        observation, reward, over, cut, info = super().step(action)
        return observation, reward, over or cut, info


class Plain(Fine):
    def reset(self, **given):
        return super().reset(**given)[0]


class Seedless(Fine):
    def reset(self):
        return super().reset()


class Random(Fine):
    def reset(self, **given):
        return np.random.default_rng().random(2, dtype=np.float32), super().reset(**given)[1]


class Raises(Fine):
    def step(self, action):
        raise KeyError("door")


class Fps(Fine):
    metadata = {"render_modes": ["rgb_array"], "render_fps": "fast"}


class Measures(Fine):
    metadata = {"render_modes": ["rgb_array"], "measures": "score"}


class ListMetadata(Works):
    metadata = ["rgb_array"]


class Spaceless(Fine):
    def __init__(self):
        super().__init__()
        self.action_space = 2


class Bare(Works):
    def __init__(self, size: int = 3):
        assert size % 2 == 0


class BareReset(Works):
    def reset(self, *, seed=None, options=None):
        assert self.metadata is None


class Needs(Works):
    def __init__(self, n: int):
        super().__init__()


class Hooked(Works):
    def protocol(self):
        return {"inner": 1}

    def expert_action(self, observations, action_masks=None):
        return np.zeros(len(observations), int)

    def transcript(self):
        return {".txt": "inner"}


class Inherits(gymnasium.Wrapper):
    def __init__(self, render_mode: str | None = None):
        super().__init__(gymnasium.wrappers.TimeLimit(Hooked(render_mode), 20))

    protocol = "tcp"


class Outermost(Inherits):
    def protocol(self):
        return {"outer": 1}

    def transcript(self):
        return {".txt": "outer"}


class OtherMeanings(Works):
    protocol, expert_action, written, transcript = "tcp", 3, np.zeros(3), None

    def __init__(self, split: float = 0.8, render_mode: str | None = None):
        super().__init__(render_mode)
        self.split = split


class OtherMethods(Works):
    def protocol(self, port):
        raise RuntimeError

    def transcript(self, language):
        raise RuntimeError
'''

SHORT = (
    "--steps 64 --segment-steps 32 --rollout-steps 8 --num-envs 2 --hidden-size 8"
    " --evaluation-episodes 2 --threads 1 --name run"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "instances.py"
    path.write_text(SOURCE)
    return path


def train(file: Path, name: str, *words: str) -> int:
    flags = [*SHORT.split(), "--runs-dir", str(file.parent / "runs"), *words]
    return cli.main(["train", "ppo", f"{file}:{name}", *flags])


@pytest.mark.parametrize(
    "name",
    [
        "Fine",
        "OtherInside",
        "NoMetadata",
        "OwnMetadata",
        "WholeFps",
        "ClassMetadata",
        "OtherMeanings",
        "OtherMethods",
    ],
)
def test_what_is_well_in_its_instance_trains_and_is_recorded(
    file: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(file, name, "--record") == 0
    assert "warning" not in capsys.readouterr().err
    run = str(file.parent / "runs" / "run")
    assert cli.main(["evaluate", run]) == 0
    measured = "grade 1" in capsys.readouterr().out
    assert measured == (name in ("OwnMetadata", "ClassMetadata"))
    assert list((file.parent / "runs" / "run" / "videos").glob("*.mp4"))


REFUSED = {
    "Shape": "first element returned by `env.reset()` is not within the observation space",
    "Mask": "info['action_mask'] must have the shape (2,), not (3,)",
    "Reward": "The reward returned by `step()` must be a float",
    "Done": "Expects `terminated` signal to be a boolean",
    "Four": "written in old step API",
    "Plain": "was not a tuple of the form `(obs, info)`",
    "Seedless": "The `reset` method does not provide a `seed`",
    "Random": "Using `env.reset(seed=123)` is non-deterministic",
    "Raises": "failed at line {line}, in Gymnasium's check: KeyError: 'door'",
    "Fps": "metadata['render_fps'] must be a number of frames a second, not 'fast'",
    "Measures": "metadata['measures'] must be a list of names, not 'score'",
    "ListMetadata": "metadata must be a dictionary, not ['rgb_array']",
    "Spaceless": "action space does not inherit from",
    "Bare": "cannot be made: AssertionError: assert size % 2 == 0 (line {line})",
    "BareReset": "failed at line {line}, in Gymnasium's check: AssertionError: assert self.metadata is",
    "Needs": "missing 1 required positional argument: 'n'; give it as --env.n VALUE",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_in_its_instance_is_one_sentence_before_the_training(
    file: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(file, name) == 2
    message = capsys.readouterr().err
    lines = SOURCE.splitlines()
    head = lines.index(next(line for line in lines if line.startswith(f"class {name}(")))
    raising = (
        i + 1 for i in range(head, len(lines)) if lines[i].split()[:1] in (["raise"], ["assert"])
    )
    assert REFUSED[name].format(line=next(raising, 0)) in message
    assert len(message.splitlines()) == 1
    assert message.startswith(f"fathom: {file}:{name}")
    assert not (file.parent / "runs").exists()


def test_a_hook_is_that_of_the_outermost_wrapper_that_has_it(file: Path) -> None:
    for name, rules, text in (
        ("Hooked", {"inner": 1}, "inner"),
        ("Inherits", {"inner": 1}, "inner"),
        ("Outermost", {"outer": 1}, "outer"),
    ):
        spec = resolve(f"{file}:{name}")
        assert rules.items() <= spec.describe().items()
        assert spec.expert() is not None
        transcript = find_hook(spec.make_single(None), "transcript")
        assert transcript is not None
        assert transcript() == {".txt": text}


@pytest.mark.parametrize("name", ["OtherMeanings", "OtherMethods"])
def test_an_attribute_of_another_meaning_is_left_alone(file: Path, name: str) -> None:
    spec = resolve(f"{file}:{name}", {"split": "0.5"} if name == "OtherMeanings" else {})
    assert spec.describe()["time_limit"] == "none"
    assert find_hook(spec.make_single(None), "transcript") is None
    if name == "OtherMeanings":
        assert spec.expert() is None
        for training in (True, False):
            made = spec.make_single(None, training).unwrapped
            assert made.split == 0.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("argument", "is_hook"),
    [
        ('split="train"', True),
        ('split: str = "test"', True),
        ("split: str", True),
        ("split: str | None = None", True),
        ('split: typing.Literal["train", "test"]', True),
        ("split", True),
        ("split: float = 0.8", False),
        ("split=0.8", False),
        ("split: bool | None = None", False),
        ('split: str = "north"', False),
        ('split: typing.Literal["left", "right"] = "left"', False),
        ("split: list[float] = (0.8, 0.2)", False),
    ],
)
def test_split_is_a_hook_where_train_and_test_are_values_for_it(
    tmp_path: Path, argument: str, is_hook: bool
) -> None:
    path = tmp_path / "split.py"
    source = "import typing\n" + SOURCE.replace(
        "class Works(gymnasium.Env):",
        "class Split(gymnasium.Env):\n"
        f"    def __init__(self, {argument}):\n"
        "        self.observation_space, self.action_space = Box(-1, 1, (2,)), Discrete(2)\n"
        "        self.split = split\n\n"
        "class Works(gymnasium.Env):",
    )
    path.write_text(source)
    spec = resolve(f"{path}:Split")
    made = [spec.make_single(None, training).unwrapped.split for training in (True, False)]  # type: ignore[attr-defined]
    assert (made == ["train", "test"]) == is_hook
    if is_hook:
        with pytest.raises(FathomError, match=r"--env\.split cannot be set"):
            resolve(f"{path}:Split", {"split": "train"})


def test_a_wrapper_of_a_registered_environment_is_checked_too() -> None:
    wrapped = resolve("CartPole-v1").wrapped_in(("gymnasium.wrappers:TimeAwareObservation",))
    (warning,) = check(wrapped)  # of the 500 steps that the wrapper counts
    assert warning.startswith("the observation has numbers up to 500")


@pytest.mark.parametrize("wrapper", ["NormalizeObservation", "NormalizeReward"])
def test_a_wrapper_that_keeps_statistics_is_a_warning(wrapper: str) -> None:
    spec = resolve("CartPole-v1").wrapped_in((f"gymnasium.wrappers:{wrapper}",))
    assert any(text.startswith(f"{wrapper} forgets its statistics") for text in check(spec))


def test_the_protocol_states_the_time_limit_that_is_inside(file: Path) -> None:
    source = "\n\ndef make():\n    return gymnasium.make('CartPole-v1', max_episode_steps=70)\n"
    file.write_text(SOURCE + source)
    spec = resolve(f"{file}:make")
    assert spec.describe()["time_limit"] == spec.time_limit == 70
    spec = resolve(f"{file}:make", {"max_episode_steps": "60"})
    assert spec.describe()["time_limit"] == spec.time_limit == 60
