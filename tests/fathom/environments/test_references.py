"""What a reference can name: any file, a module's class, a package's, a function; and arguments of any type."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fathom import cli
from fathom.environments import resolve
from fathom.environments.constructor import for_toml, from_toml
from fathom.errors import FathomError

WORLD = '''
import enum, gymnasium, multiprocessing
from pathlib import Path
from typing import Any, Literal
from gymnasium.spaces import Box, Discrete


class Colour(enum.Enum):
    red = "red"


class World(gymnasium.Env):
    metadata = {"render_modes": []}
    observation_space, action_space = Box(0, 1, (2,)), Discrete(2)

    def __init__(
        self, bare=1, numbers: list[int] = (), pair: tuple[int, float] = (1, 2.0), perhaps: int | None = 3,
        mode: Literal["fast", "slow"] = "fast", table: dict = {}, path: Path = Path("."), text: str = "",
        colour: Colour = Colour.red, either: str | None = None, unknown: "Nowhere" = 1,
    ):
        self.given = dict(locals())

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.low.copy(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.low.copy(), 1.0, self.time == 5, False, {}


def answer(pipe):
    pipe.send(7)


class Remote(World):
    """Asks a process of its own."""

    def __init__(self, method: str = "spawn"):
        context = multiprocessing.get_context(method)
        pipe, other = context.Pipe()
        process = context.Process(target=answer, args=(other,))
        process.start()
        assert pipe.recv() == 7
        process.join()


def make_world(bare: int = 1):
    return World(bare * 2)


def make_nothing():
    return 3


number = 3
'''
TYPED = WORLD.replace(', unknown: "Nowhere" = 1', "")

SHORT = (
    "--steps 64 --segment-steps 32 --rollout-steps 8 --num-envs 2 --hidden-size 8"
    " --evaluation-episodes 2 --threads 1 --name run"
)


def train(environment: str, runs: Path, *words: str) -> int:
    flags = [*SHORT.split(), "--runs-dir", str(runs)]
    return cli.main(["train", "ppo", environment, *flags, *words])


@pytest.mark.parametrize(
    "name", ["my world (1).py", "world.old.py", "ALE.py", "100%.py", "random.py", "ähm-x.py"]
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(WORLD)
    assert train(f"{tmp_path / name}:World", tmp_path / "runs") == 0
    assert cli.main(["resume", str(tmp_path / "runs" / "run"), "--steps", "96"]) == 0
    import random

    assert random.random() < 1, "a module that has the same name is left as it is"


@pytest.mark.parametrize("init", [True, False])
def test_a_class_in_a_package_with_relative_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: bool
) -> None:
    folder = tmp_path / "package" / "envs"
    folder.mkdir(parents=True)
    (folder / "base.py").write_text(WORLD)
    (folder / "grid.py").write_text("from .base import World\nclass Grid(World): pass\n")
    if init:
        (tmp_path / "package" / "__init__.py").touch()
        (folder / "__init__.py").touch()
        (tmp_path / "package" / "far.py").write_text("HERE = 1\n")
        source = "from ..far import HERE\nfrom package.far import HERE\n"
        (folder / "grid.py").write_text(source + (folder / "grid.py").read_text())
    assert resolve(f"{folder / 'grid.py'}:Grid").make_single(None)
    monkeypatch.chdir(tmp_path)
    assert resolve("package.envs.grid:Grid").make_single(None)


def test_a_package_with_the_name_of_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import envs

    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    (tmp_path / "envs" / "base.py").write_text(WORLD)
    (tmp_path / "envs" / "grid.py").write_text(
        "from envs.base import World\n"
        "class Grid(World):\n"
        "    def __init__(self):\n"
        "        from .base import Colour\n"
        "        super().__init__(bare=Colour.red)\n"
    )
    monkeypatch.chdir(tmp_path)
    for reference in ("envs/grid.py:Grid", "envs.grid:Grid"):
        assert resolve(reference).make_single(None)
    assert sys.modules["envs"] is envs
    assert resolve("Fathom/Maze-v0").make_single(None)


def test_a_module_s_class_or_function_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some_world.py").write_text(WORLD)
    monkeypatch.chdir(tmp_path)
    assert train("some_world:World", tmp_path / "runs", "--env.bare", "4") == 0
    spec = resolve("some_world:make_world", {"bare": "4"})
    assert spec.make_single(None).unwrapped.given["bare"] == 8  # type: ignore[attr-defined]
    assert resolve("gymnasium.envs.classic_control:CartPoleEnv").spaces()[0].shape == (4,)
    for name in ("nothing", "number"):
        with pytest.raises(FathomError, match=name):
            resolve(f"some_world:{name}")


def test_a_function_makes_the_environment_and_its_arguments_are_flags(tmp_path: Path) -> None:
    (tmp_path / "w.py").write_text(WORLD)
    assert train(f"{tmp_path / 'w.py'}:make_world", tmp_path / "runs", "--env.bare", "3") == 0
    spec = resolve(f"{tmp_path / 'w.py'}:make_world", {"bare": "3"})
    assert spec.make_single(None).unwrapped.given["bare"] == 6  # type: ignore[attr-defined]
    with pytest.raises(FathomError, match=r"what its constructor returns is no .*but int"):
        resolve(f"{tmp_path / 'w.py'}:make_nothing").make_single(None)


@pytest.mark.parametrize("name", ["world.py", "test.py", "world.old.py", "package/world.py"])
def test_a_worker_that_spawn_starts_finds_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if path.parent != tmp_path:
        (path.parent / "__init__.py").touch()
    path.write_text(WORLD)
    code = (
        "from fathom.environments import resolve\n"
        f"if __name__ == '__main__': resolve({f'{path}:Remote'!r}).make_single(None)\n"
    )
    (tmp_path / "main.py").write_text(code)
    result = subprocess.run([sys.executable, str(tmp_path / "main.py")], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


ARGUMENTS = {
    ("bare", "[1, null, {}]"): [1, None, {}],
    ("bare", "null"): None,
    ("bare", "[half"): "[half",
    ("bare", "[NaN]"): "[NaN]",
    ("numbers", "[1, 2]"): [1, 2],
    ("pair", "[1, 2]"): (1, 2.0),
    ("perhaps", "null"): None,
    ("perhaps", "4"): 4,
    ("mode", "slow"): "slow",
    ("table", '{"a": [null, 1.5]}'): {"a": [None, 1.5]},
    ("path", "a/b.txt"): Path("a/b.txt"),
    ("text", "[1]"): "[1]",
    ("text", "null"): "null",
    ("colour", "red"): "red",
    ("either", "7"): "7",
    ("either", "null"): None,
}


@pytest.mark.parametrize(("name", "text"), ARGUMENTS)
def test_an_argument_is_json_of_the_annotated_type_and_is_stored(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "w.py").write_text(TYPED)
    reference = f"{tmp_path / 'w.py'}:World"
    spec = resolve(reference, {name: text})
    value = spec.make_single(None).unwrapped.given[name]  # type: ignore[attr-defined]
    value = getattr(value, "value", value)
    assert value == ARGUMENTS[name, text]
    assert type(value) is type(ARGUMENTS[name, text])
    stored = {key: for_toml(item) for key, item in spec.env_args.items()}
    again = resolve(reference, {key: from_toml(item) for key, item in stored.items()})
    assert again.env_args == spec.env_args
    assert again.describe() == spec.describe()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numbers", "[1, 2.5]"),
        ("numbers", "5"),
        ("perhaps", "few"),
        ("mode", "quick"),
        ("table", "[1]"),
        ("pair", "[1]"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "w.py").write_text(TYPED)
    with pytest.raises(FathomError, match=f"--env.{name} must be of the type .*, not '"):
        resolve(f"{tmp_path / 'w.py'}:World", {name: text})


def test_lists_and_null_are_in_a_run_s_folder_and_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.py").write_text(TYPED)
    words = ["--env.table", '{"a": [null, {"b": 1}]}', "--env.perhaps", "null"]
    assert train(f"{tmp_path / 'w.py'}:World", tmp_path / "runs", *words) == 0
    run = str(tmp_path / "runs" / "run")
    assert cli.main(["resume", run, "--steps", "96"]) == 0
    assert "so the results may differ" not in capsys.readouterr().out
    assert cli.main(["evaluate", run, "--json"]) == 0
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert json.loads(protocol["env.table"]) == {"a": [None, {"b": 1}]}
    assert protocol["env.perhaps"] == "null"


def test_python_s_values_are_arguments(tmp_path: Path) -> None:
    import numpy as np

    import fathom

    (tmp_path / "w.py").write_text(TYPED)
    run = fathom.train(
        "ppo",
        f"{tmp_path / 'w.py'}:World",
        env_args={"numbers": [1, 2], "perhaps": None, "path": tmp_path, "bare": np.float32(0.5)},
        runs_dir=tmp_path / "runs",
        steps=64,
        num_envs=2,
        rollout_steps=8,
        evaluation_episodes=0,
        progress=False,
    )
    assert run.config.environment_arguments == {
        "numbers": "[1, 2]",
        "perhaps": "null",
        "path": str(tmp_path),
        "bare": 0.5,
    }
    with pytest.raises(FathomError, match="an environment's arguments are numbers, texts"):
        fathom.train("ppo", f"{tmp_path / 'w.py'}:World", env_args={"bare": object()})


OWN = '''
import gymnasium
from gymnasium.spaces import Box, Discrete


class Own(gymnasium.Env):
    """Its arguments have the names of those of gymnasium.make and gymnasium.make_vec."""

    metadata = {"render_modes": []}
    observation_space, action_space = Box(0, 1, (1,)), Discrete(2)

    def __init__(
        self, max_episode_steps: int = 10, id: int = 0, vector_kwargs: int = 3, wrappers=None,
        disable_env_checker=None, vectorization_mode=None, additional_wrappers=None, num_envs=1, entry_point=0,
    ):
        self.limit, self.given = max_episode_steps, dict(locals())

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.low.copy(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.low.copy(), 1.0, False, self.time >= self.limit, {}
'''


def test_arguments_with_the_names_of_gymnasium_s_reach_the_constructor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    names = "max_episode_steps id vector_kwargs wrappers disable_env_checker vectorization_mode"
    given = {
        name: "7" for name in [*names.split(), "additional_wrappers", "num_envs", "entry_point"]
    }
    spec = resolve(f"{tmp_path / 'own.py'}:Own", given)
    made = spec.make_single(None).unwrapped.given  # type: ignore[attr-defined]
    assert {name: made[name] for name in given} == dict.fromkeys(given, 7)
    protocol = spec.describe()
    assert protocol["time_limit"] == "none", "it is the constructor's, and no limit of Gymnasium's"
    assert protocol["env.max_episode_steps"] == 7
    words = ["--env.max_episode_steps", "12", "--env.id", "3"]
    assert train(f"{tmp_path / 'own.py'}:Own", tmp_path / "runs", *words) == 0
    assert cli.main(["evaluate", str(tmp_path / "runs" / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["lengths"] == [12, 12]


@pytest.mark.parametrize("word", ["--env.=3", "--env. 3"])
def test_an_argument_without_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert train("CartPole-v1", tmp_path / "runs", *word.split()) == 2
    assert "--env. needs a name, as in `--env.size 9`" in capsys.readouterr().err


def test_one_near_name_or_several() -> None:
    with pytest.raises(FathomError, match=r"the nearest name is Taxi-v4$"):
        resolve("Taxi-v1")
    with pytest.raises(FathomError, match="the nearest names are Fathom/Maze-v0, "):
        resolve("Fathom/Maze-v9")
