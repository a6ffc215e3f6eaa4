"""A trained run as environments get it: see `envs.hooks.TrainedRun`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.runs.run import find


class RunForEnvironment:
    """A run in place of its folder's name in an environment's arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @functools.cache  # noqa: B019 - as long as the environment's specification
    def model(self) -> Any:
        """Return the fitted model of the latest checkpoint; FathomError if it is no fit of slot-filling."""
        from fathom.runs.fit import understanding

        return understanding(self.folder)

    def command(self, name: str) -> list[str]:
        """Return the words that start `fathom NAME` on this run."""
        # -P: no folder of the user's may hide one of our packages.
        return [sys.executable, "-P", "-m", "fathom", name, str(self.folder)]


def open_run(text: str, runs: Path = Path("runs")) -> RunForEnvironment | None:
    """Return the run that a text names by its folder or its name under `runs`, or None."""
    try:
        return RunForEnvironment(find(text, runs).folder)
    except FathomError:
        return None
