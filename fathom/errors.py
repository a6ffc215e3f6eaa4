"""Errors for the user, and sentences for values that were refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


class FathomError(Exception):
    """Something a person can put right; its message is one sentence that says what and how."""


class UnsuitableRunError(FathomError):
    """A new run's agent cannot learn in its environment at all, as its first steps show."""


class Stopped(KeyboardInterrupt):
    """A training was asked to stop; its last checkpoint is intact."""

    def __init__(self, signal_number: int = 15) -> None:
        super().__init__()
        self.exit_code = 128 + signal_number


def printable(text: str) -> str:
    """The text as one line, with what a terminal would obey rather than show written as an escape.

    Everything from a run that is printed goes through here: names, values, paths, errors.
    """
    if text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape").decode() if _is_control(sign) else sign for sign in text
    )


def _is_control(sign: str) -> bool:
    kind = unicodedata.category(sign)
    if sign in "\u200c\u200d":  # joiners, which are part of words
        return False
    return kind[0] == "C" or kind in ("Zl", "Zp")


def _shown(value: Any) -> str:
    """A value in a sentence; not the whole of a long one."""
    if isinstance(value, int) and abs(value) > 10**30:
        return f"a number of {value.bit_length() * 3 // 10:,} digits"
    text = repr(value) if not isinstance(value, (list, dict)) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def one_sentence(error: ValidationError, named: Callable[[str], str] = str) -> str:
    """Put the first complaint of a pydantic validation into a sentence.

    Args:
        named: gives a field's name as the person knows it, such as that of a flag.
    """
    first = error.errors(include_url=False)[0]
    kind, value = first["type"], first["input"]
    context: dict[str, Any] = first.get("ctx", {})
    name = named(str(first["loc"][0])) if first["loc"] else ""
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        whole = isinstance(bound, int) or float(bound).is_integer()
        return (
            f"{name} must be {words} {f'{int(bound):,}' if whole else bound}, not {_shown(value)}"
        )
    if kind in _TYPES:
        return f"{name} must be {_TYPES[kind]}, not {_shown(value)}"
    if kind == "literal_error":
        return f"{name} must be {context['expected']}, not {_shown(value)}"
    if kind in ("missing", "missing_argument"):
        return f"{name} is missing"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"there is no {name}"
    if kind == "value_error":
        return str(context["error"])
    return f"{name}: {first['msg']}, not {_shown(value)}"
