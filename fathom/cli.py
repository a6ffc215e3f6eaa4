"""The command line: finds the commands in `fathom/commands`, and turns errors into one line."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings

import fathom
from fathom.arguments import nearest
from fathom.commands import command_module, command_names
from fathom.errors import FathomError, printable
from fathom.streams import forget, replace_standard_streams

COLOUR = r"\x1b\[[0-9;]*m"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    replace_standard_streams()
    warnings.formatwarning = _plain_warning  # type: ignore[assignment]
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        if arguments is None and "--json" in words:
            os.dup2(2, 1)  # what is printed while the process ends
        return code
    except FathomError as error:
        message = printable(" ".join(str(error).split())).removesuffix(".")
        print(f"fathom: {message}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO) or error.filename is not None:
            raise
        forget(sys.stdout.fileno())
        print(f"fathom: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fathom: stopped", file=sys.stderr)
        return 130


def _plain_warning(message: Warning | str, *_: object) -> str:
    """A warning as a line; Gymnasium colours its own."""
    line = " ".join(re.sub(COLOUR, "", str(message)).split())
    return f"fathom: warning: {printable(line)}\n"


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
