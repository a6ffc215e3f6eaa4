"""The contract of perception tasks, for every registered one."""

import copy
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from envs.dialogue.sentences import dialogue_data
from envs.episodes import episodes_data
from envs.frames import frames_data
from perception.data.datasets import Rows, Tensors
from perception.data.texts import TextRows
from perception.tasks import TASKS, load_task
from perception.tasks.task import (
    DataError,
    DataSource,
    Metric,
    Task,
    TaskData,
    load_optimizer_tensors,
    optimizer_tensors,
)

SCHEMES = {"domain": dialogue_data, "episodes": episodes_data, "frames": frames_data}
OPTIONS: dict[str, dict[str, Any]] = {
    "domain:movie": {"sentences": 150},
    "episodes:maze": {"episodes": 150},
    "frames:atari": {"frames": 10},
}
"""Little of the default data, where they are made."""
CONFIGS: dict[str, dict[str, Any]] = {
    "captions": {"scenes": 150},
    "copy": {"sequences": 60, "longest": 4},
    "speech": {"hidden_size": 16, "batch_size": 32, "beam_width": 1},
}
"""Little data, where the config says how much is made, and little work."""
IMAGE_TASKS = (
    *(
        "autoencoder",
        "captions",
        "digits",
        "gan",
        "objects",
        "pixels",
        "semi-supervised",
        "transfer",
        "vae",
    ),
)
HERE = Path(__file__).parent
FEW = {"babi": HERE / "few-stories.txt"}
"""Files of a few examples, where the default data are many."""
Train = Callable[..., int]


def _source(kind: type[Task]) -> DataSource:
    """Little of a task's default data."""
    reference = FEW.get(kind.default_data, kind.default_data)
    return DataSource(str(reference), OPTIONS.get(kind.default_data, {}), SCHEMES)


def _small(name: str) -> tuple[type[Task], Any, TaskData]:
    """A task with its default config and little of its default data."""
    kind = load_task(name)
    config = kind.Config(epochs=2, **CONFIGS.get(name, {}))
    data = kind.load_data(config, _source(kind))
    if isinstance(data.train, Tensors):
        data.train = Tensors(*(tensor[:150] for tensor in data.train.tensors))
    if isinstance(data.train, TextRows):
        rows = data.train
        rows.texts, rows.labels, rows.encoded = (
            part[:150] for part in (rows.texts, rows.labels, rows.encoded)
        )
    return kind, config, data


def _new(kind: type[Task], config: Any, data: TaskData, seed: int) -> Task:
    torch.manual_seed(seed)
    return kind(config, data.metadata)


def _state(task: Task) -> bytes:
    """Everything that a checkpoint holds."""
    tensors = task.state_dict() | optimizer_tensors(task)
    # Copies: averages begin as copies of weights, and safetensors refuses shared memory.
    return save(
        {name: t.clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    )


def _load(task: Task, state: bytes) -> None:
    tensors = load(state)
    weights = {name: t for name, t in tensors.items() if not name.startswith("optimizer.")}
    task.load_state_dict(weights)
    load_optimizer_tensors(task, tensors)


def _assert_same(one: Task, other: Task) -> None:
    a, b = load(_state(one)), load(_state(other))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("name", TASKS)
def test_a_state_loaded_into_another_instance_trains_to_the_same_bits(
    name: str, train: Train
) -> None:
    kind, config, data = _small(name)
    one, other = _new(kind, config, data, 1), _new(kind, config, data, 2)
    assert not optimizer_tensors(one), "nothing is learnt yet"
    _load(other, _state(one))
    assert train(one, data, 1) == train(other, data, 1) == len(data.train)  # type: ignore[arg-type]
    _assert_same(one, other)
    assert bool(optimizer_tensors(one)) == bool(one.optimizers)

    third = _new(kind, config, data, 3)
    _load(third, _state(one))
    for task in (one, third):
        train(task, data, 1, first=1)
    _assert_same(one, third)

    untrained = _new(kind, config, data, 1)
    _load(third, _state(untrained))
    _assert_same(untrained, third)  # what optimizers had learnt is gone


@pytest.mark.parametrize("name", TASKS)
def test_data_and_their_checksum_are_the_same_again_and_metadata_are_json(name: str) -> None:
    kind = load_task(name)
    config = kind.Config(**CONFIGS.get(name, {}))
    source = _source(kind)
    one, other = kind.load_data(config, source), kind.load_data(config, source)
    assert one.checksum() == other.checksum()
    assert one.metadata == other.metadata == json.loads(json.dumps(one.metadata))
    assert one.origin == json.loads(json.dumps(one.origin))
    assert one.origin.keys() >= {"name", "found", "licence", "train", "test"}
    assert one.origin["train"] == len(one.train)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TASKS)
def test_the_score_comes_first_pictures_are_drawn_and_bad_input_is_refused(
    name: str, train: Train, tmp_path: Any
) -> None:
    kind, config, data = _small(name)
    task = _new(kind, config, data, 0)
    train(task, data, 1)
    metrics = task.evaluate(task.batches(data.test, training=False))
    for metric in metrics.values():
        assert len(metric.values)
        assert np.isfinite(metric.mean)
        rows = metric.values[
            np.random.default_rng(0).integers(0, len(metric.values), len(metric.values))
        ]
        assert np.isfinite(metric.statistic(rows))
    first = next(iter(metrics.values()))
    head, *rows = first.table
    assert all(len(row) == len(head) for row in rows)
    json.dumps(first.table)
    again = task.evaluate(task.batches(data.test, training=False))
    assert [metric.mean for metric in again.values()] == [m.mean for m in metrics.values()]
    pictures = task.pictures(task.batches(data.test, training=False))
    assert pictures
    for title, picture in pictures.items():
        if isinstance(picture, np.ndarray):
            assert picture.dtype == np.uint8
            assert picture.ndim in (3, 4)  # an image, or the frames of a video
            assert picture.shape[-1] == 3
        else:
            picture.savefig(tmp_path / f"{title}.png")
    for wrong in ("/nowhere/at/all.png" if name in IMAGE_TASKS else "", 3):
        with pytest.raises(DataError) as error:
            task.predict([wrong])
        assert "\n" not in str(error.value)
    assert task.predict([]) == []


@pytest.mark.parametrize("name", TASKS)
def test_configs_refuse_what_makes_no_sense(name: str) -> None:
    config = load_task(name).Config()
    for wrong in (
        {"epochs": 0},
        {"epochs": True},
        {"batch_size": -1},
        {"batch_size": 1.5},
        {"learning_rate": float("nan")},
        {"learning_rate": 0.0},
        {"learning_rate": "0.1"},
    ):
        if not hasattr(config, next(iter(wrong))):
            continue  # a task that makes its own batches may have no batch size
        with pytest.raises(ValueError, match=next(iter(wrong))):
            replace(config, **wrong)  # type: ignore[arg-type]
    assert replace(config, learning_rate=1).learning_rate == 1.0


# -- parts of the contract ------------------------------------------------------------------------


@dataclass(frozen=True)
class LineConfig:
    epochs: int = 1
    batch_size: int = 4
    optimizer: str = "adam"


class Line(Task):
    """A line through points, with two optimizers and batch normalisation."""

    Config = LineConfig
    default_data = "none"

    def __init__(self, config: LineConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.norm, self.layer = nn.BatchNorm1d(1), nn.Linear(1, 1)
        make: Any = {
            "adam": torch.optim.Adam,
            "adamw": lambda p, lr: torch.optim.AdamW(p, lr, amsgrad=True),
            "sgd": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
        }[config.optimizer]
        self.optimizers = {
            "norm.weights": make(self.norm.parameters(), 0.01),
            "layer": make(self.layer.parameters(), 0.01),
        }

    @classmethod
    def load_data(cls, config: LineConfig, source: DataSource) -> TaskData:
        x = torch.arange(16.0)[:, None]
        return TaskData(Tensors(x, 2 * x), Tensors(x, 2 * x), {}, {})

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        x, y = batch
        loss = (self.layer(self.norm(x)) - y).square().mean()
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        return {"loss": loss.detach()}

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        return {"error": Metric(np.zeros(3))}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        return []


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_several_optimizers_of_any_kind_and_buffers_are_stored(
    optimizer: str, train: Train
) -> None:
    config = LineConfig(optimizer=optimizer)
    data = Line.load_data(config, DataSource("none"))
    one, other = _new(Line, config, data, 1), _new(Line, config, data, 2)
    train(one, data, 2)
    _load(other, _state(one))
    assert float(other.norm.running_mean) == float(one.norm.running_mean) != 0  # type: ignore[arg-type, union-attr]
    for task in (one, other):
        train(task, data, 1, first=2)
    _assert_same(one, other)
    assert any(name.startswith("optimizer.norm.weights.0.") for name in optimizer_tensors(one))


def test_loaded_optimizer_tensors_are_copies(train: Train) -> None:
    data = Line.load_data(LineConfig(), DataSource("none"))
    task = _new(Line, LineConfig(), data, 1)
    train(task, data, 1)
    kept = {name: tensor.clone() for name, tensor in optimizer_tensors(task).items()}
    load_optimizer_tensors(task, kept)
    before = copy.deepcopy(kept)
    train(task, data, 1)
    assert all(torch.equal(kept[name], before[name]) for name in kept)


@pytest.mark.parametrize(
    "name",
    ["optimizer.other.0.exp_avg", "optimizer.layer.7.exp_avg", "optimizer.layer.0.exp_avg"],
)
def test_optimizer_tensors_of_another_task_are_refused(name: str) -> None:
    data = Line.load_data(LineConfig(), DataSource("none"))
    task = _new(Line, LineConfig(), data, 1)
    with pytest.raises(ValueError, match="of another"):
        load_optimizer_tensors(task, {name: torch.zeros(3)})


def test_training_batches_are_shuffled_anew_by_the_global_generator_and_test_batches_never() -> (
    None
):
    data = Line.load_data(LineConfig(), DataSource("none"))
    task = _new(Line, LineConfig(), data, 1)

    def order(seed: int, training: bool) -> list[float]:
        torch.manual_seed(seed)
        batches = list(task.batches(data.train, training=training))
        assert [task.batch_size_of(batch) for batch in batches] == [4] * 4
        return [float(number) for x, _ in batches for number in x]

    assert order(1, False) == order(2, False) == [float(number) for number in range(16)]
    assert order(1, True) == order(1, True) != order(2, True)
    assert sorted(order(1, True)) == order(1, False)


def test_the_default_batches_collate_plain_rows() -> None:
    data = Line.load_data(LineConfig(), DataSource("none"))
    task = _new(Line, LineConfig(), data, 1)
    rows = Rows([{"x": np.float32(number), "y": number} for number in range(5)])
    batches = list(task.batches(rows, training=False))
    assert [batch["y"].tolist() for batch in batches] == [[0, 1, 2, 3], [4]]
    assert task.batch_size_of(batches[1]) == 1


def _data(train: Any, test: Any = None) -> TaskData:
    test = Tensors(torch.zeros(1)) if test is None else test
    return TaskData(train, test, {}, {})


def test_the_checksum_sees_every_value_type_and_shape() -> None:
    images, labels = torch.zeros(4, 2, 3), torch.arange(4)
    changed = images.clone()
    changed[3, 1, 2] = 1e-30
    rows = [("a", 1), ("b", 2)]
    variants = [
        _data(Tensors(images, labels)),
        _data(Tensors(changed, labels)),
        _data(Tensors(images.double(), labels)),
        _data(Tensors(images.view(4, 3, 2), labels)),
        _data(Tensors(images.bfloat16(), labels)),
        _data(Tensors(images, labels), Tensors(images)),
        _data(Tensors(images), Tensors(images, labels)),
        _data(Rows(rows)),
        _data(Rows(rows[::-1])),
        _data(Rows([("a", 1), ("b", True)])),
        _data(Rows([("a", 1), ("b", 2.0)])),
        _data(Rows([("a", "1"), ("b", 2)])),
        _data(Rows([("a", 1, "b", 2)])),
        _data(Rows([{"a": 1}, {"b": np.int64(2)}])),
        _data(Rows([{"a": 1}, {"b": np.int32(2)}])),
        _data(Rows([{"a": 1}, {"b": np.array([2], ">i4")}])),
    ]
    sums = [one.checksum() for one in variants]
    assert len(set(sums)) == len(sums)
    assert sums == [one.checksum() for one in variants]
    with pytest.raises(TypeError, match="checksum"):
        _data(Rows([object()])).checksum()


def test_the_checksum_is_the_same_in_another_process() -> None:
    program = (
        "import torch; from perception.data.datasets import *; from perception.tasks.task import TaskData;"
        "print(TaskData(Rows([{'b': 'x', 'a': {1: 2.5}}]), Tensors(torch.eye(3)), {}, {}).checksum())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = TaskData(Rows([{"a": {1: 2.5}, "b": "x"}]), Tensors(torch.eye(3)), {}, {})
    assert result.stdout.strip() == here.checksum()


def test_a_metric_of_several_columns_can_be_resampled() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (200, 2)).astype(float)
    ratio = Metric(values, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))
    draws = [ratio.statistic(values[rng.integers(0, 200, 200)]) for _ in range(500)]
    low, high = np.percentile(draws, [2.5, 97.5])
    assert low < ratio.mean < high
    assert high - low < 0.5
    assert Metric(np.array([1.0, 2.0])).mean == 1.5


def test_an_unknown_task_is_a_key_error() -> None:
    random.seed(0)
    with pytest.raises(KeyError):
        load_task("nothing")
