"""A run in place of an environment's argument that names one: an opponent, an understanding."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom.runs.folder import RunFolder
from fathom.runs.task_learner import trained_task


@dataclass(frozen=True)
class RunHandle:
    """`envs.hooks.TrainedRun` for a run's folder."""

    folder: Path

    def model(self) -> Any:
        """The fitted task's model."""
        task, _ = trained_task(RunFolder.open(self.folder), warnings.warn, "cpu")
        return task.model

    def command(self, name: str) -> list[str]:
        """The words that start `fathom NAME` on this run."""
        # -P: no folder of the user's may hide one of our packages.
        return [sys.executable, "-P", "-m", "fathom", name, str(self.folder)]


def open_run(reference: str, runs_dir: Path = Path("runs")) -> RunHandle | None:
    """The run that a text names; None if it names none."""
    candidates = (Path(reference), runs_dir / reference, runs_dir / "reference" / reference)
    for folder in candidates:
        if (folder / "run.toml").is_file():
            return RunHandle(folder.resolve())
    return None
