"""What `sweep` and `resume` share: a sweep under signals, and its report."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console

from fathom.arguments import print_json
from fathom.errors import Stopped, printable
from fathom.signals import stopping_signals
from fathom.sweeps.display import SweepDisplay
from fathom.sweeps.folder import SweepFolder
from fathom.sweeps.report import print_table, report
from fathom.sweeps.sweep import carry_out


def sweep_and_report(sweep: SweepFolder, as_json: bool, out: TextIO) -> int:
    """Carry out what is left of a sweep and print its result; gives the exit code."""
    display = SweepDisplay(stderr=as_json)
    try:
        with stopping_signals() as should_stop:
            trials = carry_out(sweep, display, should_stop)
    except Stopped as stopped:
        print(
            "fathom: stopped; the runs keep their last checkpoints. Go on with: fathom resume"
            f" {printable(str(sweep.folder))}",
            file=sys.stderr,
        )
        return stopped.exit_code
    result = report(sweep, trials)
    if as_json:
        print_json(out, {"sweep": str(sweep.folder), **result})
    else:
        print_table(sweep, result, Console(file=out, highlight=False, markup=False, emoji=False))
    return 0
