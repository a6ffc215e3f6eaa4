"""The one loop that trains agents and fits tasks."""

import multiprocessing
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fathom
from agents.agent import AgentState, Metrics
from fathom.display import Display
from fathom.errors import FathomError, Stopped
from fathom.evaluation import Result
from fathom.runs.config import RunConfig
from fathom.runs.folder import RunFolder
from fathom.runs.runner import train

QUIET = Display(quiet=True)


def new_run(folder: Path, steps: int = 40, **changes: Any) -> RunFolder:
    config = RunConfig(
        agent="ppo", environment="CartPole-v1", steps=steps, segment_steps=10, seed=5, device="cpu",
        threads=1, evaluation_episodes=2, **changes,
    )  # fmt: skip
    return RunFolder.create(folder, None, config)


class Walker:
    """A learner whose state is a sum of what the global generators draw."""

    def __init__(self, run: RunFolder) -> None:
        self.total = torch.zeros(3, dtype=torch.float64)
        self.evaluations = 0

    def segment(self, k: int, steps: int, seed: int) -> Iterator[Metrics]:
        for done in range(1, steps + 1):
            drawn = [random.random(), np.random.random(), float(torch.rand(()))]
            self.total += torch.tensor(drawn, dtype=torch.float64) * (k + 1) + seed % 7
            yield {"steps": done, "sum": float(self.total.sum())}

    def evaluate(self, should_stop: Any, report: Any) -> Result | None:
        self.evaluations += 1
        return Result(float(self.total.sum()), (0.0, 1.0), 2, {})

    def state(self) -> AgentState:
        return AgentState({"total": self.total})

    def load(self, state: AgentState) -> None:
        self.total = state.weights["total"].clone()

    def check_resume(self, progress: Any) -> list[str]:
        return []

    def finish(self, progress: Any, message: Any) -> None:
        message("finished")


def total_of(run: RunFolder) -> torch.Tensor:
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    return checkpoint.state.weights["total"]


def test_a_run_stopped_anywhere_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = new_run(tmp_path / "whole")
    assert train(whole, QUIET, learner=Walker).steps == 40
    for stop_at in (1, 9, 10, 11, 25, 39):
        run = new_run(tmp_path / f"stopped-{stop_at}")
        asked = 0

        def should_stop(limit: int = stop_at) -> bool:
            nonlocal asked
            asked += 1
            return asked > limit

        with pytest.raises(Stopped):
            train(run, QUIET, should_stop, Walker)
        assert train(run, QUIET, learner=Walker).steps == 40
        assert torch.equal(total_of(run), total_of(whole))
        assert [line["sum"] for line in run.metrics()] == [line["sum"] for line in whole.metrics()]
        assert [line["mean"] for line in run.evaluations()] == [
            line["mean"] for line in whole.evaluations()
        ]


def test_an_evaluation_that_fails_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(Walker):
        def evaluate(self, should_stop: Any, report: Any) -> Result | None:
            raise FathomError("no display")

    run = new_run(tmp_path)
    assert train(run, Display(), learner=Failing).steps == 40
    assert "warning: the evaluation at step 10 failed: no display" in capsys.readouterr().out
    assert not run.evaluations()
    assert run.checkpoint_numbers()[0] == 4


def test_a_run_killed_in_an_evaluation_does_it_again(tmp_path: Path) -> None:
    class Killed(Walker):
        def evaluate(self, should_stop: Any, report: Any) -> Result | None:
            if float(self.total[0]) > 5:
                raise KeyboardInterrupt
            return super().evaluate(should_stop, report)

    whole, run = new_run(tmp_path / "whole"), new_run(tmp_path / "killed")
    train(whole, QUIET, learner=Walker)
    with pytest.raises(KeyboardInterrupt):
        train(run, QUIET, learner=Killed)
    assert len(run.evaluations()) < run.checkpoint_numbers()[0], "the checkpoint came first"
    train(run, QUIET, learner=Walker)
    assert [line["mean"] for line in run.evaluations()] == [
        line["mean"] for line in whole.evaluations()
    ]
    assert torch.equal(total_of(run), total_of(whole))


def test_the_caller_s_random_generators_are_left_as_they_were(tmp_path: Path) -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = [random.random(), np.random.random(), float(torch.rand(()))]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    train(new_run(tmp_path), QUIET, learner=Walker)
    assert [random.random(), np.random.random(), float(torch.rand(()))] == expected


def test_trainings_in_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    alone = new_run(tmp_path / "alone")
    train(alone, QUIET, learner=Walker)
    runs = [new_run(tmp_path / str(number)) for number in range(3)]
    errors: list[BaseException] = []

    def one(run: RunFolder) -> None:
        try:
            train(run, QUIET, learner=Walker)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for run in runs:
        assert torch.equal(total_of(run), total_of(alone))


def test_a_spawned_process_trains(tmp_path: Path) -> None:
    options = {
        "steps": 640,
        "num_envs": 4,
        "evaluation_episodes": 0,
        "threads": 1,
        "progress": False,
    }
    here = fathom.train("ppo", "CartPole-v1", runs_dir=tmp_path, name="here", **options)  # type: ignore[arg-type]
    process = multiprocessing.get_context("spawn").Process(
        target=fathom.train,
        args=("ppo", "CartPole-v1"),
        kwargs={**options, "runs_dir": tmp_path, "name": "there"},
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0
    there = fathom.load("there", tmp_path)
    for one, other in zip(here.metrics(), there.metrics(), strict=True):
        assert one["policy_loss"] == other["policy_loss"]


def test_a_number_that_is_not_finite_stops_the_training_in_a_sentence(tmp_path: Path) -> None:
    class Diverging(Walker):
        def segment(self, k: int, steps: int, seed: int) -> Iterator[Metrics]:
            yield {"steps": steps, "loss": float("nan") if k == 2 else 0.5}

    run = new_run(tmp_path)
    with pytest.raises(FathomError, match=r"loss became nan at step 30.*last checkpoint"):
        train(run, QUIET, learner=Diverging)
    assert run.checkpoint_numbers()[0] == 2
