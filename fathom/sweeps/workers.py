"""What trains the runs of a sweep: processes of this machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

_GRACE = 20.0
"""Seconds from the request to stop to the kill."""
_TAIL = 4000


@dataclass(frozen=True)
class Ended:
    """A run that is not trained any more."""

    folder: Path
    trained: bool
    """It was trained to its end."""
    again: bool = False
    """Something outside ended it, so it may be trained on."""
    why: str = ""


class Workers(Protocol):
    """Trains runs, several at a time, each in a process of its own."""

    places: int
    """Runs at the same time."""

    def start(self, folder: Path) -> None:
        """Begin to train a run to its end, from its last checkpoint."""
        ...

    def stop(self, folder: Path) -> None:
        """Ask a run that is being trained to end; it is among `ended` later."""
        ...

    def ended(self) -> list[Ended]:
        """The runs that ended since this was asked last."""
        ...

    def close(self) -> None:
        """End everything, and wait for it."""
        ...


class Processes:
    """Workers that are processes of this machine; they end with this one, however it ends.

    Args:
        threads: of each run.
    """

    def __init__(self, places: int, threads: int) -> None:
        self.places = places
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NO_COLOR": "1"}
        self._processes: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self._stopping: dict[Path, float] = {}

    def start(self, folder: Path) -> None:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `ended`
        # -P: no folder of the user's may hide one of our packages.
        words = [sys.executable, "-P", "-m", "fathom", "resume", str(folder), "--trust"]
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._environment,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        self._processes[folder] = process, output

    def stop(self, folder: Path) -> None:
        if folder in self._processes and folder not in self._stopping:
            self._stopping[folder] = time.monotonic()
            self._processes[folder][0].send_signal(signal.SIGINT)

    def ended(self) -> list[Ended]:
        done = []
        for folder, (process, output) in list(self._processes.items()):
            code = process.poll()
            if code is None:
                if time.monotonic() - self._stopping.get(folder, time.monotonic()) > _GRACE:
                    process.kill()
                continue
            output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL))
            why = _complaint(output.read().decode(errors="replace"), code)
            output.close()
            del self._processes[folder]
            self._stopping.pop(folder, None)
            by_signal = code < 0 or code in (130, 143)
            done.append(Ended(folder, code == 0, by_signal, why))
        return done

    def close(self) -> None:
        for folder in list(self._processes):
            self.stop(folder)
        while self._processes:
            self.ended()
            time.sleep(0.05)


def _complaint(said: str, code: int) -> str:
    """What a process said last, without Fathom's name."""
    if code < 0:
        return f"it was ended by signal {-code}"
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("fathom: ") if lines else f"it ended with code {code}"


def _end_with_parent() -> None:
    """Have Linux kill this process when its parent is gone, which `prctl(2)` calls PR_SET_PDEATHSIG."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
