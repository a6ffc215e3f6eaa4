"""Expert data by what a person calls it: a run, a folder, or the name of a data set of Minari's."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from agents.agent import UnsuitableEnvironmentError
from agents.parts.demonstrations import INSTALL, METADATA, check_demonstrations
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError
from fathom.runs.config import CONFIG
from fathom.runs.folder import RunFolder


def expert_folder(reference: str, runs_dir: Path) -> Path:
    """The folder of Minari data that `--expert` names, absolute.

    Raises:
        FathomError: there is none, or the run has no recorded transitions.
    """
    if importlib.util.find_spec("minari") is None:
        raise FathomError(INSTALL)
    own = (Path(reference).expanduser(), runs_dir / reference, runs_dir / "reference" / reference)
    for folder in own:
        if os.path.isfile(folder / CONFIG):
            run = RunFolder.open(folder)
            if run.config.is_fit:
                raise FathomError(f"{folder} is a fit of {run.config.task}, which does not act")
            if METADATA not in (run.files / "transitions").names():
                raise FathomError(
                    f"{folder} has no recorded transitions: record some with `fathom record {folder}"
                    " --transitions 10000`"
                )
            return run.transitions.absolute()
    from minari.storage.datasets_root_dir import get_dataset_path

    for folder in (own[0], own[0] / "data", get_dataset_path(reference) / "data"):
        if os.path.isfile(folder / METADATA):
            return folder.absolute()
    if own[0].is_dir():
        raise FathomError(f"{reference} holds no data of Minari: there is no {METADATA} in it")
    raise FathomError(
        f"there is no expert {reference!r}: it must be a run, a folder of Minari data, or the name of a data"
        " set that is here already (`minari download NAME` fetches one)"
    )


def check_expert(folder: Path, environment: EnvironmentSpec, most_episodes: int) -> None:
    """Raise FathomError where expert data is plainly of another environment, or no data."""
    try:
        check_demonstrations(folder, environment.observation_space, most_episodes)
    except UnsuitableEnvironmentError as error:
        raise FathomError(str(error)) from error
