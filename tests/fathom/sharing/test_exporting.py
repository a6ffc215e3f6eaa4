"""An export is a run, tells nothing of the machine, and has a card that a hub reads."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import fathom
from fathom.cli import main
from fathom.runs.run import Run
from fathom.sharing.exporting import allowed_bytes
from fathom.sharing.names import without_folders

REFERENCE = Path(__file__).parents[3] / "runs" / "reference"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


COUNT = """
import gymnasium, numpy
from gymnasium.spaces import Box, Discrete

class Count(gymnasium.Env):
    metadata = {"render_modes": []}
    observation_space, action_space = Box(0, 1, (1,), numpy.float32), Discrete(2)

    def __init__(self, render_mode=None):
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return numpy.zeros(1, numpy.float32), {}

    def step(self, action):
        self.steps += 1
        return numpy.full(1, self.steps / 5, numpy.float32), 1.0, self.steps == 5, False, {}
"""


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that a command fails with."""
    assert main(list(words)) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_an_export_is_a_run_with_the_same_score(capsys: pytest.CaptureFixture[str]) -> None:
    original = Run.open(REFERENCE / "maze-ppo")
    assert main(["export", str(original.folder), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {"README.md", "run.toml", "replay.mp4"} <= set(files)
    assert all(allowed_bytes(name) for name in files)
    run = fathom.load("exports/maze-ppo")
    assert run.evaluate(6).to_json() == original.evaluate(6).to_json()
    assert run.evaluations() == original.evaluations()
    assert main(["record", "exports/maze-ppo", "--json"]) == 0
    assert main(["resume", "exports/maze-ppo"]) == 2
    assert "not resumed" in capsys.readouterr().err


def test_a_card_has_the_score_its_protocol_and_its_interval() -> None:
    original = Run.open(REFERENCE / "pong-dqn")
    assert main(["export", str(original.folder), "--license", "cc-by-4.0"]) == 0
    data = ModelCard.load(Path("exports/pong-dqn/README.md")).data
    last = original.evaluations()[-1]
    (result,) = data.eval_results
    assert data.license == "cc-by-4.0"
    assert data.pipeline_tag == "reinforcement-learning"
    assert result.metric_value == last["mean"] == 19.75
    assert result.metric_args["interval"] == last["interval"]
    assert result.metric_args["episodes"] == 4
    assert result.dataset_args == last["protocol"]
    assert result.dataset_name == "ALE/Pong-v5"


def test_a_fit_is_exported_with_its_pictures_and_still_predicts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("data").mkdir()
    text = Path("data/mine.csv")
    rows = [f"{'win money now' if i % 3 else 'see you at'} {i},{'spam' if i % 3 else 'ham'}" for i in range(60)]  # fmt: skip
    text.write_text("text,label\n" + "\n".join(rows) + "\n")
    run = fathom.fit("spam", data=text.resolve(), epochs=1, name="mine", progress=False)
    assert str(Path.cwd()) in (run.folder / "run.toml").read_text()
    assert main(["export", "mine"]) == 0
    _assert_anonymous(Path("exports/mine"))
    exported = fathom.load("exports/mine")
    assert exported.predict(["win money now"]) == run.predict(["win money now"])
    card = ModelCard.load(Path("exports/mine/README.md"))
    (result,) = card.data.eval_results
    assert (result.metric_type, result.task_type) == ("accuracy", "text-classification")
    pictures = {path.name for path in Path("exports/mine/pictures").iterdir()}
    assert pictures
    assert all(f"pictures/{name}" in card.text for name in pictures)


def test_a_run_of_ones_own_environment_is_exported_without_its_folders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The checkpoint was not evaluated, and its environment draws nothing: it is evaluated, and has no video."""
    Path("count.py").write_text(COUNT)
    fathom.train("ppo", "count.py:Count", steps=64, evaluation_episodes=0, name="c", progress=False)
    assert str(Path.cwd()) in Path("runs/c/run.toml").read_text()
    assert main(["export", "runs/c"]) == 0
    _assert_anonymous(Path("exports/c"))
    card = Path("exports/c/README.md").read_text()
    assert "It needs `count.py:Count`" in card
    assert not Path("exports/c/replay.mp4").exists()
    assert "there is no video" in capsys.readouterr().err
    (evaluation,) = Run.open(Path("exports/c")).evaluations()
    assert evaluation["returns"] == [5.0] * 20
    assert "would import count.py" in said(capsys, "evaluate", "exports/c")
    assert main(["evaluate", "exports/c", "--trust", "--episodes", "2"]) == 0


def test_mistakes_are_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no run 'nothing'" in said(capsys, "export", "nothing")
    assert "export needs a run" in said(capsys, "export")
    run = str(REFERENCE / "maze-ppo")
    Path("there").mkdir()
    assert "there exists already" in said(capsys, "export", run, "--folder", "there")
    assert "no checkpoint of step 7" in said(capsys, "export", run, "--checkpoint", "7")
    shutil.copytree(run, "empty", ignore=shutil.ignore_patterns("checkpoints", "latest"))
    assert "empty has no checkpoint yet" in said(capsys, "export", "empty")
    Path("file").write_text("")
    assert "cannot be used" in said(capsys, "export", run, "--folder", "file/x")
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "file", "there"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/home/me/corridor.py:Corridor", "corridor.py:Corridor"),
        ("frames:/home/my own/w.py:World", "frames:w.py:World"),
        (r"C:\Users\me\w.py:World", "w.py:World"),
        ('w.py:W{"path": "/home/me/x"}', 'w.py:W{"path": "x"}'),
        ("/usr/games/gnugo --mode gtp --config ~/go.txt", "gnugo --mode gtp --config go.txt"),
        ("/srv/data/mnist (FATHOM_DATA)", "mnist (FATHOM_DATA)"),
        ("../me/x.csv", "x.csv"),
        ("ALE/Pong-v5", "ALE/Pong-v5"),
        ("examples/corridor.py:Corridor", "examples/corridor.py:Corridor"),
        ("https://huggingface.co/datasets/x/y", "https://huggingface.co/datasets/x/y"),
        ("$FATHOM_DATA/mnist", "$FATHOM_DATA/mnist"),
        ("mean / max, 1/2", "mean / max, 1/2"),
    ],
)
def test_folders_are_left_out_of_texts(text: str, wanted: str) -> None:
    assert without_folders({"a": [text]}) == {"a": [wanted]}


def _assert_anonymous(folder: Path) -> None:
    """No file of an export holds this folder, the home folder, or the name of the machine or of a long-named user."""
    words = [str(Path.cwd()), str(Path.cwd().parent), f"{Path.home()}/", platform.node()]
    words += [name for name in [getpass.getuser()] if len(name) > 4]
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [word for word in words if len(word) > 2 and word.encode() in data], path
