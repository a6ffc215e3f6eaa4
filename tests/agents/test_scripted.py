"""A world's own rules: as an agent, and as what fills another agent's memory first."""

from pathlib import Path

import numpy as np
import pytest

from agents.agent import RunContext
from agents.dqn import DQN, DQNConfig
from agents.scripted import Scripted, ScriptedConfig
from fathom.cli import main
from fathom.environments import resolve
from fathom.errors import FathomError
from fathom.evaluation import evaluate, evaluation_seed

ASKING = f"{Path(__file__).with_name('asking.py')}:Asking"
"""Ask what is wanted, then give it: returns 0.9, and −1.1 for giving the other thing."""

BROKEN = """
from gymnasium import spaces
import gymnasium, numpy

class Short(gymnasium.Env):
    observation_space, action_space = spaces.Box(0, 1, (2,)), spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return numpy.zeros(2, "f"), {}
    def step(self, action):
        return numpy.zeros(2, "f"), 0.0, True, False, {}
    def expert_action(self, observations, masks):
        return numpy.zeros(len(observations) - 1, int)

class Raising(Short):
    def expert_action(self, observations, masks):
        raise KeyError("no such rule")
"""


def test_a_world_with_rules_gives_them_and_one_without_gives_none() -> None:
    expert_action = resolve(ASKING).expert()
    assert expert_action is not None
    known = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    assert expert_action(known, None).tolist() == [0, 1, 2]
    assert resolve("CartPole-v1").expert() is None


def test_rules_act_as_the_world_advises() -> None:
    world = resolve(ASKING)
    agent = Scripted(
        *world.spaces(), ScriptedConfig(), RunContext(8, 100, 100, expert_action=world.expert())
    )
    assert evaluate(agent, world, 32, evaluation_seed()).mean == pytest.approx(0.9)


def test_a_run_of_the_rules_trains_resumes_and_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--steps", "400", "--segment-steps", "200", "--evaluation-episodes", "4"]
    words = ["train", "scripted", ASKING, *flags, "--runs-dir", str(tmp_path), "--name", "by-rules"]
    assert main(words) == 0
    assert main(["evaluate", str(tmp_path / "by-rules"), "--episodes", "8"]) == 0
    assert "0.9" in capsys.readouterr().out


@pytest.mark.parametrize(("agent", "flags"), [("scripted", []), ("dqn", ["--expert-steps", "100"])])
def test_where_a_world_has_no_rules_they_cannot_be_asked_for(
    agent: str, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", agent, "CartPole-v1", *flags, "--runs-dir", str(tmp_path)]) == 2
    complaint = capsys.readouterr().err
    assert "this world has none" in complaint or "this one has none" in complaint
    assert "Traceback" not in complaint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [("Short", "expert_action\\(\\) must give an action for each"), ("Raising", "no such rule")],
)
def test_advice_that_is_none_is_told_in_a_sentence(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    expert_action = resolve(f"{tmp_path / 'broken.py'}:{name}").expert()
    assert expert_action is not None
    with pytest.raises(FathomError, match=said):
        expert_action(np.zeros((4, 2), np.float32), None)


def test_warm_start_lets_the_rules_act_first_and_the_learner_after_them(tmp_path: Path) -> None:
    world = resolve(ASKING)
    asked: list[int] = []
    rules = world.expert()
    assert rules is not None

    def expert_action(observations: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        asked.append(len(observations))
        return rules(observations, masks)

    config = DQNConfig(num_envs=4, expert_steps=200, learning_starts=1_000, epsilon_end=1.0)
    context = RunContext(4, 400, 400, storage=tmp_path, expert_action=expert_action)
    agent = DQN(*world.spaces(), config, context)
    env = world.make_vector(4, training=True)
    *_, metrics = agent.train(env, 200, seed=1)
    assert asked == [4] * 50
    assert metrics["episode_return"] == pytest.approx(0.9)
    *_, metrics = agent.train(env, 200, seed=2)
    assert asked == [4] * 50, "the warm start is the run's first steps, not each segment's"
    assert metrics["episode_return"] < 0.5
    env.close()


def test_a_negative_warm_start_is_refused() -> None:
    world = resolve(ASKING)
    with pytest.raises(ValueError, match="expert_steps"):
        DQN(*world.spaces(), DQNConfig(expert_steps=-1), RunContext(8, 100, 100))
