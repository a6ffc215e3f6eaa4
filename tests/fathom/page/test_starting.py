"""What the form offers and refuses, and the bounds of what it starts."""

import sys
import time
from dataclasses import dataclass
from typing import Literal

import pytest
from starlette.testclient import TestClient

from fathom.errors import FathomError
from fathom.page import jobs
from fathom.page.app import create_app
from fathom.page.jobs import Jobs
from fathom.page.registry import id_of
from fathom.page.starting import fields_of, words_of

HOST = "http://127.0.0.1:8642"
OURS = {"Origin": HOST}


@dataclass
class Base:
    rate: float = 0.5
    """The rate,
    in a unit."""


@dataclass
class Options(Base):
    kind: Literal["one", "two"] = "two"
    """Which."""
    size: int | None = None
    """The size; None for any."""
    loud: bool = True
    """Whether it is."""
    wrap: tuple[str, ...] = ()
    """Not offered."""


@pytest.fixture
def client(tmp_path, new_run) -> TestClient:
    new_run("a", done=False)
    return TestClient(create_app(tmp_path / "runs"), HOST, headers=OURS)


def sleeping(monkeypatch, code: str = "import time; time.sleep(60)") -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", code))


def wait_for(condition) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_field_has_its_value_choices_and_help():
    rate, kind, size, loud = fields_of(Options())
    assert (rate["value"], rate["kind"], rate["help"]) == ("0.5", "number", "The rate, in a unit.")
    assert (kind["choices"], kind["value"]) == (["one", "two"], "two")
    assert (size["value"], size["kind"]) == ("", "number")
    assert (loud["value"], loud["kind"]) == ("true", "switch")


def test_changed_values_become_flags():
    fields = fields_of(Options())
    assert words_of(fields, {"rate": "0.5", "kind": "two", "size": "", "loud": "true"}) == []
    changed = words_of(fields, {"rate": "-1", "kind": "one", "size": "3", "loud": "false"})
    assert changed == ["--rate=-1", "--kind=one", "--size=3", "--no-loud"]


@pytest.mark.parametrize("value", ["/etc/passwd", "evil.py:Env", "module:Class", "a\nb", "x" * 300])
def test_a_value_that_could_name_a_file_or_a_module_is_refused(value):
    with pytest.raises(FathomError):
        words_of(fields_of(Options()), {"kind": value})


def test_the_form_has_the_preset_of_the_agent_in_the_environment(client):
    answer = client.get("/api/start/options?learner=dqn&source=ALE/Pong-v5").json()
    values = {field["name"]: field for field in answer["fields"]}
    assert values["reward_clip"]["value"] == "1.0"  # of the preset, not the default
    assert values["steps"]["help"] == "Agent steps, over all environments."
    assert {field["name"] for field in answer["fields"]}.isdisjoint({"runs_dir", "wrap", "weights"})
    fit = client.get("/api/start/options?learner=digits").json()
    assert "epochs" in {field["name"] for field in fit["fields"]}


@pytest.mark.parametrize(
    ("learner", "source"),
    [("ppo", "evil.py:Env"), ("ppo", "module:Id"), ("evil.py:Task", ""), ("--help", "CartPole-v1")],
)
def test_only_what_has_a_name_is_started(client, learner, source):
    answer = client.post("/api/start", json={"learner": learner, "source": source})
    assert answer.status_code == 409
    assert client.get("/api/jobs").json() == {"jobs": []}


def test_a_name_that_is_a_path_is_refused(client):
    values = {"name": "../outside"}
    asked = {"learner": "ppo", "source": "CartPole-v1", "values": values}
    assert "cannot name a run" in client.post("/api/start", json=asked).json()["error"]


def test_a_read_only_page_starts_nothing(tmp_path, new_run):
    new_run("a", done=False)
    client = TestClient(create_app(tmp_path / "runs", read_only=True), HOST, headers=OURS)
    run = id_of("a")
    for path in (
        "/api/start",
        f"/api/runs/{run}/record",
        f"/api/runs/{run}/resume",
        "/api/jobs/x/stop",
    ):
        assert client.post(path, json={}).status_code in (404, 405), path
    assert client.get("/start").status_code == 404
    assert "/start" not in client.get("/").text


def test_a_process_is_shown_with_its_output_and_stops(client, monkeypatch):
    sleeping(monkeypatch, "import time; print('\\x1b[31m<b>', flush=True); time.sleep(60)")
    run = id_of("a")
    assert client.post(f"/api/runs/{run}/resume", json={}).status_code == 200
    wait_for(lambda: client.get("/api/jobs").json()["jobs"][0]["output"])
    (job,) = client.get("/api/jobs").json()["jobs"]
    assert (job["state"], job["run"], job["output"]) == ("at work", run, ["\\x1b[31m<b>"])
    client.post(f"/api/jobs/{job['id']}/stop", json={})
    wait_for(lambda: client.get("/api/jobs").json()["jobs"][0]["state"] == "stopped")


def test_processes_are_bounded_in_number_and_end_with_the_page(monkeypatch):
    sleeping(monkeypatch)
    started = Jobs()
    begun = [started.start(["resume"], "one", "") for _ in range(jobs.MOST_AT_ONCE)]
    with pytest.raises(FathomError, match="at work"):
        started.start(["resume"], "one more", "")
    started.close()
    assert not any(job.at_work for job in begun)


@pytest.mark.parametrize(("bound", "why"), [("hours", "hours"), ("bytes", "memory")])
def test_a_process_that_takes_too_long_or_too_much_is_stopped(monkeypatch, bound, why):
    sleeping(monkeypatch)
    if bound == "bytes":
        monkeypatch.setattr(jobs, "MOST_BYTES", 1)
    started = Jobs()
    job = started.start(["resume"], "one", "", hours=0 if bound == "hours" else 1)
    wait_for(lambda: not job.at_work)
    assert why in job.to_json()["why"]
    started.close()


def test_a_recording_goes_to_a_name_that_is_free(client, monkeypatch, tmp_path):
    sleeping(monkeypatch, "pass")
    videos = tmp_path / "runs" / "a" / "videos"
    videos.mkdir()
    (videos / "step-20000.mp4").touch()
    assert client.post(f"/api/runs/{id_of('a')}/record", json={"steps": 20_000}).status_code == 200
    command = client.get("/api/jobs").json()["jobs"][0]["command"]
    assert command.endswith("--checkpoint=20000 --seed=1")
    assert client.post(f"/api/runs/{id_of('a')}/record", json={"steps": "x"}).status_code == 409
