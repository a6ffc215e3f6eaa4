"""The curves of runs as the page draws them: read by their tails, thinned, kept for a few runs at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from fathom.errors import printable
from fathom.runs.folder import LogPosition
from fathom.runs.run import Run
from fathom.runs.thinning import AXES, ThinnedCurves, joined

_MOST_RUNS = 64
"""Runs whose curves are kept; others are read again."""
_MOST_EVALUATIONS = 1000
_PHASE = "time/"
EVALUATION = "evaluation"
"""Name of the curve of the evaluations' means."""

Lines = Iterator[dict[str, Any]]


class RunCurves:
    """Curves and evaluations of one run; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports, self._scores = LogPosition(), LogPosition()
        self._clear_reports()
        self._clear_scores()

    def _clear_reports(self) -> None:
        self._thinned = ThinnedCurves()
        self._phases: dict[str, float] = {}
        self._segment, self._of_segment = -1, dict[str, float]()

    def _clear_scores(self) -> None:
        self._evaluations: list[dict[str, Any]] = []
        self._every, self._count = 1, 0
        self._last: dict[str, Any] | None = None

    def update(self, run: Run) -> None:
        """Read what was added since the last time."""
        with self._lock:
            reports = _following(run.new_metrics, self._reports, self._clear_reports)
            self._thinned.extend(self._noting_phases(reports))
            for score in _following(run.new_evaluations, self._scores, self._clear_scores):
                self._add_score(score)

    @property
    def version(self) -> str:
        """Changes with the curves."""
        positions = (self._reports, self._scores)
        return "-".join(f"{one.starts}.{one.file}.{one.byte}" for one in positions)

    @property
    def names(self) -> list[str]:
        """The curves there are: what was reported, and "evaluation"."""
        names = [name for name in self._thinned.names if not name.startswith(_PHASE)]
        return [EVALUATION, *names] if self._evaluations else names

    def curve(self, name: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """The points of a curve over an axis, in rising order, (n,) each."""
        with self._lock:
            if name == EVALUATION:
                return self._of_scores("mean", axis)
            return joined(self._thinned.axis(axis), self._thinned.curve(name)[1])

    def interval(self, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the evaluations' intervals, at the points of their curve."""
        with self._lock:
            return self._of_scores("low", axis)[1], self._of_scores("high", axis)[1]

    def _of_scores(self, key: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
        points = [(point[axis], point[key]) for point in self._scored()]
        return joined(*np.array(points, np.float64).reshape(-1, 2).T)

    def to_json(self) -> dict[str, Any]:
        """All curves; values that are missing are null, numbers have six digits."""
        with self._lock:
            curves = {}
            for name in self._thinned.names:
                if name.startswith(_PHASE):
                    continue
                low, mean, high = self._thinned.curve(name)
                curves[printable(name)] = {"mean": _list(mean)}
                if self._thinned.width > 1:
                    curves[printable(name)] |= {"low": _list(low), "high": _list(high)}
            phases = dict(self._phases)
            for name, seconds in self._of_segment.items():
                phases[name] = phases.get(name, 0.0) + seconds
            return {
                "version": self.version,
                "width": self._thinned.width,
                "axes": {axis: _list(self._thinned.axis(axis)) for axis in AXES},
                "curves": curves,
                "evaluations": self._scored(),
                "table": [] if self._last is None else self._last.get("table", []),
                "phases": {printable(name.removeprefix(_PHASE)): s for name, s in phases.items()},
            }

    def _noting_phases(self, reports: Lines) -> Lines:
        """The reports; the seconds of each phase start anew with every segment, and are added up."""
        for report in reports:
            if report.get("segment") != self._segment:
                for name, seconds in self._of_segment.items():
                    self._phases[name] = self._phases.get(name, 0.0) + seconds
                self._segment, self._of_segment = int(report.get("segment", -1)), {}
            for name, value in report.items():
                if name.startswith(_PHASE):
                    self._of_segment[name] = float(value)
            yield report

    def _add_score(self, line: dict[str, Any]) -> None:
        self._last = line
        if self._count % self._every == 0:
            low, high = line["interval"]
            self._evaluations.append(
                {
                    "steps": line["steps"],
                    "seconds": line.get("seconds"),
                    "mean": line["mean"],
                    "low": low,
                    "high": high,
                    "count": line.get("episodes") or line.get("examples") or 0,
                    "score": printable(line.get("score", "return")),
                    "measures": {printable(k): v for k, v in line.get("measures", {}).items()},
                }
            )
        self._count += 1
        if len(self._evaluations) > _MOST_EVALUATIONS:
            self._evaluations = self._evaluations[::2]
            self._every *= 2

    def _scored(self) -> list[dict[str, Any]]:
        """The evaluations, with seconds where they have none, and episodes."""
        thinned = self._thinned
        steps = [point["steps"] for point in self._evaluations]
        at: dict[str, list[float]] = {}
        for axis in ("seconds", "episodes"):
            known, values = joined(thinned.axis("steps"), thinned.axis(axis))
            at[axis] = (
                np.interp(steps, known, values).tolist() if len(known) else [0.0] * len(steps)
            )
        return [
            point | {"episodes": episodes, "seconds": seconds if point["seconds"] is None else point["seconds"]}
            for point, episodes, seconds in zip(
                self._evaluations, at["episodes"], at["seconds"], strict=True
            )
        ]  # fmt: skip


def _following(
    read: Callable[[LogPosition], Lines], position: LogPosition, clear: Callable[[], None]
) -> Lines:
    """The new lines of a log; `clear` is called before the first where the log begins anew."""
    starts = position.starts
    lines = read(position)
    first = next(lines, None)  # the log is opened only now
    if position.starts != starts:
        clear()
    return lines if first is None else chain([first], lines)


def _list(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


class CurveStore:
    """Keeps the curves of the runs that were looked at last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, RunCurves] = OrderedDict()

    def of(self, run_id: str, run: Run) -> RunCurves:
        """The curves of a run, up to date."""
        with self._lock:
            curves = self._kept.pop(run_id, None) or RunCurves()
            self._kept[run_id] = curves
            while len(self._kept) > _MOST_RUNS:
                self._kept.popitem(last=False)
        curves.update(run)
        return curves
