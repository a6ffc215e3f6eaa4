"""The words of commands of the Go Text Protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from envs.go.board import BLACK, WHITE

LONGEST_LINE = 1 << 16
"""Longest command in bytes."""
_TOO_LONG = b"line-too-long"
_CONTROLS = {code: None for code in (*range(32), 127)} | {ord("\t"): " "}
_NUMBER = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")
COLOURS = {"b": BLACK, "black": BLACK, "w": WHITE, "white": WHITE}
COLOUR_NAMES = {BLACK: "black", WHITE: "white"}


class GtpError(ValueError):
    """A command cannot be executed."""


def lines(source: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of the input, those together that came together; one that is too long becomes an unknown command.

    Args:
        source: unbuffered where it is a pipe: a thread that waits in a buffered one keeps Python from ending.
    """
    rest, skipping = b"", False
    while True:
        chunk = source.read(LONGEST_LINE)
        *whole, rest = (rest + chunk).split(b"\n") if chunk else [rest, b""]
        result = []
        for line in whole:
            if not skipping and (chunk or line):
                result.append(
                    (line if len(line) < LONGEST_LINE else _TOO_LONG).decode("utf-8", "replace")
                )
            skipping = False
        if len(rest) >= LONGEST_LINE:
            if not skipping:
                result.append(_TOO_LONG.decode())
            rest, skipping = b"", True
        if result:
            yield result
        if not chunk:
            return


def clean(line: str) -> str:
    """Remove control characters and comments."""
    return line.partition("#")[0].translate(_CONTROLS)


def only(words: list[str]) -> str:
    if len(words) != 1:
        raise GtpError("this command takes one argument")
    return words[0]


def colour_of(word: str) -> int:
    try:
        return COLOURS[word.lower()]
    except KeyError:
        raise GtpError("a colour is black or white") from None


def whole(word: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", word):
        raise GtpError("a whole number was expected")
    return int(word)


def number(word: str) -> float:
    if not _NUMBER.fullmatch(word):
        raise GtpError("a number was expected")
    return float(word)


def seconds_of(word: str) -> float:
    seconds = number(word)
    if seconds < 0:
        raise GtpError("a time must be at least 0")
    return seconds
