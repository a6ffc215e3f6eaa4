"""An environment's constructor: its arguments, and their values from the texts of flags `--env.NAME`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from pydantic import TypeAdapter, ValidationError

from envs.atari import AtariConfig
from fathom.environments.reporting import one_line
from fathom.errors import FathomError, one_sentence
from fathom.schema import plain_value

Value = Any
"""A value of JSON: a text, a number, a bool, None, or a list or dictionary of them."""
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
    return name in _parameters(constructor)


def takes_render_mode(constructor: Callable[..., Any]) -> bool:
    """Whether the constructor can be given `render_mode`."""
    parameters = _parameters(constructor).values()
    return any(
        p.name == "render_mode" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters
    )


def takes_split(constructor: Callable[..., Any]) -> bool:
    """Whether the argument `split` is the hook that `envs.hooks.Hooks` describes, not one of another meaning.

    It is if both "train" and "test" fit its annotation, and its default is one of the two, None or missing.
    """
    parameter = _parameters(constructor).get("split")
    if parameter is None or parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return False
    default = parameter.default
    if isinstance(default, str):
        if default not in ("train", "test"):
            return False
    elif default is not None and default is not inspect.Parameter.empty:
        return False
    adapter = _adapter(_type_hints(constructor).get("split"))
    return adapter is None or all(_fits(adapter, text) for text in ("train", "test"))


def missing_arguments(constructor: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Return the arguments that the constructor needs and that are not given."""
    return [
        parameter.name
        for parameter in _parameters(constructor).values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        and parameter.name not in given
    ]


def unknown_arguments(constructor: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Return the given arguments that the constructor does not take."""
    parameters = _parameters(constructor).values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return []
    names = _argument_names(constructor)
    return [name for name in given if name not in names]


def read_arguments(
    reference: str, constructor: Callable[..., Any], given: Mapping[str, str]
) -> dict[str, Value]:
    """Return the values of an environment's arguments, which fit their annotations.

    Paths (see `envs.hooks.Hooks.path_arguments`) are made absolute.

    Args:
        given: texts, as `argument_text` gives them or as a person types them.

    Raises:
        FathomError: an argument is unknown, reserved, or of the wrong type.
    """
    unknown = unknown_arguments(constructor, given)
    if unknown:
        raise FathomError(_unknown_argument(reference, unknown[0], _argument_names(constructor)))
    if "split" in given and takes_split(constructor):
        raise FathomError("--env.split cannot be set: it is train in training and test elsewhere")
    hints = _type_hints(constructor)
    values = {name: _value(name, str(text), hints.get(name)) for name, text in given.items()}
    limit = values.get("max_episode_steps", 1)
    is_limit = type(limit) is int and 1 <= limit <= MOST_EPISODE_STEPS
    if "max_episode_steps" not in _parameters(constructor) and not is_limit:
        raise FathomError(
            f"--env.max_episode_steps must be a whole number from 1 to {MOST_EPISODE_STEPS:,}, not {limit!r}"
        )
    path_arguments: Mapping[str, tuple[str, ...]] = getattr(constructor, "path_arguments", {})
    for name, endings in path_arguments.items():
        text = str(values.get(name, ""))
        if text and text.endswith(endings) and os.path.exists(text):
            values[name] = os.path.abspath(text)
    return values


def typed_arguments(constructor: Callable[..., Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """Return values as the annotations have them: of JSON's list a tuple, of a text a Path or an Enum."""
    hints = _type_hints(constructor)
    typed = {}
    for name, value in values.items():
        adapter = _adapter(hints.get(name))
        if adapter is not None and type(value) is not hints[name]:
            value = adapter.validate_json(json.dumps(value), strict=True)
        typed[name] = value
    return typed


def argument_text(value: Any) -> str:
    """Return the text that an argument of this value is typed as; FathomError if JSON cannot hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, Path)):
        text = str(value)
        return text if plain_value(text) == text else json.dumps(text)
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FathomError(
            "an environment's arguments are numbers, texts, true, false, null, or lists and dictionaries"
            f" of them, not {value!r}"
        ) from error


def for_toml(value: Value) -> str | int | float | bool:
    """Return a value as `run.toml` and the protocol hold it: a bool, a number, or the text that it is typed as."""
    return value if isinstance(value, (bool, int, float)) else argument_text(value)


def from_toml(value: str | int | float | bool) -> str:
    """Return the text that the argument of a value of `for_toml` is typed as."""
    return value if isinstance(value, str) else argument_text(value)


def read_atari_arguments(reference: str, given: Mapping[str, str]) -> dict[str, Value]:
    """Return the values of an Atari game's arguments; FathomError if one is unknown or wrong."""
    names = [field.name for field in dataclasses.fields(AtariConfig)]
    for name in given:
        if name not in names:
            raise FathomError(_unknown_argument(reference, name, names))
    values = {name: plain_value(str(text)) for name, text in given.items()}
    try:
        AtariConfig(**values)
    except ValidationError as error:
        raise FathomError(one_sentence(error, "--env.{}".format)) from None
    return values


def _parameters(constructor: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(constructor).parameters


def _argument_names(constructor: Callable[..., Any]) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [p.name for p in _parameters(constructor).values() if p.kind in named]
    return [*(name for name in names if name != "render_mode"), "max_episode_steps"]


def _unknown_argument(reference: str, name: str, known: list[str]) -> str:
    return f"{reference} has no argument {name!r}; it has {', '.join(dict.fromkeys(known))}"


def _type_hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the arguments, or none if they cannot be evaluated."""
    function: Any = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations may name what is imported for type checkers only
        return {}


def _adapter(hint: Any) -> TypeAdapter | None:
    """Return what checks values of a type; None if any value will do, or pydantic does not know the type."""
    if hint in (None, Any):
        return None
    try:
        return TypeAdapter(hint)
    except Exception:  # whatever a type's own hooks raise
        return None


def _fits(adapter: TypeAdapter, value: Value) -> bool:
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return False
    return True


def _value(name: str, text: str, hint: Any) -> Value:
    """Convert a flag's text to a value that fits the type `hint`; without a hint the text decides."""
    if hint is str:
        quoted = plain_value(text) if text.startswith('"') else text
        return quoted if isinstance(quoted, str) else text
    value, adapter = plain_value(text), _adapter(hint)
    for candidate in (value, text):
        if adapter is None or _fits(adapter, candidate):
            return candidate
    kind = hint.__name__ if inspect.isclass(hint) else str(hint).replace("typing.", "")
    raise FathomError(f"--env.{name} must be of the type {kind}, not {text!r}")
