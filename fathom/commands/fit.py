"""Fit a perception task, e.g. fathom fit digits."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from fathom.arguments import (
    asks_for_help,
    parse,
    parse_with_config,
    prefixed_arguments,
    split_positional,
)
from fathom.errors import FathomError
from fathom.runs.options import STRICT, FitOptions
from fathom.streams import quiet

USAGE = "fit TASK [flags]"
HELP = """`fathom list` names the tasks. `fathom fit TASK --help` adds the hyperparameters of that task."""


@dataclass(frozen=True, config=STRICT)
class FitFlags(FitOptions):
    """The run."""

    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


def run(words: list[str]) -> int:
    """Fit a new run to its end."""
    words, data_args = prefixed_arguments(words, "data")
    with quiet("--json" in words) as out:
        from perception.tasks import TASKS

        given, rest = split_positional(words, [FitFlags])
        for word in TASKS.keys() & set(words):  # which flags take a value depends on the task
            from fathom.runs.task_learner import task_class

            positional, flags_then = split_positional(words, [FitFlags, task_class(word).Config])
            if positional[:1] == [word]:
                given, rest = positional, flags_then
        if not given and asks_for_help(words):
            parse(FitFlags(), ["--help"], "fathom fit TASK", out, HELP)
        if not given:
            raise FathomError("fit needs a task, as in `fathom fit digits`")
        from fathom.commands._training import train_and_report
        from fathom.display import Display
        from fathom.runs.config import plain_value
        from fathom.runs.launcher import known_task, new_fit
        from fathom.runs.task_learner import task_class

        kind = task_class(known_task(given[0]))
        flags, config = parse_with_config(
            FitFlags(),
            kind.Config(),
            given[0],
            [*given[1:], *rest],
            f"fathom fit {given[0]}",
            out,
            "Options of the data follow as --data.NAME VALUE.",
        )
        display = Display(stderr=flags.json)
        data_options = {name: plain_value(text) for name, text in data_args.items()}
        new = new_fit(given[0], flags, config, data_options, display.message)
        return train_and_report(new, display, flags.json, out)
