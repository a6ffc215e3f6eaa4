"""An environment's constructor: its arguments, and their values from the texts of flags `--env.NAME`."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import os
import typing
from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.envs.registration import EnvSpec, load_env_creator
from pydantic import ValidationError

from envs.atari import AtariConfig
from fathom.environments.reporting import one_line
from fathom.errors import FathomError, one_sentence

Value = str | int | float | bool
MOST_EPISODE_STEPS = 10_000_000


def load_constructor(spec: EnvSpec) -> Callable[..., Any]:
    """Return the class (or function) that makes an environment; FathomError if it cannot be loaded."""
    if spec.entry_point is None:
        raise FathomError(f"{spec.id} is registered as a vector environment only")
    if callable(spec.entry_point):
        return spec.entry_point
    try:
        return load_env_creator(spec.entry_point)
    except Exception as error:
        raise FathomError(f"{spec.id} cannot be loaded: {one_line(error)}") from error


def has_argument(constructor: Callable[..., Any], name: str) -> bool:
    """Whether the constructor names this argument."""
    return name in inspect.signature(constructor).parameters


def unknown_arguments(constructor: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Return the given arguments that the constructor does not take."""
    parameters = inspect.signature(constructor).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return []
    names = _argument_names(constructor)
    return [name for name in given if name not in names]


def read_arguments(
    reference: str, constructor: Callable[..., Any], given: Mapping[str, str]
) -> dict[str, Value]:
    """Return the values of an environment's arguments, converted to their annotated types.

    Paths (see `envs.hooks.Hooks.path_arguments`) are made absolute.

    Raises:
        FathomError: an argument is unknown, reserved, or of the wrong type.
    """
    unknown = unknown_arguments(constructor, given)
    if unknown:
        raise FathomError(_unknown_argument(reference, unknown[0], _argument_names(constructor)))
    if "split" in given:
        raise FathomError("--env.split cannot be set: it is train in training and test elsewhere")
    hints = _type_hints(constructor)
    values = {name: _typed(name, str(text), hints.get(name)) for name, text in given.items()}
    limit = values.get("max_episode_steps", 1)
    if type(limit) is not int or not 1 <= limit <= MOST_EPISODE_STEPS:
        raise FathomError(
            f"--env.max_episode_steps must be a whole number from 1 to {MOST_EPISODE_STEPS:,}, not {limit!r}"
        )
    path_arguments: Mapping[str, tuple[str, ...]] = getattr(constructor, "path_arguments", {})
    for name, endings in path_arguments.items():
        text = str(values.get(name, ""))
        if text and text.endswith(endings) and os.path.exists(text):
            values[name] = os.path.abspath(text)
    return values


def read_atari_arguments(reference: str, given: Mapping[str, str]) -> dict[str, Value]:
    """Return the values of an Atari game's arguments; FathomError if one is unknown or wrong."""
    names = [field.name for field in dataclasses.fields(AtariConfig)]
    for name in given:
        if name not in names:
            raise FathomError(_unknown_argument(reference, name, names))
    values = {name: _convert(str(text)) for name, text in given.items()}
    try:
        AtariConfig(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise FathomError(one_sentence(error, "--env.{}".format)) from None
    return values


def _argument_names(constructor: Callable[..., Any]) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(constructor).parameters.values()
    names = [p.name for p in parameters if p.kind in named]
    hidden = ("self", "render_mode", "num_envs")
    return [*(n for n in names if n not in hidden), "max_episode_steps"]


def _unknown_argument(reference: str, name: str, known: list[str]) -> str:
    return f"{reference} has no argument {name!r}; it has {', '.join(dict.fromkeys(known))}"


def _type_hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the arguments, or none if they cannot be evaluated."""
    function: Any = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations may name what is imported for type checkers only
        return {}


def _typed(name: str, text: str, hint: Any) -> Value:
    """Convert a flag's text to the plain type `hint`; for any other hint the text decides."""
    value = text if hint is str else _convert(text)
    fits = type(value) is hint or (hint is float and type(value) is int)
    if hint in (int, float, bool) and not fits:
        raise FathomError(f"--env.{name} must be of the type {hint.__name__}, not {text!r}")
    return value


def _convert(text: str) -> Value:
    """Convert a text to a bool, an int or a finite float if it is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):  # JSON has no other numbers
            return value
    return text
