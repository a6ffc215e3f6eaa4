"""A sweep from its first trial to its last, or on from where it was killed."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from fathom.environments import resolve
from fathom.environments.constructor import from_toml
from fathom.errors import FathomError, Stopped
from fathom.runs.agent_learner import agent_class
from fathom.runs.config import build_config
from fathom.runs.folder import EVALUATIONS, RunFolder
from fathom.runs.launcher import TrainingRequest, new_fit, new_training
from fathom.runs.learner import ShouldStop
from fathom.runs.options import FitOptions, TrainOptions
from fathom.runs.runner import evaluated, never, reached_early_stop
from fathom.runs.tasks import task_class
from fathom.runs.trained_run import open_run
from fathom.sweeps.display import SweepDisplay
from fathom.sweeps.folder import SweepConfig, SweepFolder
from fathom.sweeps.space import parse_vary
from fathom.sweeps.trials import SEED_STRIDE, Judge, Trials
from fathom.sweeps.workers import Processes, Workers

_POLL = 0.2
"""Seconds between two looks at the runs."""
_ATTEMPTS = 4
"""How often a run is trained on that something outside ended."""


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_hyperparameters(config: SweepConfig) -> Any:
    """The hyperparameters of a sweep's runs that it does not vary."""
    kind = task_class(config.task) if config.is_fit else agent_class(config.agent)
    return build_config(kind.Config, config.hyperparameters)


def run_options(config: SweepConfig) -> Any:
    """The options that the runs of a sweep share."""
    kind: Any = FitOptions if config.is_fit else TrainOptions
    table = {k: tuple(v) if isinstance(v, list) else v for k, v in config.options.items()}
    return kind(**table)


def carry_out(
    sweep: SweepFolder,
    display: SweepDisplay,
    should_stop: ShouldStop = never,
) -> Trials:
    """Do what is left of a sweep.

    Raises:
        FathomError: another process is at it, or the journal cannot be right.
        Stopped: `should_stop` said so; the sweep goes on from there the next time.
    """
    sweep.check_trust()
    config = sweep.config
    with sweep.lock():
        defaults = default_hyperparameters(config)
        trials = Trials(sweep, parse_vary(config.vary, defaults))
        display.begin(sweep, trials)
        workers = _workers(sweep)
        make = functools.partial(_make_run, sweep, defaults)
        try:
            with display:
                while generation := trials.next_generation():
                    judge = trials.judge(generation[0].number)
                    todo = [one for one in generation if not one.state.is_finished()]
                    members = [_Trial(sweep, one, judge) for one in todo]
                    _train(members, workers, make, display, should_stop)
                    for one in members:
                        one.tell(trials)
                        display.outcome(trials.trials()[one.trial.number])
        finally:
            workers.close()
        for trial in trials.trials():
            if trial.state.name == "PRUNED":
                _drop_replay(sweep, trial)
        return trials


def _workers(sweep: SweepFolder) -> Workers:
    config = sweep.config
    if config.ray:
        from fathom.sweeps.ray_workers import RayTasks

        return RayTasks(config)
    return Processes(min(config.jobs, max(1, cores() // config.threads)), config.threads)


def run_name(trial: int, seed: int) -> str:
    """The name of a trial's run."""
    return f"t{trial:03d}-s{seed}"


def _make_run(sweep: SweepFolder, defaults: Any, trial: FrozenTrial, seed: int) -> None:
    """Make the folder of a run."""
    config, options = sweep.config, run_options(sweep.config)
    table = dataclasses.asdict(defaults) | trial.params
    hyperparameters = build_config(type(defaults), table)
    options = dataclasses.replace(
        options,
        seed=seed,
        name=run_name(trial.number, seed),
        runs_dir=sweep.folder,
        threads=config.threads,
    )
    if config.is_fit:
        options = dataclasses.replace(options, data=config.data)
        new_fit(config.task, options, hyperparameters, config.arguments, _silent)
        return
    arguments = {name: from_toml(value) for name, value in config.arguments.items()}
    environment = resolve(config.environment, arguments, open_run)
    request = TrainingRequest(config.preset, options, hyperparameters)
    new_training(config.agent, environment, request, _silent)


def _silent(text: str) -> None:
    pass


class _Member:
    """The run of a trial with one seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.run: RunFolder | None = None
        self.started = self.done = False
        self.why = ""
        """It failed."""
        self.attempts = 0
        self.values: list[float] = []
        """Scores after each segment."""
        self._seen: tuple[int, int] | None = None
        self.look()

    def look(self) -> None:
        """Read what the run reported since."""
        if self.run is None and self.folder.is_dir():
            self.run = RunFolder.open(self.folder, trust=True)
            self.done = _is_done(self.run)
        if self.run is None:
            return
        try:
            status = os.stat(self.folder / EVALUATIONS)
        except OSError:
            return
        if (seen := (status.st_mtime_ns, status.st_size)) == self._seen:
            return
        self._seen = seen
        by_segment = {line["segment"]: line["mean"] for line in self.run.evaluations()}
        self.values = []
        while len(self.values) in by_segment:
            self.values.append(by_segment[len(self.values)])

    @property
    def ended(self) -> bool:
        return self.done or bool(self.why)

    def curve(self) -> list[float]:
        """A value for each segment so far; of all where the run is done, though it may have stopped early."""
        if self.run is None:
            return []
        config = self.run.config
        missing = self.segments - len(self.values)
        pad = self.values[-1:] * missing if self.done and config.early_stop is not None else []
        return self.values + pad

    @property
    def segments(self) -> int:
        """Segments that the run has."""
        if self.run is None:
            return 0
        return math.ceil(self.run.config.steps / self.run.config.segment_steps)


class _Trial:
    """A trial that is being done."""

    def __init__(self, sweep: SweepFolder, trial: FrozenTrial, judge: Judge) -> None:
        self.trial, self._judge = trial, judge
        self.members = [
            _Member(sweep.folder / run_name(trial.number, seed), seed)
            for seed in sweep.config.seeds
        ]
        self.reports: dict[int, float] = {}
        self.pruned_at: int | None = None
        self._judged = -1
        self.look()

    def look(self) -> None:
        """Read what the runs reported since, and judge by it."""
        for member in self.members:
            member.look()
        self.reports = self._reports()
        if self.pruned_at is None and len(self.reports) != self._judged:
            self._judged = len(self.reports)
            self.pruned_at = self._judge.verdict(self.trial, self.reports)
        if self.pruned_at is not None:
            self.reports = {k: v for k, v in self.reports.items() if k <= self.pruned_at}

    def _reports(self) -> dict[int, float]:
        """The mean over the first seeds after each segment, as far as all before it are known."""
        reports: dict[int, float] = {}
        curves = [member.curve() for member in self.members]
        for n, member in enumerate(self.members):
            for segment, values in enumerate(zip(*curves[: n + 1], strict=False)):
                reports[n * SEED_STRIDE + segment] = sum(values) / len(values)
            if not member.done or len(curves[n]) < member.segments:
                break
        return reports

    @property
    def over(self) -> bool:
        """Whether nothing of the trial is left to train: the seeds after one that failed are not."""
        if self.pruned_at is not None:
            return True
        for member in self.members:
            if member.why:
                return True
            if not member.done:
                return False
        return True

    def wanted(self, index: int) -> bool:
        """Whether the run with the seed of this index is still to be trained."""
        before = self.members[: index + 1]
        return self.pruned_at is None and not any(one.why for one in before) and not before[-1].done

    def tell(self, trials: Trials) -> None:
        """Write the outcome into the journal."""
        scores: list[float] = []
        why = next((one.why for one in self.members if one.why), "")
        if self.pruned_at is not None:
            n, segment = divmod(self.pruned_at, SEED_STRIDE)
            scores = [one.curve()[segment] for one in self.members[: n + 1]]
            why = f"pruned after segment {segment + 1} of seed {self.members[n].seed}"
        elif not why:
            curves = [one.curve() for one in self.members]
            if all(len(c) == m.segments for c, m in zip(curves, self.members, strict=True)):
                scores = [curve[-1] for curve in curves]
            else:
                why = "an evaluation failed"
        pruned = self.pruned_at is not None
        trials.tell(self.trial.number, self.reports, scores, pruned, why)


def _train(
    generation: Sequence[_Trial],
    workers: Workers,
    make: Callable[[FrozenTrial, int], None],
    display: SweepDisplay,
    should_stop: ShouldStop,
) -> None:
    """Train the runs of a generation: the first seed of every trial, then the second …"""
    running: dict[Path, tuple[_Trial, _Member]] = {}
    while True:
        if should_stop():
            raise Stopped
        for end in workers.ended():
            trial, member = running.pop(end.folder)
            member.look()
            if end.trained:
                member.done = True
                display.run_ended(member.folder.name, member.values)
            elif trial.wanted(trial.members.index(member)) and (
                not end.again or member.attempts >= _ATTEMPTS
            ):
                member.why = end.why
        for trial in generation:
            trial.look()
        for folder, (trial, member) in running.items():
            if not trial.wanted(trial.members.index(member)):
                workers.stop(folder)
        if all(trial.over for trial in generation) and not running:
            return
        elsewhere = 0
        for trial, member in _in_order(generation):
            if len(running) + elsewhere >= workers.places:
                break
            if member.folder in running or not trial.wanted(trial.members.index(member)):
                continue
            if member.run is not None and member.run.is_training():
                elsewhere += 1  # a process that outlived a killed sweep
                continue
            if member.run is not None and _is_done(member.run):
                member.done = True
                continue
            if member.run is None:
                try:
                    make(trial.trial, member.seed)
                except FathomError as error:
                    member.why = str(error)
                    continue
                member.look()
            member.attempts += 1
            workers.start(member.folder)
            running[member.folder] = trial, member
        display.working([(m.folder.name, len(m.values), m.segments) for _, m in running.values()])
        time.sleep(_POLL)


def _in_order(generation: Sequence[_Trial]) -> Iterator[tuple[_Trial, _Member]]:
    for members in zip(*(trial.members for trial in generation), strict=True):
        yield from zip(generation, members, strict=True)


def _is_done(run: RunFolder) -> bool:
    """Whether a run was trained and evaluated to its end, and what it needed for that was removed."""
    progress = run.progress()
    complete = progress.steps >= run.config.steps or reached_early_stop(run, progress)
    if not complete or not evaluated(run, progress) or run.is_training():
        return False
    return run.config.keep_replay or run.files.kind("replay") is None


def _drop_replay(sweep: SweepFolder, trial: FrozenTrial) -> None:
    """Remove the replay memories of a pruned trial, which can be large; its runs are not gone on with."""
    for seed in sweep.config.seeds:
        files = sweep.files / run_name(trial.number, seed)
        if files.kind("replay") == "folder":
            files.remove("replay")
