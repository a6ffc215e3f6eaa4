"""The sweep that a run is part of: its table of trials and its pictures, beside each of its runs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from fathom.errors import FathomError, printable
from fathom.files import Folder
from fathom.page.registry import id_of, stamp
from fathom.runs.folder import SWEEP_CONFIG
from fathom.schema import read_json
from fathom.sweeps.display import shown
from fathom.sweeps.folder import RESULT

PICTURES = "curves.png", "iqm.png", "importance.png", "parallel.png"
_MOST_RESULT, _MOST_TRIALS = 1 << 24, 1000


_FINITE = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
_Text = Annotated[str, Field(max_length=1000)]


@with_config(_FINITE)
class _Trial(TypedDict):
    trial: Annotated[int, Field(ge=0, lt=1_000_000)]
    params: Annotated[dict[_Text, str | int | float | bool | None], Field(max_length=100)]
    mean: float | None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    iqm: float | None
    runs: Annotated[list[_Text], Field(max_length=1000)]
    why: _Text


@with_config(_FINITE)
class _Result(TypedDict):
    score: _Text
    trials: list[_Trial]


_RESULT = TypeAdapter(_Result)


def sweep_of(run: Path) -> Path | None:
    """The folder of the sweep that a run's folder lies in; None where it is no sweep's."""
    folder = run.parent
    try:
        return folder if Folder(folder).kind(SWEEP_CONFIG) == "file" else None
    except (FathomError, OSError):
        return None


def about_sweep(folder: Path, path: str) -> dict[str, Any]:
    """What is shown of a sweep; no trials before it is done.

    Args:
        path: of the folder beneath that of all runs, with a slash at its end; empty where it is that folder.
    """
    there = [
        {"name": name, "changed": at[0]} for name in PICTURES if (at := stamp(folder, name)[0])
    ]
    return {
        "name": printable(folder.name),
        "pictures": there,
        **_trials(folder, path, stamp(folder, RESULT)),
    }


@functools.lru_cache(maxsize=64)
def _trials(folder: Path, path: str, stamp: tuple) -> dict[str, Any]:
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
                    {"id": id_of(f"{path}{name}"), "name": printable(name)} for name in one["runs"]
                ],
            }
            for one in result["trials"][:_MOST_TRIALS]
        ],
    }
