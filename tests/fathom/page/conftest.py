"""A page in a thread on a free port, and one headless Chromium for all tests of a session."""

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from fathom.page.app import create_app
from fathom.runs.checkpoint import Progress, digest
from fathom.runs.config import RunConfig, to_toml

CHROMIUM = next(
    (path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if os.path.exists(path)),
    None,
)
SCREENSHOTS = Path(os.environ.get("FATHOM_SCREENSHOTS", "build/screenshots"))
"""Where tests leave pictures of what they saw."""


@contextlib.contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an application on a free port; gives its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def make_run(folder: Path, *, reports: int = 20, done: bool = True, **config: Any) -> Path:
    """Write the folder of a run of which `reports` of 1,000 steps are done, with an evaluation after each 10.

    Args:
        done: it has ended, else it is at half of its steps.
        config: of `RunConfig`; `agent="ppo", environment="CartPole-v1"` if not given.
    """
    steps = 1000 * reports
    about = {"agent": "ppo", "environment": "CartPole-v1", "seed": 0, "device": "cpu", "threads": 1}
    about |= {"steps": steps if done else 2 * steps, "segment_steps": 10_000, **config}
    checkpoint = folder / "checkpoints" / "00002"
    checkpoint.mkdir(parents=True)
    (folder / "run.toml").write_bytes(to_toml(RunConfig(**about)))
    shift = about["seed"]
    lines = [
        {"segment": k // 10, "steps": 1000 * (k + 1), "seconds": 2.0 * (k + 1),
         "time/acting": 0.5 * (k % 10 + 1), "time/learning": 1.5 * (k % 10 + 1),
         "episode_return": k + shift, "episode_length": 100.0, "loss": 1 / (k + 1)}
        for k in range(reports)
    ]  # fmt: skip
    scores = [
        {"segment": k, "steps": 10_000 * (k + 1), "seconds": 20.0 * (k + 1), "mean": 10.0 * k + shift,
         "interval": [10.0 * k + shift - 1, 10.0 * k + shift + 1], "episodes": 20, "measures": {}}
        for k in range(reports // 10)
    ]  # fmt: skip
    for name, content in (("metrics.jsonl", lines), ("evaluations.jsonl", scores)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in content))
    progress = dataclasses.asdict(Progress(2, steps, 2.0 * reports))
    files = {"weights.safetensors": "0" * 64, "state.safetensors": "0" * 64}
    state = {"format": 2, "checkpoint": 2, "files": files, "numbers": {}, "progress": progress}
    state["sha256"] = digest(state)
    (checkpoint / "state.json").write_text(json.dumps(state))
    (folder / "latest").write_text("00002\n")
    return folder


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    """Gives a function that writes the run of a name in the folder `runs`; see `make_run`."""
    return lambda name, **about: make_run(tmp_path / "runs" / name, **about)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Gives a function that serves a folder of runs, with the arguments of `create_app`, and gives the address."""
    with contextlib.ExitStack() as stack:
        yield lambda runs_dir, **options: stack.enter_context(
            serving(create_app(runs_dir, **options))
        )


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """One Chromium for all tests."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no /usr/bin/chromium; on Debian: apt-get install chromium")
    api.expect.set_options(timeout=30_000)
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser) -> Iterator[object]:
    """A window of 1,280 × 900 pixels; an error in a script of the page fails the test."""
    window = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.on(
        "console",
        lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None,
    )
    yield window
    window.close()
    assert errors == []


@pytest.fixture
def screenshot(page) -> Callable[[str], None]:
    """Gives a function that keeps a picture of the window under a name."""

    def keep(name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return keep
