"""Fit a perception task, e.g. fathom fit digits."""

from __future__ import annotations

import functools

from pydantic.dataclasses import dataclass

from fathom.arguments import (
    asks_for_help,
    parse,
    parse_with_config,
    path_in,
    prefixed_arguments,
    split_positional,
)
from fathom.errors import FathomError
from fathom.runs.options import STRICT, FitOptions
from fathom.streams import quiet

USAGE = "fit TASK [flags]"
HELP = """`fathom list` names the tasks; one of your own is path/to/file.py:Class. `fathom fit TASK --help` adds the
hyperparameters of that task."""


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
        own = {*given[:1]} - TASKS.keys()
        candidates = own if any(":" in word or word.endswith(".py") for word in own) else set()
        for word in candidates | TASKS.keys() & set(words):  # its flags depend on the task
            from fathom.runs.tasks import resolve_task, task_class

            kind = task_class(resolve_task(word))
            positional, flags_then = split_positional(words, [FitFlags, kind.Config])
            if positional[:1] == [word]:
                given, rest = positional, flags_then
        if not given and asks_for_help(words):
            parse(FitFlags(), ["--help"], "fathom fit TASK", out, HELP)
        if not given:
            raise FathomError("fit needs a task, as in `fathom fit digits`")
        from fathom.commands._training import train_and_report
        from fathom.display import Display
        from fathom.runs.launcher import fit_defaults, new_fit
        from fathom.runs.task_learner import TaskLearner
        from fathom.runs.tasks import is_own, resolve_task, task_class
        from fathom.schema import plain_value

        task = resolve_task(given[0])
        defaults = fit_defaults(task, FitFlags, path_in(rest, "--preset"))
        flags, config = parse_with_config(
            *defaults,
            task_class(task).__name__ if is_own(task) else task,
            [*given[1:], *rest],
            f"fathom fit {given[0]}",
            out,
            "Options of the data follow as --data.NAME VALUE.",
        )
        display = Display(stderr=flags.json)
        data_options = {name: plain_value(text) for name, text in data_args.items()}
        new, data = new_fit(task, flags, config, data_options, display.message)
        learner = functools.partial(TaskLearner, data=data)
        return train_and_report(new, display, flags.json, out, learner)
