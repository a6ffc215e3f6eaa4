"""The policy network in ONNX acts as the agent does, on observations of its environment."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fathom
from envs.actions import first_of
from envs.observations import ObservationFlattener, batch_of_one
from fathom.cli import main
from fathom.runs.agent_learner import trained_agent
from fathom.runs.run import Run
from fathom.sharing.onnx_policy import write_policy
from perception.networks.precision import full_precision

REFERENCE = Path(__file__).parents[3] / "runs" / "reference"

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra onnx is not installed",
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(run: str) -> tuple[Any, dict[str, Any]]:
    """A session of onnxruntime, and the description."""
    import onnxruntime

    write_policy(Run.open(Path(run)), Path())
    session = onnxruntime.InferenceSession("policy.onnx")
    about = json.loads(Path("policy.json").read_text())
    assert [one.name for one in session.get_inputs()] == [one["name"] for one in about["inputs"]]
    assert [one.name for one in session.get_outputs()] == [one["name"] for one in about["outputs"]]
    return session, about


def play(run: str, steps: int, seed: int = 7) -> int:
    """Play an episode by the agent and by onnxruntime side by side; gives the number of actions compared."""
    session, about = export(run)
    with full_precision():
        agent, environment, _ = trained_agent(Run.open(Path(run)), print, "cpu")
    env, compared = environment.make_single(None), 0
    flatten = ObservationFlattener(env.observation_space)
    rng, start = np.random.default_rng(0), np.ones(1, bool)
    memory = next((x for x in about["inputs"] if x["name"] == "memory"), None)
    kept = None if memory is None else np.zeros((1, memory["shape"][1]), np.float32)
    observation, info = env.reset(seed=seed)
    for _ in range(steps):
        flat = flatten(batch_of_one(env.observation_space, observation))
        parts = flat if isinstance(flat, tuple) else (flat,)
        given: dict[str, np.ndarray] = {
            one["name"]: x for one, x in zip(about["inputs"], parts, strict=False)
        }
        if kept is not None:
            given |= {"memory": kept, "episode_start": start}
        scores, actions, *after = session.run(None, given)
        kept = after[0] if after else None
        masks = np.asarray(info["action_mask"], bool)[None] if "action_mask" in info else None
        if masks is not None:
            assert about["action_mask"]
            actions = np.where(masks, scores, -np.inf).argmax(axis=1)
        wanted = agent.act(flat, masks, start, rng)
        if np.issubdtype(actions.dtype, np.floating):
            np.testing.assert_allclose(actions, wanted, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(actions, wanted)
        compared, start = compared + 1, np.zeros(1, bool)
        observation, _, terminated, truncated, info = env.step(first_of(wanted))
        if terminated or truncated:
            observation, info = env.reset()
            start = np.ones(1, bool)
    env.close()
    return compared


def test_dqn_on_numbers() -> None:
    options: dict[str, Any] = {
        "evaluation_epsilon": 0.0,
        "dueling": True,
        "value_bins": 21,
        "tau": 0.1,
    }
    fathom.train("dqn", "CartPole-v1", steps=1200, evaluation_episodes=0, name="c", progress=False, **options)  # fmt: skip
    assert play("runs/c", 200) == 200
    assert main(["export", "runs/c", "--onnx"]) == 0
    assert Path("exports/c/policy.json").read_text() == Path("policy.json").read_text()
    assert Path("exports/c/policy.onnx").is_file()
    assert "`policy.onnx` is the policy network" in Path("exports/c/README.md").read_text()


def test_dqn_on_pong() -> None:
    assert play(str(REFERENCE / "pong-dqn"), 150) == 150


def test_ppo_on_mazes_with_its_planner() -> None:
    assert play(str(REFERENCE / "maze-ppo"), 200) == 200


def test_ppo_with_continuous_actions_and_normalised_observations() -> None:
    options: dict[str, Any] = {"normalize_observations": True}
    fathom.train("ppo", "Pendulum-v1", steps=2048, evaluation_episodes=0, name="p", progress=False, **options)  # fmt: skip
    assert play("runs/p", 200) == 200


def test_a2c_with_a_memory() -> None:
    fathom.train("a2c", "CartPole-v1", steps=400, evaluation_episodes=0, memory="gru", name="m", progress=False)  # fmt: skip
    assert play("runs/m", 120) == 120


def test_the_policy_of_alphago() -> None:
    assert play(str(REFERENCE / "go9-alphago"), 12) == 12


def test_agents_without_a_network_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    fathom.train(
        "q-learning", "FrozenLake-v1", steps=64, evaluation_episodes=1, name="q", progress=False
    )
    assert main(["export", "q", "--onnx"]) == 2
    assert "QLearning has no policy network" in capsys.readouterr().err
    assert not Path("exports").exists() or not list(Path("exports").iterdir())
