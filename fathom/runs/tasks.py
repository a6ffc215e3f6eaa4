"""A perception task by its reference: one that ships, or a class of the user's own.

A reference is the name of a task that ships (`digits`), `path/to/file.py:Class`, or `module:Class`. What the
methods of a user's own class raise becomes one sentence that names the line, and what they return is checked.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fathom.arguments import nearest
from fathom.environments.reporting import reporting_errors
from fathom.environments.user_files import absolute, import_module_of
from fathom.errors import FathomError
from fathom.runs.process import reporting_memory_errors
from fathom.schema import plain
from perception.tasks import TASKS, load_task
from perception.tasks.task import Metric, Task, TaskData


def resolve_task(reference: str) -> str:
    """Return a task's reference as a run stores it, valid in any folder.

    Args:
        reference: as the user types it; `path/to/file.py` names the only task of that file.

    Raises:
        FathomError: there is no such task, or it breaks the contract (`perception.tasks.task`).
    """
    if not isinstance(reference, str):
        raise FathomError(
            'a task is given by its name or reference, such as "digits" or "path/to/file.py:Class", not by'
            f" {reference!r}"
        )
    if reference.endswith(".py"):
        path = absolute(f"{reference}:").removesuffix(":")
        names = _tasks_in(import_module_of(f"{path}:").module)
        if len(names) != 1:
            listed = f"it has {', '.join(names)}" if names else "it has no perception task"
            raise FathomError(f"{reference!r} names a file and no class, and {listed}")
        reference = f"{path}:{names[0]}"
    reference = absolute(reference)
    task_class(reference)
    return reference


def task_class(reference: str) -> type[Task]:
    """Return a task's class; a file or module that it names is imported. FathomError where there is none."""
    if reference in TASKS:
        return load_task(reference)
    target, _, name = reference.rpartition(":")
    if not target:
        raise FathomError(
            f"there is no task {reference!r}{nearest(reference, list(TASKS))} (tasks:"
            f" {', '.join(sorted(TASKS))}; one of your own is path/to/file.py:Class)"
        )
    module, _ = import_module_of(reference)
    kind = getattr(module, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, Task)):
        names = _tasks_in(module)
        listed = f"it has {', '.join(names)}" if names else "it has no perception.tasks.task.Task"
        what = "no task" if kind is None else "an object that is no perception task, called"
        raise FathomError(f"{target} has {what} {name!r}; {listed}")
    _check_class(reference, kind)
    return kind


def is_own(reference: str) -> bool:
    """Whether a task's reference names a class of the user's, not a task that ships."""
    return reference not in TASKS


def default_data(reference: str) -> str:
    """The data that a task is fitted to without `--data`; FathomError where it has none."""
    data = getattr(task_class(reference), "default_data", None)
    if not isinstance(data, str) or not data:
        name = reference.rpartition(":")[2]
        raise FathomError(
            f'{reference} needs --data, for {name} has no default_data, such as default_data = "digits"'
        )
    return data


@contextmanager
def reporting_task_errors(reference: str, where: str) -> Iterator[None]:
    """Turn what a user's own task raises inside into one sentence; a task that ships is left alone."""
    if not is_own(reference):
        yield
        return
    with reporting_errors(reference, where), reporting_memory_errors():
        yield


def checked_data(reference: str, data: Any) -> TaskData:
    """What `load_data` returned, with metadata as JSON gives them; FathomError where it breaks the contract."""
    if not isinstance(data, TaskData):
        raise _broken(reference, "load_data must return a TaskData", data)
    for name, dataset in (("train", data.train), ("test", data.test)):
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise _broken(
                reference, f"{name} of load_data must be a Dataset with a length", dataset
            )
        if not len(dataset):
            raise FathomError(f"{reference}: {name} of load_data holds no examples")
    if type(data.passes) is not int or data.passes < 1:
        raise FathomError(f"{reference}: passes of load_data must be at least 1, not {data.passes}")
    for name, table in (("metadata", data.metadata), ("origin", data.origin)):
        try:
            if not isinstance(plain(table), dict):
                raise ValueError(f"it is a {type(table).__name__}")
        except ValueError as error:
            raise FathomError(
                f"{reference}: {name} of load_data must be a dictionary that JSON can hold, and {error}"
            ) from error
    return dataclasses.replace(data, metadata=json.loads(json.dumps(data.metadata)))


def checked_losses(reference: str, losses: Any) -> dict[str, Tensor]:
    """What `train_step` returned, detached; FathomError where it is no dictionary of numbers."""
    if not isinstance(losses, Mapping):
        raise _broken(reference, "train_step must return a dictionary of losses", losses)
    result = {}
    for name, loss in losses.items():
        tensor = torch.as_tensor(loss) if isinstance(loss, (int, float)) else loss
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.numel() != 1:
            raise _broken(
                reference, f"train_step must return a tensor of one number as {name!r}", loss
            )
        result[name] = tensor.detach()
    return result


def checked_metrics(reference: str, metrics: Any) -> dict[str, Metric]:
    """What `evaluate` returned; FathomError where it is no dictionary with a metric at least."""
    if not isinstance(metrics, Mapping) or not metrics:
        raise _broken(
            reference, "evaluate must return a dictionary of metrics, the score first", metrics
        )
    for name, metric in metrics.items():
        if not isinstance(name, str) or not isinstance(metric, Metric):
            raise _broken(reference, f"evaluate must return a Metric as {name!r}", metric)
        if not isinstance(metric.values, np.ndarray) or not metric.values.size:
            raise _broken(
                reference,
                f"the values of the metric {name!r} must be an array with a row per test example",
                metric.values,
            )
        if not math.isfinite(metric.mean):
            raise FathomError(
                f"{reference}: the metric {name!r} is {metric.mean}, no finite number"
            )
        try:
            plain(metric.table)
        except ValueError as error:
            raise FathomError(
                f"{reference}: the table of the metric {name!r} must hold texts and numbers, and {error}"
            ) from error
    widths = {len(row) for metric in metrics.values() for row in metric.table}
    if len(widths) > 1:
        raise FathomError(
            f"{reference}: the tables of all metrics are shown as one, so all rows must have as many cells, "
            f"not {' and '.join(map(str, sorted(widths)))}"
        )
    return dict(metrics)


def checked_answers(reference: str, answers: Any, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    """What `predict` returned; FathomError where it is no list of a JSON object for each input."""
    wanted = f"predict must return a list of {len(inputs)} dictionaries, one for each input"
    if not isinstance(answers, list) or len(answers) != len(inputs):
        raise _broken(reference, wanted, answers)
    for answer in answers:
        if not isinstance(answer, dict):
            raise _broken(reference, wanted, answer)
        try:
            plain(answer)
        except ValueError as error:
            raise FathomError(
                f"{reference}: predict must return texts and numbers, and {error}"
            ) from error
    return answers


def _tasks_in(module: ModuleType) -> list[str]:
    """Names of the tasks that a module defines."""
    return [
        name
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, Task) and kind.__module__ == module.__name__
    ]


def _check_class(reference: str, kind: type[Task]) -> None:
    """Raise FathomError where a class breaks the contract before anything of it is called."""
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise FathomError(f"{reference} has no {' and no '.join(missing)}, which a task must have")
    config = getattr(kind, "Config", None)
    parameters = getattr(config, "__dataclass_params__", None)
    if not inspect.isclass(config) or parameters is None or not parameters.frozen:
        raise FathomError(
            f"{reference}: Config must be a frozen dataclass, whose fields are the options"
            + ("" if config is not None else "; there is none")
        )
    fields = {item.name: item for item in dataclasses.fields(kind.Config)}
    for name, item in fields.items():
        if item.default is item.default_factory is dataclasses.MISSING:
            raise FathomError(f"{reference}: the field {name} of Config needs a default")
    for name in ["epochs"] + (["batch_size"] if kind.batches is Task.batches else []):
        if name not in fields:
            raise FathomError(f"{reference}: Config must have the field {name}, a whole number")
    with reporting_errors(reference, "Config()"):
        values = dataclasses.asdict(kind.Config())
    try:
        plain(values)
    except ValueError as error:
        raise FathomError(
            f"{reference}: the fields of Config must be texts, numbers and lists of them, and {error}"
        ) from error


def _broken(reference: str, sentence: str, value: Any) -> FathomError:
    shown = "None" if value is None else f"a {type(value).__name__}"
    if isinstance(value, Tensor):
        shown = f"a tensor of the shape {tuple(value.shape)}"
    elif isinstance(value, (list, dict)):
        shown += f" of {len(value)}" if value else " that is empty"
    return FathomError(f"{reference}: {sentence}, not {shown}")
