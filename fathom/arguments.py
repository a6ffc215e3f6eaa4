"""What commands read from their words, and how they answer: flags, sentences about wrong ones, JSON.

Everything heavy is imported where it is needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import re
import sys
from typing import Any, Literal

from fathom.errors import FathomError

Device = Literal["auto", "cpu", "cuda"]


def nearest(word: str, known: list[str]) -> str:
    """A hint for a mistyped word: "; did you mean ...?", or nothing when none is near."""
    from difflib import get_close_matches

    lowered = {item.lower(): item for item in known}
    result = [
        lowered[item] for item in get_close_matches(word.lower(), list(lowered), n=3, cutoff=0.5)
    ]
    return f"; did you mean {' or '.join(result)}?" if result else ""


_MOST = 1 << 53  # up to here the floating-point numbers that steps are plotted in tell them apart

RANGES = {
    "steps": (1, _MOST),
    "segment_steps": (1, _MOST),
    "evaluation_episodes": (0, _MOST),
    "seed": (0, (1 << 63) - 1),
    "threads": (1, 1024),
    "num_envs": (1, 1 << 16),
    "games": (1, _MOST),
    "sentences": (100, _MOST),
    "epochs": (1, _MOST),
}
"""The least and the most that a whole number asked for can be."""


def check_ranges(**numbers: int) -> None:
    """Refuse numbers out of their range."""
    for name, value in numbers.items():
        least, _ = RANGES[name]
        if value < least:
            raise FathomError(f"{_flag(name)} must be at least {least}, not {value}")
        _check_most(name, value)


def _check_most(name: str, value: int) -> None:
    _, most = RANGES.get(name, (0, _MOST))
    if value > most:
        raise FathomError(f"{_flag(name)} can be {most:,} at most, not {value:,}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_sane(flags: Any) -> None:
    """Refuse inf, nan and whole numbers so large that they can only be slips; `flags` is a dataclass,
    perhaps of such."""
    for item in dataclasses.fields(flags):
        value = getattr(flags, item.name)
        if dataclasses.is_dataclass(value):
            _check_sane(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise FathomError(f"{_flag(item.name)} must be a finite number, not {value}")
        elif isinstance(value, int):
            _check_most(item.name, value)


def positional(words: list[str]) -> list[str]:
    """The words before the first flag."""
    result = []
    for word in words:
        if word.startswith("-"):
            break
        result.append(word)
    return result


def run_argument(words: list[str], command: str, flags: Any) -> tuple[str, list[str]]:
    if any(word in ("-h", "--help") for word in words):
        parse(flags, ["--help"], f"fathom {command} RUN")
    if not words or words[0].startswith("-"):
        raise FathomError(f"{command} needs a run first, as in `fathom {command} runs/pong-dqn`")
    return words[0], words[1:]


def environment_arguments(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Pick ``--env.NAME VALUE`` and ``--env.NAME=VALUE`` out of the command line."""
    rest: list[str] = []
    taken: dict[str, str] = {}
    remaining = iter(words)
    for word in remaining:
        if not word.startswith("--env."):
            rest.append(word)
            continue
        name, equals, value = word.removeprefix("--env.").partition("=")
        if not equals:
            following = next(remaining, None)
            if following is None or following.startswith("--"):
                raise FathomError(f"--env.{name} needs a value, as in `--env.{name} VALUE`")
            value = following
        name = name.replace("-", "_")
        if not name:
            raise FathomError("--env. needs a name, as in `--env.size 9`")
        taken[name] = value
    return rest, taken


def known_fields(kind: type, table: dict[str, Any], preset: str) -> dict[str, Any]:
    fields = {item.name for item in dataclasses.fields(kind)}
    if unknown := sorted(table.keys() - fields):
        raise FathomError(f"the preset {preset} sets {', '.join(unknown)}, which no run has")
    return table


def parse(default: Any, words: list[str], prog: str) -> Any:
    """Read flags into a dataclass like ``default``, whose values are the defaults."""
    return _tyro(type(default), default, words, prog, [default], sys.stdout)


def parse_pair(
    run: Any, learner: Any, words: list[str], prog: str, out: Any, of_environment: bool
) -> tuple[Any, Any]:
    """Read the flags of a run and of what learns in it, an agent or a task.

    Args:
        of_environment: whether the help mentions an environment's arguments.
    """
    clash = {item.name for item in dataclasses.fields(run)} & {
        item.name for item in dataclasses.fields(learner)
    }
    if clash:
        raise FathomError(
            f"the hyperparameters {', '.join(sorted(clash))} have the names of flags of the run"
        )
    pair = dataclasses.make_dataclass(
        "Flags", [("run", type(run), run), ("learner", type(learner), learner)]
    )
    flags = _tyro(pair, pair(), words, prog, [run, learner], out, of_environment)
    return flags.run, flags.learner


def _tyro(
    kind: type,
    default: Any,
    words: list[str],
    prog: str,
    parts: list[Any],
    out: Any,
    of_environment: bool = False,
) -> Any:
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out):
            result, unknown = tyro.cli(
                kind,
                default=default,
                args=words,
                prog=prog,
                description="The environment's own arguments follow as --env.NAME VALUE."
                if of_environment
                else None,
                config=(tyro.conf.OmitArgPrefixes,),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise FathomError(_sentence(errors.getvalue())) from None
    except (ValueError, TypeError) as error:
        raise FathomError(_plainly(str(error))) from error
    if unknown:
        names = [
            f"--{item.name.replace('_', '-')}"
            for part in parts
            for item in dataclasses.fields(part)
        ]
        flag = unknown[0].partition("=")[0]
        if flag.startswith("-"):
            raise FathomError(f"there is no flag {flag}{nearest(flag, names)}; see `{prog} --help`")
        raise FathomError(f"{unknown[0]!r} is one word too many; see `{prog} --help`")
    _check_sane(result)
    return result


_NOT_OF_TYPE = (
    (r"(--[\w-]+): invalid literal for int\(\) with base 10: (.*)", "a whole number"),
    (
        r"(--[\w-]+): no type matching \{None\}\|INT could be instantiated from \[(.*)\]",
        "a whole number",
    ),
    (r"(--[\w-]+): could not convert string to float: (.*)", "a number"),
    (
        r"(--[\w-]+): no type matching \{None\}\|FLOAT could be instantiated from \[(.*)\]",
        "a number",
    ),
)
"""What tyro says of a word that is no number, and what that should be."""


def _sentence(box: str) -> str:
    """The first paragraph of an error that tyro framed, and on a terminal coloured."""
    from rich.text import Text

    box = Text.from_ansi(box).plain
    message: list[str] = []
    if "╭" not in box:  # where a terminal has no such letters, the title stands above a line
        box = re.sub(r"\A[^-]*\n *-{5,} *\n", "", box)
    title, parsing, rest = box.partition("Error parsing ")  # a title goes before the sentence
    for line in (rest if parsing else title).splitlines():
        if line.strip()[:1] in ("╭", "╰", "+"):  # the frame; above it stands only the kind of error
            continue
        text = line.strip().strip("│|").strip()
        if not text.strip("─-"):
            if message:
                break
            continue
        message.append(text)
    return _plainly(" ".join(message).strip() or "the command line cannot be read")


def _plainly(text: str) -> str:
    """What tyro says, as a person would."""
    text = text.removeprefix("run: ").removeprefix("learner: ")  # the fields of `parse_pair`
    for pattern, kind in _NOT_OF_TYPE:
        if result := re.fullmatch(pattern, text.rstrip(".")):
            return f"{result[1]} must be {kind}, not {result[2]}"
    return text


@contextlib.contextmanager
def quiet(as_json: bool) -> Any:
    """Give standard output; with JSON asked for, keep everything else (a world's prints too) off it."""
    out = sys.stdout
    if as_json:
        with contextlib.redirect_stdout(sys.stderr):
            yield out
    else:
        yield out


def print_json(out: Any, value: dict[str, Any]) -> None:
    print(json.dumps(value), file=out, flush=True)


def warn(message: str) -> None:
    print(f"fathom: warning: {message}", file=sys.stderr)
