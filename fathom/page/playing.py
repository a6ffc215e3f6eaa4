"""Playing with what was trained: Go, chat, games by keyboard, and what the network sees."""

from __future__ import annotations

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """The routes beneath `/play`."""
    return []
