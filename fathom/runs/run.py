"""A run as people use it: its folder, and what can be done with what was trained."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.agent import Agent
from fathom.display import Display
from fathom.errors import FathomError
from fathom.evaluation import Result, evaluate, evaluation_seed
from fathom.files import reporting_disk_errors
from fathom.recording import record
from fathom.runs.agent_learner import trained_agent
from fathom.runs.checkpoint import Progress
from fathom.runs.folder import RunFolder
from fathom.runs.launcher import extend
from fathom.runs.learner import ShouldStop
from fathom.runs.options import MOST_EPISODES
from fathom.runs.process import MISFITS, misfit, random_generators, threads_for
from fathom.runs.runner import never, train
from fathom.runs.task_learner import check_metadata, data_of, evaluate_task, trained_task
from perception.data.source import DataError
from perception.tasks.task import Task


class Run(RunFolder):
    """One training or fit.

    Everything but `resume` only reads the folder, so it works while the run is being trained.
    """

    def agent(self, device: str = "auto") -> Agent:
        """The trained agent.

        Args:
            device: "cpu", "cuda", or "auto" for the one it was trained on.

        Raises:
            FathomError: there is no checkpoint yet, or this is the fit of a task.
        """
        return trained_agent(self, _warn, device)[0]

    def task(self, device: str = "auto") -> Task:
        """The fitted task.

        Raises:
            FathomError: there is no checkpoint yet, or this is the run of an agent.
        """
        return trained_task(self, _warn, device)[0]

    def evaluate(
        self, episodes: int | None = None, *, seed: int = 0, device: str = "auto"
    ) -> Result:
        """Score the latest checkpoint, on episodes or examples that training never saw.

        Args:
            episodes: as many as the run's own evaluations if not given; a fit is always tested on all
                its test examples.
            seed: which set of evaluation episodes; 0 is the one that the run itself uses.
        """
        return self.evaluate_at(episodes, seed, device)[0]

    def evaluate_at(self, episodes: int | None, seed: int, device: str) -> tuple[Result, Progress]:
        """`evaluate`, with how far the checkpoint is."""
        config = self.config
        if config.is_fit:
            if episodes is not None or seed:
                raise FathomError(
                    f"{self.folder} is a fit of {config.task}: it is tested on all its test examples, so"
                    " it takes neither --episodes nor --seed"
                )
            task, progress = trained_task(self, _warn, device)
            data = data_of(self)
            check_metadata(self, task, data)
            with threads_for(config):
                return evaluate_task(task, data, config), progress
        if episodes is None:
            episodes = config.evaluation_episodes or 20
        _check_episodes(episodes)
        first_seed = evaluation_seed(seed)
        agent, environment, progress = trained_agent(self, _warn, device)
        num_envs = config.evaluation_envs
        with threads_for(config):
            return evaluate(agent, environment, episodes, first_seed, num_envs), progress

    def record(
        self,
        episodes: int = 1,
        *,
        folder: Path | str | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> builtins.list[Path]:
        """Record episodes of the latest checkpoint as mp4; gives the files.

        Args:
            folder: where they go; the run's own folder of videos if not given.
            seed: which set of evaluation episodes.
        """
        _check_episodes(episodes)
        first_seed = evaluation_seed(seed)
        agent, environment, progress = trained_agent(self, _warn, device)
        name = f"step-{progress.steps}" + (f"-seed-{seed}" if seed else "")
        target = self.videos if folder is None else Path(folder)
        if folder is None:
            with reporting_disk_errors(self.folder):
                (self.files / "videos").make()
        with reporting_disk_errors(target, "make room and record again"):
            return record(agent, environment, target, episodes, first_seed, name)

    def predict(
        self, inputs: Sequence[Any], *, device: str = "auto"
    ) -> builtins.list[dict[str, Any]]:
        """What a fitted task says of inputs of one's own; see the task for what it takes.

        Raises:
            FathomError: an input cannot be used.
        """
        task = self.task(device)
        try:
            with random_generators():
                return task.predict(inputs)
        except DataError as error:
            raise FathomError(str(error)) from error
        except MISFITS as error:
            raise FathomError(
                f"{self.config.task} cannot use this input: {misfit(error)}"
            ) from error

    def resume(
        self,
        steps: int | None = None,
        *,
        display: Display | None = None,
        should_stop: ShouldStop = never,
    ) -> Progress:
        """Go on exactly where the run was, to its end.

        Args:
            steps: new number of steps in all, to extend the run.

        Raises:
            FathomError: it cannot go on; the last checkpoint stays usable.
        """
        if steps is not None and steps != self.config.steps:
            extend(self, steps)
        shown = Display() if display is None else display
        return train(self, shown, should_stop)


def _check_episodes(episodes: int) -> None:
    if type(episodes) is not int or not 1 <= episodes <= MOST_EPISODES:
        raise FathomError(
            f"episodes must be a whole number from 1 to {MOST_EPISODES:,}, not {episodes!r}"
        )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)
