"""From what a person asked for to a new run: options and hyperparameters resolved, checked, written."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from pydantic import ValidationError

from agents import AGENTS
from agents.agent import Agent
from envs.observations import ObservationFlattener, is_vector
from fathom.arguments import nearest, warn
from fathom.display import number
from fathom.environments import EnvironmentSpec
from fathom.environments.check import check
from fathom.environments.constructor import for_toml
from fathom.environments.presets import preset, read_preset
from fathom.environments.wrappers import wrapper_references
from fathom.errors import FathomError, UnsuitableRunError, one_sentence
from fathom.evaluation import MAX_ENVS
from fathom.recording import check_rendering
from fathom.runs.agent_learner import (
    agent_class,
    build_agent,
    check_room,
    gigabytes,
    storage_needed,
)
from fathom.runs.config import RunConfig, Value, build_config, provenance
from fathom.runs.expert import check_expert, expert_folder
from fathom.runs.folder import RunFolder, check_name
from fathom.runs.initial_weights import initial_state
from fathom.runs.options import FitOptions, TrainOptions
from fathom.runs.process import training_device
from fathom.runs.task_learner import data_source, protocol_of, task_data, try_task
from fathom.runs.tasks import default_data, reporting_task_errors, task_class
from fathom.runs.trained_run import open_run
from fathom.runs.trust import refuse_arguments, refuse_data, refuse_imports, refuse_module
from fathom.runs.world_frames import SCHEME, absolute_reference
from perception.networks.encoders import IndexEncoder, VectorEncoder, parts_of
from perception.tasks.task import TaskData

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


def defaults_for(
    agent: str,
    reference: str | None,
    options: type = TrainOptions,
    preset_file: Path | None = None,
) -> TrainingRequest:
    """The defaults of an agent, with those of the preset that fits the environment best.

    Args:
        reference: the environment's; None where none is chosen yet.
        options: `TrainOptions` or a class derived from it.
        preset_file: a preset of the user's, which is taken instead.
    """
    kind = agent_class(known_agent(agent))
    if preset_file is not None:
        name, tables = str(preset_file), read_preset(preset_file, agent, is_fit=False)
    else:
        chosen = preset(agent, reference) if reference is not None else None
        name, tables = chosen if chosen is not None else ("", {})
    return _request(name, options, tables.get("run", {}), kind.Config, tables.get("agent", {}))


def fit_defaults(
    task: str, options: type = FitOptions, preset_file: Path | None = None
) -> tuple[Any, Any]:
    """The default options and hyperparameters of a task, or those of a preset of the user's.

    Args:
        task: as `resolve_task` gives it.
        options: `FitOptions` or a class derived from it.
    """
    kind = task_class(task)
    if preset_file is None:
        return options(), kind.Config()
    tables = read_preset(preset_file, task, is_fit=True)
    config, name = tables["hyperparameters"], str(preset_file)
    request = _request(name, options, tables["run"], kind.Config, config)
    return request.options, request.config


def _request(
    name: str, options: type, of_run: dict[str, Any], kind: type, config: dict[str, Any]
) -> TrainingRequest:
    """What a preset asks for; FathomError, which names it, where a value is refused."""
    known = {item.name for item in dataclasses.fields(options)} - {"preset"}
    if unknown := sorted(of_run.keys() - known):
        raise FathomError(f"the preset {name} sets {', '.join(unknown)}, which no run has")
    values = {key: tuple(one) if isinstance(one, list) else one for key, one in of_run.items()}
    try:
        return TrainingRequest(name, options(**values), build_config(kind, config))
    except ValidationError as error:
        raise FathomError(f"the preset {name} cannot be right: {one_sentence(error)}") from error
    except FathomError as error:
        raise FathomError(f"the preset {name} cannot be right: {error}") from error


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
    if expert := getattr(hyperparameters, "expert", ""):
        folder = expert_folder(expert, options.runs_dir)
        hyperparameters = dataclasses.replace(hyperparameters, expert=str(folder))
    if prior := getattr(hyperparameters, "prior", ""):
        handle = open_run(prior)
        if handle is None:
            raise FathomError(f"there is no run {prior!r} to take as the prior")
        hyperparameters = dataclasses.replace(hyperparameters, prior=str(handle.folder))
    wrappers = wrapper_references(options.wrap, options.grey, options.resize, options.frame_stack)
    environment = environment.wrapped_in(wrappers)
    normalized = getattr(hyperparameters, "normalize_observations", False)
    complaints = check(environment, normalized)
    config = RunConfig(
        environment=environment.reference,
        agent=agent,
        # Environments step together, so only whole rounds of steps can be done.
        steps=rounded_up(options.steps, num_envs),
        segment_steps=rounded_up(segment_steps, num_envs),
        evaluation_episodes=options.evaluation_episodes,
        evaluation_envs=options.evaluation_envs or min(num_envs, MAX_ENVS),
        early_stop=options.early_stop,
        keep=options.keep,
        seed=options.seed,
        device=training_device(options.device),
        threads=options.threads or torch.get_num_threads(),
        preset=request.preset,
        record=options.record,
        keep_replay=options.keep_replay,
        environment_arguments={
            name: for_toml(value) for name, value in environment.env_args.items()
        },
        wrappers=[wrapper.reference for wrapper in environment.wrappers],
        hyperparameters=dataclasses.asdict(hyperparameters),
    )
    check_goals(config)
    built = build_agent(config, environment)
    if built.self_play:
        environment.for_self_play()  # refuses an environment that has no second player
    if expert:
        check_expert(Path(hyperparameters.expert), environment, hyperparameters.expert_episodes)
    readers = _readers(built)
    initial = initial_state(options, config, built)
    if options.record:
        check_rendering(environment)
    needed = storage_needed(config, environment)
    check_room(options.runs_dir, needed)
    config.protocol = dict(environment.describe())
    for complaint in complaints:
        warn(complaint)
    for line in _training_summary(config, needed, readers):
        message(line)
    run = RunFolder.create(options.runs_dir, options.name, config, initial)
    message(f"  run {run.folder}")
    if not run.signed:
        with _saying_unsigned(message):
            refuse_imports(run.folder, config.environment, config.wrappers)
            refuse_arguments(run.folder, environment)
    return run


@contextlib.contextmanager
def removing_unsuitable(run: RunFolder) -> Iterator[None]:
    """Inside, a new run is trained; it is removed if its agent turns out to be unable to learn in its environment."""
    try:
        yield
    except UnsuitableRunError:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise


def check_goals(config: RunConfig) -> None:
    """Raise FathomError where a run goes by evaluations and has none."""
    if not config.evaluates and (config.early_stop is not None or config.keep == "best"):
        raise FathomError(
            "--early-stop and --keep best go by evaluations, and --evaluation-episodes 0 asks for none"
        )


def new_fit(
    task: str,
    options: FitOptions,
    hyperparameters: Any,
    data_options: Mapping[str, Value],
    message: Callable[[str], None],
) -> tuple[RunFolder, TaskData]:
    """Check everything that can be checked before hours are spent, then make the run's folder.

    Args:
        task: as `resolve_task` gives it.

    Returns:
        The run and its data.
    """
    if options.name is not None:
        check_name(options.runs_dir, options.name)
    epochs = hyperparameters.epochs
    if type(epochs) is not int or not 1 <= epochs <= 10_000:  # a user's Config may check nothing
        raise FathomError(f"epochs must be a whole number from 1 to 10,000, not {epochs!r}")
    source = data_source(options.data or default_data(task), data_options).absolute()
    if source.scheme == SCHEME:
        name = absolute_reference(source.reference.partition(":")[2])
        source = dataclasses.replace(source, reference=f"{SCHEME}:{name}")
    try:
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
    except ValidationError as error:
        raise FathomError(one_sentence(error)) from error
    data = task_data(config)
    config.segment_steps = data.passes * len(data.train)  # type: ignore[arg-type]
    config.steps = epochs * config.segment_steps
    with reporting_task_errors(task, "load_data"):
        config.protocol = protocol_of(data)
    try_task(config, data)
    for line in _fit_summary(config):
        message(line)
    run = RunFolder.create(options.runs_dir, options.name, config)
    message(f"  run {run.folder}")
    if not run.signed:
        with _saying_unsigned(message):
            refuse_data(run.folder, config.data)
            refuse_module(run.folder, config.task)
    return run, data


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


def rounded_up(steps: int, unit: int) -> int:
    return -(-steps // unit) * unit


def _readers(agent: Agent) -> str:
    """Which network reads which part of the observation; empty for an agent with a network of its own."""
    if agent.encoder is None:
        return ""
    # Images, grids and sequences have an encoder each; the rest share one for indices and one for numbers.
    own = iter(parts_of(agent.encoder))
    parts = []
    for part in ObservationFlattener(agent.env_observation_space).parts:
        if isinstance(part.flat, spaces.MultiDiscrete):
            network = IndexEncoder.name
        else:
            network = VectorEncoder.name if is_vector(part.flat) else str(next(own).name)
        parts.append(f"{part.name} {_size(part.space)} → {network}".lstrip())
    return "observation: " + ", ".join(parts)


def _size(space: gymnasium.Space) -> str:
    """An elementary observation space in a word or two, such as `84×84×3 uint8`."""
    if isinstance(space, spaces.Discrete):
        return f"{space.n:,} values"
    if not space.shape or isinstance(space, spaces.Text):
        return "1 number" if isinstance(space, spaces.Box) else type(space).__name__.lower()
    sides = "×".join(map(str, space.shape))
    if isinstance(space, spaces.Box):
        return sides if space.dtype == np.float32 else f"{sides} {space.dtype}"
    return f"{sides} {'bits' if isinstance(space, spaces.MultiBinary) else 'indices'}"


def _training_summary(config: RunConfig, needed: int, readers: str) -> list[str]:
    notice = agent_class(config.agent).notice
    return [
        f"{config.agent} in {config.environment}, preset {config.preset or 'none'}",
        f"  hyperparameters: {_listed(config.hyperparameters)}",
        protocol_line(config),
        *([f"  {readers}"] if readers else []),
        f"  {config.steps:,} steps in segments of {min(config.segment_steps, config.steps):,}, "
        f"seed {config.seed}, {config.evaluation_episodes} evaluation episodes a segment",
        f"  device {config.device}, {config.threads} threads, replay memory {gigabytes(needed)} on disk",
        *_steering(config),
        *_threads_warning(config),
        *([f"  warning: {notice}"] if notice else []),
    ]


def _steering(config: RunConfig) -> list[str]:
    lines = [f"  {line}" for line in provenance(config)]
    if config.early_stop is not None:
        lines.append(f"  ends at an evaluation of {number(config.early_stop)} or more")
    return lines


def _threads_warning(config: RunConfig) -> list[str]:
    cores = os.cpu_count() or 1
    if config.threads <= cores:
        return []
    return [f"  warning: {config.threads:,} threads on {cores} cores are slower than {cores}"]


def _fit_summary(config: RunConfig) -> list[str]:
    examples, tests = config.protocol["train"], config.protocol["test"]
    passes = config.segment_steps // examples
    each = "each" if passes == 1 else f"every {passes:,}"
    return [
        f"{config.task} on {config.data}",
        f"  hyperparameters: {_listed(config.hyperparameters)}",
        protocol_line(config),
        f"  {examples:,} examples, {config.steps // examples:,} times; {tests:,} to test with after {each}",
        f"  seed {config.seed}, device {config.device}, {config.threads} threads",
        *_threads_warning(config),
    ]


def protocol_line(config: RunConfig) -> str:
    """What every score of a run has to be read with."""
    return f"  protocol: {_listed(config.protocol)}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number(value) if is_number else str(value)
