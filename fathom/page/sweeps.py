"""The sweep that a run is part of: its table of trials and its pictures, beside each of its runs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from fathom.errors import FathomError, printable
from fathom.files import Folder
from fathom.page.registry import id_of, stamp
from fathom.runs.folder import SWEEP_CONFIG
from fathom.schema import Plain, read_json
from fathom.sweeps.display import shown
from fathom.sweeps.folder import RESULT

PICTURES = "curves.png", "iqm.png", "importance.png", "parallel.png"
_MOST_RESULT, _MOST_TRIALS = 1 << 24, 1000


@with_config(extra="ignore", strict=True)
class _Trial(TypedDict):
    trial: int
    params: dict[str, Plain]
    mean: float | None
    interval: list[float] | None
    iqm: float | None
    runs: list[str]
    why: str


@with_config(extra="ignore", strict=True)
class _Result(TypedDict):
    score: str
    trials: list[_Trial]


_RESULT = TypeAdapter(_Result)


def sweep_of(run: Path) -> Path | None:
    """The folder of the sweep that a run's folder lies in; None where it is no sweep's."""
    folder = run.parent
    try:
        return folder if Folder(folder).kind(SWEEP_CONFIG) == "file" else None
    except (FathomError, OSError):
        return None


def about_sweep(folder: Path) -> dict[str, Any]:
    """What is shown of a sweep; no trials before it is done."""
    there = [
        {"name": name, "changed": at[0]} for name in PICTURES if (at := stamp(folder, name)[0])
    ]
    return {
        "name": printable(folder.name),
        "pictures": there,
        **_trials(folder, stamp(folder, RESULT)),
    }


@functools.lru_cache(maxsize=64)
def _trials(folder: Path, stamp: tuple) -> dict[str, Any]:
    """The trials, the best first, as texts and numbers; with another stamp they are read again."""
    try:
        result: _Result = read_json(Folder(folder).read(RESULT, _MOST_RESULT), _RESULT)
    except (FathomError, OSError, ValueError):
        return {"score": "", "trials": []}
    return {
        "score": printable(result["score"]),
        "trials": [
            {
                "name": f"t{one['trial']:03d}",
                "settings": {
                    printable(key): printable(shown(value)) for key, value in one["params"].items()
                },
                "mean": one["mean"],
                "interval": one["interval"],
                "iqm": one["iqm"],
                "why": printable(one["why"]),
                "runs": [
                    {"id": id_of(f"{folder.name}/{name}"), "name": printable(name)}
                    for name in one["runs"]
                ],
            }
            for one in result["trials"][:_MOST_TRIALS]
        ],
    }
