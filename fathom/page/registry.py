"""The runs under a folder, each by an id that is no path, with what a list of them shows.

After a first look at everything, nothing runs in the background: whoever asks for the list looks at the folder, at
most for a moment, and at what changed only. So a page that nobody watches costs nothing, and of thousands of runs
the newest appear at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fathom.errors import FathomError, printable
from fathom.files import Folder
from fathom.runs.config import CONFIG, RunConfig, read_config
from fathom.runs.folder import EVALUATIONS, METRICS, SWEEP_CONFIG
from fathom.runs.run import Run

SHIPPED = "reference"
"""Folder of the runs that ship, beneath that of the runs."""

_LOOKED_AT = CONFIG, METRICS, EVALUATIONS, "latest", "lock"
_MOMENT = 0.1
"""Seconds that one request looks for changes."""
_EVERY, _SHARE = 1.0, 20
"""Seconds between two looks at the whole folder; more where a look takes more than a 20th of that."""
_MOST_REMOVED = 10_000


class NoSuchRunError(FathomError):
    """There is no run of this id, or no longer."""


def id_of(relative: str) -> str:
    """The id of a run: the start of the SHA-256 of its path beneath the folder of runs."""
    return hashlib.sha256(os.fsencode(relative)).hexdigest()[:16]


class Registry:
    """The runs beneath a folder, its folder `reference` and those of sweeps; a run that is a link is none.

    Its methods may be called from any thread.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._paths: dict[str, str] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._seen: dict[str, tuple] = {}
        self._removed: dict[str, int] = {}
        self._version = 0
        self._since = 0
        """Version before which it is not known any more what was removed."""
        self._complete = False
        self._looking: Iterator[None] | None = None
        self._began = self._next = 0.0
        self._lock = threading.Lock()

    # -- one run ------------------------------------------------------------------------------

    def folder(self, run_id: str) -> Path:
        """The folder of a run.

        Raises:
            NoSuchRunError: it is gone, is a link now, or never was.
        """
        path = self._paths.get(run_id)
        if path is None:
            path = {id_of(one): one for one, _ in self._walk()}.get(run_id)
        if path is None:
            raise NoSuchRunError("there is no such run, or no longer")
        parts = path.split("/")
        if Folder(self.runs_dir, *parts[:-1]).kind(parts[-1]) != "folder":
            raise NoSuchRunError(f"the run {path} was removed or moved")
        self._paths[run_id] = path
        return self.runs_dir / path

    def open(self, run_id: str) -> Run:
        """Open a run.

        Raises:
            FathomError: it cannot be read; NoSuchRunError where it is gone.
        """
        return Run.open(self.folder(run_id))

    # -- all runs -----------------------------------------------------------------------------

    def rows(self, since: int = 0) -> dict[str, Any]:
        """What changed after a version.

        Returns:
            `version` to ask for next, `rows`, the ids `removed`, whether these are `all` there are rather than
            changes, and whether the look at the folder is `complete`; ask again soon where it is not.
        """
        with self._lock:
            self._look(time.monotonic() + _MOMENT)
            everything = not 0 < since <= self._version or since < self._since
            rows = [row for row in self._rows.values() if everything or row["version"] > since]
            removed = [one for one, version in self._removed.items() if version > since]
            return {
                "version": self._version,
                "rows": rows,
                "removed": [] if everything else removed,
                "all": everything,
                "complete": self._complete,
            }

    def look_at_all(self) -> None:
        """Look at the folder until every run is known."""
        while not self._complete:
            with self._lock:
                self._look(time.monotonic() + _MOMENT)
            time.sleep(0.001)  # let others have the lock

    def _look(self, until: float) -> None:
        """Go on looking at the folder until a time."""
        if self._looking is None:
            if time.monotonic() < self._next:
                return
            self._began, self._looking = time.monotonic(), self._look_at_all()
        self._version += 1
        for _ in self._looking:
            if time.monotonic() > until:
                return
        self._looking, self._complete = None, True
        took = time.monotonic() - self._began
        self._next = self._began + max(_EVERY, _SHARE * took)

    def _look_at_all(self) -> Iterator[None]:
        """Bring the rows up to date, one by one, the runs that changed last first."""
        found = sorted(self._walk(), key=lambda pair: -pair[1])
        for path, _ in found:
            self._look_at(path)
            yield
        there = {id_of(path) for path, _ in found}
        for gone in self._rows.keys() - there:
            for known in (self._rows, self._seen, self._paths):
                known.pop(gone, None)
            self._removed[gone] = self._version
        if len(self._removed) > _MOST_REMOVED:
            self._removed.clear()
            self._since = self._version

    def _walk(self) -> Iterator[tuple[str, float]]:
        """The path beneath the folder of every run, readable or not, with the time of its last change."""
        places: list[tuple[str, ...]] = [(), (SHIPPED,)]
        for below in places:
            folder = self.runs_dir.joinpath(*below)
            try:
                if below and folder.is_symlink():
                    continue
                with os.scandir(folder) as entries:
                    names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            for name in names:
                if name.startswith("."):  # one that is being made
                    continue
                if not below and _stat(folder / name / SWEEP_CONFIG) is not None:
                    places.append((name,))
                times = [_stat(folder / name / file) for file in (CONFIG, METRICS)]
                if times[0] is not None:
                    yield "/".join((*below, name)), max(one[0] for one in times if one) / 1e9

    def _look_at(self, path: str) -> None:
        run_id = id_of(path)
        folder = self.runs_dir / path
        seen = stamp(folder, *_LOOKED_AT)
        row = self._rows.get(run_id)
        if (
            row is not None
            and self._seen.get(run_id) == seen
            # A lock that is taken or left leaves no trace in the files.
            and (row["state"] == "finished" or row["locked"] == _is_training(folder))
        ):
            return
        self._paths[run_id], self._seen[run_id] = path, seen
        self._removed.pop(run_id, None)
        new = {"id": run_id, "path": printable(path), **describe(folder)}
        if row is None or any(new[key] != row.get(key) for key in new):
            self._rows[run_id] = {**new, "version": self._version}


def describe(folder: Path) -> dict[str, Any]:
    """What a list shows of a run; a run that cannot be read has the state "broken", and `why`."""
    row: dict[str, Any] = {
        "name": printable(folder.name),
        "kind": "", "learner": "", "source": "", "seed": None,
        "steps": 0, "total": 0, "seconds": 0.0, "score": None,
        "state": "broken", "why": "", "locked": False, "changed": _changed(folder),
    }  # fmt: skip
    try:
        config, _ = read_config(folder)
        row |= {
            "kind": "fit" if config.is_fit else "training",
            "learner": printable(config.learner),
            "source": printable(config.source),
            "seed": config.seed,
            "total": config.steps,
        }
        run = Run(folder, config)
        row["locked"] = run.is_training()
        row |= _progress(run, row["locked"])
    except (FathomError, OSError) as error:
        row["why"] = printable(" ".join(str(error).split()))
        if row["locked"]:
            row["state"] = "running"
    return row


def _progress(run: Run, locked: bool) -> dict[str, Any]:
    """How far a run is, its latest score and its state."""
    report, evaluation, done = run.last_metrics(), run.last_evaluation(), run.progress()
    reached = max(done.steps, int((report or {}).get("steps", 0)))
    seconds = max(done.seconds, float((report or {}).get("seconds", 0)))
    if locked:
        state = "running"
    else:
        state = "finished" if _is_finished(run.config, done.steps, evaluation) else "paused"
    return {
        "steps": reached,
        "seconds": seconds,
        "score": None if evaluation is None else score_of(evaluation),
        "state": state,
    }


def _is_finished(config: RunConfig, steps: int, evaluation: dict[str, Any] | None) -> bool:
    if steps >= config.steps:
        return True
    stop = config.early_stop
    if stop is None or evaluation is None:
        return False
    return evaluation["steps"] == steps and evaluation["mean"] >= stop


def score_of(evaluation: dict[str, Any]) -> dict[str, Any]:
    """A score with what it has to be read with: its 95 % interval, and how much was counted."""
    return {
        "name": printable(evaluation.get("score", "return")),
        "mean": evaluation["mean"],
        "low": evaluation["interval"][0],
        "high": evaluation["interval"][1],
        "steps": evaluation["steps"],
        "count": evaluation.get("episodes") or evaluation.get("examples") or 0,
        "of": "episodes" if evaluation.get("episodes") else "examples",
    }


def _is_training(folder: Path) -> bool:
    with contextlib.suppress(FathomError, OSError), Folder(folder).reading("lock", 1 << 20) as file:
        return file.is_locked()
    return False


def stamp(folder: Path, *names: str) -> tuple:
    """What changes when one of these files of a folder is written, removed or replaced."""
    return tuple(_stat(folder / name) for name in names)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _changed(folder: Path) -> float:
    times = [one[0] / 1e9 for name in _LOOKED_AT if (one := _stat(folder / name)) is not None]
    return max(times, default=0.0)
