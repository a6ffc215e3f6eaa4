"""Watching: the list of runs, one run, and runs compared."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fathom.page.site import view


def routes() -> list[BaseRoute]:
    """The routes of watching."""
    return [Route("/", runs)]


def runs(request: Request) -> Response:
    """The list of runs."""
    return view(request, "runs.html", title="Runs")
