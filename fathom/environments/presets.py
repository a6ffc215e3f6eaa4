"""Presets: the flags that suit an agent in an environment, from the files in `presets/` or one of the user's own.

In a preset's file `algorithm` names the agent, `environments` lists patterns for the environment's name,
and the tables `run` and `agent` hold the flags. One of the user's own may be for a task instead: `task` names it,
and the tables are `run` and `hyperparameters`. It is taken by `--preset`, whatever `environments` says.
"""

from __future__ import annotations

import fnmatch
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.files import Folder

_MOST = 1 << 17
"""Bytes of a preset's file."""


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


def read_preset(path: Path, learner: str, is_fit: bool) -> dict[str, Any]:
    """The tables of a preset in a file of the user's.

    Args:
        learner: the agent or the task that it has to be for.

    Raises:
        FathomError: there is no such file, it is no preset, or it is for another agent or task.
    """
    if path.is_dir():
        best = path / "best.toml"
        hint = f": {best} is the one that a sweep wrote" if best.is_file() else ""
        raise FathomError(f"the preset {path} is a folder, not a file{hint}")
    if not path.is_file():
        raise FathomError(f"the preset {path} cannot be read: there is no such file")
    try:
        at = path.resolve()  # a link is as good, for the user named it
        content = tomllib.loads(Folder(at.parent).read(at.name, _MOST).decode())
    except OSError as error:
        raise FathomError(f"the preset {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FathomError(f"the preset {path} cannot be read: {error}") from error
    named, table = ("task", "hyperparameters") if is_fit else ("algorithm", "agent")
    if content.get(named) != learner:
        whose = content.get("algorithm") or content.get("task")
        whose = f"for {whose!r}" if isinstance(whose, str) else "for no agent or task"
        raise FathomError(f"the preset {path} is {whose}, not for {learner!r}")
    if unknown := sorted(content.keys() - {named, "environments", "run", table}):
        raise FathomError(
            f"the preset {path} has {unknown[0]!r}: it may have {named}, environments, and the tables run"
            f" and {table}"
        )
    for name in ("run", table):
        if not isinstance(content.setdefault(name, {}), dict):
            raise FathomError(
                f"the preset {path} has {name!r} as a value, and it has to be a table"
            )
    return content


def _preset_files() -> list[Traversable]:
    folder = files("fathom.environments") / "presets"
    if not folder.is_dir():
        return []
    found = (file for file in folder.iterdir() if file.name.endswith(".toml"))
    return sorted(found, key=lambda file: file.name)
