"""Reading a command's words, and answering in JSON.

Everything heavy is imported where it is needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from fathom.errors import FathomError, one_sentence, printable


def nearest(word: str, known: list[str]) -> str:
    """A hint for a mistyped word: "; did you mean ...?", or nothing when none is near."""
    from difflib import get_close_matches

    lowered = {item.lower(): item for item in known}
    near = [
        lowered[item] for item in get_close_matches(word.lower(), list(lowered), n=3, cutoff=0.5)
    ]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def asks_for_help(words: list[str]) -> bool:
    """Whether the words ask for help."""
    return any(word in ("-h", "--help") for word in words)


def split_positional(words: list[str], kinds: list[type]) -> tuple[list[str], list[str]]:
    """Split a command's words into those that are no flag or flag's value, and the rest.

    Args:
        kinds: dataclasses whose fields are the flags: a bool takes no value, a tuple takes all words up
            to the next flag unless it is one that is given again for each value.
    """
    values = {"-h": 0, "--help": 0}
    for kind in kinds:
        for item in dataclasses.fields(kind):
            flag, hint = _flag(item.name), str(item.type)
            if hint in ("bool", "<class 'bool'>"):
                values |= {flag: 0, f"--no-{flag[2:]}": 0}
            elif "tuple" in hint and "Append" not in hint:
                values[flag] = len(words)
    positional: list[str] = []
    rest: list[str] = []
    expected = 0  # values that the last flag may still take
    for word in words:
        is_flag = word.startswith("--") or word == "-h"
        if is_flag:
            expected = 0 if "=" in word else values.get(word.replace("_", "-"), 1)
        if is_flag or expected > 0:
            rest.append(word)
            expected -= not is_flag
        else:
            positional.append(word)
    return positional, rest


def prefixed_arguments(words: list[str], prefix: str) -> tuple[list[str], dict[str, str]]:
    """Pick `--env.NAME VALUE` and `--env.NAME=VALUE` (for the prefix "env") out of the words."""
    start = f"--{prefix}."
    rest: list[str] = []
    taken: dict[str, str] = {}
    remaining = iter(words)
    for word in remaining:
        if not word.startswith(start):
            rest.append(word)
            continue
        name, equals, value = word.removeprefix(start).partition("=")
        if not equals:
            following = next(remaining, None)
            if following is None or following.startswith("--"):
                raise FathomError(f"{start}{name} needs a value, as in `{start}{name} VALUE`")
            value = following
        name = name.replace("-", "_")
        if not name:
            raise FathomError(f"{start} needs a name, as in `{start}size 9`")
        taken[name] = value
    return rest, taken


def path_in(words: list[str], flag: str) -> Path | None:
    """The value of a flag on which a command's other flags depend; None where it is not given."""
    found = None
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == flag:
            found = Path(value if equals else following)
    return found


def runs_dir_in(words: list[str]) -> Path:
    """The value of `--runs-dir`, where a command's other flags depend on the run."""
    return path_in(words, "--runs-dir") or Path("runs")


def run_argument(words: list[str], command: str, default: Any) -> tuple[str, Any]:
    """Read the words of a command on one run: the run's reference, and the flags.

    Args:
        default: a dataclass with the default flags; with `--json` where the command has it.
    """
    if asks_for_help(words):
        parse(default, ["--help"], f"fathom {command} RUN")
    positional, rest = split_positional(words, [type(default)])
    if not positional:
        raise FathomError(f"{command} needs a run first, as in `fathom {command} runs/pong-dqn`")
    flags = parse(default, [*positional[1:], *rest], f"fathom {command} {positional[0]}")
    return positional[0], flags


def parse(
    default: Any,
    words: list[str],
    prog: str,
    out: TextIO | None = None,
    description: str | None = None,
) -> Any:
    """Read flags into a dataclass like `default`, whose values are the defaults."""
    return _parse(type(default), default, words, prog, [default], out, description)


def parse_with_config(
    options: Any,
    config: Any,
    learner: str,
    words: list[str],
    prog: str,
    out: TextIO,
    description: str,
) -> tuple[Any, Any]:
    """Read the options of a run and the hyperparameters of what learns in it.

    Args:
        options, config: dataclasses whose values are the defaults.
        learner: the name of the agent or the task, for the help.
        description: what the help says first.
    """
    clash = {item.name for item in dataclasses.fields(options)} & {
        item.name for item in dataclasses.fields(config)
    }
    if clash:
        raise FathomError(
            f"the hyperparameters {', '.join(sorted(clash))} have the names of flags of the run"
        )
    learner = learner.replace("-", "_")
    pair = dataclasses.make_dataclass(
        "Flags", [("run", type(options), options), (learner, type(config), config)]
    )
    flags = _parse(pair, pair(), words, prog, [options, config], out, description)
    return flags.run, getattr(flags, learner)


def _parse(
    kind: type,
    default: Any,
    words: list[str],
    prog: str,
    parts: list[Any],
    out: TextIO | None,
    description: str | None = None,
) -> Any:
    import tyro

    words = _joined(words, parts)
    with _parse_errors(), contextlib.redirect_stdout(out or sys.stdout):
        result, unknown = tyro.cli(
            kind,
            default=default,
            args=words,
            prog=prog,
            description=description,
            config=(tyro.conf.OmitArgPrefixes,),
            return_unknown_args=True,
        )
    if unknown:
        flag = unknown[0].partition("=")[0]
        if flag.startswith("-"):
            names = [_flag(item.name) for part in parts for item in dataclasses.fields(part)]
            raise FathomError(f"there is no flag {flag}{nearest(flag, names)}; see `{prog} --help`")
        raise FathomError(f"{unknown[0]!r} is one word too many; see `{prog} --help`")
    return result


def _joined(words: list[str], parts: list[Any]) -> list[str]:
    """The words with the values of a flag that is given several times after one another, as tyro takes them."""
    several = {
        _flag(item.name)
        for part in parts
        for item in dataclasses.fields(part)
        if "tuple" in str(item.type)
    }
    rest: list[str] = []
    values: dict[str, list[str]] = {}
    current = rest
    for word in words:
        flag, equals, value = word.partition("=")
        if word.startswith("--") and flag.replace("_", "-") in several:
            current = values.setdefault(flag.replace("_", "-"), [])
            if equals:
                current.append(value)
            continue
        if word.startswith("--") or word == "-h":
            current = rest
        current.append(word)
    return rest + [word for flag, given in values.items() for word in (flag, *given)]


_KINDS = {"INT": "a whole number", "FLOAT": "a number"}
"""What tyro calls the types of flags in its help."""


@contextlib.contextmanager
def _parse_errors() -> Iterator[None]:
    """Raise FathomError with tyro's own text for words that it cannot read.

    tyro prints a box and exits; a hook gets the text before that. The hook is private to tyro, so where
    it is missing the box stays.
    """
    from pydantic import ValidationError

    def fail(event: Any) -> None:
        error = sys.exc_info()[1]
        while error is not None and not isinstance(error, ValidationError):
            error = error.__cause__ or error.__context__
        if error is not None:
            raise FathomError(one_sentence(error, _flag)) from None
        argument = getattr(event, "argument", None)
        flag = "" if argument is None else argument.display_name()
        if hasattr(event, "choices"):
            choices = ", ".join(event.choices)
            raise FathomError(f"{flag} must be one of {choices}, not {event.value!r}") from None
        if hasattr(event, "message"):
            wanted = _KINDS.get(str(argument and argument.lowered.metavar).rpartition("|")[2])
            value = event.message.rpartition(": ")[2]  # what Python says ends with the word itself
            text = f"{flag} must be {wanted}, not {value}" if wanted else event.message
            raise FathomError(" ".join(text.split())) from None
        if getattr(event, "reason", "") == "too_few_values":
            raise FathomError(f"{flag} needs a value") from None

    try:
        from tyro._errors import on_parse_error
    except ImportError:
        yield
        return
    with on_parse_error(fail):
        yield


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def print_json(out: TextIO, value: dict[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value), file=out, flush=True)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    print(f"fathom: warning: {printable(message)}", file=sys.stderr)
