"""Starting from the page: a training or a fit, its resumption, and the recording of an episode.

What can be started is what Fathom knows by name. A reference to a file or a module would import it, so a text with
a slash or a colon is refused, and what takes a path is not offered.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import re
import typing
from pathlib import Path
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from fathom.errors import FathomError
from fathom.page.registry import id_of
from fathom.page.site import Site, site_of, view
from fathom.runs.folder import check_name, free_name
from fathom.runs.options import FitOptions

_NOT_OFFERED = {"runs_dir", "wrap", "weights", "encoder", "preset"}
_HARMLESS = re.compile(r"[A-Za-z0-9_.,+ -]{0,200}")
_RECORDING_HOURS = 0.5
_MOST_BODY = 1 << 16


def routes() -> list[BaseRoute]:
    """The routes of starting; there are none where the page is read-only."""
    return [
        Route("/start", form),
        Route("/api/start", choices),
        Route("/api/start/options", options),
        Route("/api/start", start, methods=["POST"]),
        Route("/api/jobs", jobs),
        Route("/api/jobs/{job:str}/stop", stop, methods=["POST"]),
        Route("/api/runs/{id:str}/record", record, methods=["POST"]),
        Route("/api/runs/{id:str}/resume", resume, methods=["POST"]),
    ]


def form(request: Request) -> Response:
    """The form that starts a training or a fit."""
    return view(request, "start.html", title="Start")


def choices(request: Request) -> Response:
    """What can be started: agents, environments, tasks."""
    from agents import AGENTS
    from fathom.environments import list_environments
    from perception.tasks import TASKS

    return JSONResponse(
        {"agents": sorted(AGENTS), "environments": list_environments(), "tasks": sorted(TASKS)}
    )


def options(request: Request) -> Response:
    """The flags of an agent in an environment, or of a task, with their values and help."""
    query = request.query_params
    parts = _defaults(query.get("learner", ""), query.get("source", ""))
    return JSONResponse({"fields": [field for part in parts for field in fields_of(part)]})


async def start(request: Request) -> Response:
    """Start a training or a fit; gives the process, and the id that the run will have."""
    asked = await _body(request)
    return await run_in_threadpool(_start, site_of(request), asked)


def _start(site: Site, asked: dict[str, Any]) -> Response:
    learner, source = str(asked.get("learner", "")), str(asked.get("source", ""))
    values = asked.get("values", {})
    if not isinstance(values, dict):
        raise FathomError("the values are no table")
    fields = [field for part in _defaults(learner, source) for field in fields_of(part)]
    runs_dir = site.registry.runs_dir
    name = str(values.pop("name", "") or "").strip() or free_name(
        runs_dir, source or learner, learner
    )
    check_name(runs_dir, name)
    words = ["train", learner, source] if source else ["fit", learner]
    words += [*words_of(fields, values), f"--name={name}", f"--runs-dir={runs_dir.absolute()}"]
    about = f"{words[0]} {learner} {source}".strip()
    job = site.jobs.start(words, f"{about}: {name}", id_of(name))
    return JSONResponse({"job": job.id, "run": job.run_id})


def jobs(request: Request) -> Response:
    """What was started here."""
    return JSONResponse({"jobs": site_of(request).jobs.to_json()})


async def stop(request: Request) -> Response:
    """Stop a process that was started here; a training can be resumed."""
    job = site_of(request).jobs[request.path_params["job"]]
    job.stop()
    return JSONResponse(job.to_json())


async def record(request: Request) -> Response:
    """Record an episode of a checkpoint that has no video yet."""
    site, run_id = site_of(request), request.path_params["id"]
    folder = site.registry.folder(run_id)
    steps = (await _body(request)).get("steps")
    if type(steps) is not int or steps < 0:
        raise FathomError("a checkpoint is named by its steps")
    seed = _free_seed(folder, steps)
    words = ["record", str(folder.absolute()), f"--checkpoint={steps}", f"--seed={seed}"]
    about = f"record step {steps:,} of {folder.name}"
    job = site.jobs.start(words, about, run_id, _RECORDING_HOURS)
    return JSONResponse({"job": job.id})


async def resume(request: Request) -> Response:
    """Resume a run from its latest checkpoint."""
    site, run_id = site_of(request), request.path_params["id"]
    folder = site.registry.folder(run_id)
    job = site.jobs.start(["resume", str(folder.absolute())], f"resume {folder.name}", run_id)
    return JSONResponse({"job": job.id})


async def _body(request: Request) -> dict[str, Any]:
    """The JSON table that was sent."""
    received = b""
    async for part in request.stream():
        received += part
        if len(received) > _MOST_BODY:
            raise FathomError("this is too long")
    try:
        table = json.loads(received or b"{}")
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise FathomError("a table in JSON is needed")
    return table


def _free_seed(folder: Path, steps: int) -> int:
    """The first set of episodes of which a checkpoint has no video."""
    for seed in range(10_000):
        name = f"step-{steps}" + (f"-seed-{seed}" if seed else "")
        if not (folder / "videos" / f"{name}.mp4").exists():
            return seed
    raise FathomError("there are 10,000 videos of this checkpoint: remove some")


def _defaults(learner: str, source: str) -> list[Any]:
    """The options of a run and the hyperparameters of what learns, as the preset has them.

    Args:
        source: an environment; empty for the fit of a task.
    """
    if not source:
        from fathom.runs.tasks import task_class
        from perception.tasks import TASKS

        if learner not in TASKS:
            raise FathomError("choose a task")
        return [FitOptions(), task_class(learner).Config()]
    from agents import AGENTS
    from fathom.environments import list_environments
    from fathom.runs.launcher import defaults_for

    if learner not in AGENTS or source not in list_environments():
        raise FathomError("choose an agent and an environment")
    defaults = defaults_for(learner, source)
    return [defaults.options, defaults.config]


# -- dataclasses as forms -----------------------------------------------------------------------


def fields_of(default: Any) -> list[dict[str, Any]]:
    """The fields of a dataclass as those of a form: name, kind, value as a text, choices, help."""
    kind = type(default)
    hints, help_of = typing.get_type_hints(kind), field_help(kind)
    fields = []
    for item in dataclasses.fields(kind):
        if item.name in _NOT_OFFERED:
            continue
        hint = hints[item.name]
        members = [part for part in typing.get_args(hint) if part is not type(None)]
        if typing.get_origin(hint) is Literal:
            shape, listed = "choice", [str(part) for part in members]
        elif hint is bool:
            shape, listed = "switch", []
        elif not {hint, *members}.isdisjoint({int, float}):
            shape, listed = "number", []
        elif not {hint, *members}.isdisjoint({str, Path}):
            shape, listed = "text", []
        else:
            continue
        value = getattr(default, item.name)
        fields.append(
            {
                "name": item.name,
                "kind": shape,
                "value": text_of(value),
                "choices": listed,
                "help": help_of.get(item.name, ""),
                "of": kind.__name__,
            }
        )
    return fields


def text_of(value: Any) -> str:
    """A value as a form shows it; None is empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def words_of(fields: list[dict[str, Any]], values: dict[str, Any]) -> list[str]:
    """The flags of a command for the values that were changed.

    Raises:
        FathomError: there is no such field, or a value could name a file or a module.
    """
    known = {field["name"]: field for field in fields}
    words = []
    for name, given in values.items():
        field = known.get(name)
        text = text_of(given).strip()
        if field is None:
            raise FathomError("there is no such option")
        if not _HARMLESS.fullmatch(text):
            raise FathomError(
                f"{name} may have letters, digits, dots, dashes and underscores here; use the command line"
                " for a path or a reference"
            )
        if text == field["value"]:
            continue
        flag = name.replace("_", "-")
        if field["kind"] == "switch":
            words.append(f"--{flag}" if text == "true" else f"--no-{flag}")
        else:
            words.append(f"--{flag}={text or 'None'}")
    return words


def field_help(kind: type) -> dict[str, str]:
    """The text beneath each field of a dataclass in its source; of an inherited one that of its class."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        try:
            (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(one))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = getattr(tree, "body", [])
        for item, following in itertools.pairwise(body):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                texts[item.target.id] = " ".join(str(following.value.value).split())
    return texts
