"""What the words of a command line can go on with, for the shell's completion.

A completion has to be there at once, so nothing heavy is imported. The environments, and the hyperparameters of an
agent or a task, are asked for once and then remembered in the user's cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fathom
from fathom.arguments import runs_dir_in, split_positional
from fathom.play.user_cache import cache_folder

SHELLS = {
    "bash": """\
_fathom() {
    local IFS=$'\\n'
    COMPREPLY=($(fathom completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _fathom fathom
""",
    "zsh": """\
#compdef fathom
_fathom() {
    local -a found
    found=("${(@f)$(fathom completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "${found[*]}" ]] && compadd -a found || _files
}
compdef _fathom fathom
""",
    "fish": """\
function __fathom
    set -l words (commandline -opc) (commandline -ct)
    fathom completion words $words[2..-1] 2>/dev/null
end
complete -c fathom -a '(__fathom)'
""",
}
"""The script of each shell: it asks `fathom completion words WORD …`, whose last word is the one being typed."""


def completions(
    words: list[str], commands: list[str], module_of: Callable[[str], ModuleType]
) -> list[str]:
    """What the last word can become; empty where only the names of files make sense.

    Args:
        words: after `fathom`; the last one is being typed, and may be empty.
        commands: names of the command line's commands.
        module_of: gives the module of one.
    """
    *before, current = words or [""]
    if not before:
        return _beginning(current, [*sorted(commands), "--help", "--version"])
    name, *given = before
    if name not in commands:
        return []
    module = module_of(name)
    kinds = _flag_classes(module)
    positional, _ = split_positional(given, kinds)
    if current.startswith("-"):
        flags = [flag for kind in kinds for flag in _flags(kind)]
        return _beginning(current, [*flags, *_hyperparameters(name, positional), "--help"])
    if given and given[-1].startswith("--") and "=" not in given[-1]:
        choices = [one for kind in kinds for one in _choices(kind, given[-1])]
        after = split_positional([*given, "x"], kinds)[0]
        if choices or len(after) == len(positional):  # the word is the flag's value
            return _beginning(current, choices)
    places = re.findall(r"\b[A-Z][A-Z_]*\b", re.sub(r"\[--[^]]*\]", "", module.USAGE))
    if len(positional) >= len(places):
        return []
    return _beginning(current, _words_for(places[len(positional)], module, runs_dir_in(given)))


def _words_for(place: str, module: ModuleType, runs_dir: Path) -> list[str]:
    """What can stand at a place of a command, by its name in `USAGE`."""
    if place == "AGENT":
        from agents import AGENTS

        return list(AGENTS)
    if place == "TASK":
        from perception.tasks import TASKS

        return list(TASKS)
    if place == "ENV":
        return _remembered("environments", _environments)
    if place in ("RUN", "PLAYER", "A", "B"):
        patterns = ("*/run.toml", "reference/*/run.toml")
        return [path.parent.name for pattern in patterns for path in runs_dir.glob(pattern)]
    if place == "SHELL":
        return list(SHELLS)
    if place == "WHAT":
        return list(typing.get_args(module.What))
    return []


def _environments() -> list[str]:
    from fathom.environments import list_environments

    return list_environments()


def _hyperparameters(command: str, positional: list[str]) -> list[str]:
    """The flags that an agent or a task adds."""
    if not positional or command not in ("train", "fit"):
        return []
    from agents import AGENTS
    from perception.tasks import TASKS

    learner = positional[0]
    if learner not in (AGENTS if command == "train" else TASKS):
        return []

    def flags() -> list[str]:
        from fathom.runs.agent_learner import agent_class
        from fathom.runs.tasks import task_class

        kind: Any = agent_class(learner) if command == "train" else task_class(learner)
        return _flags(kind.Config)

    return _remembered(f"{command} {learner}", flags)


def _remembered(key: str, compute: Callable[[], list[str]]) -> list[str]:
    """A list that takes seconds to make, from the cache of this version if it is there."""
    folder = cache_folder("completion")
    file = None if folder is None else folder / f"{fathom.__version__}.json"
    content: dict[str, list[str]] = {}
    if file is not None:
        with contextlib.suppress(OSError, ValueError):
            read = json.loads(file.read_text(encoding="utf-8"))
            content = read if isinstance(read, dict) else {}
    value = content.get(key)
    if isinstance(value, list):
        return [str(one) for one in value]
    content[key] = compute()
    if file is not None:
        from fathom.files import replace_file

        with contextlib.suppress(OSError):
            replace_file(file, json.dumps(content).encode())
    return content[key]


def _flag_classes(module: ModuleType) -> list[type]:
    """The dataclasses of a command's flags."""
    return [
        value
        for name, value in vars(module).items()
        if name.endswith("Flags") and value.__module__ == module.__name__
    ]


def _flags(kind: type) -> list[str]:
    flags = []
    for item in dataclasses.fields(kind):
        flag = item.name.replace("_", "-")
        flags.append(f"--{flag}")
        if item.type in ("bool", bool) and item.default is True:
            flags.append(f"--no-{flag}")
    return flags


def _choices(kind: type, flag: str) -> list[str]:
    """The values that a flag takes, where there are few."""
    name = flag.removeprefix("--").replace("-", "_")
    for item in dataclasses.fields(kind):
        if item.name == name:
            hint = typing.get_type_hints(kind)[name]
            parts = [hint, *typing.get_args(hint)]
            return [
                str(one)
                for part in parts
                if typing.get_origin(part) is typing.Literal
                for one in typing.get_args(part)
            ]
    return []


def _beginning(start: str, words: list[str]) -> list[str]:
    return list(dict.fromkeys(word for word in words if word.startswith(start)))
