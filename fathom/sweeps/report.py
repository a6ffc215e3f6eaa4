"""The result of a sweep: a table, `sweep.json`, pictures, and the best setting as a preset."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tomli_w
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from fathom.display import number
from fathom.errors import FathomError, printable
from fathom.files import reporting_disk_errors
from fathom.runs.config import toml_value
from fathom.runs.folder import RunFolder
from fathom.statistics import (
    bootstrap_interval,
    interquartile_mean,
    student_interval,
    student_intervals,
)
from fathom.sweeps.display import settings, shown
from fathom.sweeps.folder import PRESET, RESULT, SweepFolder
from fathom.sweeps.space import Range, parse_vary
from fathom.sweeps.sweep import default_hyperparameters, run_name
from fathom.sweeps.trials import Trials

_CURVES, _BARS = 6, 20
"""Trials of which curves, and bars, are drawn."""
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}


def report(sweep: SweepFolder, trials: Trials) -> dict[str, Any]:
    """Write `sweep.json`, the pictures and `best.toml` of a sweep that is done.

    Returns:
        The contents of `sweep.json`.

    Raises:
        FathomError: no trial has a score.
    """
    config = sweep.config
    ranked = _ranked(trials, config.minimize)
    rows = [_row(one, config.seeds) for one in ranked]
    best = ranked[0] if ranked and ranked[0].state == TrialState.COMPLETE else None
    if best is None:
        why = next((row["why"] for row in rows if row["why"]), "there was none")
        raise FathomError(f"no trial of {sweep.folder} finished: {why}")
    result = {
        "agent" if config.agent else "task": config.agent or config.task,
        "environment" if config.agent else "data": config.environment or config.data,
        "seeds": config.seeds,
        "score": _score_name(sweep, best),
        "minimize": config.minimize,
        "vary": config.vary,
        "importance": {name: round(float(share), 4) for name, share in trials.importance().items()},
        "best": rows[0],
        "trials": rows,
    }
    with reporting_disk_errors(sweep.folder):
        sweep.files.replace(RESULT, (json.dumps(result, indent=1) + "\n").encode())
        sweep.files.replace(PRESET, _preset(sweep, best))
        for name, data in _pictures(sweep, trials, ranked, result).items():
            sweep.files.replace(name, data)
    return result


def print_table(sweep: SweepFolder, result: dict[str, Any], console: Console) -> None:
    """Print the trials, the best first, and what was written."""
    names = list(result["best"]["params"])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("trial", *names, result["score"], "95 % interval", "IQM", "seeds", ""):
        table.add_column(printable(name), justify="left" if not name else "right", no_wrap=True)
    for row in result["trials"]:
        interval = row["interval"]
        table.add_row(
            f"t{row['trial']:03d}",
            *(printable(shown(row["params"][name])) for name in names),
            "" if row["mean"] is None else number(row["mean"]),
            f"{number(interval[0])} to {number(interval[1])}" if interval else "",
            "" if row["iqm"] is None else number(row["iqm"]),
            str(len(row["scores"])),
            printable(row["why"]),
        )
    width = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    Console(file=console.file, width=max(width, console.width), highlight=False).print(table)
    best = result["best"]
    values = settings(best["params"])
    lines = [
        f"best: t{best['trial']:03d}{f' with {values}' if values else ''}; its score was chosen among"
        f" {len(result['trials']):,}, so train it with other seeds to know what it is worth",
        f"written: {sweep.folder}: {', '.join(_written(sweep))}",
    ]
    for line in lines:
        console.print(printable(line), soft_wrap=True)


def _written(sweep: SweepFolder) -> list[str]:
    names = sweep.files.names()
    return [RESULT, PRESET, *sorted(name for name in names if name.endswith(".png"))]


def _ranked(trials: Trials, minimize: bool) -> list[FrozenTrial]:
    """Complete trials from the best to the worst, then the pruned ones, then those that failed."""
    sign = 1 if minimize else -1
    order = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1}

    def key(trial: FrozenTrial) -> tuple[int, float, int]:
        value = 0.0 if trial.value is None else sign * trial.value
        return order.get(trial.state, 2), value, trial.number

    return sorted(trials.trials(), key=key)


def _row(trial: FrozenTrial, seeds: Sequence[int]) -> dict[str, Any]:
    """A trial as `sweep.json` holds it. The interval is Student's over seeds."""
    scores = [float(score) for score in trial.user_attrs.get("scores", [])]
    complete = trial.state == TrialState.COMPLETE
    return {
        "trial": trial.number,
        "state": _STATES.get(trial.state, "failed"),
        "params": dict(trial.params),
        "mean": trial.value,
        "interval": list(student_interval(np.array(scores)))
        if complete and len(scores) > 1
        else None,
        "iqm": interquartile_mean(np.array(scores)) if complete else None,
        "scores": dict(zip(map(str, seeds), scores, strict=False)),
        "runs": [run_name(trial.number, seed) for seed in seeds[: len(scores) or None]],
        "why": str(trial.user_attrs.get("why", "")),
    }


def _score_name(sweep: SweepFolder, best: FrozenTrial) -> str:
    folder = sweep.folder / run_name(best.number, sweep.config.seeds[0])
    if folder.is_dir():
        last = RunFolder.open(folder, trust=True).last_evaluation() or {}
        return str(last.get("score", "return"))
    return "score"


def _preset(sweep: SweepFolder, best: FrozenTrial) -> bytes:
    """The setting of a trial as a preset's file."""
    config = sweep.config
    hyperparameters = dataclasses.asdict(default_hyperparameters(config)) | best.params
    head: dict[str, Any] = (
        {"task": config.task}
        if config.is_fit
        else {"algorithm": config.agent, "environments": [config.environment]}
    )
    run = config.options | {"threads": config.threads}
    if config.is_fit:
        run["data"] = config.data
    table = {**head, "run": run, "hyperparameters" if config.is_fit else "agent": hyperparameters}
    note = f"# The best of {sweep.name}: trial {best.number}, {number(best.value or 0)} with seeds {', '.join(map(str, config.seeds))}.\n"
    return note.encode() + tomli_w.dumps(toml_value(table)).encode()


# -- pictures -----------------------------------------------------------------------------------


def _pictures(
    sweep: SweepFolder, trials: Trials, ranked: Sequence[FrozenTrial], result: dict[str, Any]
) -> dict[str, bytes]:
    complete = [one for one in ranked if one.state == TrialState.COMPLETE]
    pictures = {"curves.png": _curves(sweep, complete[:_CURVES], result["score"])}
    pictures["iqm.png"] = _bars(complete[:_BARS], result["score"])
    if result["importance"]:
        pictures["importance.png"] = _importance(result["importance"])
    names = list(result["best"]["params"])
    if names and len(ranked) > 1:
        pictures["parallel.png"] = _parallel(sweep, ranked, names, result["score"])
    return pictures


def _curves(sweep: SweepFolder, best: Sequence[FrozenTrial], score: str) -> bytes:
    """Mean over seeds with Student's interval, of the best trials."""
    figure, axes = _figure(9, 5)
    spread: list[float] = []
    for trial in best:
        lines = []
        for seed in sweep.config.seeds:
            folder = sweep.folder / run_name(trial.number, seed)
            if folder.is_dir():
                lines.append(RunFolder.open(folder, trust=True).evaluations())
        count = min(map(len, lines), default=0)
        if not count:
            continue
        steps = [line["steps"] for line in lines[0][:count]]
        values = np.array([[line["mean"] for line in one[:count]] for one in lines])
        low, high = student_intervals(values)
        spread += [values.min(), values.max()]
        values_text = settings(trial.params)
        (drawn,) = axes.plot(
            steps, values.mean(0), marker=".", label=f"t{trial.number:03d} {values_text}".strip()
        )
        if len(lines) > 1:
            axes.fill_between(steps, low, high, color=drawn.get_color(), alpha=0.15)
    if spread:
        low, high = np.min(spread), np.max(spread)
        margin = 0.1 * (high - low) or 1.0
        axes.set_ylim(
            low - margin, high + margin
        )  # intervals over two seeds are far wider than that
    axes.set_xlabel("steps")
    axes.set_ylabel(score)
    axes.set_title(f"mean of {len(sweep.config.seeds)} seeds, Student's 95 % interval")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    return _png(figure)


def _bars(best: Sequence[FrozenTrial], score: str) -> bytes:
    """Interquartile means over seeds with percentile bootstrap intervals."""
    figure, axes = _figure(7, 1.5 + 0.3 * len(best))
    for place, trial in enumerate(best):
        scores = np.array(trial.user_attrs.get("scores", [trial.value]), np.float64)
        middle = interquartile_mean(scores)
        low, high = bootstrap_interval(scores, interquartile_mean)
        axes.plot([low, high], [place, place], color="C0", alpha=0.4, linewidth=6)
        axes.plot([middle], [place], "|", color="C0", markersize=14, markeredgewidth=2)
        axes.plot(scores, [place] * len(scores), ".", color="black", markersize=3)
    axes.set_yticks(range(len(best)), [f"t{one.number:03d}" for one in best])
    axes.invert_yaxis()
    axes.set_xlabel(f"{score}: interquartile mean over seeds, 95 % bootstrap interval")
    axes.grid(alpha=0.3, axis="x")
    return _png(figure)


def _importance(shares: dict[str, float]) -> bytes:
    figure, axes = _figure(7, 1.5 + 0.35 * len(shares))
    names = sorted(shares, key=lambda name: shares[name])
    axes.barh(names, [shares[name] for name in names])
    axes.set_xlabel("share of the variance of the score (fANOVA)")
    axes.grid(alpha=0.3, axis="x")
    return _png(figure)


def _parallel(
    sweep: SweepFolder, ranked: Sequence[FrozenTrial], names: Sequence[str], score: str
) -> bytes:
    """A line for each trial through its values and its score; pruned trials are thin."""
    from matplotlib.colors import Normalize

    space = parse_vary(sweep.config.vary, default_hyperparameters(sweep.config))
    scored = [one for one in reversed(ranked) if one.value is not None]
    values = [one.value or 0.0 for one in scored]
    norm = Normalize(min(values), max(values))
    figure, axes = _figure(2.2 * (len(names) + 1) + 1, 4.5)
    places: dict[str, dict[Any, float]] = {}
    for x, name in enumerate(names):
        one = space[name]
        if isinstance(one, Range):
            ticks, at = _scale(one)
        else:
            listed = list(one.values)
            places[name] = {v: (i + 0.5) / len(listed) for i, v in enumerate(listed)}
            ticks, at = [shown(v) for v in listed], list(places[name].values())
        for text, y in zip(ticks, at, strict=True):
            axes.text(x - 0.03, y, text, ha="right", va="center", fontsize=8)
        axes.axvline(x, color="black", linewidth=0.8)
    axes.axvline(len(names), color="black", linewidth=0.8)
    for value in (min(values), max(values)):
        axes.text(
            len(names) + 0.03,
            norm(value) if len(set(values)) > 1 else 0.5,
            number(value),
            va="center",
            fontsize=8,
        )
    import matplotlib

    colours = matplotlib.colormaps["viridis"]
    for trial in scored:
        share = float(norm(trial.value or 0.0)) if len(set(values)) > 1 else 0.5
        heights = [
            places[name][trial.params[name]]
            if name in places
            else _height(space[name], trial.params[name])
            for name in names
        ]
        pruned = trial.state != TrialState.COMPLETE
        axes.plot(
            range(len(names) + 1),
            [*heights, share],
            color=colours(share),
            linewidth=0.7 if pruned else 1.8,
            linestyle=":" if pruned else "-",
        )
    axes.set_xticks(range(len(names) + 1), [*names, score])
    axes.set_yticks([])
    axes.set_xlim(-0.35, len(names) + 0.25)
    for side in ("top", "bottom", "left", "right"):
        axes.spines[side].set_visible(False)
    return _png(figure)


def _height(one: Any, value: float) -> float:
    """Where a value lies in its range, from 0 to 1."""
    if one.log:
        return float(np.log(value / one.low) / np.log(one.high / one.low))
    return float((value - one.low) / (one.high - one.low))


def _scale(one: Range) -> tuple[list[str], list[float]]:
    heights = [0.0, 0.25, 0.5, 0.75, 1.0]
    if one.log:
        marks = [one.low * (one.high / one.low) ** h for h in heights]
    else:
        marks = [one.low + h * (one.high - one.low) for h in heights]
    return [f"{mark:.3g}" for mark in marks], heights


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # names, not formulas between dollar signs
        text.set_parse_math(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
