"""What the page answers about one run, about several, and about what must not be reached."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from starlette.testclient import TestClient

from fathom.page.app import create_app
from fathom.page.registry import id_of

HOST = "http://127.0.0.1:8642"
A = id_of("a")


@pytest.fixture
def client(tmp_path, new_run) -> TestClient:
    folder = new_run("a")
    (folder / "videos").mkdir()
    (folder / "videos" / "step-20000.mp4").write_bytes(bytes(range(100)))
    about = {"fps": 10, "seed": 7, "rewards": [1.0, 0.0, -0.5]}
    (folder / "videos" / "step-20000.json").write_text(json.dumps(about))
    return TestClient(create_app(tmp_path / "runs"), HOST)


def test_a_run_is_told_with_settings_checkpoints_episodes_and_commands(client):
    about = client.get(f"/api/runs/{A}").json()
    assert about["settings"]["run"]["environment"] == "CartPole-v1"
    assert about["checkpoints"] == [{"number": 2, "best": True, "steps": 20_000, "seconds": 40.0}]
    (video,) = about["videos"]
    assert video["returns"] == [0, 1, 1, 0.5]
    assert about["commands"]["Resume"].startswith("fathom resume ")


def test_the_sweep_of_a_run_is_shown_with_it(client, tmp_path, new_run):
    sweep = tmp_path / "runs" / "s"
    new_run("s/t000-s0")
    about = f"/api/runs/{id_of('s/t000-s0')}"
    (sweep / "sweep.toml").write_text("")
    assert "sweep" not in client.get(f"/api/runs/{A}").json()
    unfinished = {"name": "s", "pictures": [], "score": "", "trials": []}
    assert client.get(about).json()["sweep"] == unfinished
    trial = {
        "trial": 0, "state": "complete", "params": {"n_step": 3}, "mean": 1.5, "interval": [1.0, 2.0], "iqm": 1.5,
        "scores": {"0": 1.5}, "runs": ["t000-s0"], "why": "",
    }  # fmt: skip
    (sweep / "sweep.json").write_text(json.dumps({"score": "return", "trials": [trial]}))
    (sweep / "iqm.png").write_bytes(b"png")
    told = client.get(about).json()["sweep"]
    (row,) = told["trials"]
    assert (row["name"], row["settings"], row["mean"]) == ("t000", {"n_step": "3"}, 1.5)
    assert row["runs"] == [{"id": id_of("s/t000-s0"), "name": "t000-s0"}]
    assert [one["name"] for one in told["pictures"]] == ["iqm.png"]
    address = f"/runs/{id_of('s/t000-s0')}/sweep"
    assert client.get(f"{address}/iqm.png").content == b"png"
    assert client.get(f"{address}/sweep.json").status_code == 404
    assert client.get(f"/runs/{A}/sweep/iqm.png").status_code == 404
    of_it = TestClient(create_app(sweep), HOST).get(f"/api/runs/{id_of('t000-s0')}").json()["sweep"]
    assert of_it["trials"][0]["runs"][0]["id"] == id_of("t000-s0")
    wrong = json.dumps({"score": "return", "trials": [trial]}).replace("1.5", "1e999")
    for text in ("{}", wrong):
        (sweep / "sweep.json").write_text(text)
        assert client.get(about).json()["sweep"]["trials"] == []


def test_curves_follow_the_log_and_its_cutting_back(client, tmp_path):
    log = tmp_path / "runs" / "a" / "metrics.jsonl"
    first = client.get(f"/api/runs/{A}/curves").json()
    assert first["curves"]["episode_return"]["mean"] == list(range(20))
    assert first["phases"] == {"acting": 10.0, "learning": 30.0}  # two segments, each counted anew
    assert first["axes"]["episodes"][-1] == 200
    again = f"/api/runs/{A}/curves?version={first['version']}"
    assert client.get(again).status_code == 204
    line = json.dumps({"segment": 2, "steps": 21_000, "seconds": 42.0, "loss": 5.0})
    with log.open("a") as file:
        file.write(line[:9])  # a reader may come while a line is being written
    assert client.get(f"/api/runs/{A}/curves").json()["axes"]["steps"][-1] == 20_000
    with log.open("a") as file:
        file.write(line[9:] + "\n")
    assert client.get(f"/api/runs/{A}/curves").json()["curves"]["loss"]["mean"][-1] == 5
    kept = log.read_text().splitlines(keepends=True)[:10]
    log.with_name("new").write_text("".join(kept))
    log.with_name("new").rename(log)
    assert client.get(f"/api/runs/{A}/curves").json()["axes"]["steps"] == [
        1000 * k for k in range(1, 11)
    ]


def test_a_video_comes_in_parts(client):
    address = f"/runs/{A}/videos/step-20000.mp4"
    whole = client.get(address)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/100"


def test_nothing_outside_a_run_and_nothing_private_in_it_is_reached(client, tmp_path):
    videos = tmp_path / "runs" / "a" / "videos"
    (tmp_path / "secret.png").write_bytes(b"secret")
    (videos / "link.png").symlink_to(tmp_path / "secret.png")
    (videos / "page.html").write_text("<script>alert(1)</script>")
    (videos / ".hidden.png").write_bytes(b"")
    (tmp_path / "runs" / "a" / "pictures").symlink_to(tmp_path)
    for path in (
        "videos/link.png", "pictures/secret.png", "videos/page.html", "videos/.hidden.png", "videos/missing.mp4",
        "videos/..%2frun.toml", "videos/%2e%2e/run.toml", "checkpoints/latest.png", "videos/a%00.png",
        "..%2f..%2fsecret.png", "videos/..%2f..%2f..%2fsecret.png",
    ):  # fmt: skip
        assert client.get(f"/runs/{A}/{path}").status_code == 404, path
    assert [one["name"] for one in client.get(f"/api/runs/{A}").json()["videos"]] == [
        "step-20000.mp4"
    ]
    assert client.get(f"/api/runs/{A}").json()["pictures"] == []


@pytest.mark.parametrize("name", ["a", "%2e%2e", "0" * 16, "..%2foutside"])
def test_a_run_is_named_by_its_id_only(client, name):
    assert client.get(f"/runs/{name}").status_code == 404
    assert client.get(f"/api/runs/{name}").status_code == 404


def test_a_broken_run_is_a_note(client, tmp_path):
    (tmp_path / "runs" / "a" / "run.toml").write_text("agent = ")
    about = client.get(f"/api/runs/{A}").json()
    assert about["state"] == "broken"
    assert "cannot be read" in about["why"]
    assert client.get(f"/runs/{A}").status_code == 200
    answer = client.get(f"/api/runs/{A}/curves")
    assert (answer.status_code, list(answer.json())) == (409, ["error"])


def test_what_is_written_beside_a_video_is_checked(client, tmp_path):
    note = tmp_path / "runs" / "a" / "videos" / "step-20000.json"
    for text in (
        "{",
        "[]",
        '{"fps": 10}',
        '{"fps": 0, "rewards": [1.0]}',
        '{"fps": 10, "rewards": ["x"]}',
    ):
        note.write_text(text)
        assert "returns" not in client.get(f"/api/runs/{A}").json()["videos"][0], text


# -- comparisons ------------------------------------------------------------------------------


def test_seeds_of_a_setting_become_a_mean_with_its_interval(client, new_run):
    new_run("b", seed=2)
    new_run("other", agent="a2c")
    ids = ",".join(map(id_of, ("a", "b", "other")))
    answer = client.get(f"/api/compare?runs={ids}&curve=episode_return").json()
    together, alone = answer["lines"]
    assert together["mean"] == [k + 1 for k in range(20)]  # seeds 0 and 2 are two apart
    half = (
        12.706 * np.sqrt(2) / np.sqrt(2)
    )  # Student's t of one degree of freedom, by the standard error
    assert together["high"][0] - together["mean"][0] == pytest.approx(half, rel=1e-4)
    assert alone["label"] == "other"
    assert {row["name"] for row in answer["settings"]} == {"agent", "seed"}
    apart = client.get(f"/api/compare?runs={ids}&seeds=apart").json()
    assert [line["label"] for line in apart["lines"]] == ["a", "b", "other"]
    assert apart["lines"][1]["low"] == [1, 11]  # the evaluations' own intervals


def test_a_comparison_has_other_axes_and_smoothing(client):
    path = f"/api/compare?runs={A}&curve=episode_return"
    assert client.get(f"{path}&axis=seconds").json()["lines"][0]["x"][-1] == 40
    assert client.get(f"{path}&axis=episodes").json()["lines"][0]["x"][-1] == 200
    smooth = client.get(f"{path}&smoothing=0.5").json()["lines"][0]["mean"]
    assert smooth[:2] == pytest.approx([0, 2 / 3])
    for wrong in ("smoothing=x", "smoothing=nan", "smoothing=9", "axis=x", "curve=x"):
        assert client.get(f"/api/compare?runs={A}&{wrong}").status_code == 200


def test_a_comparison_is_saved_as_csv_svg_and_png(client):
    path = f"/compare/curves.{{}}?runs={A}&curve=loss"
    rows = list(csv.reader(io.StringIO(client.get(path.format("csv")).text)))
    assert rows[0] == ["curve", "steps", "loss", "low", "high"]
    assert rows[1] == ["a", "1000.0", "1.0", "", ""]
    assert len(rows) == 21
    assert client.get(path.format("svg")).content.startswith(b"<?xml")
    assert client.get(path.format("png")).content.startswith(b"\x89PNG")
    assert client.get(path.format("pdf")).status_code == 404


def test_a_run_that_is_gone_is_a_note_in_a_comparison(client):
    answer = client.get(f"/api/compare?runs={A},{'0' * 16}").json()
    assert len(answer["runs"]) == len(answer["notes"]) == 1


def test_a_label_is_no_formula_for_a_spreadsheet_and_none_for_matplotlib(client, new_run):
    new_run("=1+2")
    new_run("$x^$")
    ids = ",".join(map(id_of, ("=1+2", "$x^$")))
    assert (
        "'=1+2,1000.0" in client.get(f"/compare/curves.csv?runs={ids}&curve=loss&seeds=apart").text
    )
    assert client.get(f"/compare/curves.svg?runs={ids}&seeds=apart").status_code == 200


def test_a_long_episode_is_thinned_to_its_end(client, tmp_path):
    note = tmp_path / "runs" / "a" / "videos" / "step-20000.json"
    note.write_text(json.dumps({"fps": 30, "seed": 0, "rewards": [1.0] * 5000}))
    (video,) = client.get(f"/api/runs/{A}").json()["videos"]
    assert (video["steps"], video["every"], len(video["returns"])) == (5000, 6, 835)
    assert video["returns"][:2] == [0, 6]
    assert video["returns"][-1] == 5000


def test_a_checkpoint_that_is_new_is_told(client, tmp_path):
    folder = tmp_path / "runs" / "a"
    assert [one["number"] for one in client.get(f"/api/runs/{A}").json()["checkpoints"]] == [2]
    shutil.copytree(folder / "checkpoints" / "00002", folder / "checkpoints" / "00003")
    (folder / "latest").write_text("00003\n")
    first, second = client.get(f"/api/runs/{A}").json()["checkpoints"]
    assert first["why"] == "state.json is that of another checkpoint"
    assert second["steps"] == 20_000
