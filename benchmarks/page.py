"""How quick is the page, how much memory does it take, and how much does watching slow a training?

Writes runs with metrics of random numbers into a temporary folder (1.1 GB by default), serves them by `fathom watch`
in a process of its own, and measures

- the first page in headless Chromium: until the first row is drawn, and until all runs are known; then again with
  5,000 short runs, where a letter is typed into the search as well,
- the server's memory while the list and ten runs that are being written are watched, as a browser watches them,
- the seconds and the processor seconds of a training on CartPole, alternately unwatched and watched.

    python benchmarks/page.py
    python benchmarks/page.py --only memory --minutes 60
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fathom.page.jobs import memory_of
from fathom.page.registry import id_of
from fathom.runs.config import RunConfig, machine, to_toml

RESULTS = Path(__file__).parent / "results" / "page.json"
REPORT_STEPS = 100
WATCHED = 10
TRAIN = ["train", "ppo", "CartPole-v1", "--threads=1", "--evaluation-episodes=0", "--json"]


def write_runs(runs_dir: Path, count: int, lines: int) -> None:
    """Write runs with so many lines of metrics each, and an evaluation at their end."""
    steps = lines * REPORT_STEPS
    rng = random.Random(0)
    metrics = "".join(
        json.dumps(
            {"segment": 0, "steps": REPORT_STEPS * (k + 1), "seconds": 0.01 * k,
             "episode_return": rng.gauss(k / lines, 0.1), "episode_length": 100.0, "loss": rng.random()}
        ) + "\n"
        for k in range(lines)
    )  # fmt: skip
    score = {"segment": 0, "steps": steps, "mean": 1.0, "interval": [0.9, 1.1], "episodes": 20}
    for number in range(count):
        folder = runs_dir / f"run-{number:04d}"
        folder.mkdir(parents=True)
        config = RunConfig(
            agent="ppo", environment="CartPole-v1", steps=steps, segment_steps=steps, seed=number,
            device="cpu", threads=1, hyperparameters={f"option_{k}": k for k in range(20)},
        )  # fmt: skip
        (folder / "run.toml").write_bytes(to_toml(config))
        (folder / "metrics.jsonl").write_text(metrics)
        (folder / "evaluations.jsonl").write_text(json.dumps(score) + "\n")


@contextlib.contextmanager
def watching(runs_dir: Path) -> Iterator[tuple[str, int]]:
    """Serve a folder by `fathom watch`; gives the address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "fathom", "watch", str(runs_dir), "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(address):
                break
            time.sleep(0.02)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def ask(address: str) -> None:
    """Ask for something as a browser does."""
    with contextlib.suppress(OSError), urllib.request.urlopen(address) as answer:
        answer.read()


def watch_like_a_browser(address: str, run: str, stop: threading.Event) -> None:
    """Ask for the list and for a run every two seconds."""
    while not stop.wait(2.0):
        ask(f"{address}/api/runs?since=1000000")
        for path in ("", "/curves"):
            ask(f"{address}/api/runs/{run}{path}")
        ask(f"{address}/api/jobs")


def first_page(runs_dir: Path, search: bool) -> dict[str, float]:
    """Seconds of the first page after the server's start."""
    from playwright.sync_api import sync_playwright

    with watching(runs_dir) as (address, process), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto("about:blank")
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.locator("#runs tbody tr").first.wait_for()
        result = {"first_rows_seconds": time.perf_counter() - began}
        page.locator("#count").get_by_text(" runs", exact=False).wait_for()
        while "so far" in page.locator("#count").inner_text():
            time.sleep(0.01)
        result["all_runs_seconds"] = time.perf_counter() - began
        began = time.perf_counter()
        page.reload(wait_until="commit")
        page.locator("#runs tbody tr").nth(50).wait_for()
        result["reload_seconds"] = time.perf_counter() - began
        if search:
            script = """() => {
                const began = performance.now(), field = document.getElementById('search');
                field.value = '42';
                field.dispatchEvent(new Event('input'));
                document.body.offsetHeight;
                return (performance.now() - began) / 1000;
            }"""
            page.locator("#count").get_by_text("5,000 runs", exact=True).wait_for()
            result["search_seconds"] = page.evaluate(script)
        result["server_megabytes"] = memory_of(process) / 1e6
        browser.close()
    return result


def memory(runs_dir: Path, minutes: float) -> dict[str, Any]:
    """The server's memory over time, while ten runs are written to and watched."""
    names = [f"run-{number:04d}" for number in range(WATCHED)]
    stop = threading.Event()

    def write() -> None:
        step = 10_000_000
        while not stop.wait(0.1):
            step += REPORT_STEPS
            line = json.dumps({"segment": 1, "steps": step, "seconds": step / 1e4, "loss": 0.5})
            for name in names:
                with (runs_dir / name / "metrics.jsonl").open("a") as log:
                    log.write(line + "\n")

    with watching(runs_dir) as (address, process):
        threads = [threading.Thread(target=write)]
        for name in names:
            arguments = (address, id_of(name), stop)
            threads.append(threading.Thread(target=watch_like_a_browser, args=arguments))
        for thread in threads:
            thread.start()
        time.sleep(20)  # until all curves are read
        samples, began, used = [], time.monotonic(), processor_seconds(process)
        while time.monotonic() - began < 60 * minutes:
            samples.append((round(time.monotonic() - began), memory_of(process) / 1e6))
            time.sleep(min(10, 6 * minutes))
        share = (processor_seconds(process) - used) / (time.monotonic() - began)
        stop.set()
        for thread in threads:
            thread.join()
    return {"minutes": minutes, "megabytes": samples, "share_of_a_core": share}


def processor_seconds(process: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def slowdown(pairs: int, steps: int) -> dict[str, Any]:
    """A training's seconds and processor seconds, alternately unwatched and watched."""
    found: dict[str, list[list[float]]] = {"unwatched": [], "watched": []}
    shares = []
    for number in range(2 * pairs):
        watched = number % 2 == 1
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            if watched:
                address, server = stack.enter_context(watching(Path(folder)))
                stop = threading.Event()
                arguments = (address, id_of("a"), stop)
                thread = threading.Thread(target=watch_like_a_browser, args=arguments)
                thread.start()
                began, used = time.monotonic(), processor_seconds(server)
            before = os.times()
            words = [*TRAIN, f"--steps={steps}", "--name=a", f"--runs-dir={folder}"]
            done = subprocess.run(
                [sys.executable, "-m", "fathom", *words], capture_output=True, check=True
            )
            after = os.times()
            if watched:
                shares.append((processor_seconds(server) - used) / (time.monotonic() - began))
                stop.set()
                thread.join()
            used_by_training = (
                after.children_user + after.children_system
                - before.children_user - before.children_system
            )  # fmt: skip
            seconds = json.loads(done.stdout)["seconds"]
            found["watched" if watched else "unwatched"].append([seconds, used_by_training])
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    ratios = [
        watched / unwatched - 1
        for watched, unwatched in zip(medians["watched"], medians["unwatched"], strict=True)
    ]
    return {
        "steps": steps,
        "seconds_and_processor_seconds": found,
        "slower_in_seconds": ratios[0],
        "slower_in_processor_seconds": ratios[1],
        "server_share_of_a_core": statistics.median(shares),
    }


def main() -> None:
    """Measure, print, and keep the raw results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["first", "memory", "slowdown"])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=2.0, help="of watching the memory")
    parser.add_argument("--pairs", type=int, default=5, help="trainings without and with watching")
    parser.add_argument("--steps", type=int, default=100_000, help="of each training")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = machine()
    results["load"] = os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(prefix="fathom-page-"))
    try:
        if options.only in (None, "first", "memory"):
            write_runs(folder / "runs", options.runs, options.lines)
        if options.only in (None, "first"):
            results["first_page"] = {
                "runs": options.runs, "lines": options.lines, **first_page(folder / "runs", False)
            }  # fmt: skip
            write_runs(folder / "many", 5_000, 20)
            results["first_page_of_5000"] = first_page(folder / "many", True)
        if options.only in (None, "memory"):
            results["memory"] = memory(folder / "runs", options.minutes)
        if options.only in (None, "slowdown"):
            results["slowdown"] = slowdown(options.pairs, options.steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(results, indent=1))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
