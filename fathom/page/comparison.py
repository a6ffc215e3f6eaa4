"""Runs compared: their curves on one axis, seeds of the same setting as one, and the settings that differ."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fathom.errors import FathomError, printable
from fathom.page.curves import EVALUATION, CurveStore
from fathom.page.registry import Registry
from fathom.runs.config import RunConfig
from fathom.runs.run import Run
from fathom.runs.thinning import AXES, smoothed
from fathom.statistics import student_intervals

MOST_RUNS = 40
_GRID = 400
"""Points of a mean over seeds."""
_OF_NO_SETTING = ("seed", "versions", "machine", "protocol", "changes")
_LABELS = {"steps": "steps", "seconds": "seconds of training", "episodes": "episodes"}


@dataclass(frozen=True)
class Question:
    """What is compared: the query of a comparison's address."""

    runs: tuple[str, ...] = ()
    curve: str = ""
    axis: str = "steps"
    smoothing: float = 0.0
    """Weight of the past in a moving average, 0 to 0.99."""
    by_setting: bool = True
    """Runs that differ in their seed only become one curve."""

    @classmethod
    def of(cls, query: Any) -> Question:
        """Read a query; what it does not say, or says wrong, has its default."""
        try:
            smoothing = min(max(float(query.get("smoothing", 0)), 0.0), 0.99)
        except ValueError:
            smoothing = 0.0
        axis = query.get("axis", "steps")
        return cls(
            runs=tuple(dict.fromkeys(filter(None, query.get("runs", "").split(","))))[:MOST_RUNS],
            curve=query.get("curve", ""),
            axis=axis if axis in AXES else "steps",
            smoothing=smoothing if smoothing == smoothing else 0.0,
            by_setting=query.get("seeds", "together") != "apart",
        )


@dataclass(frozen=True)
class Line:
    """A curve of a comparison: of one run, or the mean over seeds with Student's 95 % interval."""

    label: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        ends = {} if self.low is None or self.high is None else {"low": self.low, "high": self.high}
        parts = {"x": self.x, "mean": self.mean} | ends
        return {"label": self.label, **{name: part.tolist() for name, part in parts.items()}}


@dataclass(frozen=True)
class Comparison:
    """An answer to a question."""

    question: Question
    opened: list[tuple[str, Run]]
    notes: list[str]
    """What could not be read."""
    names: list[str]
    """Curves that at least one run has."""
    lines: list[Line]

    def to_json(self) -> dict[str, Any]:
        """As JSON, with the table of settings."""
        return {
            "runs": [
                {"id": one, "name": printable(run.name), "path": printable(str(run.folder))}
                for one, run in self.opened
            ],
            "notes": self.notes,
            "names": [printable(name) for name in self.names],
            "curve": self.question.curve,
            "axis": _LABELS[self.question.axis],
            "lines": [line.to_json() for line in self.lines],
            "settings": differing_settings([run for _, run in self.opened]),
        }

    def csv(self) -> str:
        """A row for each point: label, axis, value, ends of the interval."""
        import csv

        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["curve", self.question.axis, self.question.curve, "low", "high"])
        for line in self.lines:
            label = _no_formula(line.label)
            nothing = [""] * len(line.x)
            low = nothing if line.low is None else line.low.tolist()
            high = nothing if line.high is None else line.high.tolist()
            for row in zip(line.x.tolist(), line.mean.tolist(), low, high, strict=True):
                writer.writerow([label, *row])
        return out.getvalue()

    def picture(self, kind: Literal["svg", "png"]) -> bytes:
        """The curves as a picture."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.add_subplot()
        drawn = []
        for line in self.lines:
            drawn += axes.plot(line.x, line.mean, linewidth=1.4)
            if line.low is not None and line.high is not None:
                colour = drawn[-1].get_color()
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2)
        texts = [
            axes.set_xlabel(_LABELS[self.question.axis]),
            axes.set_ylabel(printable(self.question.curve)),
            *axes.legend(drawn, [line.label for line in self.lines], fontsize="small").get_texts(),
        ]
        for text in texts:  # names, not formulas between dollar signs
            text.set_parse_math(False)
        axes.grid(alpha=0.3)
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=150)
        return out.getvalue()


def compare(question: Question, registry: Registry, store: CurveStore) -> Comparison:
    """Read the runs of a question; one that cannot be read is a note."""
    opened, notes = [], []
    for run_id in question.runs:
        try:
            run = registry.open(run_id)
            opened.append((run_id, run, store.of(run_id, run)))
        except FathomError as error:
            notes.append(printable(" ".join(str(error).split())))
    names = list(dict.fromkeys(name for _, _, curves in opened for name in curves.names))
    if question.curve not in names and names:
        liked = [name for name in (EVALUATION, "episode_return", "loss") if name in names]
        question = dataclasses.replace(question, curve=(liked or names)[0])
    groups: dict[str, list[_Member]] = {}
    for run_id, run, curves in opened:
        x, y = curves.curve(question.curve, question.axis)
        if not len(x):
            continue
        member = _Member(run, x, smoothed(y, question.smoothing))
        if question.curve == EVALUATION and not question.smoothing:
            member.interval = curves.interval(question.axis)
        key = setting_of(run.config) if question.by_setting else run_id
        groups.setdefault(key, []).append(member)
    lines = [_line(members) for members in groups.values()]
    return Comparison(question, [(one, run) for one, run, _ in opened], notes, names, lines)


def setting_of(config: RunConfig) -> str:
    """A text that is the same for runs that differ in their seed only."""
    table = dataclasses.asdict(config)
    return json.dumps({k: v for k, v in table.items() if k not in _OF_NO_SETTING}, sort_keys=True)


@dataclass
class _Member:
    """The curve of one run, with its own intervals where it has some."""

    run: Run
    x: np.ndarray
    y: np.ndarray
    interval: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None)


def _line(members: Sequence[_Member]) -> Line:
    """The curve of a run, or the mean over runs from where to where all of them have points."""
    if len(members) == 1:
        (one,) = members
        return Line(printable(one.run.name), one.x, one.y, *one.interval)
    first, last = max(one.x[0] for one in members), min(one.x[-1] for one in members)
    places = np.unique(np.concatenate([one.x for one in members]))
    grid = places[(places >= first) & (places <= last)]
    if len(grid) > _GRID:
        grid = np.linspace(first, last, _GRID)
    values = np.stack([np.interp(grid, one.x, one.y) for one in members])
    low, high = student_intervals(values)
    seeds = sorted(one.run.config.seed for one in members)
    config = members[0].run.config
    label = f"{config.learner}, {config.source} ({len(members)} runs, seeds {', '.join(map(str, seeds))})"
    return Line(printable(label), grid, values.mean(0), low, high)


def differing_settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The settings in which runs differ: their names and a value for each run, empty where it has none."""
    flat = [_flat(dataclasses.asdict(run.config)) for run in runs]
    names = sorted({name for one in flat for name in one})
    rows = [
        {"name": printable(name), "values": [one.get(name, "") for one in flat]} for name in names
    ]
    return [row for row in rows if len(set(row["values"])) > 1]


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested table as texts by dotted names."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = printable(
                value if isinstance(value, str) else json.dumps(value)
            )
    return flat


def _no_formula(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text
