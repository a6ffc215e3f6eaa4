"""Texts of a run without the folders of the machine that it was made on."""

from __future__ import annotations

import re
from typing import Any

_START = r"(?:(?<=^)|(?<=[\s\"'=,:(\[{]))(?:~[\w-]*|\.\.|[A-Za-z]:)?"
_PART = r"[\\/][^\\/\s\"',:()\[\]{}][^\\/\"',:()\[\]{}]*"
_PATH = re.compile(f"{_START}(?:{_PART})+")
"""An absolute path, or one that begins with a home or a parent folder; folders may have spaces in their names."""
_PATH_IN_COMMAND = re.compile(_PATH.pattern.replace(r"[^\\/\"'", r"[^\\/\s\"'"))
"""The same without spaces, for the command line of a program."""


def without_folders(value: Any) -> Any:
    """A value of JSON whose texts name files without the folders that they lie in.

    `/home/me/corridor.py:Corridor` becomes `corridor.py:Corridor`. Names such as `ALE/Pong-v5`, paths below the
    current folder and addresses stay as they are.
    """
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    if not isinstance(value, str):
        return value
    pattern = _PATH_IN_COMMAND if " -" in value else _PATH
    return pattern.sub(lambda path: re.split(r"[\\/]", path[0])[-1], value)
