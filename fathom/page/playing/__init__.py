"""Playing with what was trained: Go, chats, games by keyboard, and what a network sees.

A page each, and a WebSocket each beneath the page's own path. What is played lives in `fathom.play`; nothing here
starts a process or writes into the folder of runs, so all of it is there with `--read-only` too.
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from fathom.page.playing import rooms


def routes() -> list[BaseRoute]:
    """The routes beneath `/play`."""
    return [
        Route("/play", rooms.lobby),
        Route("/play/environment", rooms.environment_page),
        Route("/play/{room}/{what}", rooms.room_page),
        WebSocketRoute("/play/environment/live", rooms.play_environment),
        WebSocketRoute("/play/{room}/{what}/live", rooms.play),
    ]
