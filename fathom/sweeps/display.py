"""What a person sees while a sweep is at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fathom.display import number
from fathom.errors import printable

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from fathom.sweeps.folder import SweepFolder
    from fathom.sweeps.trials import Trials


class SweepDisplay:
    """A line for each trial that ends and, on a terminal, what is being trained now.

    Args:
        stderr: show it on standard error.
        quiet: show nothing.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        self.console = Console(
            stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        live = self.console.is_terminal and self.console.file.isatty()
        self._bar = Progress(
            TextColumn("{task.completed} of {task.total} trials"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
            disable=not live or quiet,
        )
        self._count = 0

    def begin(self, sweep: SweepFolder, trials: Trials) -> None:
        """Say what is done of how much."""
        done = sum(one.state.is_finished() for one in trials.trials())
        self._count = trials.count
        self._task = self._bar.add_task("", total=trials.count, completed=done)
        config = sweep.config
        where = f"on the Ray cluster {config.ray}" if config.ray else f"{config.jobs} at a time"
        seeds, threads = len(config.seeds), config.threads
        self.message(
            f"{sweep.folder}: {trials.count:,} trials with {seeds:,} seed{'s' * (seeds != 1)} each, {where}, {threads}"
            f" thread{'s' * (threads != 1)} a run{f', {done:,} trials done already' if done else ''}"
        )

    def __enter__(self) -> SweepDisplay:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def message(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(printable(text))

    def working(self, runs: Sequence[tuple[str, int, int]]) -> None:
        """Show what is trained now: names, segments done, segments in all."""
        listed = ", ".join(f"{name} {done}/{total}" for name, done, total in runs)
        self._bar.update(self._task, description=listed)

    def run_ended(self, name: str, values: Sequence[float]) -> None:
        """Say that a run was trained to its end."""
        self.message(f"  {name}{f': {number(values[-1])}' if values else ''}")

    def outcome(self, trial: FrozenTrial) -> None:
        """Say how a trial ended."""
        self._bar.advance(self._task)
        values = settings(trial.params)
        why = trial.user_attrs.get("why", "")
        score = f": {number(trial.value)}" if trial.value is not None else ""
        self.message(
            f"t{trial.number:03d} ({trial.number + 1:,} of {self._count:,})"
            f"{f', {values}' if values else ''}{score}"
            f"{f' ({why})' if why else ''}"
        )


def settings(params: Mapping[str, Any]) -> str:
    """The values of hyperparameters in a line."""
    return ", ".join(f"{name} {shown(value)}" for name, value in params.items())


def shown(value: Any) -> str:
    """A value of a hyperparameter, short enough to read."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number(value) if is_number else str(value)
