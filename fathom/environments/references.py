"""From a reference, as the user types it, to an environment.

A reference is a registered id (`ALE/Pong-v5`), `module:Id` (the module is imported first, then the id is
looked up), or a class or function that makes an environment: `path/to/file.py:Name`, `module:Name`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium import Env
from gymnasium.envs.registration import EnvSpec

from envs import atari
from envs.hooks import TrainedRun
from fathom.environments.constructor import (
    Value,
    load_constructor,
    read_arguments,
    read_atari_arguments,
)
from fathom.environments.environment_spec import EnvironmentSpec
from fathom.environments.registry import registered_spec
from fathom.environments.user_files import Importing, absolute, import_module_of
from fathom.errors import FathomError

OpenRun = Callable[[str], TrainedRun | None]


def resolve(
    reference: str, env_args: Mapping[str, str] | None = None, open_run: OpenRun | None = None
) -> EnvironmentSpec:
    """Return the environment that `reference` names.

    Args:
        env_args: the environment's own arguments as texts; those of lists and dictionaries are JSON.
        open_run: returns the trained run that a text names, or None if it names none. It is asked about
            the arguments in `envs.hooks.Hooks.run_arguments`.

    Raises:
        FathomError: there is no such environment, or it does not take these arguments.
    """
    given = dict(env_args or {})
    reference = absolute(reference)
    target, _, name = reference.rpartition(":")
    importing: Importing = nullcontext
    if name.endswith(".py"):
        raise FathomError(f"{reference!r} names a file and no class; write {reference}:Class")
    module = None
    if target:
        module, importing = import_module_of(reference)
    by_id = name in gymnasium.registry or not name.isidentifier()
    if module is not None and (target.endswith(".py") or not by_id):
        spec = _spec_of(module, target, name)
    else:
        spec = registered_spec(name)
    if atari.is_atari(spec.id):
        return EnvironmentSpec(reference, read_atari_arguments(reference, given), spec)
    with importing():
        constructor = load_constructor(spec)
    if importing is not nullcontext:  # its module's name means another one outside
        spec = copy.copy(spec)
        spec.entry_point = constructor  # type: ignore[assignment]
    values = read_arguments(reference, constructor, given)
    runs = {} if open_run is None else _named_runs(constructor, values, open_run)
    values |= {argument: str(run.folder.resolve()) for argument, run in runs.items()}
    return EnvironmentSpec(reference, values, spec, runs, importing)


def _spec_of(module: ModuleType, place: str, name: str) -> EnvSpec:
    """Return the specification of an environment's class, or of a function that makes one, in a module.

    Args:
        place: what the user calls the module.
    """
    result: Any = getattr(module, name, None)
    fits = issubclass(result, Env) if inspect.isclass(result) else callable(result)
    if not fits:
        there = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value)
            and issubclass(value, Env)
            and not value.__module__.startswith("gymnasium.")
        ]
        listed = f"it has {', '.join(there)}" if there else "it has no gymnasium.Env at all"
        what = "no environment" if result is None else "an object that is no gymnasium.Env, called"
        raise FathomError(f"{place} has {what} {name!r}; {listed}")
    return EnvSpec(name, entry_point=result)


def _named_runs(
    constructor: Callable[..., Any], values: Mapping[str, Value], open_run: OpenRun
) -> dict[str, TrainedRun]:
    """Return the trained runs that arguments name."""
    runs = {}
    run_arguments: Mapping[str, tuple[str, ...]] = getattr(constructor, "run_arguments", {})
    for name, other_texts in run_arguments.items():
        if name in values and values[name] not in other_texts:
            run = open_run(str(values[name]))
            if run is not None:
                runs[name] = run
    return runs
