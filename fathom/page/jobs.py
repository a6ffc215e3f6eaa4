"""What visitors start: commands of Fathom, each in a process of its own, bounded in number, time and memory."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from fathom.errors import FathomError, printable

COMMAND = sys.executable, "-m", "fathom"
MOST_AT_ONCE = 2
"""Processes at work at the same time."""
MOST_KEPT = 50
"""Processes that are remembered when they have ended."""
MOST_HOURS = 24.0
MOST_BYTES = 8 << 30
"""Memory of a process; half of the machine's where that is less."""
_TAIL = 4000
_MOST_OUTPUT = 1 << 26
_GRACE = 20.0
"""Seconds from the request to stop to the kill."""


class Job:
    """A command at work, or that has ended."""

    def __init__(self, words: Sequence[str], about: str, run_id: str, hours: float) -> None:
        self.id = secrets.token_hex(8)
        self.words, self.about, self.run_id, self.hours = list(words), about, run_id, hours
        self.began, self.why = time.time(), ""
        self._asked_to_stop = 0.0
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "100"},
        )

    @property
    def at_work(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self, why: str = "") -> None:
        """Ask the process to end, as Ctrl-C does: a training stops at its last checkpoint."""
        if self.at_work and not self._asked_to_stop:
            self._asked_to_stop, self.why = time.monotonic(), why
            self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process and what it started, now."""
        if self.at_work:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def check_bounds(self) -> None:
        """Stop a process that takes too long or too much memory; kill one that does not stop."""
        if not self.at_work:
            return
        if self._asked_to_stop:
            if time.monotonic() - self._asked_to_stop > _GRACE:
                self.kill()
        elif time.time() - self.began > self.hours * 3600:
            self.stop(f"it was stopped after {self.hours:g} hours")
        elif memory_of(self._process.pid) > most_bytes():
            self.stop(
                f"it was stopped because it took more than {most_bytes() >> 20:,} MB of memory"
            )
        elif os.fstat(self._output.fileno()).st_size > _MOST_OUTPUT:
            self.stop("it was stopped because it printed too much")

    def to_json(self) -> dict[str, Any]:
        """What a page shows of it, with the last lines of its output."""
        code = self._process.poll()
        state = "at work" if code is None else "done" if code == 0 else "failed"
        if code is not None and self._asked_to_stop:
            state = "stopped"
        elif code is None and self._asked_to_stop:
            state = "stopping"
        size = os.fstat(self._output.fileno()).st_size
        tail = os.pread(self._output.fileno(), _TAIL, max(0, size - _TAIL)).decode(errors="replace")
        return {
            "id": self.id,
            "about": printable(self.about),
            "run": self.run_id,
            "state": state,
            "why": self.why,
            "command": printable(f"fathom {' '.join(self.words)}"),
            "seconds": round(time.time() - self.began),
            "output": [printable(line) for line in tail.splitlines()[-30:]],
        }


class Jobs:
    """The jobs of a page; all that are at work end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def start(
        self, words: Sequence[str], about: str, run_id: str, hours: float = MOST_HOURS
    ) -> Job:
        """Start `fathom WORDS`.

        Args:
            about: what it does, for people.
            run_id: the run that it is about.
            hours: after which it is stopped.

        Raises:
            FathomError: as many as there may be are at work.
        """
        with self._lock:
            if sum(job.at_work for job in self._jobs.values()) >= MOST_AT_ONCE:
                raise FathomError(
                    f"{MOST_AT_ONCE} processes that were started here are at work, and there may be no more:"
                    " wait, or stop one"
                )
            job = Job(words, about, run_id, hours)
            self._jobs[job.id] = job
            ended = [one for one in self._jobs.values() if not one.at_work]
            for old in ended[: max(0, len(self._jobs) - MOST_KEPT)]:
                del self._jobs[old.id]
            if self._watch is None:
                self._watch = threading.Thread(target=self._check_bounds, daemon=True)
                self._watch.start()
        return job

    def __getitem__(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise FathomError("there is no such process, or no longer")
        return job

    def to_json(self) -> list[dict[str, Any]]:
        """All jobs, the last begun first."""
        with self._lock:
            return [job.to_json() for job in reversed(self._jobs.values())]

    def close(self) -> None:
        """Stop every job, and wait until it has ended."""
        self._closed.set()
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.at_work]
        for job in jobs:
            job.stop("the page was closed")
        until = time.monotonic() + _GRACE / 2
        while any(job.at_work for job in jobs) and time.monotonic() < until:
            time.sleep(0.05)
        for job in jobs:
            job.kill()

    def _check_bounds(self) -> None:
        while not self._closed.wait(1.0):
            with self._lock:
                jobs = list(self._jobs.values())
            for job in jobs:
                job.check_bounds()


def most_bytes() -> int:
    """Memory that a job may take."""
    return min(MOST_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def memory_of(process: int) -> int:
    """Bytes of memory that a process holds; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
