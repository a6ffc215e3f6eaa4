"""A perception task with its data, as the runner fits it and as everyone else uses it."""

from __future__ import annotations

import dataclasses
import io
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import envs
from agents.agent import AgentState, Metrics
from envs.hooks import WorldError
from fathom.errors import FathomError, Stopped
from fathom.evaluation import Result
from fathom.files import replace_file
from fathom.runs.checkpoint import Progress
from fathom.runs.config import RunConfig, Value, build_config
from fathom.runs.folder import RunFolder
from fathom.runs.learner import ShouldStop
from fathom.runs.process import (
    BUILDING,
    inference_device,
    random_generators,
    reporting_memory_errors,
    segment_seed,
)
from fathom.statistics import bootstrap_interval
from perception.data.source import DataError, DataSource
from perception.tasks import load_task
from perception.tasks.task import Task, TaskData, load_optimizer_tensors, optimizer_tensors

METADATA = "model.json"
"""File of the metadata that a task is built from, so that it can be used without its data."""

_LARGEST_METADATA = 50_000_000
_REPORT_SECONDS = 0.5


class TaskLearner:
    """The `Learner` of a run that fits a task; a segment is an epoch."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.config = run, run.config
        self.data = data_of(run)
        path = run.folder / METADATA
        if not path.exists():
            replace_file(path, json.dumps(self.data.metadata).encode())
        self.task = build_task(run.config, self.data.metadata)
        self.task.load_state_dict(self.data.weights, strict=False)
        self._updates = 0

    def segment(self, k: int, steps: int, seed: int) -> Iterator[Metrics]:
        task, done, count = self.task, 0, 0
        sums: dict[str, Any] = {}
        task.train()
        reported = time.monotonic()
        for batch in task.batches(self.data.train, training=True):
            losses = task.train_step(batch, self._updates)
            self._updates += 1
            done += task.batch_size_of(batch)
            count += 1
            sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
            if done >= steps or time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                yield {
                    "steps": done,
                    **{name: float(total) / count for name, total in sums.items()},
                }
                sums, count = {}, 0

    def evaluate(self, should_stop: ShouldStop) -> Result | None:
        return evaluate_task(self.task, self.data, self.config, should_stop)

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
        with random_generators():
            pictures = self.task.pictures(self.task.batches(self.data.test, training=False))
        for path in save_pictures(self.run, pictures):
            message(f"picture {path}")


def task_class(name: str) -> type[Task]:
    """A task's class by its command-line name; FathomError where there is none."""
    try:
        return load_task(name)
    except KeyError as error:
        raise FathomError(f"there is no task {name!r}; see `fathom list`") from error


def task_config(config: RunConfig) -> Any:
    """The hyperparameters of a run's task."""
    return build_config(task_class(config.task).Config, config.hyperparameters)


def data_source(reference: str, options: Mapping[str, Value]) -> DataSource:
    """A reference to data, with the schemes that the worlds offer."""
    schemes = {name: _provider(place) for name, place in envs.DATA_SCHEMES.items()}
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
    try:
        return task_class(config.task).load_data(task_config(config), source)
    except (DataError, WorldError) as error:
        raise FathomError(str(error)) from error


def data_of(run: RunFolder) -> TaskData:
    """The data that a run was fitted to; FathomError where they have changed since."""
    data = task_data(run.config)
    if protocol_of(data)["sha256"] != run.config.protocol.get("sha256"):
        raise FathomError(
            f"the data {run.config.data} are not those that {run.folder} was fitted to"
        )
    return data


def protocol_of(data: TaskData) -> dict[str, Any]:
    """What every score on these data has to be read with."""
    return {
        **data.origin,
        "train": len(data.train),  # type: ignore[arg-type]
        "test": len(data.test),  # type: ignore[arg-type]
        "sha256": data.checksum()[:16],
    }


def build_task(config: RunConfig, metadata: Any) -> Task:
    """Build a run's task, untrained."""
    kind, hyperparameters = task_class(config.task), task_config(config)
    try:
        with reporting_memory_errors(), random_generators():
            segment_seed(config.seed, BUILDING)
            return kind(hyperparameters, metadata).to(config.device)
    except (ValueError, KeyError) as error:
        raise FathomError(f"the task {config.task} cannot be built: {error}") from error


def load_weights(task: Task, state: AgentState) -> None:
    """Load a checkpoint's weights; ValueError where they are another task's."""
    try:
        task.load_state_dict(state.weights)
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[0].rstrip(":")) from error


def trained_task(
    run: RunFolder, warn: Callable[[str], None], device: str = "auto"
) -> tuple[Task, Progress]:
    """The task of a fit as its latest checkpoint has it, ready to evaluate or predict.

    Reads only, and needs no data.
    """
    if not run.config.is_fit:
        raise FathomError(
            f"{run.folder} is a run of the agent {run.config.agent}, not the fit of a task"
        )
    config = dataclasses.replace(run.config, device=inference_device(run.config, device))
    checkpoint = run.load_checkpoint(warn, weights_only=True)
    if checkpoint is None:
        raise FathomError(f"{run.folder} has no checkpoint yet")
    task = build_task(config, _read_metadata(run.folder / METADATA))
    try:
        load_weights(task, checkpoint.state)
    except ValueError as error:
        raise FathomError(
            f"the checkpoint of {run.folder} does not fit its task: {error}"
        ) from error
    return task.eval(), checkpoint.progress


def _read_metadata(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise ValueError("it is too large")
        metadata = json.loads(path.read_bytes())
        if not isinstance(metadata, dict):
            raise ValueError("it is no table of names and values")
        return metadata
    except (OSError, ValueError, RecursionError) as error:
        raise FathomError(f"{path} cannot be used: {error}") from error


def evaluate_task(
    task: Task, data: TaskData, config: RunConfig, should_stop: ShouldStop = lambda: False
) -> Result:
    """Score a task on its test examples; the first of its metrics is the score."""

    def batches() -> Iterator[Any]:
        for batch in task.batches(data.test, training=False):
            if should_stop():
                raise Stopped
            yield batch

    task.eval()
    with (
        torch.no_grad(),
        random_generators(),
    ):  # a DataLoader draws a seed, even if it shuffles nothing
        metrics = task.evaluate(batches())
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


def save_pictures(run: RunFolder, pictures: Mapping[str, Any]) -> list[Path]:
    """Write figures to a run's folder of pictures as PNG; gives the files."""
    paths = []
    for name, figure in pictures.items():
        run.pictures.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        path = run.pictures / f"{name}.png"
        replace_file(path, buffer.getvalue())
        paths.append(path)
    return paths
