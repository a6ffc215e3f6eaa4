"""Watch runs, compare them and play with what was trained, in a browser."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, split_positional
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT

USAGE = "watch [RUNS_DIR]"


@dataclass(frozen=True, config=STRICT)
class WatchFlags:
    """Open a page on which runs are watched, compared and played with; Ctrl-C ends it."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own asks visitors for a token, which is printed."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8642
    """Port to listen on; 0 for a free one."""
    read_only: bool = False
    """Let visitors start, stop and write nothing."""


def run(words: list[str]) -> int:
    """Serve the page until Ctrl-C."""
    if asks_for_help(words):
        parse(WatchFlags(), ["--help"], "fathom watch [RUNS_DIR]")
    positional, rest = split_positional(words, [WatchFlags])
    flags: WatchFlags = parse(WatchFlags(), [*positional[1:], *rest], "fathom watch")
    runs_dir = Path(positional[0] if positional else "runs")
    if not runs_dir.is_dir():
        raise FathomError(
            f"there is no folder {runs_dir}: name the folder of your runs, as in `fathom watch runs`"
        )
    listening = _listen(flags.host, flags.port)
    import uvicorn

    from fathom.page.app import create_app
    from fathom.page.security import host_names, is_loopback

    token = None if is_loopback(flags.host) else secrets.token_urlsafe(24)
    app = create_app(runs_dir, read_only=flags.read_only, token=token, hosts=host_names(flags.host))
    name = socket.gethostname() if flags.host in ("0.0.0.0", "::") else flags.host
    name = f"[{name}]" if ":" in name else name
    address = f"http://{name}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}"
    print(f"{printable(str(runs_dir))} is at {address}   (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise FathomError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port"
        ) from error
    return listening
