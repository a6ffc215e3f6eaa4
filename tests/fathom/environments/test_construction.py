"""A user's environment is made as seldom as possible, and each one that is made is closed."""

from pathlib import Path

import pytest

from fathom import cli
from fathom.environments import resolve

COUNTED = """
import gymnasium
from pathlib import Path

LOG = Path(__file__).with_suffix(".log")

class Counted(gymnasium.Env):
    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(0, 1, (2,))
        self.action_space = gymnasium.spaces.Discrete(2)
        self.closed = False
        self.note("made")

    def note(self, word):
        with LOG.open("a") as file:
            file.write(word + "\\n")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.low.copy(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.low.copy(), 1.0, self.time == 5, False, {}

    def protocol(self):
        return {"length": 5}

    def expert_action(self, observations, action_masks):
        return [1] * len(observations)

    def close(self):
        if not self.closed:
            self.note("closed")
        self.closed = True
"""


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    path = tmp_path / "counted.py"
    path.write_text(COUNTED)
    return path


def _counts(path: Path) -> tuple[int, int]:
    words = (
        path.with_suffix(".log").read_text().split() if path.with_suffix(".log").exists() else []
    )
    return words.count("made"), words.count("closed")


def test_a_run_makes_an_environment_for_each_thing_it_does(counted: Path, tmp_path: Path) -> None:
    segments = 2
    words = ["train", "ppo", f"{counted}:Counted", "--num-envs", "1", "--steps", "64"]
    words += ["--segment-steps", "32", "--rollout-steps", "8", "--hidden-size", "8"]
    words += ["--threads", "1", "--evaluation-episodes", "1", "--runs-dir", str(tmp_path / "runs")]
    assert cli.main(words) == 0
    made, closed = _counts(counted)
    contract_check = 1
    questions = 2  # spaces, protocol and expert: once for the command, once for the training
    assert made == contract_check + questions + segments * (1 + 1)  # one to train, one to evaluate
    assert closed == made


def test_one_environment_answers_all_questions(counted: Path) -> None:
    spec = resolve(f"{counted}:Counted")
    assert _counts(counted) == (0, 0)
    assert spec.spaces()[1].n == 2  # type: ignore[attr-defined]
    assert spec.describe()["length"] == 5
    expert = spec.expert()
    assert expert is not None
    assert expert([[0.0, 0.0]], None).tolist() == [1]
    assert _counts(counted) == (1, 1)
