"""Workers of a sweep that are tasks of a Ray cluster.

A task trains one run from its last checkpoint, in a process of its own. The runs folder is the same on every machine,
so a task whose machine dies is begun again on another one, and goes on from there to the same result.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.runs.cluster import RETRIES, connect
from fathom.runs.folder import RunFolder
from fathom.sweeps.folder import SweepConfig
from fathom.sweeps.workers import Ended

_WAIT = 120.0
"""Seconds that a task waits for a process on a machine that is thought dead to leave its run."""


class RayTasks:
    """Workers that are tasks of a Ray cluster."""

    def __init__(self, config: SweepConfig) -> None:
        self._ray = connect(config.ray)
        self.places = config.jobs
        needs: dict[str, Any] = {"num_cpus": config.threads, "num_gpus": config.ray_gpus}
        if config.ray_memory:
            needs["memory"] = int(config.ray_memory * (1 << 30))
        # A process for each task, so that nothing of one run is left when the next begins.
        self._task = self._ray.remote(max_calls=1, max_retries=RETRIES, **needs)(train_run)
        self._tasks: dict[Any, Path] = {}

    def start(self, folder: Path) -> None:
        self._tasks[self._task.remote(str(folder.absolute()))] = folder

    def stop(self, folder: Path) -> None:
        for task, at in self._tasks.items():
            if at == folder:
                self._ray.cancel(task, force=True)  # a run can be killed at any moment

    def ended(self) -> list[Ended]:
        if not self._tasks:
            return []
        ready, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [self._end(task, self._tasks.pop(task)) for task in ready]

    def _end(self, task: Any, folder: Path) -> Ended:
        errors = self._ray.exceptions
        try:
            why = self._ray.get(task)
        except errors.RayTaskError as error:
            lines = str(error).strip().splitlines()
            again = isinstance(error.cause, TimeoutError)
            return Ended(folder, False, again, lines[-1] if lines else "its task failed")
        except (errors.RayError, KeyboardInterrupt) as error:
            return Ended(folder, False, again=True, why=f"its worker died ({type(error).__name__})")
        run = RunFolder.open(folder, trust=True)
        if not run.signed:  # its last machine has another key
            run.write_config()
        return Ended(folder, not why, why=why)

    def close(self) -> None:
        for folder in set(self._tasks.values()):
            self.stop(folder)
        with contextlib.suppress(self._ray.exceptions.RayError):
            while self._tasks:
                self.ended()
                time.sleep(0.05)
        self._ray.shutdown()


def train_run(folder: str) -> str:
    """Train a run to its end on whichever machine this is; gives what went wrong, or nothing.

    Raises:
        TimeoutError: another process does not leave it.
    """
    import fathom

    try:
        run = fathom.load(folder, trust=True)
        until = time.monotonic() + _WAIT
        while run.is_training():
            if time.monotonic() > until:
                raise TimeoutError(f"{folder} is being trained by another process")
            time.sleep(0.5)
        fathom.resume(run, progress=False, trust=True)
    except FathomError as error:
        return str(error)
    return ""
