"""A page in a thread on a free port, and one headless Chromium for all tests of a session."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from fathom.page.app import create_app

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
