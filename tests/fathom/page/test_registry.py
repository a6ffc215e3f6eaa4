"""What the list of runs says, and that it follows what happens in the folder."""

import fcntl
import json
import shutil

import pytest

from fathom.page import registry
from fathom.page.registry import NoSuchRunError, Registry, id_of


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Registry:
    monkeypatch.setattr(registry, "_EVERY", 0.0)
    monkeypatch.setattr(registry, "_SHARE", 0)
    (tmp_path / "runs").mkdir()
    return Registry(tmp_path / "runs")


def by_name(answer):
    return {row["name"]: row for row in answer["rows"]}


def test_a_run_is_shown_with_its_steps_score_and_state(runs, new_run):
    new_run("a", seed=3)
    new_run("half", done=False)
    new_run("reference/shipped")
    answer = runs.rows()
    assert answer["all"]
    assert answer["complete"]
    rows = by_name(answer)
    assert rows["a"]["state"] == "finished"
    assert rows["a"]["score"]["mean"] == 13
    assert (rows["a"]["score"]["low"], rows["a"]["score"]["high"]) == (12, 14)
    assert (rows["half"]["state"], rows["half"]["steps"], rows["half"]["total"]) == (
        "paused",
        20_000,
        40_000,
    )
    assert rows["shipped"]["path"] == "reference/shipped"


def test_a_run_is_running_while_its_lock_is_held(runs, new_run):
    folder = new_run("a", done=False)
    (folder / "lock").touch()
    first = runs.rows()
    assert by_name(first)["a"]["state"] == "paused"
    with (folder / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second = runs.rows(first["version"])
        assert by_name(second)["a"]["state"] == "running"
    third = runs.rows(second["version"])
    assert by_name(third)["a"]["state"] == "paused"
    assert runs.rows(third["version"])["rows"] == []


def test_a_run_that_cannot_be_read_is_broken_and_says_why(runs, new_run):
    (new_run("torn") / "run.toml").write_text("format = 2\nsteps = ")
    (new_run("future") / "run.toml").write_text("format = 99\n")
    (new_run("damaged") / "checkpoints" / "00002" / "state.json").write_text("{")
    rows = by_name(runs.rows())
    assert {row["state"] for row in rows.values()} == {"broken"}
    assert "newer Fathom" in rows["future"]["why"]
    assert "checkpoint 2 is damaged" in rows["damaged"]["why"]
    assert "\n" not in rows["torn"]["why"]


def test_changes_are_told_once(runs, new_run):
    folder = new_run("a")
    new_run("b")
    version = runs.rows()["version"]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"segment": 2, "steps": 21_000, "seconds": 50.0}) + "\n")
    answer = runs.rows(version)
    assert not answer["all"]
    assert {name: row["steps"] for name, row in by_name(answer).items()} == {"a": 21_000}
    assert runs.rows(answer["version"])["rows"] == []


def test_a_run_that_is_removed_is_told_and_gone(runs, new_run):
    folder = new_run("a")
    version = runs.rows()["version"]
    assert runs.folder(id_of("a")) == folder
    shutil.rmtree(folder)
    answer = runs.rows(version)
    assert answer["removed"] == [id_of("a")]
    with pytest.raises(NoSuchRunError):
        runs.folder(id_of("a"))


def test_a_link_is_no_run(runs, new_run, tmp_path):
    outside = new_run("a").rename(tmp_path / "outside")
    (runs.runs_dir / "link").symlink_to(outside)
    (runs.runs_dir / "reference").symlink_to(tmp_path)
    assert runs.rows()["rows"] == []
    for path in ("link", "reference/outside", "../outside", "."):
        with pytest.raises(NoSuchRunError):
            runs.folder(id_of(path))


def test_a_run_that_becomes_a_link_is_gone(runs, new_run, tmp_path):
    folder = new_run("a")
    runs.rows()
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    with pytest.raises(NoSuchRunError):
        runs.open(id_of("a"))


def test_many_runs_come_little_by_little(runs, new_run, monkeypatch):
    monkeypatch.setattr(registry, "_MOMENT", 0.0)
    for number in range(4):
        new_run(f"run-{number}")
    answer, seen = runs.rows(), []
    while not answer["complete"]:
        seen.append(len(answer["rows"]))
        answer = runs.rows()
    assert seen == [1, 2, 3, 4]
    assert len(answer["rows"]) == 4
