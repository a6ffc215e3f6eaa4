"""Presets: the flags that suit an agent in an environment, from the files in `presets/`.

In a preset's file `algorithm` names the agent, `environments` lists patterns for the environment's name,
and the tables `run` and `agent` hold the flags.
"""

from __future__ import annotations

import fnmatch
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return [file.name.removesuffix(".toml") for file in _preset_files()]


def preset(agent: str, reference: str) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the tables of the preset that fits best, or None if none fits.

    An environment's exact name beats any pattern; of two patterns the one with more letters wins.
    """
    best: tuple[int, str, dict[str, Any]] | None = None
    for file in _preset_files():
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        if content["algorithm"] != agent:
            continue
        for pattern in content["environments"]:
            if not fnmatch.fnmatchcase(reference, pattern):
                continue
            letters = sum(character not in "*?[]" for character in pattern)
            weight = 2 * letters + (pattern == reference)
            if best is None or weight > best[0]:
                best = (weight, file.name.removesuffix(".toml"), content)
    return None if best is None else best[1:]


def _preset_files() -> list[Traversable]:
    folder = files("fathom.environments") / "presets"
    if not folder.is_dir():
        return []
    found = (file for file in folder.iterdir() if file.name.endswith(".toml"))
    return sorted(found, key=lambda file: file.name)
