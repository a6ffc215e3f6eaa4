"""What `train`, `fit` and `resume` share: a training under signals, and its report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from fathom.arguments import print_json
from fathom.display import Display, clock, score, table
from fathom.errors import Stopped, printable
from fathom.runs.folder import RunFolder
from fathom.runs.learner import Learner
from fathom.runs.runner import learner_of, train
from fathom.signals import stopping_signals


def train_and_report(
    run: RunFolder,
    display: Display,
    as_json: bool,
    out: TextIO,
    learner: Callable[[RunFolder], Learner] = learner_of,
) -> int:
    """Train a run to its end; gives the exit code."""
    try:
        with stopping_signals() as should_stop:
            progress = train(run, display, should_stop, learner)
    except Stopped as stopped:
        print(
            "fathom: stopped; the segment that was in progress will be done again. "
            f"Go on with: fathom resume {printable(str(run.folder))}",
            file=sys.stderr,
        )
        return stopped.exit_code
    evaluations = run.evaluations()
    last = evaluations[-1] if evaluations else None
    if as_json:
        report = {"run": str(run.folder), "steps": progress.steps, "seconds": progress.seconds}
        print_json(out, {**report, "evaluation": last})
        return 0
    ending = f", evaluation {score(last)}" if last is not None else ""
    seconds = clock(progress.seconds)
    print(printable(f"{run.folder}: {progress.steps:,} steps in {seconds}{ending}"), file=out)
    if last is not None and "table" in last:
        print("\n".join(table(last["table"])), file=out)
    return 0
