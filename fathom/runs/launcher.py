"""From what a person asked for to a new run: options and hyperparameters resolved, checked, written."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from agents import AGENTS
from fathom.arguments import nearest
from fathom.display import number
from fathom.environments import EnvironmentSpec
from fathom.environments.check import check
from fathom.environments.presets import preset
from fathom.errors import FathomError
from fathom.evaluation import MAX_ENVS
from fathom.recording import check_rendering
from fathom.runs.agent_learner import (
    agent_class,
    agent_config,
    build_agent,
    check_room,
    environment_of,
    gigabytes,
    storage_needed,
)
from fathom.runs.config import RunConfig, Value, build_config
from fathom.runs.folder import RunFolder, check_name
from fathom.runs.options import FitOptions, TrainOptions
from fathom.runs.process import training_device
from fathom.runs.task_learner import (
    build_task,
    data_source,
    protocol_of,
    task_class,
    task_data,
)
from fathom.runs.trust import refuse_arguments, refuse_imports, refuse_paths
from perception.tasks import TASKS

SEGMENT_STEPS = 10_000
"""Default steps between checkpoints, per environment."""


@dataclass(frozen=True)
class TrainingRequest:
    """Options of a run and hyperparameters of its agent: from the preset or the defaults, then as asked."""

    preset: str
    """Name of the preset they are from; empty for none."""
    options: TrainOptions
    config: Any
    """The agent's hyperparameters."""


def known_agent(name: str) -> str:
    """The name, if there is such an agent; else FathomError."""
    if name not in AGENTS:
        raise FathomError(
            f"there is no agent {name!r}{nearest(name, list(AGENTS))} (agents: {', '.join(sorted(AGENTS))})"
        )
    return name


def known_task(name: str) -> str:
    """The name, if there is such a task; else FathomError."""
    if name not in TASKS:
        raise FathomError(
            f"there is no task {name!r}{nearest(name, list(TASKS))} (tasks: {', '.join(sorted(TASKS))})"
        )
    return name


def defaults_for(
    agent: str, reference: str | None, options: type = TrainOptions
) -> TrainingRequest:
    """The defaults of an agent, with those of the preset that fits the environment best.

    Args:
        reference: the environment's; None where none is chosen yet.
        options: `TrainOptions` or a class derived from it.
    """
    kind = agent_class(known_agent(agent))
    chosen = preset(agent, reference) if reference is not None else None
    name, tables = chosen if chosen is not None else ("", {})
    known = {item.name for item in dataclasses.fields(options)}
    of_run = tables.get("run", {})
    if unknown := sorted(of_run.keys() - known):
        raise FathomError(f"the preset {name} sets {', '.join(unknown)}, which no run has")
    return TrainingRequest(
        name, options(**of_run), build_config(kind.Config, tables.get("agent", {}))
    )


def new_training(
    agent: str,
    environment: EnvironmentSpec,
    request: TrainingRequest,
    message: Callable[[str], None],
) -> RunFolder:
    """Check everything that can be checked before hours are spent, then make the run's folder.

    Args:
        request: as `defaults_for` gives it, with what was asked for in place.
        message: told what the run resolved to, line by line.
    """
    options, hyperparameters = request.options, request.config
    num_envs = hyperparameters.num_envs
    segment_steps = options.segment_steps or SEGMENT_STEPS * num_envs
    if options.name is not None:
        check_name(options.runs_dir, options.name)
    complaints = check(environment)
    config = RunConfig(
        environment=environment.reference,
        agent=agent,
        # Environments step together, so only whole rounds of steps can be done.
        steps=_rounded_up(options.steps, num_envs),
        segment_steps=_rounded_up(segment_steps, num_envs),
        evaluation_episodes=options.evaluation_episodes,
        evaluation_envs=options.evaluation_envs or min(num_envs, MAX_ENVS),
        seed=options.seed,
        device=training_device(options.device),
        threads=options.threads or torch.get_num_threads(),
        preset=request.preset,
        record=options.record,
        keep_replay=options.keep_replay,
        environment_arguments=dict(environment.env_args),
        hyperparameters=dataclasses.asdict(hyperparameters),
    )
    build_agent(config, environment)
    if options.record:
        check_rendering(environment)
    needed = storage_needed(config, environment)
    check_room(options.runs_dir, needed)
    config.protocol = dict(environment.describe())
    for complaint in complaints:
        message(f"warning: {complaint}")
    for line in _training_summary(config, needed):
        message(line)
    run = RunFolder.create(options.runs_dir, options.name, config)
    message(f"  run {run.folder}")
    if not run.signed:
        with _saying_unsigned(message):
            refuse_imports(run.folder, config.environment)
            refuse_arguments(run.folder, environment)
    return run


def new_fit(
    task: str,
    options: FitOptions,
    hyperparameters: Any,
    data_options: Mapping[str, Value],
    message: Callable[[str], None],
) -> RunFolder:
    """Read the data once, build the task once, then make the run's folder."""
    if options.name is not None:
        check_name(options.runs_dir, options.name)
    kind = task_class(known_task(task))
    source = data_source(options.data or kind.default_data, data_options).absolute()
    config = RunConfig(
        task=task,
        data=source.reference,
        steps=1,
        segment_steps=1,
        seed=options.seed,
        device=training_device(options.device),
        threads=options.threads or torch.get_num_threads(),
        data_options=dict(data_options),
        hyperparameters=dataclasses.asdict(hyperparameters),
    )
    data = task_data(config)
    config.segment_steps = len(data.train)  # type: ignore[arg-type]
    config.steps = hyperparameters.epochs * config.segment_steps
    config.protocol = protocol_of(data)
    build_task(config, data.metadata)
    for line in _fit_summary(config):
        message(line)
    run = RunFolder.create(options.runs_dir, options.name, config)
    message(f"  run {run.folder}")
    if not run.signed:
        with _saying_unsigned(message):
            refuse_paths(run.folder, config.data)
    return run


@contextlib.contextmanager
def _saying_unsigned(message: Callable[[str], None]) -> Iterator[None]:
    """Say of a run that could not be signed that it will be refused like one from elsewhere."""
    try:
        yield
    except FathomError:
        message(
            "  warning: the run cannot be signed, because Fathom's key in the user's state folder can be"
            " neither read nor made, so commands on it will need --trust"
        )


def extend(run: RunFolder, steps: int) -> None:
    """Set a new end of a run, in whole rounds of steps or whole epochs.

    Raises:
        FathomError: the run can no longer go on.
    """
    config = run.config
    if type(steps) is not int or steps < config.steps:
        raise FathomError(
            f"{run.folder} was asked for {config.steps:,} steps already; the steps can only extend that, to"
            f" a larger whole number, not to {steps}"
        )
    with run.lock():
        whole = config.segment_steps
        if not config.is_fit:
            whole = _check_extension(run)
        run.config = dataclasses.replace(config, steps=_rounded_up(steps, whole))
        run.write_config()


def _check_extension(run: RunFolder) -> int:
    """Raise FathomError where a training cannot be extended; gives its number of environments."""
    config = run.config
    checkpoint = run.load_checkpoint()
    environment = environment_of(run)
    build_agent(config, environment, weights=run.weights_bytes())  # refuses what cannot be
    complete = checkpoint is not None and checkpoint.progress.steps >= config.steps
    if complete and not run.replay.is_dir() and storage_needed(config, environment):
        raise FathomError(
            f"{run.folder} is complete and its replay memory was deleted, so it cannot be extended;"
            " train with --keep-replay to be able to"
        )
    return int(agent_config(config).num_envs)


def _rounded_up(steps: int, unit: int) -> int:
    return -(-steps // unit) * unit


def _training_summary(config: RunConfig, needed: int) -> list[str]:
    notice = agent_class(config.agent).notice
    return [
        f"{config.agent} in {config.environment}, preset {config.preset or 'none'}",
        f"  hyperparameters: {_listed(config.hyperparameters)}",
        protocol_line(config),
        f"  {config.steps:,} steps in segments of {min(config.segment_steps, config.steps):,}, "
        f"seed {config.seed}, {config.evaluation_episodes} evaluation episodes a segment",
        f"  device {config.device}, {config.threads} threads, replay memory {gigabytes(needed)} on disk",
        *([f"  warning: {notice}"] if notice else []),
    ]


def _fit_summary(config: RunConfig) -> list[str]:
    epochs = config.steps // config.segment_steps
    return [
        f"{config.task} on {config.data}",
        f"  hyperparameters: {_listed(config.hyperparameters)}",
        protocol_line(config),
        f"  {config.segment_steps:,} examples, {epochs} times; {config.protocol['test']:,} to test with"
        " after each",
        f"  seed {config.seed}, device {config.device}, {config.threads} threads",
    ]


def protocol_line(config: RunConfig) -> str:
    """What every score of a run has to be read with."""
    return f"  protocol: {_listed(config.protocol)}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number(value) if is_number else str(value)
