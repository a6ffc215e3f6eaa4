"""The life of a run: segment after segment, each a pure function of the checkpoint before it.

One loop for agents and tasks. It knows a `Learner`, installs no signal handlers, and works in any thread
or process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from agents.agent import AgentState, Metrics, Workers
from fathom.display import Display, number
from fathom.errors import FathomError, Stopped, UnsuitableRunError
from fathom.files import reporting_disk_errors
from fathom.runs.agent_learner import AgentLearner
from fathom.runs.checkpoint import Progress
from fathom.runs.config import changed_versions
from fathom.runs.curves import Curves
from fathom.runs.folder import RunFolder
from fathom.runs.learner import Learner, ShouldStop
from fathom.runs.process import (
    MISFITS,
    misfit,
    random_generators,
    reporting_memory_errors,
    segment_seed,
    training_process,
)
from fathom.runs.task_learner import TaskLearner


def never() -> bool:
    """Always False: the default `should_stop`."""
    return False


def learner_of(run: RunFolder, workers: Workers | None = None) -> Learner:
    """Build what learns in a run, untrained; `workers` as for `AgentLearner`."""
    return TaskLearner(run) if run.config.is_fit else AgentLearner(run, workers)


def train(
    run: RunFolder,
    display: Display,
    should_stop: ShouldStop = never,
    learner: Callable[[RunFolder], Learner] = learner_of,
) -> Progress:
    """Train a run from where it is to its end.

    Args:
        should_stop: asked at every report and between the steps of an evaluation.
        learner: builds what learns.

    Raises:
        FathomError: with a sentence on what went wrong; the last checkpoint stays usable.
        Stopped: `should_stop` said so; the segment in progress will be done again.
    """
    with run.lock(), reporting_disk_errors(run.folder), training_process(run.config):
        if run.trust and not run.signed:
            run.write_config()
        warnings: list[str] = []
        learning = learner(run)
        checkpoint = run.load_checkpoint(warnings.append)
        progress = Progress() if checkpoint is None else checkpoint.progress
        stopped_early = reached_early_stop(run, progress)
        unfinished = progress.steps < run.config.steps and not stopped_early
        if unfinished:
            warnings += changed_versions(run.config) if progress.steps else []
            warnings += learning.check_resume(progress)
        if checkpoint is not None:
            load(learning, checkpoint.state, run)
        run.go_back(progress.segment)
        display.begin(run.config.steps, progress.steps)
        with display:
            for warning in warnings:
                display.message(f"warning: {warning}")
            if stopped_early:
                display.message(_early_stop_message(run, progress))
            if checkpoint is None:
                run.save_checkpoint(0, learning.state(), progress)
            unscored = not evaluated(run, progress)
            if unfinished or unscored:
                with Curves(run, progress.steps + 1) as curves:
                    if unscored:
                        _evaluate(run, learning, progress, display, curves, should_stop)
                    _segments(run, learning, progress, display, curves, should_stop)
            learning.finish(progress, display.message)
        return progress


def evaluated(run: RunFolder, progress: Progress) -> bool:
    """Whether the segment that ended last needs no evaluation, or no longer; a run killed at its end may."""
    last = progress.segment - 1
    if not run.config.evaluates or last < 0:
        return True
    return any(line.get("segment") == last for line in run.evaluations())


def reached_early_stop(run: RunFolder, progress: Progress) -> bool:
    """Whether the evaluation of the segment that ended last ends the training."""
    score = run.config.early_stop
    if score is None:
        return False
    last = progress.segment - 1
    return any(line["segment"] == last and line["mean"] >= score for line in run.evaluations())


def _early_stop_message(run: RunFolder, progress: Progress) -> str:
    return (
        f"ended at step {progress.steps:,}, because the evaluation reached --early-stop"
        f" {number(run.config.early_stop or 0)}; `fathom resume {run.folder} --steps N` goes on to N steps"
    )


def load(learner: Learner, state: AgentState, run: RunFolder) -> None:
    """Load a checkpoint's state; FathomError where it is another learner's."""
    try:
        learner.load(state)
    except MISFITS as error:
        raise FathomError(
            f"the checkpoint of {run.folder} does not fit its {'task' if run.config.is_fit else 'agent'}:"
            f" {misfit(error)}"
        ) from error


def _segments(
    run: RunFolder,
    learner: Learner,
    progress: Progress,
    display: Display,
    curves: Curves,
    should_stop: ShouldStop,
) -> None:
    config, started_at = run.config, progress.seconds
    while progress.steps < config.steps and not reached_early_stop(run, progress):
        k, first = progress.segment, progress.steps
        steps = min(config.segment_steps, config.steps - first)
        display.activity(f"training, segment {k + 1}")
        began = time.perf_counter()
        with _reporting_errors(run, first), random_generators():
            seed = segment_seed(config.seed, k)
            for metrics in _closing(learner.segment(k, steps, seed)):
                _check(should_stop)
                seconds = progress.seconds + time.perf_counter() - began
                done = first + int(metrics["steps"])
                curves.metrics(k, done, seconds, metrics)
                display.progress(done, seconds - started_at, metrics)
        progress.seconds += time.perf_counter() - began
        progress.steps, progress.segment = first + steps, k + 1
        display.activity("writing the checkpoint")
        run.save_checkpoint(progress.segment, learner.state(), progress)
        # Only now: an evaluation may fail, or take long, and undoes nothing that was learnt.
        _evaluate(run, learner, progress, display, curves, should_stop)
        _check(should_stop)
    if progress.steps < config.steps:
        display.message(_early_stop_message(run, progress))


def _evaluate(
    run: RunFolder,
    learner: Learner,
    progress: Progress,
    display: Display,
    curves: Curves,
    should_stop: ShouldStop,
) -> None:
    """Score the segment that ended last; an evaluation that fails is a warning."""
    display.activity("evaluating")

    def report(done: int, total: int) -> None:
        display.activity(f"evaluating, {done:,} of {total:,} done")

    try:
        with reporting_memory_errors():
            result = learner.evaluate(should_stop, report)
    except FathomError as error:
        display.message(f"warning: the evaluation at step {progress.steps:,} failed: {error}")
        return
    if result is not None:
        curves.evaluation(progress.segment - 1, progress, result)
        display.evaluation(progress.steps, result.to_json())
        if result.warning:
            display.message(f"warning: {result.warning}")
    curves.flush()


def _closing(reports: Iterator[Metrics]) -> Iterator[Metrics]:
    """The reports of a generator that is closed as soon as the loop over them ends, however it ends."""
    with contextlib.closing(reports):  # type: ignore[type-var]
        yield from reports


def _check(should_stop: ShouldStop) -> None:
    if should_stop():
        raise Stopped


@contextlib.contextmanager
def _reporting_errors(run: RunFolder, steps: int) -> Iterator[None]:
    """Say after an error of the environment, the data or the numbers that not all is lost."""
    try:
        with reporting_memory_errors():
            yield
    except UnsuitableRunError:
        raise
    except FathomError as error:
        raise FathomError(
            f"{error}; the last checkpoint of {run.folder}, of step {steps:,}, is intact"
        ) from error
