"""The contract of a perception task: data → network → loss → metric → picture, in one file.

A runner builds a task from its config and its data's metadata, feeds it batches, evaluates it after every
epoch and stores its state. It seeds PyTorch's, NumPy's and Python's global generators before each epoch; a
task draws from these only and keeps nothing random from one epoch to the next. Training is then a function
of the stored state and the seed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from perception.data.datasets import Tensors, rows_of
from perception.data.source import DataError, DataSource

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "STRICT",
    "DataError",
    "DataSource",
    "Epochs",
    "Metric",
    "Task",
    "TaskData",
    "load_optimizer_tensors",
    "optimizer_tensors",
    "warm_average",
]

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
"""For the configs of tasks, pydantic dataclasses: no value is converted, no number is infinite."""

Epochs = Annotated[int, Field(ge=1, le=10_000)]
"""For the configs of tasks: how often something is passed over."""


@dataclass
class TaskData:
    """What a task learns from and is tested with."""

    train: Dataset[Any]
    test: Dataset[Any]
    metadata: dict[str, Any]
    """What, with the config, the task is built from: classes, vocabulary, image shape. JSON."""
    origin: dict[str, Any]
    """The data's name, where it was found, licence and sizes. JSON."""
    passes: int = 1
    """Passes over the training examples in an epoch; several where a pass is one update or a few."""
    weights: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """What a new fit starts from, by names in the task's `state_dict`; others start as the task is built."""

    def checksum(self) -> str:
        """SHA-256 of all training and test examples, the same in every process."""
        digest = hashlib.sha256()
        for name, dataset in (("train", self.train), ("test", self.test)):
            digest.update(f"{name} {len(dataset)}\n".encode())  # type: ignore[arg-type]
            if isinstance(dataset, Tensors):
                _add(digest, dataset.tensors)
                continue
            for row in rows_of(dataset):
                _add(digest, row)
        return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add a value with its type and size, so that no two values give the same bytes."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
        value = value.numpy()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, item.name) for item in dataclasses.fields(value)]
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            raise TypeError("arrays of Python objects have no checksum")
        digest.update(f"array {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    elif isinstance(value, str | bytes):
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        digest.update(f"{type(value).__name__} {len(data)}\n".encode() + data)
    elif isinstance(value, float):
        digest.update(b"float " + struct.pack("<d", value))
    elif value is None or isinstance(value, int):
        digest.update(f"{value!r}\n".encode())
    elif isinstance(value, Mapping):
        digest.update(f"map {len(value)}\n".encode())
        for key in sorted(value):
            _add(digest, key)
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)}\n".encode())
        for item in value:
            _add(digest, item)
    else:
        raise TypeError(f"examples that hold a {type(value).__name__} have no checksum")


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


@dataclass(frozen=True, eq=False)
class Metric:
    """A figure over the test examples, with what its bootstrap interval is computed from."""

    values: np.ndarray
    """A row per test example, (n,) or (n, k)."""
    statistic: Callable[[np.ndarray], float] = _mean
    """The figure from (resampled) rows. F1, for example, has counts as rows."""
    table: Sequence[Sequence[Any]] = ()
    """Optional details, such as a row per class or a baseline; the first row is the head."""

    @property
    def mean(self) -> float:
        """The figure over all test examples."""
        return float(self.statistic(self.values))


class Task(nn.Module, ABC):
    """A model with its training and its evaluation, built as `kind(config, metadata)`.

    A checkpoint holds the parameters and buffers of its modules and the state of its `optimizers`. An average
    of the weights is a `torch.optim.swa_utils.AveragedModel` among the modules. A learning rate that changes
    is computed in `train_step` from its `step`.

    Raises:
        ValueError: config and metadata make no network.
    """

    Config: ClassVar[type]
    """A frozen dataclass: its fields are the command-line flags, their docstrings the help. It has at least
    `epochs` and, for the default `batches`, `batch_size`."""
    default_data: ClassVar[str]
    """The reference that is used without `--data`; works offline after installation."""
    path_hyperparameters: ClassVar[tuple[str, ...]] = ()
    """Fields of `Config` that may be paths or addresses; of a run from elsewhere they are only read if it is
    trusted."""
    optimizers: dict[str, torch.optim.Optimizer]
    image_shape: tuple[int, int, int] | None = None
    """Channels, height and width, where calling the task maps images (n, *image_shape), uint8 or floats 0…255, to
    numbers (n, k), differentiably: then `fathom inspect` can look inside. With `classes`, the k names of the
    classes, the numbers are their scores."""

    def __init__(self, config: Any, metadata: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.metadata = config, metadata
        self.optimizers = {}

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @classmethod
    @abstractmethod
    def load_data(cls, config: Any, source: DataSource) -> TaskData:
        """Find and read the data.

        Raises:
            DataError: there is none, or it cannot be used.
        """

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterable[Any]:
        """Batches of `config.batch_size` on the task's device, shuffled for training."""
        collate: Any = getattr(dataset, "collate", None)
        loader = DataLoader(dataset, self.config.batch_size, shuffle=training, collate_fn=collate)
        return (_to_device(batch, self.device) for batch in loader)

    @staticmethod
    def batch_size_of(batch: Any) -> int:
        """Examples in a batch: the length of its first tensor, or of a batch without tensors."""
        size = _first_length(batch)
        return len(batch) if size is None else size

    @abstractmethod
    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Do one update; gives the losses, detached.

        Args:
            step: updates done so far over the whole fit, 0 in the first.
        """

    @abstractmethod
    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        """Test the model, which is in evaluation mode; the first metric is the score."""

    def pictures(self, batches: Iterable[Any]) -> Mapping[str, Figure | np.ndarray]:
        """Pictures that show what the model does with test examples, by name.

        A figure of matplotlib's, an image uint8 (height, width, 3), or the frames of a video (frames, height, width, 3).
        """
        return {}

    def training_pictures(self, batches: Iterable[Any]) -> Mapping[str, Figure | np.ndarray]:
        """Pictures that need training examples, such as those that generated ones are most alike."""
        return {}

    def snapshot(self, batches: Iterable[Any]) -> np.ndarray | None:
        """A picture after every epoch, uint8 (height, width, 3), always of one size; a fit joins them to a video."""
        return None

    @abstractmethod
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Apply the model to a user's own inputs; gives a JSON object for each.

        Raises:
            DataError: an input cannot be used.
        """


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, list | tuple):
        return tuple(_to_device(item, device) for item in batch)
    if isinstance(batch, dict):
        return {key: _to_device(item, device) for key, item in batch.items()}
    return batch


def _first_length(batch: Any) -> int | None:
    if isinstance(batch, Tensor):
        return len(batch)
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, list | tuple):
        return next((size for item in batch if (size := _first_length(item)) is not None), None)
    return None


def warm_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """The averaging function (`multi_avg_fn`) of an `AveragedModel`: exponential, but over recent updates only at first.

    Of the first n updates it reaches back over about a tenth, so that it is of use after a few updates.
    """

    @torch.no_grad()
    def update(average: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        count = int(updates) + 1
        torch._foreach_lerp_(average, current, 1 - min(decay, count / (count + 10)))

    return update


# -- the state of optimizers ------------------------------------------------------------------------


def optimizer_tensors(task: Task) -> dict[str, Tensor]:
    """The state of a task's optimizers by names such as "optimizer.main.0.exp_avg".

    0 is the number of the parameter. These are the optimizers' own tensors, not copies.
    """
    result = {}
    for name, optimizer in task.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if value is not None:  # SGD's momentum before the first update
                    result[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value)
    return result


def load_optimizer_tensors(task: Task, tensors: Mapping[str, Tensor]) -> None:
    """Set the state of a task's optimizers to copies of what `optimizer_tensors` gave.

    Names that do not start with "optimizer." are ignored.

    Raises:
        ValueError: the tensors are of another task.
    """
    states: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in task.optimizers}
    for full, tensor in tensors.items():
        if not full.startswith("optimizer."):
            continue
        # An optimizer's name may have dots.
        name, index, key = full.removeprefix("optimizer.").rsplit(".", 2)
        parameters = (
            [one for group in task.optimizers[name].param_groups for one in group["params"]]
            if name in task.optimizers
            else []
        )
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(f"{full} is of another optimizer")
        if tensor.ndim and tensor.shape != parameters[int(index)].shape:
            raise ValueError(f"{full} is of another network")
        copy = tensor.detach().clone()
        if tensor.ndim:  # laid out in memory like its parameter
            copy = torch.empty_like(parameters[int(index)], dtype=tensor.dtype).copy_(copy)
        states[name].setdefault(int(index), {})[key] = copy
    for name, optimizer in task.optimizers.items():
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states[name], "param_groups": groups})
