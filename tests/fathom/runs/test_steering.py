"""What a person can steer of a run: its initial weights, changes at a resume, its best checkpoint, its end."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import fathom
from agents.agent import AgentState
from fathom.cli import main
from fathom.display import Display
from fathom.errors import Stopped
from fathom.evaluation import evaluation_seed
from fathom.runs.checkpoint import Progress, read_checkpoint
from fathom.runs.config import RunConfig
from fathom.runs.folder import RunFolder
from fathom.runs.run import Run
from fathom.runs.runner import train

CORRIDOR = f"{Path(__file__).parents[3] / 'examples' / 'corridor.py'}:Corridor"
SHORT: dict[str, Any] = {
    "steps": 640,
    "segment_steps": 320,
    "evaluation_episodes": 2,
    "threads": 1,
    "num_envs": 4,
    "progress": False,
}
SIZES = {
    "dqn": {"learning_starts": 100, "hidden_size": 16, "tau": 0.01},
    "ppo": {"hidden_size": 16, "normalize_observations": True},
}


def start(folder: Path, agent: str = "ppo", name: str = "a", **options: Any) -> Run:
    given = {**SHORT, **SIZES.get(agent, {}), **options}
    environment = given.pop("environment", CORRIDOR)
    return fathom.train(agent, environment, runs_dir=folder, name=name, **given)


def weights(run: RunFolder, number: int) -> dict[str, torch.Tensor]:
    state = read_checkpoint(run.files / "checkpoints", number).state
    return state.weights | state.tensors


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# -- initial weights --------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_a_run_starts_from_the_network_of_another_and_nothing_else(
    tmp_path: Path, agent: str
) -> None:
    source = start(tmp_path, agent)
    learnt = source.trained_checkpoint()
    run = start(tmp_path, agent, "b", weights="a", env_args={"length": 30}, seed=5)
    initial = read_checkpoint(run.files / "checkpoints", 0)
    assert initial.progress == Progress()
    assert initial.state.numbers["steps"] == 0
    assert same(initial.state.weights, learnt.state.weights)
    for name, tensor in initial.state.tensors.items():
        if name.startswith("target."):
            assert torch.equal(tensor, learnt.state.weights[name.removeprefix("target.")])
        elif "exp_avg" in name:
            assert not tensor.any(), "the optimizer is new"
    assert run.config.weights == {"run": str(source.folder.resolve()), "step": 640}


def test_a_run_from_weights_is_the_same_from_checkpoint_0_on(tmp_path: Path) -> None:
    source = start(tmp_path)
    whole = start(tmp_path, name="whole", weights=source, segment_steps=160)
    # The whole run has thinned out its initial checkpoint; a shorter one still has it.
    short = start(tmp_path, name="short", weights=source)
    initial = read_checkpoint(short.files / "checkpoints", 0).state
    again = RunFolder.create(tmp_path, "again", whole.config, initial)
    asked = 0

    def stop_early() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Stopped):
        train(again, Display(quiet=True), stop_early)
    train(again, Display(quiet=True))
    assert same(weights(again, 4), weights(whole, 4))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hidden_size": 8}, r"has the shape \(16, .*\) in that run and the shape \(8, "),
        ({"environment": "Acrobot-v1"}, r"in that run and the shape \(16, 6\) in this one"),
        ({"normalize_observations": False}, "observation_moments has the shape .* and nothing in"),
        ({"weights": "nowhere"}, "there is no run 'nowhere'"),
        ({"agent": "a2c"}, "is a run of ppo, whose weights a2c cannot take"),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    start(tmp_path)
    with pytest.raises(fathom.FathomError, match=expected):
        start(tmp_path, **{"weights": "a", "name": "b", **options})
    assert not (tmp_path / "b").exists()


# -- changes ----------------------------------------------------------------------------------


def test_a_resume_with_changes_records_them_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(tmp_path)
    words = "--steps 960 --learning-rate 1e-4 --env.max_episode_steps 9 --evaluation-episodes 3"
    assert main(["resume", "a", "--runs-dir", str(tmp_path), *words.split()]) == 0
    printed = capsys.readouterr().out
    assert "no longer the one it would have been" in printed
    run = fathom.load("a", tmp_path)
    assert [(one["step"], one["name"], one["after"]) for one in run.config.changes] == [
        (640, "evaluation_episodes", 3),
        (640, "learning_rate", 1e-4),
        (640, "env.max_episode_steps", 9),
    ]
    assert run.config.hyperparameters["learning_rate"] == 1e-4
    last = run.evaluations()[-1]
    assert last["episodes"] == 3
    assert max(last["lengths"]) <= 9
    assert last["protocol"]["env.max_episode_steps"] == 9
    assert "env.max_episode_steps" not in run.evaluations()[0]["protocol"]
    assert main(["evaluate", "a", "--runs-dir", str(tmp_path)]) == 0
    assert "learning_rate changed from" in capsys.readouterr().out


def test_a_resume_without_changes_writes_nothing_new(tmp_path: Path) -> None:
    run = start(tmp_path)
    text = (run.folder / "run.toml").read_bytes()
    again = fathom.resume(
        run, learning_rate=run.config.hyperparameters["learning_rate"], progress=False
    )
    assert (run.folder / "run.toml").read_bytes() == text
    assert again.config.changes == []


def test_what_does_not_alter_the_run_is_no_change(tmp_path: Path) -> None:
    run = start(tmp_path)
    fathom.resume(run, 960, keep="best", early_stop=1e9, progress=False)
    config = fathom.load(run).config
    assert (config.steps, config.keep, config.early_stop, config.changes) == (960, "best", 1e9, [])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hidden_size": 8}, "another hidden_size: the checkpoint does not fit"),
        ({"normalize_observations": False}, "normalize_observations: the checkpoint does not fit"),
        ({"num_envs": 2}, "another num_envs: the number of environments"),
        ({"clip_range": -1.0}, "clip_range must be greater than 0"),
        ({"learning_rat": 1e-4}, "did you mean learning_rate"),
        ({"seed": 3}, "resume cannot change 'seed'"),
        ({"evaluation_episodes": -1}, "evaluation_episodes must be at least 0"),
        ({"evaluation_episodes": 0, "early_stop": 5.0}, "go by evaluations"),
        ({"env_args": {"wide": 3}}, "has no argument 'wide'"),
        ({"env_args": {"length": "x"}}, "must be of the type int"),
        ({"steps": 640, "learning_rate": 1e-4}, "is complete, so learning_rate cannot change"),
        ({"steps": 320, "learning_rate": 1e-4}, "can only extend"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    run = start(tmp_path)
    text = (run.folder / "run.toml").read_bytes()
    with pytest.raises(fathom.FathomError, match=expected):
        run.resume(**{"steps": 960, **changes}, display=Display(quiet=True))
    assert (run.folder / "run.toml").read_bytes() == text


def test_the_replay_memory_is_fixed(tmp_path: Path) -> None:
    run = start(tmp_path, "dqn", keep_replay=True)
    with pytest.raises(fathom.FathomError, match="replay memory are fixed"):
        run.resume(960, replay_capacity=200, display=Display(quiet=True))
    run.resume(960, learning_rate=1e-5, display=Display(quiet=True))


# -- the best checkpoint ----------------------------------------------------------------------


@pytest.fixture
def scored(tmp_path: Path) -> Run:
    """A run of eight segments whose evaluations were best after the second."""
    config = RunConfig(
        agent="ppo", environment="CartPole-v1", steps=80, segment_steps=10, seed=0, device="cpu",
        threads=1, evaluation_episodes=2, keep="best",
    )  # fmt: skip
    run = Run.create(tmp_path, "r", config)
    run.save_checkpoint(0, AgentState({"w": torch.zeros(1)}), Progress())
    for number, mean in enumerate([1.0, 9.0, 3.0, 9.0, 4.0, 5.0, 6.0, 7.0], start=1):
        state = AgentState({"w": torch.full((1,), float(number))})
        run.save_checkpoint(number, state, Progress(number, number * 10, 1.0))
        line = {"steps": number * 10, "mean": mean, "interval": [mean, mean], "episodes": 2}
        run.log_evaluation({"segment": number - 1, **line})
    return run


def test_the_best_checkpoint_stays_beside_the_latest(scored: Run) -> None:
    assert scored.checkpoint_numbers() == [8, 7, 6, 2]
    for which, value in (("best", 2.0), (20, 2.0), ("70", 7.0), ("latest", 8.0)):
        assert scored.trained_checkpoint(which).state.weights["w"].item() == value


def test_a_checkpoint_that_is_not_there_is_said_with_those_that_are(scored: Run) -> None:
    with pytest.raises(fathom.FathomError, match=r"step 30 \(steps of .*: 20, 60, 70, 80\)"):
        scored.trained_checkpoint(30)
    with pytest.raises(fathom.FathomError, match="latest, best or the step"):
        scored.trained_checkpoint("newest")
    scored.config = dataclasses.replace(scored.config, keep="latest")
    scored.save_checkpoint(9, AgentState({"w": torch.ones(1)}), Progress(9, 90, 1.0))
    with pytest.raises(fathom.FathomError, match="with the best evaluation; --keep best"):
        scored.trained_checkpoint("best")


def test_the_best_checkpoint_is_scored_on_other_episodes_than_chose_it(tmp_path: Path) -> None:
    run = start(tmp_path, keep="best")
    assert run.evaluate(2, checkpoint="best").seed == evaluation_seed(1)
    assert run.evaluate(2).seed == evaluation_seed(0)
    with pytest.warns(UserWarning, match="chosen by these very episodes"):
        run.evaluate(2, checkpoint="best", seed=0)
    run.agent(checkpoint="best")
    run.record(checkpoint="best")


# -- an early end -----------------------------------------------------------------------------


def test_a_training_ends_at_the_score_it_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--steps 960 --segment-steps 320 --num-envs 4 --threads 1 --evaluation-episodes 2"
    where = ["--runs-dir", str(tmp_path)]
    flags = ["--name", "a", "--early-stop", "-10", *where]
    assert main(["train", "ppo", CORRIDOR, *words.split(), *flags]) == 0
    assert "ended at step 320, because the evaluation reached" in capsys.readouterr().out
    assert main(["resume", "a", *where]) == 0
    assert "ended at step 320" in capsys.readouterr().out
    assert main(["resume", "a", "--steps", "960", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 960
    run = fathom.load("a", tmp_path)
    assert (run.config.early_stop, run.config.changes) == (None, [])
    flags = ["--name", "b", *where]
    assert main(["train", "ppo", CORRIDOR, *words.split(), *flags]) == 0
    assert same(weights(run, 3), weights(fathom.load("b", tmp_path), 3))
