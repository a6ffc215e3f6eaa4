"""What `resume` may change of a run: its end, its evaluations, hyperparameters, the environment's arguments.

A changed end moves what is annealed over the whole run, such as a learning rate, and nothing else. Every other
change is written to `run.toml` with the step from which on it holds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from agents.agent import AgentState
from fathom.arguments import nearest, warn
from fathom.environments.check import check
from fathom.environments.constructor import for_toml
from fathom.errors import FathomError, one_sentence
from fathom.runs.agent_learner import (
    agent_class,
    agent_config,
    build_agent,
    environment_of,
    storage_needed,
)
from fathom.runs.bounds import TRAINING, refuse_costs
from fathom.runs.checkpoint import Checkpoint, Progress
from fathom.runs.config import Change, RunConfig, build_config, check_hyperparameters, provenance
from fathom.runs.folder import RunFolder
from fathom.runs.launcher import check_goals, rounded_up
from fathom.runs.process import MISFITS
from fathom.runs.runner import evaluated, reached_early_stop
from fathom.runs.task_learner import class_of

OPTIONS = "evaluation_episodes", "evaluation_envs", "early_stop", "keep"
"""Options of a run that can change; the last two change neither what is learnt nor how it is scored."""


def change(
    run: RunFolder,
    steps: int | None,
    changes: Mapping[str, Any],
    env_args: Mapping[str, str],
    message: Callable[[str], None],
) -> None:
    """Change what was asked of a run before it goes on; nothing changes where anything is refused.

    Args:
        steps: new end, in whole rounds of steps or whole epochs; lifts an early stop that was reached.
        changes: new values of `OPTIONS` and hyperparameters; the value that a run has is no change.
        env_args: new values of the environment's arguments, as they are typed.
        message: told what changes, line by line.

    Raises:
        FathomError: the run cannot go on like that.
    """
    if run.config.is_fit and (changes or env_args):
        name = next(iter([*changes, *env_args]))
        raise FathomError(f"{run.folder} is a fit: resume can extend it, but not change its {name}")
    kind = class_of(run) if run.config.is_fit else agent_class(run.config.learner)
    refuse_costs(run, kind.Config, TRAINING, [*changes, *env_args, *(["steps"] if steps else [])])
    if steps is None and not changes and not env_args:
        return
    with run.lock():
        checkpoint = run.load_checkpoint()
        progress = Progress() if checkpoint is None else checkpoint.progress
        config = run.config if run.config.is_fit else _changed(run, changes, env_args)
        if steps is not None:
            config = _extended(run, config, steps, progress)
        check_goals(config)
        differences = _differences(run.config, config)
        after = RunFolder(run.folder, config)
        complete = progress.steps >= config.steps or reached_early_stop(after, progress)
        if differences and complete and evaluated(after, progress):
            raise FathomError(
                f"{run.folder} is complete, so {differences[0]['name']} cannot change any more; --steps"
                " extends it"
            )
        if not config.is_fit and (differences or steps is not None):
            goes_on = progress.steps > 0 and not complete
            _check(run, config, differences, checkpoint, goes_on, message)
        if differences:
            config.changes = [
                *config.changes,
                *(
                    Change(
                        step=progress.steps, name=d["name"], before=d["before"], after=d["after"]
                    )
                    for d in differences
                ),
            ]
            if config.environment_arguments != run.config.environment_arguments:
                config.protocol = dict(environment_of(run, config).describe())
            for line in provenance(config)[-len(differences) :]:
                message(f"  {line}")
            message(
                "warning: with these changes the run is no longer the one it would have been without them"
            )
        if config != run.config:
            run.config = config
            run.write_config()


def _changed(run: RunFolder, changes: Mapping[str, Any], env_args: Mapping[str, str]) -> RunConfig:
    config = run.config
    kind = agent_class(config.agent).Config
    check_hyperparameters(run.folder, config, kind)
    old = agent_config(config)
    fields = [item.name for item in dataclasses.fields(old)]
    if unknown := [name for name in changes if name not in OPTIONS and name not in fields]:
        hint = nearest(unknown[0], [*OPTIONS, *fields])
        raise FathomError(f"resume cannot change {unknown[0]!r}{hint}")
    table = {name: value for name, value in changes.items() if name in fields}
    new = build_config(kind, dataclasses.asdict(old) | table)
    arguments = {**config.environment_arguments, **env_args}
    try:
        changed = dataclasses.replace(
            config,
            hyperparameters=dataclasses.asdict(new) if new != old else config.hyperparameters,
            environment_arguments=arguments,
            **{name: value for name, value in changes.items() if name in OPTIONS},
        )
    except ValueError as error:
        raise FathomError(one_sentence(error)) from error  # type: ignore[arg-type]
    if env_args:
        values = environment_of(run, changed).env_args
        changed.environment_arguments = {name: for_toml(value) for name, value in values.items()}
    return changed


def _extended(run: RunFolder, config: RunConfig, steps: int, progress: Progress) -> RunConfig:
    if type(steps) is not int or steps < config.steps:
        raise FathomError(
            f"{run.folder} was asked for {config.steps:,} steps already; the steps can only extend that, to"
            f" a larger whole number, not to {steps}"
        )
    unit = config.segment_steps if config.is_fit else int(agent_config(config).num_envs)
    asked_now = config.early_stop != run.config.early_stop
    reached = not asked_now and reached_early_stop(run, progress)
    return dataclasses.replace(
        config,
        steps=rounded_up(steps, unit),
        early_stop=None if reached else config.early_stop,
    )


def _differences(before: RunConfig, after: RunConfig) -> list[dict[str, Any]]:
    """Name, value before and value after of all that changed and is recorded."""
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in OPTIONS[:2]]
    for prefix, old, new in (
        ("", before.hyperparameters, after.hyperparameters),
        ("env.", before.environment_arguments, after.environment_arguments),
    ):
        pairs += [
            (prefix + name, old.get(name, "none"), new.get(name, "none")) for name in {**old, **new}
        ]
    return [{"name": name, "before": old, "after": new} for name, old, new in pairs if old != new]


def _check(
    run: RunFolder,
    config: RunConfig,
    differences: list[dict[str, Any]],
    checkpoint: Checkpoint | None,
    goes_on: bool,
    message: Callable[[str], None],
) -> None:
    """Raise FathomError unless the run's checkpoint and its replay memory fit the changed run."""
    environment = environment_of(run, config)
    weights = None if checkpoint is None else checkpoint.weights_bytes
    agent = build_agent(config, environment, weights=weights)
    needed = storage_needed(config, environment)
    if goes_on and needed and run.files.kind("replay") is None:
        raise FathomError(
            f"{run.folder} is complete and its replay memory was deleted, so it cannot be extended;"
            " train with --keep-replay to be able to"
        )
    if not differences:
        return
    names = [one["name"] for one in differences]
    what = f"{run.folder} cannot go on with another {' or '.join(names)}"
    before = dataclasses.replace(run.config, steps=config.steps)
    if "num_envs" in names or needed != storage_needed(before, environment_of(run, before)):
        raise FathomError(f"{what}: the number of environments and the replay memory are fixed")
    if checkpoint is not None:
        try:
            agent.load(checkpoint.state)
        except MISFITS as error:
            raise FathomError(f"{what}: the checkpoint does not fit") from error
        if _names(agent.state()) != _names(checkpoint.state):
            raise FathomError(f"{what}: the checkpoint does not fit")
    if any(name.startswith("env.") for name in names):
        for complaint in check(environment):
            warn(complaint)


def _names(state: AgentState) -> set[str]:
    return state.weights.keys() | state.tensors.keys()
