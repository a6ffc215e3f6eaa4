"""What a person sees while a run trains."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from fathom.errors import printable

_PLAIN_SECONDS = 10.0


def clock(seconds: float) -> str:
    """A duration such as `1:02:03`."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def number(value: float) -> str:
    """A number short enough to read."""
    if abs(value) < 1e12 and value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if 100 <= abs(value) < 1e12 else f"{value:.4g}"


def score(result: dict[str, Any]) -> str:
    """An evaluation in a line: name of the score, mean, interval, number of episodes or examples, measures.

    Args:
        result: as `Result.to_json` gives it.
    """
    low, high = result["interval"]
    measures = "".join(
        f" · {name.replace('_', ' ')} {number(value)}"
        for name, value in result.get("measures", {}).items()
    )
    name = f"{result['score']} " if "score" in result else ""
    unit = "episodes" if "episodes" in result else "examples"
    spread = f"95 % interval {number(low)} to {number(high)}, {result[unit]} {unit}"
    if result[unit] == 1:  # of which nothing can be said
        spread = f"1 {unit[:-1]}"
    return printable(f"{name}{number(result['mean'])} ({spread}){measures}")


def table(rows: list[list[Any]]) -> list[str]:
    """Rows as lines of text with aligned columns; the first row is the head, None is an empty cell."""
    texts = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    first, *widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for name, *cells in texts:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([name.ljust(first), *padded]))
    return lines


@contextlib.contextmanager
def evaluation_progress() -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how far an evaluation is, if that is a terminal; gives what is to be told."""
    console = Console(stderr=True, highlight=False)
    with Progress(
        BarColumn(bar_width=40),
        TextColumn("{task.completed} of {task.total} evaluated"),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("", total=None, visible=False)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield report


class Display:
    """Progress, live on a terminal and as plain lines anywhere else.

    Args:
        stderr: show it on standard error.
        quiet: show nothing.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        self.console = Console(
            stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self._total = self._start = self._steps = 0
        self._seconds = 0.0
        self._metrics: dict[str, float] = {}
        self._phases: dict[str, float] = {}
        self._evaluation = ""
        self._activity = "training"
        self._printed = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Display:
        # A file is no terminal, even where colours are forced.
        if self.console.is_terminal and self.console.file.isatty():
            self._live = Live(
                self._render(), console=self.console, refresh_per_second=4, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def begin(self, total: int, start: int) -> None:
        """Say how far the run is to go, and from where it goes on."""
        self._total = total
        self._start = self._steps = start

    def message(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(printable(text))

    def activity(self, text: str) -> None:
        """Say what is being done now."""
        self._activity = text
        self._refresh()

    def progress(self, steps: int, seconds: float, metrics: dict[str, float]) -> None:
        """Show how far the run is.

        Args:
            steps: Agent steps the run has done.
            seconds: Training time that this process has spent.
            metrics: The newest report of the agent.
        """
        self._steps, self._seconds = steps, seconds
        self._phases.update(
            {
                key.removeprefix("time/"): value
                for key, value in metrics.items()
                if key.startswith("time/")
            }
        )
        self._metrics.update(
            {
                key: value
                for key, value in metrics.items()
                if key != "steps" and not key.startswith("time/")
            }
        )
        self._refresh()
        now = time.monotonic()
        if self._live is None and now - self._printed >= _PLAIN_SECONDS:
            self._printed = now
            self.message(" · ".join([self._position(), self._speed(), *self._facts()]))

    def evaluation(self, steps: int, result: dict[str, Any]) -> None:
        """Show a score."""
        self._evaluation = f"{score(result)} at step {steps:,}"
        self.message(f"step {steps:,}: evaluation {score(result)}")

    def _position(self) -> str:
        return f"step {self._steps:,} of {self._total:,} ({100 * self._steps / max(1, self._total):.0f} %)"

    def _speed(self) -> str:
        if self._seconds <= 0 or self._steps <= self._start:
            return "starting"
        rate = (self._steps - self._start) / self._seconds
        return f"{rate:,.0f} steps/s · {clock((self._total - self._steps) / rate)} left"

    def _facts(self) -> list[str]:
        return [f"{key.replace('_', ' ')} {number(value)}" for key, value in self._metrics.items()]

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> Group:
        bar = Progress(BarColumn(bar_width=40), TextColumn("{task.description}", markup=False))
        bar.add_task(
            f"{self._position()} · {self._speed()}",
            total=max(1, self._total),
            completed=self._steps,
        )
        table = Table.grid(padding=(0, 2))
        table.add_row("now", self._activity)
        if self._evaluation:
            table.add_row("evaluation", self._evaluation)
        if self._metrics:
            table.add_row("metrics", " · ".join(self._facts()))
        whole = sum(self._phases.values())
        if whole > 0:
            shares = " · ".join(
                f"{name} {100 * spent / whole:.0f} %" for name, spent in self._phases.items()
            )
            table.add_row("time", shares)
        return Group(bar, table)
