"""Descent on surfaces."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.data.source import DataError, DataSource
from perception.data.surfaces import SURFACES, bfgs, lowest_of, place
from perception.tasks.descent import METHODS, Descent, DescentConfig


def _descend(config: DescentConfig, reference: str, updates: int) -> tuple[Descent, Any]:
    data = Descent.load_data(config, DataSource(reference))
    torch.manual_seed(0)
    task = Descent(config, data.metadata)
    for step in range(updates):
        (batch,) = task.batches(data.train, training=True)
        task.train_step(batch, step)
    return task, data


@pytest.mark.parametrize("name", SURFACES)
def test_nothing_on_a_surface_is_lower_than_its_lowest_point(name: str) -> None:
    surface = SURFACES[name]
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform(-5, 5, (2000, 2)))
    assert float(surface.value(points).min()) >= lowest_of(name)
    assert place(name, torch.tensor(surface.lowest)) == "minimum"
    left, right, bottom, top = surface.window
    assert all(left < x < right and bottom < y < top for x, y in surface.starts)


def test_each_kind_of_place_is_told() -> None:
    assert place("local-minimum", torch.tensor([2.746803, 2.746803])) == "local minimum"
    assert place("saddle", torch.tensor([0.0, 0.0])) == "saddle"
    assert place("plateau", torch.tensor([4.0, -4.0])) == "plateau"
    assert place("ravine", torch.tensor([0.0, 0.0])) == "slope"
    assert place("ravine", torch.tensor([torch.nan, 0.0])) == "diverged"
    assert place("ravine", bfgs("ravine", (-1.5, 2.0))) == "minimum"


def test_a_saddle_holds_all_methods_on_its_ridge_and_a_plateau_the_plain_ones() -> None:
    task, data = _descend(DescentConfig(), "surfaces", 1000)
    metrics = task.evaluate(task.batches(data.test, training=False))
    head, *rows = metrics["height above the minimum"].table
    assert head == ["surface", "start", *METHODS, "BFGS (SciPy)"]
    ends = {(row[0], row[1]): row[2:] for row in rows}
    assert len(ends) == 16
    assert [end.split(" (")[0] for end in ends["saddle", "(1.8, 0)"]] == ["saddle"] * 4
    off_ridge = ends["saddle", "(-1.8, 0.001)"]
    assert [end.split(" (")[0] for end in off_ridge] == ["minimum"] * 4
    far_out = ends["plateau", "(4.5, -3)"]
    assert far_out[0] == far_out[1] == "plateau (4.50, -3.00)", "there is no gradient"
    assert far_out[2] == "minimum (0.00, 0.00)", "Adam divides by the gradient's size"
    assert ends["local-minimum", "(4, 3)"][0] == "local minimum (2.75, 2.75)"
    by_method = [metrics[f"height by {name}"].mean for name in METHODS]
    assert metrics["height above the minimum"].mean == pytest.approx(np.mean(by_method))
    assert "-0.00" not in str(rows)


def test_a_path_is_kept_whole_however_long_it_gets() -> None:
    task, data = _descend(DescentConfig(), "surfaces", 0)
    kept = [torch.stack(list(task.points)).detach().clone()]
    (batch,) = task.batches(data.train, training=True)
    for step in range(1200):
        task.train_step(batch, step)
        kept.append(torch.stack(list(task.points)).detach().clone())
    stride, count = int(task.stride), int(task.updates) // int(task.stride) + 1
    assert (stride, int(task.updates), count) == (4, 1200, 301)
    for number in (0, 1, 150, 300):
        assert torch.equal(task.path[number], kept[number * stride])
    pictures = task.pictures(task.batches(data.test, training=False))
    assert list(pictures) == ["paths", "descent", "clipping"]
    frames: Any = pictures["descent"]
    assert frames.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[30])


def test_noise_carries_the_plain_method_off_the_ridge_of_a_saddle() -> None:
    task, data = _descend(DescentConfig(noise=0.05), "surfaces", 1000)
    table = task.evaluate(task.batches(data.test, training=False))["height by SGD"]
    ridge = [name for name, _, _ in data.metadata["starts"]].index("saddle")
    assert table.values[ridge] < 0.01


def test_starts_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "starts.csv"
    path.write_text("surface,x,y\nsaddle,1,1\nlocal-minimum,1,1\nsaddle,-1,-1\n")
    task, data = _descend(DescentConfig(), str(path), 3)
    assert len(data.train) == 3
    table = task.evaluate(task.batches(data.test, training=False))["height above the minimum"].table
    assert [row[:2] for row in table[1:]] == [
        ["saddle", "(1, 1)"],
        ["local-minimum", "(1, 1)"],
        ["saddle", "(-1, -1)"],
    ]
    answer = task.predict(["saddle 1 1", "ravine -1.5 2"])[0]
    assert answer["SGD"] == "minimum (0.00, 1.00)"
    assert task.predict(["local-minimum 900 0"])[0]["SGD"].startswith("diverged")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("surface,x\nsaddle,1\n", "the columns must be surface,x,y"),
        ("surface,x,y\n", "no rows"),
        ("surface,x,y\nsaddle,1,1\nhill,1,2\n", "line 3: a start is a surface (local-minimum"),
        ("surface,x,y\nsaddle,1,nan\n", "line 2"),
        ("surface,x,y\nsaddle,1,1e9\n", "line 2"),
        ("surface,x,y\nsaddle,1\n", "line 2"),
    ],
)
def test_starts_that_cannot_be_used_are_one_sentence(
    tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "starts.csv"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        Descent.load_data(DescentConfig(), DataSource(str(path)))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
