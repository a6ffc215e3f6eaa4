"""What play needs of trained runs; nothing else in this package knows how runs are stored or fitted."""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.agent import Agent
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError

if TYPE_CHECKING:
    from fathom.runs.folder import RunFolder
    from fathom.runs.run import Run


def names_run(reference: str, runs_dir: Path) -> bool:
    """Whether a text names a run, by its folder or its name, rather than an installed program."""
    folders = (reference, str(runs_dir / reference), str(runs_dir / "reference" / reference))
    return bool(reference) and (
        any(os.path.isfile(os.path.join(folder, "run.toml")) for folder in folders)
        or (any(os.path.isdir(folder) for folder in folders) and shutil.which(reference) is None)
    )


def find_run(reference: str, runs_dir: Path, trust: bool = False) -> Run:
    """Return the run that a text names; FathomError if there is none."""
    from fathom.runs.run import Run

    return Run.find(reference, runs_dir, trust)


def trained_agent(
    run: RunFolder, warn: Callable[[str], None], device: str, checkpoint: str = "latest"
) -> tuple[Agent, EnvironmentSpec]:
    """Return a run's agent as a checkpoint has it, and its environment."""
    import torch

    from fathom.runs import agent_learner

    agent, environment, _ = agent_learner.trained_agent(run, warn, device, checkpoint)
    if agent.needs_copies:
        raise FathomError(
            f"{run.folder} plans in copies of its environment, which there are none of here; `fathom evaluate` and"
            " `fathom record` show how it plays"
        )
    torch.set_num_threads(max(1, min(run.config.threads, os.cpu_count() or 1)))
    return agent, environment


def slot_filling_model(run: RunFolder) -> Any:
    """Return the `IntentSlotModel` of a fit of slot-filling; FathomError if the run is none."""
    from fathom.runs.task_learner import trained_task

    if run.config.task != "slot-filling":
        raise FathomError(f"{run.folder} is no fit of slot-filling, but of {run.config.learner}")
    task, _ = trained_task(run, warnings.warn, "cpu")
    return task.model


def fit_slot_filling(data: str, sentences: int, config: Any, folder: Path, name: str) -> None:
    """Fit slot-filling to sentences of a domain, as the run `name` in a folder."""
    import torch

    from fathom.display import Display
    from fathom.runs.launcher import new_fit
    from fathom.runs.options import FitOptions
    from fathom.runs.runner import train
    from fathom.runs.task_learner import TaskLearner

    options = FitOptions(
        data=data, name=name, runs_dir=folder, device="cpu", threads=torch.get_num_threads()
    )
    display = Display()
    options_of_data = {"sentences": sentences}
    run, read = new_fit("slot-filling", options, config, options_of_data, lambda _: None)
    train(run, display, learner=functools.partial(TaskLearner, data=read))


def open_slot_filling(folder: Path) -> Any:
    """Return the `IntentSlotModel` in a run's folder; FathomError if it is missing or broken."""
    from fathom.runs.folder import RunFolder

    return slot_filling_model(RunFolder.open(folder))
