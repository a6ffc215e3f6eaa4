"""What the files of a run may hold: bounds and types that pydantic checks before anything is used."""

from __future__ import annotations

import contextlib
import math
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from fathom.errors import one_sentence

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
_DEEPEST, _LONGEST, _LARGEST = 16, 100_000, 1 << 64


def plain(value: Any, depth: int = 0) -> Any:
    """The value, if it is made of lists, tables, texts, finite numbers, true, false and null.

    Raises:
        ValueError: it is not, or one of them is deeper, longer or larger than anything Fathom writes.
    """
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError("a name is no text")
            plain(key)
            plain(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            plain(item, depth + 1)
    elif isinstance(value, str):
        if len(value) > _LONGEST:
            raise ValueError(f"a text has {len(value):,} letters")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no finite number")
    elif isinstance(value, int):
        if abs(value) > _LARGEST:
            raise ValueError("a whole number is too large")
    elif value is not None:
        raise ValueError(f"it holds a {type(value).__name__}")
    return value


Plain = Annotated[Any, AfterValidator(plain)]
"""Anything that JSON can hold, bounded."""


def read_json(data: bytes, schema: TypeAdapter[Any] | None = None) -> Any:
    """What JSON in a file says, exactly as it is there.

    Args:
        schema: what it has to fit; by default `Plain`.

    Raises:
        ValueError: it is no JSON, or does not fit. The message is a sentence.
    """
    value = from_json(data, allow_inf_nan=False)
    try:
        (schema or _PLAIN).validate_python(value)
    except ValidationError as error:
        raise ValueError(one_sentence(error)) from error
    return value


_PLAIN: TypeAdapter[Any] = TypeAdapter(Plain)


def plain_value(text: str) -> Any:
    """Convert a text to a bool, None, an int, a finite float, a list or a dictionary if it is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text == "null":
        return None
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):  # JSON has no other numbers
            return value
    if text.startswith(("[", "{", '"')):
        with contextlib.suppress(ValueError):
            return read_json(text.encode())
    return text
