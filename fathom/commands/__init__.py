"""One command of the command line in each module.

A module is named after its command. Its docstring's first line is the help line. It has `USAGE`, what
follows `fathom` in the help, and `run(words) -> int`, which takes the words after the command's name and
gives the exit code. Everything heavy is imported inside `run`: the help imports every module.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType


def command_names() -> list[str]:
    """The commands: modules of `fathom.commands`."""
    modules = pkgutil.iter_modules(__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def command_module(name: str) -> ModuleType:
    """The module of a command."""
    return import_module(f"fathom.commands.{name}")
