"""What every part of the page shares: the registry of runs, the templates, errors as answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.templating import Jinja2Templates

from fathom.errors import printable
from fathom.page.curves import CurveStore
from fathom.page.jobs import Jobs
from fathom.page.registry import NoSuchRunError, Registry

HERE = Path(__file__).parent
TEMPLATES = Jinja2Templates(HERE / "templates")


@dataclass(frozen=True)
class Site:
    """One page; `site_of(request)` gives it to a route."""

    registry: Registry
    curves: CurveStore
    jobs: Jobs
    read_only: bool
    """Nothing may be started, stopped or written."""


def site_of(connection: HTTPConnection) -> Site:
    """The page that a request, or a WebSocket, asks."""
    site = connection.app.state.site
    assert isinstance(site, Site)
    return site


def view(request: Request, template: str, **context: Any) -> Response:
    """A page from a template in `templates`, which escapes every text."""
    context["read_only"] = site_of(request).read_only
    return TEMPLATES.TemplateResponse(request, template, context)


def refused(request: Request, error: Exception) -> Response:
    """The answer to a FathomError: its sentence, on a page or as JSON beneath `/api`."""
    sentence = printable(" ".join(str(error).split()))
    code = 404 if isinstance(error, NoSuchRunError) else 409
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": sentence}, code)
    answer = view(request, "note.html", title="Not here", note=sentence)
    answer.status_code = code
    return answer
