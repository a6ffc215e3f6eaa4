"""The command line: finds the commands in `fathom/commands`, and turns errors into one line."""

from __future__ import annotations

import errno
import io
import os
import pkgutil
import sys
import warnings
from importlib import import_module
from types import ModuleType

import fathom.commands
from fathom.arguments import nearest
from fathom.errors import FathomError, printable


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a letter of ours
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.formatwarning = lambda message, *_: f"fathom: warning: {printable(str(message))}\n"
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except FathomError as error:
        message = printable(" ".join(str(error).split())).removesuffix(".")
        print(f"fathom: {message}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _forget_output()  # its reader went away
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO) or error.filename is not None:
            raise
        _forget_output()
        print(f"fathom: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fathom: stopped", file=sys.stderr)
        return 130


def _forget_output() -> None:
    """Keep the interpreter from complaining at its end of what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_names() -> list[str]:
    """The commands: modules of `fathom.commands`."""
    modules = pkgutil.iter_modules(fathom.commands.__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def command_module(name: str) -> ModuleType:
    """The module of a command."""
    return import_module(f"fathom.commands.{name}")


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0
    if words[0] == "--version":
        print(f"fathom {fathom.__version__}")
        return 0
    name, names = words[0], command_names()
    if name not in names:
        raise FathomError(
            f"there is no command {name!r}{nearest(name, names)}; see `fathom --help`"
        )
    return command_module(name).run(words[1:])


def _help() -> str:
    modules = [command_module(name) for name in command_names()]
    width = max(len(module.USAGE) for module in modules) + 2
    lines = [
        f"  {module.USAGE:{width}}{(module.__doc__ or '').splitlines()[0].rstrip('.')}"
        for module in modules
    ]
    return "\n".join(
        [
            "usage: fathom COMMAND ...",
            "",
            *lines,
            "",
            "`fathom COMMAND --help` explains a command's flags; `fathom train AGENT ENV --help` shows the",
            "hyperparameters of that agent with the values that will be used in that environment.",
            "",
        ]
    )
