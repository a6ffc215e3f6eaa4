"""Pushing to a hub and pulling from it, through `huggingface_hub` and a small hub on this machine."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from fathom.cli import main
from fathom.runs.run import Run
from fathom.sharing import hub as sharing

HERE = Path(__file__).parent
REFERENCE = Path(__file__).parents[3] / "runs" / "reference"

_spec = importlib.util.spec_from_file_location("hub_server", HERE / "hub_server.py")
assert _spec is not None
hub_server = importlib.util.module_from_spec(_spec)
sys.modules["hub_server"] = hub_server
_spec.loader.exec_module(hub_server)  # type: ignore[union-attr]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A hub that the commands speak with, as the user `me`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with hub_server.running_hub() as running:
        api = HfApi(endpoint=running.url, token=hub_server.TOKEN)
        monkeypatch.setattr(sharing, "hub_api", lambda: api)
        yield running


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that a command fails with."""
    assert main(list(words)) == 2
    *_, last = capsys.readouterr().err.splitlines()
    return last


def test_a_run_that_was_pushed_is_pulled_and_scores_the_same(
    hub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.open(REFERENCE / "maze-ppo")
    assert main(["push", str(run.folder), "me/maze", "--license", "mit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == f"{hub.url}/me/maze"
    files = hub.repositories["me/maze"]
    assert {"README.md", "run.toml", "latest", "evaluations.jsonl", "replay.mp4"} <= files.keys()
    assert b"license: mit" in files["README.md"]
    assert main(["pull", "me/maze", "--json"]) == 0
    pulled = Run.find("maze")
    assert json.loads(capsys.readouterr().out)["run"] == "runs/maze"
    assert not pulled.trusted
    assert not [path for path in pulled.folder.rglob("*") if path.name.startswith(".")]
    assert pulled.evaluate(4).returns == run.evaluate(4).returns


def test_only_files_of_a_run_are_fetched(hub: Any) -> None:
    names = ["__init__.py", "model.pt", "signature", "lock", "videos/x.mp4", "checkpoints/00004/state.pkl", "pictures/x.svg", "../x"]  # fmt: skip
    hub.repositories["me/maze"] = _files("maze-ppo") | dict.fromkeys(names, b"x")
    run = sharing.pull("me/maze", Path("runs"))
    assert not set(names) & set(hub.fetched)
    there = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*")}
    assert not set(names) & there
    assert "checkpoints/00004/weights.safetensors" in there


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"run.toml": None}, "me/maze is no run of Fathom: it holds no run.toml"),
        ({"run.toml": b"format = 9"}, "was written by a newer Fathom"),
        ({"checkpoints/00004/weights.safetensors": b"\x80\x04pickle"}, "which Fathom never opens"),
        ({"checkpoints/00004/weights.safetensors": b"PK\x03\x04"}, "a zip archive"),
        ({"checkpoints/00004/state.json": None}, "state.json cannot be read"),
        ({"latest": b"0" * 1000}, "latest of me/maze has 1,000 bytes, and a file of its kind"),
    ],
)
def test_what_cannot_be_a_run_leaves_nothing(
    hub: Any,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, bytes | None],
    sentence: str,
) -> None:
    files = {**_files("maze-ppo"), **change}
    hub.repositories["me/maze"] = {name: data for name, data in files.items() if data is not None}
    assert sentence in said(capsys, "pull", "me/maze")
    assert list(Path("runs").glob("*")) == list(Path("runs").glob(".*")) == []


def test_a_hub_that_lies_about_sizes_is_not_believed(
    hub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["me/maze"] = _files("maze-ppo") | {"latest": b"0" * 1000}
    hub.claimed_sizes["latest"] = 6
    assert "latest" in said(capsys, "pull", "me/maze")
    assert list(Path("runs").glob("*")) == []


def test_bad_names_are_sentences(hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no repository me/nothing" in said(capsys, "pull", "me/nothing")
    assert "owner and its name" in said(capsys, "pull", "maze")
    assert "cannot name a repository" in said(capsys, "pull", "me/ma--ze..")
    assert "cannot name a run" in said(capsys, "pull", "me/maze", "--name", "../x")
    Path("runs/maze").mkdir(parents=True)
    assert "exists already" in said(capsys, "pull", "me/maze")
    assert "there is no run 'x'" in said(capsys, "push", "x", "me/maze")
    assert "push needs a run and a repository" in said(capsys, "push", "x")


def test_without_a_token_or_a_network_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    run = str(REFERENCE / "maze-ppo")
    with hub_server.running_hub() as hub:
        for token in (None, "hf_wrong"):
            api = HfApi(endpoint=hub.url, token=token)
            monkeypatch.setattr(sharing, "hub_api", lambda api=api: api)
            assert "HF_TOKEN" in said(capsys, "push", run, "me/maze")
    monkeypatch.setattr(
        sharing, "hub_api", lambda: HfApi(endpoint="http://127.0.0.1:9", token="hf_x")
    )
    assert "cannot be reached" in said(capsys, "push", run, "me/maze")
    assert "cannot be reached" in said(capsys, "pull", "me/maze")
    assert not Path("runs").exists()


def _files(name: str) -> dict[str, bytes]:
    """The files of a reference run by name."""
    folder = REFERENCE / name
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_pull_that_fails_leaves_other_runs_alone(hub: Any) -> None:
    shutil.copytree(REFERENCE / "maze-ppo", Path("runs/other"))
    hub.repositories["me/bad"] = {"run.toml": b"format = 9"}
    assert main(["pull", "me/bad"]) == 2
    assert [path.name for path in Path("runs").iterdir()] == ["other"]
