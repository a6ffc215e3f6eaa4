"""The runs under a folder, each by an id that is no path, with what a list of them shows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from fathom.errors import FathomError
from fathom.files import Folder
from fathom.runs.config import CONFIG
from fathom.runs.run import Run

SHIPPED = "reference"
"""Folder of the runs that ship, beneath that of the runs."""


class NoSuchRunError(FathomError):
    """There is no run of this id, or no longer."""


def id_of(relative: str) -> str:
    """The id of a run: the start of the SHA-256 of its path beneath the folder of runs."""
    return hashlib.sha256(relative.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Registry:
    """The runs beneath a folder and its folder `reference`; a run that is a link is none."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._paths: dict[str, str] = {}

    def paths(self) -> dict[str, str]:
        """The path beneath the folder of every run by its id, whether it can be read or not."""
        self._paths = {id_of(path): path for path in self._walk()}
        return self._paths

    def _walk(self) -> Iterator[str]:
        for below in ((), (SHIPPED,)):
            folder = Folder(self.runs_dir, *below)
            try:
                with os.scandir(folder.path) as entries:
                    names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
                linked = below and folder.path.is_symlink()
            except OSError:
                continue
            for name in () if linked else names:
                if not name.startswith(".") and os.path.lexists(folder.path / name / CONFIG):
                    yield "/".join((*below, name))

    def folder(self, run_id: str) -> Path:
        """The folder of a run.

        Raises:
            NoSuchRunError: it is gone, is a link now, or never was.
        """
        path = self._paths.get(run_id) or self.paths().get(run_id)
        if path is None:
            raise NoSuchRunError("there is no such run, or no longer")
        parts = path.split("/")
        if Folder(self.runs_dir, *parts[:-1]).kind(parts[-1]) != "folder":
            raise NoSuchRunError(f"the run {path} was removed or moved")
        return self.runs_dir / path

    def open(self, run_id: str) -> Run:
        """Open a run.

        Raises:
            FathomError: it cannot be read; NoSuchRunError where it is gone.
        """
        return Run.open(self.folder(run_id))
