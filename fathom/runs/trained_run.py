"""A trained run that is passed to the constructor of an environment."""

from __future__ import annotations

import functools
import sys
import warnings
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.runs.folder import RunFolder
from fathom.runs.task_learner import trained_task


class RunHandle:
    """`envs.hooks.TrainedRun` for a run's folder."""

    def __init__(self, folder: Path, trust: bool = False) -> None:
        self.folder, self._trust = folder.resolve(), trust

    @functools.cache  # noqa: B019 - as long as the environment's specification
    def model(self) -> Any:
        """The fitted task's model; FathomError where it has none."""
        task, _ = trained_task(RunFolder.open(self.folder, trust=self._trust), warnings.warn, "cpu")
        model = getattr(task, "model", None)
        if model is None:
            raise FathomError(f"{self.folder} has no model that an environment could use")
        return model

    def command(self, name: str) -> list[str]:
        """The words that start `fathom NAME` on this run."""
        # -P: no folder of the user's may hide one of our packages.
        words = [sys.executable, "-P", "-m", "fathom", name, str(self.folder)]
        return [*words, "--trust"] if self._trust else words


def open_run(reference: str, trust: bool = False) -> RunHandle | None:
    """The run that a text names by its folder or its name under `runs`; None if it names none.

    Args:
        trust: let it import, start and read what its `run.toml` names, wherever it is from.
    """
    runs_dir = Path("runs")
    for folder in (Path(reference), runs_dir / reference, runs_dir / "reference" / reference):
        try:
            if (folder / "run.toml").is_file():
                return RunHandle(folder, trust)
        except OSError:  # too long for a path
            return None
    return None
