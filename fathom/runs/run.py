"""A run as people use it: its folder, and what can be done with what was trained."""

from __future__ import annotations

import builtins
import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.agent import Agent
from fathom.display import Display
from fathom.environments.constructor import argument_text
from fathom.errors import FathomError
from fathom.evaluation import Report, Result, evaluate, evaluation_seed, ignore
from fathom.files import Folder, reporting_disk_errors
from fathom.imagination import Imagined, imagine
from fathom.recording import MAX_SECONDS, record
from fathom.runs.agent_learner import agent_class, trained_agent
from fathom.runs.bounds import EVALUATION, TEST, refuse_costs, refuse_memory
from fathom.runs.changes import change
from fathom.runs.checkpoint import Progress
from fathom.runs.cluster import workers_at
from fathom.runs.folder import RunFolder
from fathom.runs.learner import ShouldStop
from fathom.runs.options import MOST_EPISODES
from fathom.runs.process import MISFITS, misfit, random_generators, threads_for
from fathom.runs.runner import learner_of, never, train
from fathom.runs.task_learner import check_metadata, class_of, data_of, evaluate_task, trained_task
from fathom.runs.tasks import checked_answers, reporting_task_errors
from fathom.transitions import MOST_TRANSITIONS, Recorded, record_transitions
from perception.data.source import DataError
from perception.tasks.task import Task


class Run(RunFolder):
    """One training or fit.

    Everything but `resume` only reads the folder, so it works while the run is being trained.
    """

    def agent(self, device: str = "auto", checkpoint: int | str = "latest") -> Agent:
        """The trained agent.

        Args:
            device: "cpu", "cuda", or "auto" for the one it was trained on.
            checkpoint: "latest", "best" (of the run's own evaluations) or the step of one that is there.

        Raises:
            FathomError: there is no checkpoint yet, or this is the fit of a task.
        """
        return trained_agent(self, _warn, device, checkpoint)[0]

    def task(self, device: str = "auto", checkpoint: int | str = "latest") -> Task:
        """The fitted task, of the latest checkpoint or that of a step.

        Raises:
            FathomError: there is no checkpoint yet, or this is the run of an agent.
        """
        return trained_task(self, _warn, device, checkpoint)[0]

    def evaluate(
        self,
        episodes: int | None = None,
        *,
        seed: int | None = None,
        device: str = "auto",
        checkpoint: int | str = "latest",
    ) -> Result:
        """Score a checkpoint, on episodes or examples that training never saw.

        Args:
            episodes: as many as the run's own evaluations if not given; a fit is always tested on all
                its test examples.
            seed: which set of evaluation episodes; 0, the one that the run itself uses, if not given. The
                best checkpoint was chosen by set 0, on which its score is too high, so it is scored on set 1.
            checkpoint: as for `agent`.
        """
        return self.evaluate_at(episodes, seed, device, checkpoint)[0]

    def evaluate_at(
        self,
        episodes: int | None,
        seed: int | None,
        device: str,
        checkpoint: int | str = "latest",
        report: Report = ignore,
    ) -> tuple[Result, Progress]:
        """`evaluate`, with how far the checkpoint is.

        Args:
            report: told how many episodes or examples are done, and of how many.
        """
        config = self.config
        if config.is_fit:
            if episodes is not None or seed:
                raise FathomError(
                    f"{self.folder} is a fit of {config.task}: it is tested on all its test examples, so"
                    " it takes neither --episodes nor --seed"
                )
            refuse_costs(self, class_of(self).Config, TEST)
            task, progress = trained_task(self, _warn, device, checkpoint)
            data = data_of(self)
            check_metadata(self, task, data)
            with threads_for(config):
                return evaluate_task(task, data, config, report=report), progress
        asked = () if episodes is None else ("evaluation_episodes",)
        refuse_costs(self, agent_class(config.agent).Config, EVALUATION, asked)
        if episodes is None:
            episodes = config.evaluation_episodes or 20
        _check_episodes(episodes)
        if seed is None:
            seed = 1 if checkpoint == "best" else 0
        elif seed == 0 and checkpoint == "best":
            _warn("the best checkpoint was chosen by these very episodes, so its score is too high")
        first_seed = evaluation_seed(seed)
        agent, environment, progress = trained_agent(self, _warn, device, checkpoint)
        refuse_memory(self, environment.spaces()[0], training=False)
        num_envs = config.evaluation_envs
        with threads_for(config):
            result = evaluate(agent, environment, episodes, first_seed, num_envs, report=report)
            return result, progress

    def record(
        self,
        episodes: int = 1,
        *,
        folder: Path | str | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: int | str = "latest",
        max_seconds: float = MAX_SECONDS,
    ) -> builtins.list[Path]:
        """Record episodes of a checkpoint as mp4; gives the files.

        Args:
            folder: where they go; the run's own folder of videos if not given.
            seed: which set of evaluation episodes.
            checkpoint: as for `agent`.
            max_seconds: a longer video is cut.
        """
        _check_episodes(episodes)
        first_seed = evaluation_seed(seed)
        agent, environment, progress = trained_agent(self, _warn, device, checkpoint)
        name = f"step-{progress.steps}" + (f"-seed-{seed}" if seed else "")
        with self._filming(folder) as target:
            return record(
                agent, environment, target, episodes, first_seed, name, max_seconds, _warn
            )

    @contextlib.contextmanager
    def _filming(self, folder: Path | str | None) -> Iterator[Path]:
        """The folder for videos; what goes wrong there is one sentence."""
        target = self.videos if folder is None else Path(folder)
        if folder is None:
            with reporting_disk_errors(self.folder):
                (self.files / "videos").make()
        with reporting_disk_errors(target, "make room and record again"):
            yield target

    def imagine(
        self,
        steps: int,
        episodes: int = 1,
        *,
        folder: Path | str | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: int | str = "latest",
        max_seconds: float = MAX_SECONDS,
    ) -> Imagined:
        """Record episodes of a run of muzero beside what its model imagines, and its errors over the steps.

        Args:
            steps: how far it imagines before it starts anew from what is observed.
            folder, seed, checkpoint, max_seconds: as for `record`.
        """
        _check_episodes(episodes)
        first_seed = evaluation_seed(seed)
        agent, environment, progress = trained_agent(self, _warn, device, checkpoint)
        name = f"step-{progress.steps}" + (f"-seed-{seed}" if seed else "")
        with self._filming(folder) as target:
            return imagine(
                agent, environment, target, steps, episodes, first_seed, name, max_seconds
            )

    def record_transitions(
        self,
        transitions: int,
        *,
        folder: Path | str | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: int | str = "latest",
    ) -> Recorded:
        """Write transitions of a checkpoint in Minari's format, for agents such as `bc` to imitate.

        Args:
            transitions: how many at least, for episodes are played to their end.
            folder: where they go; the run's own folder of transitions if not given.
            seed: which set of episodes, none of which is an evaluation's.
            checkpoint: as for `agent`.
        """
        if type(transitions) is not int or not 1 <= transitions <= MOST_TRANSITIONS:
            raise FathomError(
                f"transitions must be a whole number from 1 to {MOST_TRANSITIONS:,}, not {transitions!r}"
            )
        first_seed = evaluation_seed(seed) - evaluation_seed()
        agent, environment, _ = trained_agent(self, _warn, device, checkpoint)
        target = self.transitions if folder is None else Path(folder)
        parent = self.files if folder is None else Folder(target.absolute().parent)
        with reporting_disk_errors(target, "make room and record again"):
            return record_transitions(
                agent, environment, parent, target.name, transitions, first_seed, self.config.agent
            )

    def predict(
        self, inputs: Sequence[Any], *, device: str = "auto"
    ) -> builtins.list[dict[str, Any]]:
        """What a fitted task says of inputs of one's own; see the task for what it takes.

        Args:
            inputs: a list of them; a text or a path alone is a list of one.

        Raises:
            FathomError: an input cannot be used.
        """
        if isinstance(inputs, (str, Path)):
            inputs = [inputs]
        if not isinstance(inputs, Sequence):
            raise FathomError(f"inputs are given as a list, such as [{inputs!r}]")
        task = self.task(device)
        try:
            with random_generators(), reporting_task_errors(self.config.task, "predict"):
                return self._answers(task, inputs)
        except MISFITS as error:
            raise FathomError(
                f"{self.config.task} cannot use this input: {misfit(error)}"
            ) from error

    def _answers(self, task: Task, inputs: Sequence[Any]) -> builtins.list[dict[str, Any]]:
        try:
            return checked_answers(self.config.task, task.predict(inputs), inputs)
        except DataError as error:
            raise FathomError(str(error)) from error

    def resume(
        self,
        steps: int | None = None,
        *,
        env_args: Mapping[str, Any] | None = None,
        display: Display | None = None,
        should_stop: ShouldStop = never,
        ray: str | None = None,
        **changes: Any,
    ) -> Progress:
        """Go on exactly where the run was, to its end, or with changes that are written to `run.toml`.

        Args:
            steps: new number of steps in all, to extend the run.
            env_args: arguments of the environment that change, such as `max_episode_steps`.
            ray: address of a Ray cluster that searches the groups of alphago's games.
            changes: `evaluation_episodes`, `evaluation_envs`, `early_stop`, `keep` and hyperparameters, such
                as `learning_rate`.

        Raises:
            FathomError: it cannot go on; the last checkpoint stays usable, and nothing is changed.
        """
        shown = Display() if display is None else display
        texts = {name: argument_text(value) for name, value in (env_args or {}).items()}
        with workers_at(ray, self.config.agent, self.config.threads, shown.message) as workers:
            change(self, steps, changes, texts, shown.message)
            learner = functools.partial(learner_of, workers=workers)
            return train(self, shown, should_stop, learner)


def _check_episodes(episodes: int) -> None:
    if type(episodes) is not int or not 1 <= episodes <= MOST_EPISODES:
        raise FathomError(
            f"episodes must be a whole number from 1 to {MOST_EPISODES:,}, not {episodes!r}"
        )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)
