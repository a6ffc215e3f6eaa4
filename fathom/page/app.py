"""The application: middleware, static files, and the routes of watching and of playing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from fathom.errors import FathomError
from fathom.page import playing, starting, watching
from fathom.page.curves import CurveStore
from fathom.page.jobs import Jobs
from fathom.page.registry import NoSuchRunError, Registry
from fathom.page.security import SameOrigin, host_names
from fathom.page.site import HERE, Site, refused


def create_app(
    runs_dir: Path,
    *,
    read_only: bool = False,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> Starlette:
    """The page over a folder of runs.

    Args:
        read_only: nothing can be started, stopped or written.
        token: what a browser has to show; None where the page is reached from this machine only.
        hosts: host names that it answers to; those of this machine's loopback if none.
    """
    site = Site(Registry(runs_dir), CurveStore(), Jobs(), read_only)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=site.registry.look_at_all, daemon=True).start()
        try:
            yield
        finally:
            site.jobs.close()

    app = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
            *watching.routes(),
            *([] if read_only else starting.routes()),
            *playing.routes(),
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware,
                allowed_hosts=list(hosts or host_names("127.0.0.1")),
                www_redirect=False,
            ),
            Middleware(SameOrigin, token=token),
        ],
        exception_handlers={
            FathomError: _failed,
            OSError: _changed,
            HTTPException: _missing,
        },
        lifespan=lifespan,
    )
    app.state.site = site
    return app


def _failed(request: Request, error: Exception) -> Response:
    return refused(request, error)


def _changed(request: Request, error: Exception) -> Response:
    return refused(request, FathomError("its files cannot be read, or changed at this moment"))


def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = refused(request, NoSuchRunError(error.detail))
    answer.status_code = error.status_code
    return answer
