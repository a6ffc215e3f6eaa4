"""Copies of an environment side by side: what is collected of `info`, and how many copies there are."""

import json
from pathlib import Path

import pytest

from fathom.cli import main
from fathom.environments import resolve
from fathom.errors import FathomError

WORLDS = '''
import gymnasium, numpy as np
from gymnasium.spaces import Box, Discrete


class Walker(gymnasium.Env):
    """An entry of info that nobody reads changes in the third step."""

    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(2)
    metadata = {"render_modes": [], "measures": ["grade"]}

    def __init__(self, kind: str = "path", render_mode=None):
        self.kind = kind

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.good = 0, bool(self.np_random.random() < 0.5)
        return np.zeros(1, np.float32), self.info()

    def step(self, action):
        self.time += 1
        end = self.time >= 5
        info = self.info() | ({"grade": 1 if self.good else 0.5} if end else {})
        return np.zeros(1, np.float32), 1.0 if self.good else 0.5, end, False, info

    def info(self):
        later = self.time >= 3
        return {
            "path": {"x": np.arange(self.time)},
            "none": {"x": 3 if later else None},
            "nonelater": {"x": None if later else 3},
            "text": {"x": "crashed" if later else 0},
            "dict": {"x": {"a": 1} if later else {}},
            "bigint": {"x": 2**70},
            "key": {0: 1.0},
            "object": {"x": self},
        }[self.kind]


class Single(Walker):
    """Can exist only once at a time."""

    alive = 0

    def __init__(self, kind: str = "path", render_mode=None):
        super().__init__(kind)
        if Single.alive:
            raise OSError("address already in use")
        Single.alive += 1

    def close(self):
        Single.alive -= 1
'''


@pytest.fixture
def worlds(tmp_path: Path) -> Path:
    path = tmp_path / "worlds.py"
    path.write_text(WORLDS)
    return path


def train(worlds: Path, name: str, *flags: str) -> int:
    words = ["train", "ppo", f"{worlds}:{name}", "--steps", "512", "--name", "r", "--threads", "1"]
    return main([*words, *flags, "--runs-dir", str(worlds.parent / "runs")])


@pytest.mark.parametrize(
    "kind", ["path", "none", "nonelater", "text", "dict", "bigint", "key", "object"]
)
def test_an_entry_of_info_that_nobody_reads_stops_no_training(worlds: Path, kind: str) -> None:
    assert train(worlds, "Walker", "--env.kind", kind, "--num-envs", "4") == 0


def test_a_measure_that_is_an_int_first_and_a_float_later_has_its_true_mean(worlds: Path) -> None:
    assert train(worlds, "Walker", "--num-envs", "4", "--evaluation-episodes", "50") == 0
    (line,) = (worlds.parent / "runs" / "r" / "evaluations.jsonl").read_text().splitlines()
    result = json.loads(line)
    assert 0.5 < result["measures"]["grade"] < 1
    assert result["measures"]["grade"] == pytest.approx(result["mean"] / 5)


def test_an_environment_that_can_exist_once_is_trained_evaluated_and_resumed(worlds: Path) -> None:
    runs = str(worlds.parent / "runs")
    assert train(worlds, "Single", "--num-envs", "1", "--evaluation-episodes", "3") == 0
    assert main(["evaluate", "r", "--episodes", "2", "--runs-dir", runs]) == 0
    assert main(["resume", "r", "--steps", "640", "--runs-dir", runs]) == 0


FEW = """
import gymnasium, numpy as np
LEFT = [2]
class Port(gymnasium.Env):
    metadata = {"render_modes": []}
    def __init__(self):
        if not LEFT[0]:
            raise OSError("address in use")
        LEFT[0] -= 1
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
    def close(self):
        LEFT[0] += 1
"""


def test_an_environment_that_exists_a_few_times_says_how_many(tmp_path: Path) -> None:
    (tmp_path / "few.py").write_text(FEW)
    spec = resolve(f"{tmp_path / 'few.py'}:Port")
    for _ in range(2):  # those that were made are closed again
        with pytest.raises(FathomError, match=r"address in use .*only 2 of 8 could be made"):
            spec.make_vector(8, training=True)
    spec.make_vector(2, training=True).close()
