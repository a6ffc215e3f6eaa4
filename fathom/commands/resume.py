"""Resume a run from its latest checkpoint, or extend it."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic.dataclasses import dataclass

from fathom.arguments import quiet, run_argument
from fathom.errors import printable
from fathom.runs.options import STRICT, Steps

USAGE = "resume RUN [--steps N]"


@dataclass(frozen=True, config=STRICT)
class ResumeFlags:
    """Go on with a run exactly where it was."""

    steps: Steps | None = None
    """New number of steps in all, to extend the run."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


def run(words: list[str]) -> int:
    """Train a run to its end, from its latest checkpoint."""
    reference, flags = run_argument(words, "resume", ResumeFlags())
    with quiet(flags.json) as out:
        from fathom.commands._training import train_and_report
        from fathom.display import Display
        from fathom.runs.folder import RunFolder
        from fathom.runs.launcher import extend, protocol_line

        resumed = RunFolder.find(reference, flags.runs_dir, flags.trust)
        if flags.steps is not None:
            extend(resumed, flags.steps)
        print(printable(protocol_line(resumed.config)), file=sys.stderr if flags.json else out)
        return train_and_report(resumed, Display(stderr=flags.json), flags.json, out)
