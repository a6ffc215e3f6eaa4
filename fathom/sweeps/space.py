"""What a sweep varies: seeds, and for each hyperparameter a range or a list of values."""

from __future__ import annotations

import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fathom.arguments import nearest
from fathom.errors import FathomError
from fathom.runs.config import build_config
from fathom.schema import plain_value

MOST_SEEDS, MOST_TRIALS = 1_000, 10_000


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; on a logarithmic scale if `log`."""

    low: int | float
    high: int | float
    log: bool

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int)


@dataclass(frozen=True)
class Choices:
    """Values, listed."""

    values: tuple[Any, ...]


Dimension = Range | Choices


def parse_seeds(text: str) -> list[int]:
    """The seeds that a text such as `0-4` or `0,3,7` lists, in order."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise FathomError(f"--seeds must be such as 0-4 or 0,3,7, not {text!r}")
        low = int(first)
        high = int(last) if dash else low
        if high < low:
            raise FathomError(f"--seeds {part} is empty: its first seed is larger than its last")
        if high - low >= MOST_SEEDS:
            raise FathomError(f"--seeds {part} lists more than {MOST_SEEDS:,} seeds")
        seeds += range(low, high + 1)
    if len(set(seeds)) < len(seeds):
        raise FathomError(f"--seeds {text} lists a seed twice")
    return seeds


def parse_vary(specs: Sequence[str], config: Any) -> dict[str, Dimension]:
    """The dimensions that `NAME=LOW:HIGH`, `NAME=LOW:HIGH:log` and `NAME=A,B,C` describe.

    Args:
        config: the hyperparameters that are varied, with the values of the others.

    Raises:
        FathomError: one is not so, there is no such hyperparameter, or it refuses a value.
    """
    known = [item.name for item in dataclasses.fields(config)]
    hints = typing.get_type_hints(type(config))
    space: dict[str, Dimension] = {}
    for spec in specs:
        typed, equals, values = spec.partition("=")
        name = typed.strip().removeprefix("--").replace("-", "_")
        if not equals:
            raise FathomError(
                f"--vary needs NAME=VALUES, such as learning_rate=1e-4:1e-2:log, not {spec!r}"
            )
        if name not in known:
            raise FathomError(
                f"there is no hyperparameter {typed.strip()!r} to vary{nearest(name, known)};"
                " flags of the runs, such as --steps, are the same for all"
            )
        if name in space:
            raise FathomError(f"--vary {name} is given twice")
        parts = _members(hints[name])
        if not parts:
            raise FathomError(f"{name} is neither a number nor a name, so it cannot be varied")
        is_range = ":" in values and bool(parts & {int, float})
        space[name] = _range(name, values, parts) if is_range else _choices(name, values, parts)
        ends = space[name]
        for value in (ends.low, ends.high) if isinstance(ends, Range) else ends.values:
            _check(name, value, config)
    return space


def refuse_fixed(vary: Sequence[str], fixed: Iterable[str]) -> None:
    """Raise FathomError where a hyperparameter is to be varied and has a value that was given, too."""
    for name in {spec.partition("=")[0].strip().replace("-", "_") for spec in vary} & set(fixed):
        raise FathomError(f"{name} is given a value and to be varied: leave out one of the two")


def grid(space: Mapping[str, Dimension]) -> list[dict[str, Any]]:
    """Every combination of the listed values, the last name varying fastest; one without any name."""
    lists = [one.values for one in space.values() if isinstance(one, Choices)]
    count = math.prod(map(len, lists))
    if count > MOST_TRIALS:
        raise FathomError(
            f"this grid has {count:,} trials, and a sweep at most {MOST_TRIALS:,}: give --trials"
        )
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def is_grid(space: Mapping[str, Dimension]) -> bool:
    """Whether every dimension is a list."""
    return all(isinstance(one, Choices) for one in space.values())


def _range(name: str, text: str, parts: set[type]) -> Range:
    example = f"{name}=1e-4:1e-2:log" if float in parts else f"{name}=1:5"
    low_text, high_text, *rest = [part.strip() for part in text.split(":")]
    if rest not in ([], ["log"]) or not low_text or not high_text:
        raise FathomError(f"--vary {name}={text} is no range, which is written such as {example}")
    kind = float if float in parts else int
    try:
        low, high = kind(low_text), kind(high_text)
    except ValueError as error:
        what = "numbers" if kind is float else "whole numbers"
        raise FathomError(f"--vary {name}={text} needs {what}, as in {example}") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise FathomError(f"--vary {name}={text} needs finite numbers")
    if low >= high:
        raise FathomError(
            f"--vary {name}={text} is empty: its lower end has to be smaller than its upper end"
        )
    if rest and low <= 0:
        raise FathomError(
            f"--vary {name}={text} is logarithmic, so its lower end has to be larger than 0"
        )
    return Range(low, high, bool(rest))


def _choices(name: str, text: str, parts: set[type]) -> Choices:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise FathomError(
            f"--vary {name}={text} has an empty value: list them such as {name}=A,B,C"
        )
    values = []
    for word in words:
        value = "none" if word.lower() == "none" else plain_value(word)
        if type(value) is int and float in parts and int not in parts:
            value = float(value)
        if not isinstance(value, str) and parts <= {str}:
            value = word
        values.append(value)
    if len({repr(value) for value in values}) < len(values):
        raise FathomError(f"--vary {name}={text} lists a value twice")
    return Choices(tuple(values))


def _check(name: str, value: Any, config: Any) -> None:
    table = dataclasses.asdict(config) | {name: value}
    build_config(type(config), table)


def _members(hint: Any) -> set[type]:
    """The types of numbers and texts that a field may hold."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Annotated):
        parts = typing.get_args(hint)
        if typing.get_origin(hint) is typing.Annotated:
            parts = parts[:1]
        return set().union(*map(_members, parts))
    if typing.get_origin(hint) is Literal:
        return {type(value) for value in typing.get_args(hint)}
    return {hint} & {int, float, bool, str}
