"""`fathom fit`: perception tasks in run folders."""

import copy
import functools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from agents import AGENTS
from envs.dialogue.sentences import dialogue_data
from envs.episodes import episodes_data
from envs.frames import frames_data
from fathom.cli import main
from fathom.display import Display
from fathom.errors import FathomError, Stopped
from fathom.runs import task_learner
from fathom.runs.folder import RunFolder
from fathom.runs.launcher import new_fit
from fathom.runs.options import FitOptions
from fathom.runs.run import Run
from fathom.runs.runner import train
from fathom.runs.tasks import task_class
from perception.data.datasets import Tensors
from perception.data.source import DataSource
from perception.data.texts import TextRows
from perception.tasks import TASKS
from perception.tasks.task import TaskData

SCHEMES = {"domain": dialogue_data, "episodes": episodes_data, "frames": frames_data}
STORIES = Path(__file__).parents[2] / "perception" / "tasks" / "few-stories.txt"
SMALL = ["--embedding", "8", "--buckets", "64", "--hidden-size", "8", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hundred sentences about two cities."""
    folder = tmp_path_factory.mktemp("data") / "trips"
    folder.mkdir()
    for name, count in (("train", 500), ("test", 40)):
        lines = []
        for number in range(count):
            city = ("rome", "new york")[number % 2]
            words = ["fly" if number % 3 else "drive", *["now"] * (number % 5), "to", *city.split()]
            tags = ["O"] * (len(words) - len(city.split()))
            tags += ["B-city", "I-city"][: len(city.split())]
            lines.append(json.dumps({"tokens": words, "tags": tags, "intent": words[0]}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def _fit(tmp_path: Path, data: Path, *words: str) -> list[str]:
    arguments = ["fit", "slot-filling", "--data", str(data), *SMALL, *words]
    return [*arguments, "--runs-dir", str(tmp_path)]


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    folder = run / "checkpoints" / (run / "latest").read_text().strip()
    return load_file(folder / "weights.safetensors") | load_file(folder / "state.safetensors")


def test_fit_evaluate_and_extend(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_fit(tmp_path, data, "--epochs", "2", "--name", "f")) == 0
    message = capsys.readouterr().out
    assert "500 examples, 2 times" in message
    assert "slot F1" in message
    run = tmp_path / "f"
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 2
    assert (run / "metrics.jsonl").stat().st_size
    assert list(run.glob("events.out.tfevents*"))

    assert main(["evaluate", "f", "--runs-dir", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    last = json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])
    assert result["mean"] == last["mean"], "what is evaluated later is what was evaluated then"
    assert result["table"][1][0] == "city"
    assert result["protocol"]["train"] == 500
    assert result["examples"] == 40

    assert main(["resume", "f", "--steps", "1001", "--runs-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 1500, "whole epochs"
    assert main(["evaluate", "f", "--runs-dir", str(tmp_path)]) == 0
    assert "city" in capsys.readouterr().out

    task: Any = Run.find("f", tmp_path).task()
    tags, intent, confidence = task.model.understand(["fly", "to", "new", "york"])
    assert (len(tags), intent in ("fly", "drive")) == (4, True)
    assert 0 < confidence <= 1


def test_a_killed_fit_ends_with_the_same_tensors(tmp_path: Path, data: Path) -> None:
    words = ["--epochs", "4", "--seed", "3"]
    assert main(_fit(tmp_path, data, *words, "--name", "whole")) == 0
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "fathom"]
    process = subprocess.Popen(
        [*command, *_fit(tmp_path, data, *words, "--name", "killed")], stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not (
        (killed / "latest").exists() and int((killed / "latest").read_text()) >= 1
    ):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert int((killed / "latest").read_text()) < 4
    assert main(["resume", str(killed)]) == 0
    one, other = _tensors(tmp_path / "whole"), _tensors(killed)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    evaluations = [
        [json.loads(line)["mean"] for line in (folder / "evaluations.jsonl").open()]
        for folder in (tmp_path / "whole", killed)
    ]
    assert evaluations[0] == evaluations[1]


def _few(dataset: Any) -> Any:
    """The first examples of a large data set, enough for some batches."""
    if isinstance(dataset, Tensors):
        return Tensors(*(tensor[:300] for tensor in dataset.tensors))
    if isinstance(dataset, TextRows):
        few = copy.copy(dataset)
        few.texts, few.labels, few.encoded = (
            part[:300] for part in (dataset.texts, dataset.labels, dataset.encoded)
        )
        return few
    return dataset


def _use_little_data(kind: Any, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a task load its default data once, and little of them."""
    load_data = kind.load_data

    @functools.cache
    def loaded() -> TaskData:
        few = {
            "domain": {"sentences": 300},
            "episodes": {"episodes": 150},
            "frames": {"frames": 30},
        }
        options = few.get(kind.default_data.partition(":")[0], {})
        reference = str(STORIES) if kind.default_data == "babi" else kind.default_data
        data = load_data(config, DataSource(reference, options, SCHEMES))
        return replace(data, train=_few(data.train), test=_few(data.test))

    monkeypatch.setattr(kind, "load_data", lambda *_: loaded())
    for name in ("pictures", "training_pictures"):  # which other tests draw
        monkeypatch.setattr(kind, name, lambda *_: {})


# Of every task a state is trained from in test_task.py; here are some that differ in what a run keeps of them.
@pytest.mark.parametrize(
    "name",
    ["autoencoder", "copy", "descent", "digits", "gan", "pixels", "reading", "regression", "semi-supervised",
     "slot-filling", "transfer", "word-vectors"],
)  # fmt: skip
def test_a_stopped_fit_ends_with_the_same_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(task_learner, "_REPORT_SECONDS", 0.0)  # a report after every batch
    kind = task_class(name)
    less: dict[str, dict[str, Any]] = {
        "copy": {"sequences": 60, "longest": 4},
    }
    config = kind.Config(epochs=2, **less.get(name, {}))
    _use_little_data(kind, config, monkeypatch)

    def new(folder: str) -> RunFolder:
        options = FitOptions(name=folder, runs_dir=tmp_path, threads=1)
        return new_fit(name, options, config, {}, lambda _: None)[0]

    whole, stopped = new("whole"), new("stopped")
    train(whole, Display(quiet=True))
    epoch = stopped.config.segment_steps

    def should_stop() -> bool:
        """Whether a batch of the second epoch was reported."""
        return any(line["steps"] > epoch for line in stopped.metrics()[-1:])

    with pytest.raises(Stopped):
        train(stopped, Display(quiet=True), should_stop)
    assert epoch < stopped.metrics()[-1]["steps"] < 2 * epoch, "it stopped within the second epoch"
    assert train(stopped, Display(quiet=True)).steps == 2 * epoch
    one, other = _tensors(whole.folder), _tensors(stopped.folder)
    assert one.keys() == other.keys()
    for tensor in one:
        assert torch.equal(one[tensor], other[tensor]), tensor


def test_an_epoch_may_be_several_passes_and_a_picture_a_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "fit descent --epochs 2 --passes 3 --name d --threads 1 --runs-dir"
    assert main([*words.split(), str(tmp_path)]) == 0
    message = capsys.readouterr().out
    assert "16 examples, 6 times; 16 to test with after every 3" in message
    run = Run.find("d", tmp_path)
    assert [line["steps"] for line in run.evaluations()] == [48, 96]
    assert int(run.task().updates) == 6  # type: ignore[arg-type]
    with Image.open(run.pictures / "descent.gif") as video:
        assert video.n_frames > 1  # type: ignore[attr-defined]
    assert (run.pictures / "paths.png").is_file()


def test_a_loss_that_is_no_number_ends_the_fit_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "fit regression --learning-rate 100 --epochs 2 --threads 1 --name r --runs-dir"
    assert main([*words.split(), str(tmp_path)]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "the loss has become" in message
    assert "smaller --learning-rate" in message
    assert "step 0, is intact" in message


def test_a_domain_is_learnt_from(tmp_path: Path) -> None:
    words = "fit utterances --data.sentences 300 --epochs 1 --hidden-size 8 --embedding 8 --name u"
    assert main([*words.split(), "--threads", "1", "--runs-dir", str(tmp_path)]) == 0
    task: Any = Run.find("u", tmp_path).task()
    assert isinstance(task.model.say(["agent", "request", "city"], {}), str)


def test_every_data_set_of_this_machine_is_found_by_its_name(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_DATA", str(data.parent))
    words = _fit(tmp_path, Path("trips"), "--epochs", "1", "--name", "f")
    assert main(words) == 0
    assert Run.open(tmp_path / "f").config.data == "trips"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "needs a task"),
        ("slot-fillin", "did you mean slot-filling"),
        ("slot-filling --data.", "needs a value"),
        ("slot-filling --data nowhere", "nowhere"),
        ("slot-filling --data domain:moovie", "moovie"),
        ("slot-filling --data {data} --epochs 0", "--epochs must be at least 1"),
        ("slot-filling --data {data} --data.sentences 500", "sentences"),
        ("slot-filling --data {data} --hidden-size 0", "fathom: --hidden-size must be"),
        ("slot-filling --data {data} --learning-rate 0", "--learning-rate"),
        ("slot-filling --data {data} --wrods one-hot", "did you mean --words"),
        ("slot-filling --data {data} --name ../up", "../up"),
        ("utterances --data {data}", "the field 'act' must be"),
    ],
)
def test_a_wrong_command_gets_one_sentence(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    expected: str,
) -> None:
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    arguments = ["fit", *words.format(data=data).split()]
    if len(arguments) > 1 and arguments[1] in TASKS:
        arguments += ["--runs-dir", str(tmp_path / "runs")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_what_a_fit_cannot_do_is_said(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "trips"
    copy.mkdir()
    for path in data.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert main(_fit(tmp_path, copy, "--epochs", "1", "--name", "f")) == 0
    at = ["--runs-dir", str(tmp_path)]
    for words, expected in (
        (["record", "f"], "plays no episodes"),
        (["evaluate", "f", "--episodes", "3"], "neither --episodes nor --seed"),
        (["resume", "f", "--steps", "3"], "can only extend"),
    ):
        capsys.readouterr()
        assert main([*words, *at]) == 2
        assert expected in capsys.readouterr().err
    (copy / "test.jsonl").write_text('{"tokens": ["a"], "tags": ["O"], "intent": "fly"}')
    assert main(["evaluate", "f", *at]) == 2
    assert "are not those" in capsys.readouterr().err
    (tmp_path / "f" / "model.json").write_text("[]")
    with pytest.raises(FathomError, match="no table of names"):
        Run.find("f", tmp_path).task()
    (tmp_path / "f" / "model.json").write_text("[")
    with pytest.raises(FathomError, match=r"model\.json cannot be used"):
        Run.find("f", tmp_path).task()


def test_agents_and_tasks_do_not_share_names() -> None:
    assert not AGENTS.keys() & TASKS.keys(), "a run is known by one of them"


def test_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == sorted(TASKS)
