"""Perception tasks in a user's own file."""

import shutil
from pathlib import Path

import pytest

import fathom
from fathom.cli import main
from fathom.errors import FathomError
from fathom.runs.run import Run

LINE = """
from dataclasses import dataclass
import torch
from torch import nn
from perception.data.datasets import Tensors
from perception.tasks.task import DataError, Metric, Task, TaskData

@dataclass(frozen=True)
class LineConfig:
    epochs: int = 2
    batch_size: int = 8
    flip: bool = False

class Line(Task):
    Config, default_data = LineConfig, "points"

    def __init__(self, config, metadata):
        super().__init__(config, metadata)
        self.network = nn.Linear(metadata["inputs"], 1)
        self.optimizers = {"main": torch.optim.SGD(self.parameters(), 0.1)}

    @classmethod
    def load_data(cls, config, source):
        x = torch.linspace(-1, 1, 40)[:, None]
        train, test = Tensors(x[::2], 2 * x[::2]), Tensors(x[1::2], 2 * x[1::2])
        return TaskData(train, test, {"inputs": 1}, {"name": "points"})

    def train_step(self, batch, step):
        loss = nn.functional.mse_loss(self.network(batch[0]), batch[1])
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        return {"loss": loss}

    def evaluate(self, batches):
        errors = torch.cat([(self.network(x) - y).square()[:, 0] for x, y in batches])
        return {"error": Metric(errors.numpy())}

    def predict(self, inputs):
        try:
            x = torch.tensor([[float(item)] for item in inputs])
        except ValueError:
            raise DataError("a point is a number") from None
        return [{"y": float(y)} for y in self.network(x).detach()]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "line.py").write_text(LINE)
    return folder / "line.py"


def test_a_task_in_a_file_is_fitted_resumed_elsewhere_evaluated_and_asked(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "line.py:Line", "--flip", "--threads", "1"]) == 0
    run = file.parent / "runs" / "points-line"
    assert Run.open(run).config.task == f"{file}:Line"
    assert Run.open(run).config.hyperparameters["flip"] is True
    monkeypatch.chdir(tmp_path)
    assert main(["resume", str(run), "--steps", "60"]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert main(["predict", str(run), "0.5", "-1"]) == 0
    assert "0.5: y " in capsys.readouterr().out
    assert main(["predict", str(run), "a"]) == 2
    assert capsys.readouterr().err == "fathom: a point is a number\n"


def test_a_file_with_one_task_needs_no_class_and_python_takes_both(file: Path) -> None:
    one = fathom.fit("line.py", progress=False, threads=1)
    other = fathom.fit("line:Line", progress=False, threads=1, name="module", epochs=1)
    assert one.config.task == f"{file}:Line"
    assert other.config.task == "line:Line"
    assert one.predict(["1"])[0].keys() == {"y"}
    with pytest.raises(FathomError, match="not by"):
        fathom.fit(object)  # type: ignore[arg-type]


def test_a_run_from_elsewhere_imports_no_task_unless_it_is_trusted(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "line.py", "--name", "mine", "--threads", "1"]) == 0
    run = tmp_path / "theirs"
    shutil.copytree("runs/mine", run)
    (run / "signature").unlink()
    file.write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n{LINE}")
    for words in (["predict", "1"], ["evaluate"], ["resume", "--steps", "60"]):
        assert main([words[0], str(run), *words[1:]]) == 2
        message = capsys.readouterr().err
        assert f"would import {file}" in message
        assert "--trust" in message
    assert not (tmp_path / "imported").exists()
    assert main(["predict", str(run), "1", "--trust"]) == 0
    assert (tmp_path / "imported").exists()


def edited(before: str, after: str) -> str:
    assert LINE.count(before) == 1, before
    return LINE.replace(before, after)


LOAD = 'return TaskData(train, test, {"inputs": 1}, {"name": "points"})'
LOSS = 'return {"loss": loss}'
SCORE = 'return {"error": Metric(errors.numpy())}'
FAULTS = {
    "no such class": ("line.py:Curve", LINE, "has no task 'Curve'; it has Line"),
    "no task": ("line.py:LineConfig", LINE, "no perception task, called 'LineConfig'"),
    "two tasks": ("line.py", LINE + "\nclass Other(Line): ...", "it has Line, Other"),
    "no task at all": ("line.py", "x = 1", "it has no perception task"),
    "no file": ("lines.py:Line", LINE, "there is no file"),
    "a wrong line": ("line.py:Line", LINE + "\n1 / 0", "line 46, cannot be loaded: ZeroDivisionError"),
    "no config": ("line.py:Line", edited("Config, default_data = LineConfig,", "default_data ="), "Config must be a frozen dataclass"),
    "a config that is no frozen dataclass": ("line.py:Line", edited("(frozen=True)", ""), "Config must be a frozen dataclass"),
    "no default": ("line.py:Line", edited("epochs: int = 2\n    batch_size: int = 8", "epochs: int\n    batch_size: int = 8"), "epochs of Config needs a default"),
    "no epochs": ("line.py:Line", edited("    epochs: int = 2\n", ""), "Config must have the field epochs"),
    "a field that no run can keep": ("line.py:Line", edited("flip: bool = False", "flip: object = object"), "fields of Config must be"),
    "no epoch": ("line.py:Line --epochs 0", LINE, "epochs must be a whole number from 1"),
    "no default data": ("line.py:Line", edited(', default_data = LineConfig, "points"', " = LineConfig"), "needs --data"),
    "no evaluate": ("line.py:Line", edited("def evaluate", "def test"), "has no evaluate, which a task must have"),
    "load_data raises": ("line.py:Line", edited(LOAD, "return train[100]"), "failed at line 26, in load_data: IndexError"),
    "load_data without data": ("line.py:Line", edited(LOAD, "pass"), "load_data must return a TaskData, not None"),
    "metadata": ("line.py:Line", edited('{"inputs": 1}', '{"inputs": x}'), "metadata of load_data must be a dictionary that JSON can hold, and it holds a Tensor"),
    "nothing to test with": ("line.py:Line", edited("TaskData(train, test,", "TaskData(train, Tensors(x[:0]),"), "test of load_data holds no examples"),
    "examples of any kind": ("line.py:Line", edited("TaskData(train, test,", "TaskData(train, [object()],"), "examples that hold a object have no checksum"),
    "a network that cannot be built": ("line.py:Line", edited('metadata["inputs"], 1', 'metadata["outputs"], 1'), "failed at line 19, in __init__: KeyError"),
    "train_step raises": ("line.py:Line", edited(LOSS, "return loss / nothing"), "failed at line 33, in training: NameError"),
    "train_step without losses": ("line.py:Line", edited(LOSS, "return loss"), "must return a dictionary of losses, not a tensor"),
    "a loss for each example": ("line.py:Line", edited(LOSS, 'return {"loss": batch[0]}'), "a tensor of one number as 'loss', not a tensor of the shape (8, 1)"),
    "evaluate without metrics": ("line.py:Line", edited(SCORE, "return {}"), "the score first, not a dict that is empty"),
    "a score that is no Metric": ("line.py:Line", edited(SCORE, 'return {"error": 0.5}'), "evaluate must return a Metric as 'error', not a float"),
    "a score that is no number": ("line.py:Line", edited("Metric(errors.numpy())", "Metric(errors.numpy() * float('nan'))"), "is nan, no finite number"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_task_is_said_before_a_run_is_made(
    file: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    words, text, sentence = FAULTS[fault]
    file.write_text(text)
    assert main(["fit", *words.split(), "--threads", "1"]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert len(message.splitlines()) == 1
    assert not Path("runs").exists()


def test_answers_that_are_none_and_pictures_that_fail_are_said(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = edited('[{"y": float(y)} for y in self.network(x).detach()]', "self.network(x)")
    file.write_text(
        answers + "\n    def pictures(self, batches):\n        return {'line': nothing}\n"
    )
    assert main(["fit", "line.py", "--name", "mine", "--threads", "1"]) == 0
    assert "failed at line 47, in pictures: NameError" in capsys.readouterr().out
    assert main(["predict", "mine", "1"]) == 2
    assert "predict must return a list of 1 dictionaries" in capsys.readouterr().err


def test_only_the_task_is_imported_not_a_file_that_a_flag_names(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n{LINE}")
    assert main(["fit", "digits", "--data", "line.py"]) == 2
    assert "line.py holds no images" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()
