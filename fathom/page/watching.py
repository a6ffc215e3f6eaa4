"""Watching: the list of runs, one run, and runs compared."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from fathom.errors import FathomError, printable
from fathom.files import Folder
from fathom.page.comparison import Comparison, Question, compare
from fathom.page.playing.rooms import rooms_of
from fathom.page.registry import describe, stamp
from fathom.page.site import Site, site_of, view
from fathom.page.sweeps import PICTURES, about_sweep, sweep_of
from fathom.runs.checkpoint import DamagedCheckpointError, read_progress
from fathom.runs.config import CONFIG, provenance
from fathom.runs.folder import EVALUATIONS
from fathom.runs.run import Run
from fathom.runs.trust import SIGNATURE
from fathom.schema import STRICT, read_json

_KINDS = {
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".txt": "text/plain",
}
"""What is shown of a run's files; anything else is not served."""
_FOLDERS = "videos", "pictures"
_NAME = re.compile(r"[^/\0.][^/\0]*")
_MOST_ABOUT, _MOST_FILES, _MOST_RETURNS = 1 << 22, 500, 1000
_ABOUT = TypeAdapter(dict[str, float | list[float]], config=STRICT)


def routes() -> list[BaseRoute]:
    """The routes of watching."""
    return [
        Route("/", runs),
        Route("/api/runs", rows),
        Route("/runs/{id:str}", one_run),
        Route("/api/runs/{id:str}", details),
        Route("/api/runs/{id:str}/curves", curves),
        Route("/runs/{id:str}/sweep/{name:str}", sweep_picture),
        Route("/runs/{id:str}/{folder:str}/{name:str}", file),
        Route("/compare", comparison),
        Route("/api/compare", compared),
        Route("/compare/curves.{kind:str}", saved),
    ]


def runs(request: Request) -> Response:
    """The list of runs."""
    return view(request, "runs.html", title="Runs")


def rows(request: Request) -> Response:
    """What changed in the list of runs."""
    since = request.query_params.get("since", "0")
    return JSONResponse(site_of(request).registry.rows(int(since) if since.isdecimal() else 0))


def one_run(request: Request) -> Response:
    """One run."""
    run_id = request.path_params["id"]
    folder = site_of(request).registry.folder(run_id)
    return view(request, "run.html", title=printable(folder.name), run_id=run_id)


def details(request: Request) -> Response:
    """All about a run but its curves; of a broken one the reason, and the files there are."""
    site, run_id = site_of(request), request.path_params["id"]
    folder = site.registry.folder(run_id)
    about: dict[str, Any] = {"id": run_id, "path": printable(str(folder)), **describe(folder)}
    for name in _FOLDERS:
        about[name] = _files(Folder(folder, name))
    if (sweep := sweep_of(folder)) is not None:
        path = folder.relative_to(site.registry.runs_dir).as_posix().removesuffix(folder.name)
        about["sweep"] = about_sweep(sweep, path)
    with contextlib.suppress(FathomError):
        about |= _about(folder, stamp(folder, CONFIG, EVALUATIONS, "latest", SIGNATURE))
    return JSONResponse(about)


@functools.lru_cache(maxsize=64)
def _about(folder: Path, stamp: tuple) -> dict[str, Any]:
    """What changes only with the files of a stamp; a visitor asks every two seconds, and evaluations are long."""
    run = Run.open(folder)
    config = run.config
    table = dataclasses.asdict(config)
    nested = {key: table.pop(key) for key in list(table) if isinstance(table[key], dict)}
    table.pop("changes")
    reference = printable(str(run.folder))
    commands = {
        "Resume": f"fathom resume {reference}",
        "Evaluate": f"fathom evaluate {reference}",
        "Continue to twice the steps": f"fathom resume {reference} --steps {2 * config.steps}",
        "Record": f"fathom record {reference}",
    }
    if config.is_fit:
        del commands["Record"], commands["Continue to twice the steps"]
    return {
        "settings": {"run": _texts(table)}
        | {name: _texts(part) for name, part in nested.items() if part},
        "provenance": [printable(line) for line in provenance(config)],
        "signed": run.signed,
        "commands": commands,
        "checkpoints": _checkpoints(run),
        "rooms": rooms_of(config.is_fit, config.learner, config.source),
    }


def _texts(table: dict[str, Any]) -> dict[str, str]:
    """A table of settings as texts, without what is empty."""
    return {
        printable(str(key)): printable(value if isinstance(value, str) else json.dumps(value))
        for key, value in table.items()
        if value not in ("", None, [], {})
    }


def _checkpoints(run: Run) -> list[dict[str, Any]]:
    """The checkpoints, newest first, with how far each is or why it cannot be used."""
    best = run.best_checkpoint()
    found: list[dict[str, Any]] = []
    for number in run.checkpoint_numbers()[:_MOST_FILES]:
        about: dict[str, Any] = {"number": number, "best": number == best}
        try:
            progress = read_progress(run.files / "checkpoints", number)
            about |= {"steps": progress.steps, "seconds": progress.seconds}
        except (DamagedCheckpointError, FathomError) as error:
            about["why"] = printable(str(error))
        found.append(about)
    return found


def _files(folder: Folder) -> list[dict[str, Any]]:
    """The pictures, videos and texts in a folder, the newest first."""
    try:
        names = folder.names()
    except (FathomError, OSError):
        return []
    found: list[dict[str, Any]] = []
    for name in names:
        stem, dot, ending = name.rpartition(".")
        if dot + ending not in _KINDS or not _NAME.fullmatch(name) or len(found) >= _MOST_FILES:
            continue
        try:
            if folder.kind(name) != "file":
                continue
            about: dict[str, Any] = {"name": name, "changed": (folder.path / name).lstat().st_mtime}
        except (FathomError, OSError):
            continue
        if ending == "mp4" and f"{stem}.json" in names:
            about |= _episode(folder.path, f"{stem}.json", stamp(folder.path, f"{stem}.json"))
        if ending == "mp4" and f"{stem}.txt" in names:
            about["transcript"] = f"{stem}.txt"
        if ending != "txt":
            found.append(about)
    return sorted(found, key=lambda one: -one["changed"])


@functools.lru_cache(maxsize=500)
def _episode(folder: Path, name: str, stamp: tuple) -> dict[str, Any]:
    """What `record` noted beside a video: `fps`, `seed`, `steps`, and the return so far after `every` steps.

    Args:
        stamp: of the file; with another one it is read again.
    """
    try:
        about = read_json(Folder(folder.parent, folder.name).read(name, _MOST_ABOUT), _ABOUT)
        rewards, fps = about["rewards"], about["fps"]
    except (FathomError, OSError, ValueError, KeyError):
        return {}
    if not isinstance(rewards, list) or not isinstance(fps, (int, float)) or fps <= 0:
        return {}
    returns = np.concatenate([[0.0], np.cumsum(rewards)])
    every = -(-len(returns) // _MOST_RETURNS)
    thinned = [*returns[:-1:every].tolist(), float(returns[-1])]
    return {
        "fps": fps,
        "seed": about.get("seed"),
        "steps": len(rewards),
        "every": every,
        "returns": [round(one, 6) for one in thinned],
    }


def curves(request: Request) -> Response:
    """The curves of a run; nothing where they are of the version that the visitor has."""
    site, run_id = site_of(request), request.path_params["id"]
    of_run = site.curves.of(run_id, site.registry.open(run_id))
    if of_run.version == request.query_params.get("version"):
        return Response(status_code=204)
    return JSONResponse(of_run.to_json())


def file(request: Request) -> Response:
    """A video, picture or text of a run, in parts where the browser asks for parts (Range)."""
    folder, name = request.path_params["folder"], request.path_params["name"]
    if folder not in _FOLDERS or name[name.rfind(".") :] not in _KINDS or not _NAME.fullmatch(name):
        raise HTTPException(404, "there is no such file")
    return _sent(Folder(site_of(request).registry.folder(request.path_params["id"]), folder), name)


def sweep_picture(request: Request) -> Response:
    """A picture of the sweep that a run is part of."""
    name = request.path_params["name"]
    sweep = sweep_of(site_of(request).registry.folder(request.path_params["id"]))
    if sweep is None or name not in PICTURES:
        raise HTTPException(404, "there is no such file")
    return _sent(Folder(sweep), name)


def _sent(place: Folder, name: str) -> Response:
    """A file, where it is a file."""
    try:
        if place.kind(name) != "file":
            raise HTTPException(404, "there is no such file")
    except (FathomError, OSError) as error:
        raise HTTPException(404, "there is no such file") from error
    return FileResponse(place.path / name, media_type=_KINDS[name[name.rfind(".") :]])


def comparison(request: Request) -> Response:
    """Runs compared; the address says which and how."""
    return view(request, "compare.html", title="Compare")


def _answer(request: Request) -> Comparison:
    site: Site = site_of(request)
    return compare(Question.of(request.query_params), site.registry, site.curves)


def compared(request: Request) -> Response:
    """A comparison's curves and settings, and the newest video of each run."""
    answer = _answer(request)
    content = answer.to_json()
    for about, (_, run) in zip(content["runs"], answer.opened, strict=True):
        videos = [
            one for one in _files(Folder(run.folder, "videos")) if one["name"].endswith(".mp4")
        ]
        about["video"] = videos[0] if videos else None
    return JSONResponse(content)


def saved(request: Request) -> Response:
    """A comparison as a file."""
    kind = request.path_params["kind"]
    answer = _answer(request)
    if kind == "csv":
        content, media = answer.csv().encode(), "text/csv; charset=utf-8"
    elif kind in ("svg", "png"):
        content, media = answer.picture(kind), {"svg": "image/svg+xml", "png": "image/png"}[kind]
    else:
        raise HTTPException(404, "a comparison is saved as svg, png or csv")
    headers = {"Content-Disposition": f'attachment; filename="comparison.{kind}"'}
    return Response(content, media_type=media, headers=headers)
