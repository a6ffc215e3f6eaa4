"""A spec is found by its name, whoever wrote it, and a mistake is told in one sentence."""

import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from fathom.environments import list_environments, resolve
from fathom.environments.check import check
from fathom.environments.presets import preset
from fathom.errors import FathomError

EXAMPLE = Path(__file__).parents[3] / "examples" / "corridor.py"

OWN_PROJECT = """
import gymnasium
from agents.helper import SIZE
from envs import LIMIT

class Mine(gymnasium.Env):
    def __init__(self, start: int = 0):
        from agents.late import START  # imported only when an environment is made
        self.observation_space = gymnasium.spaces.Box(0, 9, (SIZE,), "float32")
        self.action_space = gymnasium.spaces.Discrete(LIMIT)
        self.start = start + START

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.low, {}

    def step(self, action):
        return self.observation_space.low, 1.0, False, True, {}
"""


@pytest.fixture
def own_project(tmp_path: Path) -> Path:
    """A project with folders called agents (without an __init__.py) and envs (with one)."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "helper.py").write_text("SIZE = 3\n")
    (tmp_path / "agents" / "late.py").write_text("START = 5\n")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("LIMIT = 4\n")
    (tmp_path / "mine.py").write_text(OWN_PROJECT)
    return tmp_path / "mine.py"


def test_a_project_with_its_own_agents_and_envs(own_project: Path) -> None:
    import agents.agent
    import envs

    before = {name: module for name, module in sys.modules.items() if "agents" in name}
    spec = resolve(f"{own_project}:Mine", {"start": "2"})
    assert spec.make_single(None).unwrapped.start == 7
    assert spec.make_vector(2, training=True).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert spec.spaces()[0].shape == (3,)
    assert sys.modules["envs"] is envs
    assert sys.modules["agents.agent"] is agents.agent
    assert {n: m for n, m in sys.modules.items() if "agents" in n} == before
    import agents.parts.replay  # ours is still found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import gymnasium\nraise RuntimeError('no licence')",
            "line 2, .*RuntimeError: no licence",
        ),
        ("class Mine(:", "line 1, cannot be loaded: SyntaxError"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        (
            "import gymnasium\nclass Yours(gymnasium.Env): pass",
            "no environment 'Mine'; it has Yours",
        ),
        ("Mine = 3", "is no gymnasium.Env"),
    ],
)
def test_a_broken_file_is_told_in_one_sentence(tmp_path: Path, code: str, expected: str) -> None:
    (tmp_path / "broken.py").write_text(code)
    with pytest.raises(FathomError, match=expected) as caught:
        resolve(f"{tmp_path / 'broken.py'}:Mine", {})
    assert "\n" not in str(caught.value)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(FathomError, match="ALE/Pong-v5"):
        resolve("Pong-v5", {})
    with pytest.raises(FathomError, match="CartPole-v1"):
        resolve("cartpole", {})
    with pytest.raises(FathomError, match=r"mine\.py:Class"):
        resolve("mine.py", {})
    with pytest.raises(FathomError, match="no file"):
        resolve("nowhere.py:Mine", {})
    with pytest.raises(FathomError, match="no module 'nowhere'"):
        resolve("nowhere:Mine-v0", {})


def test_module_and_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registers.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Registered-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert resolve("registers:Registered-v0").spaces()[0].shape == (4,)


def test_arguments_are_typed_and_checked() -> None:
    spec = resolve(f"{EXAMPLE}:Corridor", {"length": "7", "max_episode_steps": "9"})
    assert spec.env_args == {"length": 7, "max_episode_steps": 9}
    assert spec.make_single(None).unwrapped.length == 7
    assert spec.describe()["env.length"] == 7
    assert spec.describe()["time_limit"] == 9
    with pytest.raises(FathomError, match="no argument 'width'; it has length"):
        resolve(f"{EXAMPLE}:Corridor", {"width": "7"})
    assert resolve("ALE/Pong-v5", {"full_action_space": "true"}).env_args == {
        "full_action_space": True
    }
    with pytest.raises(FathomError, match="machado"):
        resolve("ALE/Pong-v5", {"protocol": "mine"})
    with pytest.raises(FathomError, match="no argument 'frameskip'"):
        resolve("ALE/Pong-v5", {"frameskip": "3"})


def test_an_argument_has_the_type_that_it_is_annotated_with(tmp_path: Path) -> None:
    source = EXAMPLE.read_text().replace("length: int = 10", "length: int = 10, level: str = ''")
    (tmp_path / "mine.py").write_text(source)
    mine = f"{tmp_path / 'mine.py'}:Corridor"
    assert resolve(mine, {"level": "7"}).env_args == {"level": "7"}
    with pytest.raises(FathomError, match=r"--env.length must be of the type int, not '7.5'"):
        resolve(mine, {"length": "7.5"})


@pytest.mark.parametrize("reference", ["CartPole-v1", "ALE/Pong-v5", f"{EXAMPLE}:Corridor"])
def test_vector_and_single_agree_on_their_spaces(reference: str) -> None:
    spec = resolve(reference, {})
    env = spec.make_vector(2, training=False)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observation_space, action_space = spec.spaces()
    assert env.single_action_space == action_space
    assert env.single_observation_space.shape == observation_space.shape
    observations, _ = env.reset(seed=1)
    assert observations.shape == (2, *observation_space.shape)
    env.close()


def test_the_checker(tmp_path: Path) -> None:
    assert check(resolve(f"{EXAMPLE}:Corridor", {})) == []
    assert all(message.isprintable() for message in check(resolve("CartPole-v1", {})))
    assert check(resolve("ALE/Pong-v5", {})) == []
    (tmp_path / "wrong.py").write_text(
        EXAMPLE.read_text().replace("return self._observe(), {}", "return self._observe()")
    )
    with pytest.raises(FathomError, match="does not keep Gymnasium's contract") as caught:
        check(resolve(f"{tmp_path / 'wrong.py'}:Corridor", {}))
    assert "\n" not in str(caught.value)


def test_the_list_holds_what_can_be_made() -> None:
    listed = list_environments()
    assert {"ALE/Pong-v5", "CartPole-v1"} <= set(listed)
    assert not {"CartPole-v0", "PongNoFrameskip-v4", "Pong-v4"} & set(listed)


def test_the_most_specific_preset_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "presets").mkdir()
    for name, pattern in [("all", "ALE/*"), ("pong", "ALE/Pong-*")]:
        (tmp_path / "presets" / f"{name}.toml").write_text(
            f'algorithm = "dqn"\nenvironments = ["{pattern}"]\n'
            "[run]\nsteps = 5\n[agent]\nnum_envs = 2\n"
        )
    monkeypatch.setattr("fathom.environments.presets.files", lambda _: tmp_path)
    chosen = preset("dqn", "ALE/Pong-v5")
    assert chosen is not None
    assert chosen[0] == "pong"
    assert chosen[1]["run"] == {"steps": 5}
    other = preset("dqn", "ALE/Breakout-v5")
    assert other is not None
    assert other[0] == "all"
    assert preset("ppo", "ALE/Pong-v5") is None
    assert preset("dqn", "CartPole-v1") is None


@pytest.mark.parametrize("reference", ["ALE/Pong-v5", "CartPole-v1"])
def test_the_presets_that_ship_can_be_read(reference: str) -> None:
    from agents import load_agent

    chosen = preset("dqn", reference)
    assert chosen is not None
    load_agent("dqn").Config(**chosen[1]["agent"])


def test_the_example_is_solved_by_walking_right() -> None:
    env = resolve(f"{EXAMPLE}:Corridor", {}).make_single(None)
    env.reset(seed=1)
    total, done = 0.0, False
    while not done:
        _, reward, done, _, _ = env.step(np.int64(1))
        total += float(reward)
    assert total > 0.9
