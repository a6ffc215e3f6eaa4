"""What play needs of trained runs; nothing else in this package knows how runs are stored or fitted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.agent import Agent
from fathom.environments.environment_spec import EnvironmentSpec

if TYPE_CHECKING:
    from fathom.runs.run import Run


def names_run(reference: str, runs_dir: Path) -> bool:
    """Whether a text names a run, by its folder or its name, rather than an installed program."""
    folders = (reference, str(runs_dir / reference), str(runs_dir / "reference" / reference))
    return bool(reference) and (
        any(os.path.isfile(os.path.join(folder, "run.toml")) for folder in folders)
        or (any(os.path.isdir(folder) for folder in folders) and shutil.which(reference) is None)
    )


def find_run(reference: str, runs_dir: Path) -> Run:
    """Return the run that a text names; FathomError if there is none."""
    from fathom.runs.run import find

    return find(reference, runs_dir)


def trained_agent(
    run: Run, warn: Callable[[str], None], device: str
) -> tuple[Agent, EnvironmentSpec]:
    """Return a run's agent as its latest checkpoint has it, and its environment."""
    from fathom.runs import training

    agent, environment, _ = training.trained_agent(run, warn, device)
    return agent, environment


def slot_filling_model(run: Run) -> Any:
    """Return the `IntentSlotModel` of a fit of slot-filling; FathomError if the run is none."""
    from fathom.runs import fit

    return fit.understanding(run.folder)


def fit_slot_filling(
    data: str, config: Any, sentences: int, epochs: int, folder: Path, name: str
) -> None:
    """Fit slot-filling to sentences of a domain, as the run `name` in a folder."""
    import torch

    from fathom.runs import fit
    from fathom.runs.run import Run

    flags = fit.FitFlags(
        data=data,
        sentences=sentences,
        epochs=epochs,
        name=name,
        device="cpu",
        threads=torch.get_num_threads(),
    )
    fit.fit(Run.create(folder, name, fit.settings_of("slot-filling", flags, config)))


def open_slot_filling(folder: Path) -> Any:
    """Return the `IntentSlotModel` in a run's folder; FathomError if it is missing or broken."""
    from fathom.runs.run import Run

    return slot_filling_model(Run.open(folder))
