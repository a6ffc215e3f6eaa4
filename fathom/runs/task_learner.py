"""A perception task with its data, as the runner fits it and as everyone else uses it."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch

import envs
from agents.agent import AgentState, Metrics
from envs.hooks import WorldError
from fathom.errors import FathomError, Stopped
from fathom.evaluation import Report, Result, ignore
from fathom.runs.checkpoint import Progress
from fathom.runs.config import RunConfig, Value, build_config, check_hyperparameters
from fathom.runs.folder import RunFolder
from fathom.runs.learner import ShouldStop
from fathom.runs.pictures import save_pictures, save_snapshot, text_as_it_is, video_of_snapshots
from fathom.runs.process import (
    BUILDING,
    MISFITS,
    inference_device,
    misfit,
    network_limit,
    random_generators,
    reporting_memory_errors,
    segment_seed,
)
from fathom.runs.tasks import (
    checked_data,
    checked_losses,
    checked_metrics,
    is_own,
    reporting_task_errors,
    task_class,
)
from fathom.runs.trust import refuse_data, refuse_module, refuse_paths
from fathom.schema import read_json
from fathom.statistics import bootstrap_interval
from perception.data.source import DataError, DataSource
from perception.tasks.task import Task, TaskData, load_optimizer_tensors, optimizer_tensors

METADATA = "model.json"
"""File of the metadata that a task is built from, so that it can be used without its data."""

_LARGEST_METADATA = 1 << 25
_REPORT_SECONDS = 0.5
_OWN_SCHEMES = {"frames": "fathom.runs.world_frames:frames_data"}
"""Those that need runs or references of environments besides a world."""


class TaskLearner:
    """The `Learner` of a run that fits a task; a segment is an epoch."""

    def __init__(self, run: RunFolder, data: TaskData | None = None) -> None:
        """Build what learns in a run, untrained.

        Args:
            data: the run's own, where they have just been read.
        """
        self.run, self.config = run, run.config
        check_hyperparameters(run.folder, run.config, class_of(run).Config)
        self.data = data_of(run) if data is None else data
        if run.files.kind(METADATA) is None:
            run.files.replace(METADATA, json.dumps(self.data.metadata).encode())
        self.task = build_task(run.config, self.data.metadata, run.weights_bytes())
        self.task.load_state_dict(self.data.weights, strict=False)
        self._updates = 0

    def segment(self, k: int, steps: int, seed: int) -> Iterator[Metrics]:
        task, done, count = self.task, 0, 0
        sums: dict[str, Any] = {}
        task.train()
        reported = time.monotonic()
        with reporting_task_errors(self.config.task, "training"):
            for batch in self._batches():
                losses = checked_losses(self.config.task, task.train_step(batch, self._updates))
                self._updates += 1
                done += task.batch_size_of(batch)
                count += 1
                sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
                if done >= steps or time.monotonic() - reported >= _REPORT_SECONDS:
                    reported = time.monotonic()
                    means = {name: float(total) / count for name, total in sums.items()}
                    _check_finite(means)
                    yield {"steps": done, **means}
                    sums, count = {}, 0

    def _batches(self) -> Iterator[Any]:
        for _ in range(self.data.passes):
            yield from self.task.batches(self.data.train, training=True)

    def evaluate(self, should_stop: ShouldStop, report: Report) -> Result | None:
        result = evaluate_task(self.task, self.data, self.config, should_stop, report)
        with random_generators(), reporting_task_errors(self.config.task, "snapshot"):
            picture = self.task.snapshot(self.task.batches(self.data.test, training=False))
        if picture is not None:
            save_snapshot(self.run, self._updates, picture)
        return result

    def state(self) -> AgentState:
        weights = dict(self.task.state_dict())
        return AgentState(weights, optimizer_tensors(self.task), {"updates": self._updates})

    def load(self, state: AgentState) -> None:
        load_weights(self.task, state)
        load_optimizer_tensors(self.task, state.tensors)
        self._updates = int(state.numbers["updates"])

    def check_resume(self, progress: Progress) -> list[str]:
        return []

    def finish(self, progress: Progress, message: Callable[[str], None]) -> None:
        self.task.eval()
        try:
            with (
                random_generators(),
                reporting_task_errors(self.config.task, "pictures"),
                text_as_it_is(),
            ):
                tests = self.task.batches(self.data.test, training=False)
                examples = self.task.batches(self.data.train, training=False)
                pictures = {**self.task.pictures(tests), **self.task.training_pictures(examples)}
                paths = save_pictures(self.run, pictures | video_of_snapshots(self.run))
        except FathomError as error:  # the training is done all the same
            message(f"warning: {error}")
            return
        for path in paths:
            message(f"picture {path}")


def _check_finite(losses: Mapping[str, float]) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise FathomError(
                f"the {name.replace('_', ' ')} has become {value}; a smaller --learning-rate may help"
            )


def class_of(run: RunFolder) -> type[Task]:
    """The class of a run's task; FathomError where it is the user's own, and the run is not trusted."""
    if not run.trusted:
        refuse_module(run.folder, run.config.task)
    return task_class(run.config.task)


def task_config(config: RunConfig) -> Any:
    """The hyperparameters of a run's task."""
    return build_config(task_class(config.task).Config, config.hyperparameters)


def data_source(reference: str, options: Mapping[str, Value]) -> DataSource:
    """A reference to data, with the schemes that the worlds offer."""
    schemes = {name: _provider(place) for name, place in (envs.DATA_SCHEMES | _OWN_SCHEMES).items()}
    return DataSource(reference, dict(options), schemes, _open_fit)


def _open_fit(reference: str) -> Task:
    task, _ = trained_task(RunFolder.find(reference), warnings.warn, "cpu")
    return task


def _provider(place: str) -> Callable[..., Any]:
    def provide(*arguments: Any) -> Any:
        module, _, attribute = place.partition(":")
        return getattr(import_module(module), attribute)(*arguments)

    return provide


def task_data(config: RunConfig) -> TaskData:
    """A run's data; FathomError where there are none or the task cannot use them."""
    source = data_source(config.data, config.data_options)
    with reporting_task_errors(config.task, "load_data"):
        try:
            data = task_class(config.task).load_data(task_config(config), source)
        except (DataError, WorldError) as error:
            raise FathomError(str(error)) from error
        return checked_data(config.task, data)


def data_of(run: RunFolder) -> TaskData:
    """The data that a run was fitted to; FathomError where they have changed since."""
    names = class_of(run).path_hyperparameters
    if not run.trusted:
        refuse_data(run.folder, run.config.data)
        refuse_paths(run.folder, *map(run.config.hyperparameters.get, names))
    data = task_data(run.config)
    if protocol_of(data)["sha256"] != run.config.protocol.get("sha256"):
        raise FathomError(
            f"the data {run.config.data} are not those that {run.folder} was fitted to"
        )
    return data


def check_metadata(run: RunFolder, task: Task, data: TaskData) -> None:
    """Raise FathomError where a task was built for other data than these."""
    if task.metadata != data.metadata:
        raise FathomError(f"{run.folder / METADATA} is not that of the data {run.config.data}")


def protocol_of(data: TaskData) -> dict[str, Any]:
    """What every score on these data has to be read with."""
    return {
        **data.origin,
        "train": len(data.train),  # type: ignore[arg-type]
        "test": len(data.test),  # type: ignore[arg-type]
        "sha256": data.checksum()[:16],
    }


def build_task(config: RunConfig, metadata: Any, weights: int | None = None) -> Task:
    """Build a run's task, untrained.

    Args:
        weights: bytes of the weights that it will load, if it will.
    """
    kind, hyperparameters = task_class(config.task), task_config(config)
    try:
        with (
            reporting_memory_errors(),
            random_generators(),
            network_limit(weights),
            reporting_task_errors(config.task, "__init__"),
        ):
            segment_seed(config.seed, BUILDING)
            return kind(hyperparameters, metadata).to(config.device)
    except MISFITS as error:
        raise FathomError(f"the task {config.task} cannot be built: {misfit(error)}") from error


def load_weights(task: Task, state: AgentState) -> None:
    """Load a checkpoint's weights; ValueError where they are another task's."""
    try:
        task.load_state_dict(state.weights)
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[0].rstrip(":")) from error


def trained_task(
    run: RunFolder,
    warn: Callable[[str], None],
    device: str = "auto",
    which: int | str = "latest",
) -> tuple[Task, Progress]:
    """The task of a fit as a checkpoint has it, ready to evaluate or predict.

    Reads only, and needs no data.
    """
    if not run.config.is_fit:
        raise FathomError(
            f"{run.folder} is a run of the agent {run.config.agent}, not the fit of a task"
        )
    check_hyperparameters(run.folder, run.config, class_of(run).Config)
    config = dataclasses.replace(run.config, device=inference_device(run.config, device))
    checkpoint = run.trained_checkpoint(which, warn)
    task = build_task(config, _read_metadata(run), checkpoint.weights_bytes)
    try:
        load_weights(task, checkpoint.state)
    except MISFITS as error:
        raise FathomError(
            f"the checkpoint of {run.folder} does not fit its task: {misfit(error)}"
        ) from error
    return task.eval(), checkpoint.progress


def _read_metadata(run: RunFolder) -> Any:
    try:
        metadata = read_json(run.files.read(METADATA, _LARGEST_METADATA))
        if not isinstance(metadata, dict):
            raise ValueError("it is no table of names and values")
        return metadata
    except OSError as error:
        raise FathomError(f"{run.folder / METADATA} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise FathomError(f"{run.folder / METADATA} cannot be used: {error}") from error


def evaluate_task(
    task: Task,
    data: TaskData,
    config: RunConfig,
    should_stop: ShouldStop = lambda: False,
    report: Report = ignore,
) -> Result:
    """Score a task on its test examples; the first of its metrics is the score."""

    def batches() -> Iterator[Any]:
        done = 0
        for batch in task.batches(data.test, training=False):
            if should_stop():
                raise Stopped
            yield batch
            done += task.batch_size_of(batch)
            report(done, len(data.test))  # type: ignore[arg-type]

    task.eval()
    with (
        torch.no_grad(),
        random_generators(),  # a DataLoader draws a seed, even if it shuffles nothing
        reporting_task_errors(config.task, "evaluate"),
    ):
        metrics = checked_metrics(config.task, task.evaluate(batches()))
        (name, score), *others = metrics.items()
        return Result(
            mean=score.mean,
            interval=bootstrap_interval(score.values, score.statistic),
            count=len(data.test),  # type: ignore[arg-type]
            unit="examples",
            score=name,
            measures={other: metric.mean for other, metric in others},
            protocol=config.protocol,
            table=[list(row) for metric in metrics.values() for row in metric.table],
        )


def try_task(config: RunConfig, data: TaskData) -> None:
    """Build a new run's task, and do one update and an evaluation with it where it is the user's own.

    Raises:
        FathomError: it cannot be built, or breaks the contract.
    """
    task = build_task(config, data.metadata)
    if is_own(config.task):
        with random_generators(), reporting_task_errors(config.task, "training"):
            task.train()
            batch = next(iter(task.batches(data.train, training=True)))
            checked_losses(config.task, task.train_step(batch, 0))
        evaluate_task(task, data, config)
