"""An agent in its environment, as the runner trains it and as everyone else uses it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agents import MissingPackageError, load_agent
from agents.agent import (
    Agent,
    AgentState,
    Metrics,
    RunContext,
    UnsuitableEnvironmentError,
    Workers,
)
from agents.parts.replay import DamagedReplayError
from envs.vector import BrokenEnvironmentError
from fathom.environments import EnvironmentSpec, resolve
from fathom.environments.constructor import from_toml
from fathom.errors import FathomError, UnsuitableRunError
from fathom.evaluation import Report, Result, evaluate, evaluation_seed
from fathom.files import reporting_disk_errors
from fathom.recording import record
from fathom.runs.bounds import refuse_memory
from fathom.runs.checkpoint import Progress
from fathom.runs.config import RunConfig, build_config, check_hyperparameters
from fathom.runs.folder import RunFolder
from fathom.runs.learner import ShouldStop
from fathom.runs.pictures import save_pictures, save_snapshot, video_of_snapshots
from fathom.runs.process import (
    BUILDING,
    MISFITS,
    inference_device,
    misfit,
    network_limit,
    random_generators,
    reporting_memory_errors,
    segment_seed,
)
from fathom.runs.trained_run import open_run
from fathom.runs.trust import refuse_arguments, refuse_imports, refuse_paths


class AgentLearner:
    """The `Learner` of a run that trains an agent.

    Args:
        workers: other processes, for an agent that `spreads`.
    """

    def __init__(self, run: RunFolder, workers: Workers | None = None) -> None:
        self.run, self.config = run, run.config
        kind = agent_class(run.config.agent)
        check_hyperparameters(run.folder, run.config, kind.Config)
        self.environment = environment_of(run)
        refuse_memory(run, self.environment.spaces()[0], training=True)
        if not run.trusted:
            names = kind.path_hyperparameters
            refuse_paths(run.folder, *(run.config.hyperparameters.get(name) for name in names))
        self.agent = build_agent(run.config, self.environment, run.replay, run.weights_bytes())
        self.agent.context = dataclasses.replace(self.agent.context, workers=workers)
        self.training_environment = (
            self.environment.for_self_play() if self.agent.self_play else self.environment
        )

    def segment(self, k: int, steps: int, seed: int) -> Iterator[Metrics]:
        replay = self.run.files / "replay"
        with reporting_disk_errors(self.run.folder):
            replay.make()
            for name in replay.names():  # the agent opens them by their paths
                with replay.writing(name, os.O_RDWR):
                    pass
        # New environments for every segment: nothing that the old ones remember reaches it.
        env = self.training_environment.make_vector(
            agent_config(self.config).num_envs, training=True
        )
        try:
            for metrics in self.agent.train(env, steps, seed):
                picture = self.agent.snapshot()
                if picture is not None:
                    save_snapshot(self.run, self.agent.steps, picture)
                yield metrics
        except BrokenEnvironmentError as error:
            raise FathomError(f"{self.config.environment} is broken: {error}") from error
        except DamagedReplayError as error:
            raise FathomError(
                f"{self.run.folder} cannot go on: {error}; what it has learnt can be evaluated and"
                " recorded"
            ) from error
        except UnsuitableEnvironmentError as error:
            message = f"{self.config.agent} cannot learn in {self.config.environment}: {error}"
            if self.agent.steps == 0:
                raise UnsuitableRunError(message) from error
            raise FathomError(message) from error
        finally:
            with contextlib.suppress(Exception):
                env.close()

    def evaluate(self, should_stop: ShouldStop, report: Report) -> Result | None:
        episodes = self.config.evaluation_episodes
        if not episodes:
            return None
        return evaluate(
            self.agent,
            self.environment,
            episodes,
            evaluation_seed(),
            self.config.evaluation_envs,
            should_stop,
            report,
        )

    def state(self) -> AgentState:
        return self.agent.state()

    def load(self, state: AgentState) -> None:
        self.agent.load(state)

    def check_resume(self, progress: Progress) -> list[str]:
        run = self.run
        needed = storage_needed(self.config, self.environment)
        if needed and progress.steps and not run.replay.is_dir():
            raise FathomError(
                f"{run.folder} cannot go on, because its replay memory was deleted "
                "(a run keeps it after its end only with --keep-replay)"
            )
        there = (path.lstat() for path in run.replay.glob("*"))
        check_room(run.folder, needed - sum(status.st_blocks * 512 for status in there))
        if not progress.steps:  # a new run's summary has the notice
            return []
        notice = [self.agent.notice] if self.agent.notice else []
        return notice + _changed_rules(self.config, self.environment)

    def finish(self, progress: Progress, message: Callable[[str], None]) -> None:
        run, name = self.run, f"step-{progress.steps}"
        videos = run.files / "videos"
        if self.config.record and f"{name}.mp4" not in videos.names():
            try:
                videos.make()
                paths = record(
                    self.agent, self.environment, run.videos, 1, evaluation_seed(), name,
                    warn=lambda text: message(f"warning: {text}"),
                )  # fmt: skip
                for path in paths:
                    message(f"recorded {path}")
            except FathomError as error:  # the training is done all the same
                message(f"warning: {error}")
        frames = video_of_snapshots(run)
        if frames:
            last = {"values": frames["training"][-1]}
            for path in save_pictures(run, last | frames):
                message(f"picture {path}")
        if not self.config.keep_replay:
            with contextlib.suppress(OSError):
                run.files.remove("replay")


def agent_class(name: str) -> type[Agent]:
    """An agent's class by its command-line name.

    Raises:
        FathomError: there is none, or a package that it needs is not installed.
    """
    try:
        return load_agent(name)
    except KeyError as error:
        raise FathomError(f"there is no agent {name!r}; see `fathom list`") from error
    except MissingPackageError as error:
        raise FathomError(str(error)) from error


def agent_config(config: RunConfig) -> Any:
    """The hyperparameters of a run's agent."""
    return build_config(agent_class(config.agent).Config, config.hyperparameters)


def environment_of(run: RunFolder, config: RunConfig | None = None) -> EnvironmentSpec:
    """The environment of a run.

    Args:
        config: what it is about to be asked for; its own if not given.

    Raises:
        FathomError: the run is not trusted, and its environment would import, start or read what does not
            ship with Fathom.
    """
    config = config or run.config
    if not run.trusted:
        refuse_imports(run.folder, config.environment, config.wrappers)
    arguments = {key: from_toml(value) for key, value in config.environment_arguments.items()}
    environment = resolve(
        config.environment, arguments, functools.partial(open_run, trust=run.trust)
    )
    if not run.trusted:
        refuse_arguments(run.folder, environment)
    if agent_class(config.agent).needs_copies:
        environment = dataclasses.replace(environment, copyable=True)
    return environment.wrapped_in(tuple(config.wrappers))


def build_agent(
    config: RunConfig,
    environment: EnvironmentSpec,
    storage: Path | None = None,
    weights: int | None = None,
) -> Agent:
    """Build a run's agent, untrained; without `storage` it only acts.

    Args:
        weights: bytes of the weights that it will load, if it will.

    Raises:
        FathomError: the agent is unknown or cannot act in this environment.
    """
    kind, hyperparameters = agent_class(config.agent), agent_config(config)
    observation_space, action_space = environment.spaces()
    try:
        with reporting_memory_errors(), random_generators(), network_limit(weights):
            segment_seed(config.seed, BUILDING)
            context = _context(config, environment, hyperparameters, storage)
            if getattr(hyperparameters, "prior", ""):
                context = dataclasses.replace(context, prior=_prior(hyperparameters.prior))
            agent = kind(observation_space, action_space, hyperparameters, context)
            agent.env_observation_space = environment.observation_space
            return agent
    except ValueError as error:
        raise FathomError(str(error)) from error


def _prior(reference: str) -> Agent:
    """The trained agent of a run that another agent plans with.

    Raises:
        FathomError: it is none, or plans itself.
    """
    run = RunFolder.open(Path(reference))
    if not run.config.is_fit and agent_class(run.config.agent).needs_copies:
        raise FathomError(f"{run.folder} is a run of {run.config.agent}, which has learnt nothing")
    return trained_agent(run, warnings.warn, "cpu")[0]


def trained_agent(
    run: RunFolder,
    warn: Callable[[str], None],
    device: str = "auto",
    which: int | str = "latest",
) -> tuple[Agent, EnvironmentSpec, Progress]:
    """The agent of a run as a checkpoint has it, to evaluate, record or play with.

    Reads only: it works while the run is being trained, and without its replay memory.

    Args:
        which: "latest", "best" or the step of a checkpoint.
    """
    if run.config.is_fit:
        raise FathomError(
            f"{run.folder} is a fit of {run.config.task}, which plays no episodes: it can be evaluated"
            " and can predict; `fathom play` talks with fits of chit-chat"
        )
    check_hyperparameters(run.folder, run.config, agent_class(run.config.agent).Config)
    if not run.trusted:
        refuse_paths(run.folder, run.config.hyperparameters.get("prior"))
    config = dataclasses.replace(run.config, device=inference_device(run.config, device))
    checkpoint = run.trained_checkpoint(which, warn)
    environment = environment_of(run)
    agent = build_agent(config, environment, weights=checkpoint.weights_bytes)
    try:
        agent.load(checkpoint.state)
    except MISFITS as error:
        raise FathomError(
            f"the checkpoint of {run.folder} does not fit its agent: {misfit(error)}"
        ) from error
    return agent, environment, checkpoint.progress


def storage_needed(config: RunConfig, environment: EnvironmentSpec) -> int:
    """Disk that the agent's replay memory will take, in bytes.

    Raises:
        FathomError: main memory has no room for what the agent keeps there.
    """
    kind, hyperparameters = agent_class(config.agent), agent_config(config)
    context = _context(config, environment, hyperparameters, None)
    try:
        return kind.storage_bytes(*environment.spaces(), hyperparameters, context)
    except ValueError as error:
        raise FathomError(str(error)) from error


def check_room(folder: Path, needed: int) -> None:
    """Raise FathomError unless the disk has room for `needed` more bytes of replay memory."""
    parent = folder.absolute()
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise FathomError(
            f"the replay memory needs {gigabytes(needed)} and the disk that holds {parent} has "
            f"{gigabytes(free)} left: make room, choose another --runs-dir or a smaller memory"
        )


def gigabytes(size: int) -> str:
    """A size on disk, in GB or MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _context(
    config: RunConfig, environment: EnvironmentSpec, hyperparameters: Any, storage: Path | None
) -> RunContext:
    return RunContext(
        num_envs=hyperparameters.num_envs,
        segment_steps=config.segment_steps,
        total_steps=config.steps,
        frame_stack=environment.frame_stack,
        storage=storage,
        device=config.device,
        expert_action=environment.expert(),
    )


def _changed_rules(config: RunConfig, environment: EnvironmentSpec) -> list[str]:
    """A sentence for each entry of the protocol that differs from when the run began.

    The command line compares versions itself.
    """
    now = environment.describe()
    return [
        f"{name} was {then} when the run began and is {now[name]}, so the results may differ from those of"
        " an uninterrupted run"
        for name, then in config.protocol.items()
        if now.get(name, then) != then and name not in ("ale_py", "gymnasium")
    ]
