"""From a reference, as the user types it, to an environment.

A reference is a registered id (`ALE/Pong-v5`), `module:Id` (the module is imported first, then the id is
looked up) or `path/to/file.py:Class`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from envs import atari
from envs.hooks import TrainedRun
from fathom.environments.constructor import (
    Value,
    load_constructor,
    read_arguments,
    read_atari_arguments,
)
from fathom.environments.environment_spec import EnvironmentSpec
from fathom.environments.registry import import_module, registered_spec
from fathom.environments.user_files import spec_from_file
from fathom.errors import FathomError

OpenRun = Callable[[str], TrainedRun | None]


def resolve(
    reference: str, env_args: Mapping[str, str] | None = None, open_run: OpenRun | None = None
) -> EnvironmentSpec:
    """Return the environment that `reference` names.

    Args:
        env_args: the environment's own arguments as texts.
        open_run: returns the trained run that a text names, or None if it names none. It is asked about
            the arguments in `envs.hooks.Hooks.run_arguments`.

    Raises:
        FathomError: there is no such environment, or it does not take these arguments.
    """
    given = dict(env_args or {})
    target, _, name = reference.rpartition(":")
    if target.endswith(".py"):
        path = Path(target).expanduser().resolve()
        spec = spec_from_file(path, name)
        reference = f"{path}:{name}"
    elif name.endswith(".py"):
        raise FathomError(f"{reference!r} names a file and no class; write {reference}:Class")
    else:
        if target:
            import_module(target, reference)
        spec = registered_spec(name)
    if atari.is_atari(spec.id):
        return EnvironmentSpec(reference, read_atari_arguments(reference, given), spec)
    constructor = load_constructor(spec)
    values = read_arguments(reference, constructor, given)
    runs = {} if open_run is None else _named_runs(constructor, values, open_run)
    values |= {argument: str(run.folder.resolve()) for argument, run in runs.items()}
    return EnvironmentSpec(reference, values, spec, runs)


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
