"""Sweeps: what they take, that a killed one ends like any other, and what they write."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fathom
from fathom.cli import main
from fathom.errors import FathomError
from fathom.page.registry import Registry
from fathom.runs.launcher import fit_defaults
from fathom.runs.run import Run
from fathom.sweeps import sweep as sweeping
from fathom.sweeps.folder import SweepConfig, SweepFolder
from fathom.sweeps.space import Choices, Range, parse_seeds, parse_vary
from fathom.sweeps.sweep import run_name
from fathom.sweeps.trials import SEED_STRIDE, Trials
from fathom.sweeps.workers import Ended

SWEEP = [
    "sweep", "reinforce", "CartPole-v1", "--name", "s", "--seeds", "0-1", "--trials", "2", "--jobs", "2",
    "--vary", "learning_rate=1e-3:1e-1:log", "--vary", "discount=0.9,0.99", "--steps", "400",
    "--segment-steps", "200", "--evaluation-episodes", "2", "--hidden-size", "8", "--threads", "1",
]  # fmt: skip


class InThisProcess:
    """Workers that train a run at once, where they are asked to, and count how often."""

    places = 1

    def __init__(self) -> None:
        self.started: list[str] = []
        self._ended: list[Ended] = []

    def start(self, folder: Path) -> None:
        self.started.append(folder.name)
        fathom.resume(folder, progress=False)
        self._ended.append(Ended(folder, True))

    def stop(self, folder: Path) -> None:
        pass

    def ended(self) -> list[Ended]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        pass


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> InThisProcess:
    one = InThisProcess()
    monkeypatch.setattr(sweeping, "_workers", lambda _: one)
    return one


# -- what is varied -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ppo() -> Any:
    from agents.ppo import PPOConfig

    return PPOConfig()


def test_ranges_and_lists_have_the_types_of_the_hyperparameters(ppo: Any) -> None:
    specs = ["learning-rate=1e-4:1e-2:log", "num_envs=1:4", "discount=0.9,1", "cnn=nips,nature"]
    assert parse_vary([*specs, "anneal_lr=true,false"], ppo) == {
        "learning_rate": Range(1e-4, 1e-2, True),
        "num_envs": Range(1, 4, False),
        "discount": Choices((0.9, 1.0)),
        "cnn": Choices(("nips", "nature")),
        "anneal_lr": Choices((True, False)),
    }


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("learnin_rate=1:2", "did you mean learning_rate"),
        ("learning_rate=2:1", "is empty"),
        ("num_envs=3:3", "is empty"),
        ("learning_rate=0:1:log", "logarithmic"),
        ("learning_rate=a:b", "needs numbers"),
        ("num_envs=1.5:3", "needs whole numbers"),
        ("num_envs=0:3", "at least 1"),
        ("num_envs=x,y", "must be a whole number"),
        ("cnn=huge,nature", "must be 'nature' or 'nips'"),
        ("learning_rate=", "empty value"),
        ("learning_rate=1e-3,,1", "empty value"),
        ("learning_rate=1:", "no range"),
        ("learning_rate=nan:1", "finite"),
        ("discount=0.9,0.9", "twice"),
        ("discount", "NAME=VALUES"),
    ],
)
def test_what_cannot_be_varied_is_said(spec: str, complaint: str, ppo: Any) -> None:
    with pytest.raises(FathomError, match=complaint):
        parse_vary([spec], ppo)


def test_seeds_are_ranges_and_lists() -> None:
    assert parse_seeds("0-2,7") == [0, 1, 2, 7]
    for text in ("5-1", "", "a", "1,1", "-1", "0-99999999"):
        with pytest.raises(FathomError):
            parse_seeds(text)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("sweep", "needs an agent"),
        ("sweep pppo CartPole-v1", "did you mean ppo"),
        ("sweep ppo", "needs an environment"),
        ("sweep ppo CartPole-v1 --seeds 5-1", "first seed is larger"),
        ("sweep ppo CartPole-v1 --vary learning_rate=1e-4:1e-2", "by --trials"),
        ("sweep ppo CartPole-v1 --trials 3", "something to vary"),
        ("sweep ppo CartPole-v1 --jobs 200 --threads 7", "lower --jobs"),
        ("sweep ppo CartPole-v1 --evaluation-episodes 0", "goes by evaluations"),
        ("sweep ppo CartPole-v1 --preset missing.toml", "cannot be read"),
        ("sweep ppo CartPole-v1 --preset .", "is a folder, not a file"),
        ("sweep ppo CartPole-v1 --hidden-size 8 --vary hidden_size=8,16", "leave out one"),
        ("sweep digits --vary learnin_rate=1,2", "did you mean learning_rate"),
        ("sweep digits --epochs=1 --vary epochs=1,2", "leave out one"),
        ("resume nothing-here", "there is no run"),
    ],
)
def test_bad_input_is_one_sentence(
    words: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# -- trials -------------------------------------------------------------------------------------


def _score(params: dict[str, Any]) -> float:
    return -abs(params["learning_rate"] - 0.003) * 100 + params["num_envs"]


def _sample(folder: Path, ppo: Any, killed_at: list[int]) -> list[tuple[Any, ...]]:
    """Trials of a made-up score; the sweep is begun again after so many outcomes."""
    vary = ["learning_rate=1e-4:1e-2:log", "num_envs=1,2,4"]
    config = SweepConfig(agent="ppo", environment="E", seeds=[0], vary=vary, trials=16, generation=3,
                         threads=1, jobs=1)  # fmt: skip
    done = 0
    for kill in [*killed_at, 1_000]:
        sweep = SweepFolder.create(folder, "s", config)
        trials = Trials(sweep, parse_vary(vary, ppo))
        while done < kill and (generation := trials.next_generation()):
            judge = trials.judge(generation[0].number)
            for trial in generation:
                if done >= kill:
                    break
                if trial.state.is_finished():
                    continue
                value = _score(trial.params)
                reports = {0: value - 2, 1: value - 1, 2: value}
                at = judge.verdict(trial, reports)
                kept = {k: v for k, v in reports.items() if at is None or k <= at}
                trials.tell(trial.number, kept, [kept[max(kept)]], at is not None, "")
                done += 1
        with open(sweep.folder / "journal.jsonl", "ab") as journal:
            journal.write(b'{"op_code": 4, "half a li')  # as a power cut leaves it
    return [(one.number, one.params, one.value, one.state.name) for one in trials.trials()]


def test_trials_do_not_depend_on_when_the_sweep_is_killed(tmp_path: Path, ppo: Any) -> None:
    alone = _sample(tmp_path / "alone", ppo, [])
    assert len(alone) == 16
    assert {state for *_, state in alone} == {"COMPLETE", "PRUNED"}
    assert _sample(tmp_path / "killed", ppo, [4, 5, 13]) == alone
    rates = {params["learning_rate"] for _, params, *_ in alone}
    assert len(rates) == 16


def test_the_journal_is_lines_of_json(tmp_path: Path, ppo: Any) -> None:
    _sample(tmp_path, ppo, [])
    *lines, torn = (tmp_path / "s" / "journal.jsonl").read_bytes().split(b"\n")
    assert torn
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_a_trial_is_pruned_where_its_best_is_below_the_median(tmp_path: Path, ppo: Any) -> None:
    vary = ["discount=0.9:0.99"]
    config = SweepConfig(agent="ppo", environment="E", seeds=[0, 1], vary=vary, trials=9, generation=1,
                         threads=1, jobs=1)  # fmt: skip
    trials = Trials(SweepFolder.create(tmp_path, "s", config), parse_vary(vary, ppo))
    for value in range(5):
        (trial,) = trials.next_generation()
        reports = {step: float(value) for step in (0, 1, 2, SEED_STRIDE)}
        trials.tell(trial.number, reports, [value, value], False, "")
    (trial,) = trials.next_generation()
    judge = trials.judge(trial.number)
    assert judge.verdict(trial, {0: 0.0}) is None  # too early
    assert judge.verdict(trial, {0: 0.0, 1: 1.0, 2: 0.0}) == 1
    assert judge.verdict(trial, {0: 0.0, 1: 2.0, 2: 0.0}) is None
    assert judge.verdict(trial, {0: 0.0, 1: 2.0, SEED_STRIDE: 1.0}) is None


# -- whole sweeps -------------------------------------------------------------------------------


def _result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "sweep.json").read_text())


def _table(capsys: Any) -> str:
    """What was printed from the table's head on."""
    out = capsys.readouterr().out
    return out[out.index("trial  ") :]


def _wait_until(condition: Any) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def _kill_when(words: list[str], cwd: Path, condition: Any) -> None:
    """Start a command in a process group of its own, and kill all of it when a condition holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fathom", *words], cwd=cwd, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_until(lambda: condition() or process.poll() is not None)
    finally:
        ended = process.poll()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert ended is None


def test_a_sweep_that_is_killed_twice_ends_like_one_that_is_not(
    tmp_path: Path, workers: InThisProcess, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for folder in (alone, killed):
        folder.mkdir()
    monkeypatch.chdir(alone)
    assert main(SWEEP) == 0
    table = _table(capsys)
    assert len(workers.started) == 4

    sweep = killed / "runs" / "s"
    _kill_when(SWEEP, killed, lambda: (sweep / run_name(0, 0) / "checkpoints" / "00001").exists())
    _kill_when(["resume", "runs/s"], killed, lambda: (sweep / run_name(1, 1) / "run.toml").exists())
    begun = {one.name: one.stat().st_ino for one in sweep.glob("t*")}
    monkeypatch.chdir(killed)
    workers.started.clear()
    assert main(["resume", "s"]) == 0
    assert _table(capsys) == table
    assert _result(sweep) == _result(alone / "runs" / "s")
    assert len(workers.started) < 4
    assert begun.items() <= {one.name: one.stat().st_ino for one in sweep.glob("t*")}.items()
    for name in (run_name(0, 0), run_name(1, 1)):
        weights = [
            (
                folder / "runs" / "s" / name / "checkpoints" / "00002" / "weights.safetensors"
            ).read_bytes()
            for folder in (alone, killed)
        ]
        assert weights[0] == weights[1]

    # What it wrote is of use: the preset trains, the runs are found.
    best = _result(sweep)["best"]
    run = fathom.train(
        "reinforce", "CartPole-v1", preset=sweep / "best.toml", seed=0, progress=False, name="best"
    )
    assert run.config.hyperparameters["learning_rate"] == best["params"]["learning_rate"]
    assert run.evaluations()[-1]["mean"] == best["scores"]["0"]
    names = {one.name for one in Run.list(killed / "runs")}
    assert names == {"best", *(run_name(trial, seed) for trial in range(2) for seed in (0, 1))}
    registry = Registry(killed / "runs")
    registry.look_at_all()
    rows = {row["path"]: row for row in registry.rows()["rows"]}
    assert rows["s/t001-s1"]["state"] == "finished"
    assert registry.open(rows["s/t001-s1"]["id"]).config.seed == 1

    # The same sweep again has nothing to do; another one of the same name is refused.
    workers.started.clear()
    assert main(SWEEP) == 0
    assert not workers.started
    assert main([*SWEEP, "--num-envs", "3"]) == 2
    assert "num_envs is 16 there, and 3 here" in capsys.readouterr().err


def test_lists_are_a_grid_and_a_trial_that_fails_is_last(
    tmp_path: Path, workers: InThisProcess
) -> None:
    words = ["sweep", "ppo", "CartPole-v1", "--runs-dir", str(tmp_path), "--name", "g", "--steps", "128", "--seeds", "3",
             "--segment-steps", "64", "--evaluation-episodes", "1", "--hidden-size", "4", "--num-envs", "2",
             "--rollout-steps", "16", "--vary", "num_minibatches=2,5", "--vary", "gae_lambda=0.9,1"]  # fmt: skip
    assert main(words) == 0
    trials = _result(tmp_path / "g")["trials"]
    assert sorted((one["state"], one["params"]["num_minibatches"]) for one in trials) == [
        ("complete", 2), ("complete", 2), ("failed", 5), ("failed", 5)]  # fmt: skip
    assert "num_minibatches must divide" in trials[-1]["why"]
    assert trials[-1]["mean"] is None
    assert (tmp_path / "g" / "parallel.png").exists()
    assert workers.started == ["t000-s3", "t001-s3"]
    common: Any = {"runs_dir": tmp_path, "num_envs": 2, "rollout_steps": 16, "progress": False}
    with pytest.raises(FathomError, match=r"no trial of .* finished: num_minibatches must divide"):
        fathom.sweep("ppo", "CartPole-v1", vary={"num_minibatches": [5, 7]}, **common)
    with pytest.raises(FathomError, match="there is no option 'trails'; did you mean trials"):
        fathom.sweep("ppo", "CartPole-v1", trails=3, **common)


def test_the_least_error_is_the_best(tmp_path: Path, workers: InThisProcess) -> None:
    words = ["sweep", "regression", "--runs-dir", str(tmp_path), "--name", "d", "--seeds", "0-1", "--epochs", "1",
             "--minimize", "--vary", "degree=1,3", "--threads", "1"]  # fmt: skip
    assert main(words) == 0
    result = _result(tmp_path / "d")
    assert result["score"] == "MSE"
    first, second = result["trials"]
    assert first == result["best"]
    assert first["mean"] < second["mean"]
    assert set(first["scores"]) == {"0", "1"}
    assert (tmp_path / "d" / "curves.png").exists()
    options, config = fit_defaults("regression", preset_file=tmp_path / "d" / "best.toml")
    assert config.degree == first["params"]["degree"]
    assert (options.threads, options.data) == (1, "diabetes")


def test_a_sweep_from_elsewhere_is_not_gone_on_with(tmp_path: Path, capsys: Any) -> None:
    config = SweepConfig(
        agent="ppo", environment="x.py:E", seeds=[0], generation=1, threads=1, jobs=1
    )
    folder = SweepFolder.create(tmp_path, "s", config).folder
    (folder / "signature").unlink()
    assert main(["resume", str(folder)]) == 2
    assert "add --trust" in capsys.readouterr().err
