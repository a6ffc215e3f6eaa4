"""One WebSocket, one person, one session: messages in, messages and pictures out, all work in a thread of its own.

A `Live` knows nothing of sockets. Its generators run in the session's thread, so that a search or a network never
holds up the event loop, and what they yield is sent at once. How many sessions there are at a time is bounded by
`Seats`, and a session without a word from its person ends after `IDLE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import logging
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from envs.hooks import WorldError
from fathom.errors import FathomError, printable

_log = logging.getLogger("uvicorn.error")

MOST_SESSIONS = 8
"""Sessions at a time, of all visitors."""
IDLE_SECONDS = 600.0
"""Without a message from the person, after which a session ends."""
_LOOK_SECONDS = 1.0
"""From one look whether what is played with is still there to the next, while a game runs by itself."""
MOST_TEXT = 300_000
"""Characters of a message; a record of a long game of Go fits."""
TRY_AGAIN_LATER, TOO_BIG = 1013, 1009
"""Codes of WebSocket's for closing."""

Message = dict[str, Any]
Reply = Message | bytes
"""A message, or one with pictures as `with_pictures` packs it."""


class Live(Protocol):
    """What a person does in a session: a game, a chat, a look into a network."""

    @property
    def interval(self) -> float | None:
        """Seconds from one `tick` to the next; None for none."""

    def begin(self) -> Iterator[Reply]:
        """What is sent first."""

    def handle(self, message: Message) -> Iterator[Reply]:
        """What a message of the person's leads to; FathomError for one that cannot be done."""

    def tick(self) -> Iterator[Reply]:
        """What happens without a message."""

    def close(self) -> None:
        """Release what is held."""


Warn = Callable[[str], None]
Start = Callable[[Warn], Live]


def _begin(start: Start, warn: Warn) -> Live:
    """Make a session. Each computes with one thread: several share the cores, and pictures are small."""
    import torch

    torch.set_num_threads(1)
    return start(warn)


class Seats:
    """How many sessions there may be at a time, and how long one may be left alone."""

    def __init__(self, count: int = MOST_SESSIONS, idle_seconds: float = IDLE_SECONDS) -> None:
        self.count = self.free = count
        self.idle_seconds = idle_seconds

    @contextlib.contextmanager
    def seat(self) -> Iterator[bool]:
        """Take a seat if one is free: gives whether it was."""
        if self.free <= 0:
            yield False
            return
        self.free -= 1
        try:
            yield True
        finally:
            self.free += 1


class _LeftError(Exception):
    """The person is gone."""


async def serve(
    socket: WebSocket,
    seats: Seats,
    start: Start,
    gone: Callable[[], str] = lambda: "",
) -> None:
    """Play one session over a WebSocket, until one side leaves.

    Args:
        start: makes the session, in its thread, and may warn the person; FathomError if it cannot.
        gone: the note to give once what is played with is no longer there; empty while it is.
    """
    await socket.accept()
    with seats.seat() as seated, contextlib.suppress(_LeftError):
        if not seated:
            text = f"{seats.count} sessions are open, and that is all there can be: close one, or try again later."
            await _send(socket, note(text))
            await _close(socket, TRY_AGAIN_LATER)
            return
        # Not shut down with the event loop: a search ends by itself within seconds.
        thread = ThreadPoolExecutor(1, "fathom-session")
        inbox: asyncio.Queue[str | None] = asyncio.Queue(32)
        reader = asyncio.create_task(_read(socket, inbox))
        try:
            await _session(socket, thread, inbox, start, gone, seats.idle_seconds)
        finally:
            reader.cancel()
            thread.shutdown(wait=False)


async def _session(
    socket: WebSocket,
    thread: ThreadPoolExecutor,
    inbox: asyncio.Queue[str | None],
    start: Start,
    gone: Callable[[], str],
    idle_seconds: float,
) -> None:
    run = functools.partial(asyncio.get_running_loop().run_in_executor, thread)
    live: Live | None = None
    told, looked = False, time.monotonic()

    async def look() -> None:
        nonlocal told, looked
        looked = time.monotonic()
        if not told and (sentence := gone()):
            told = True
            await _send(socket, note(sentence))

    try:
        warnings: list[str] = []
        live = await run(_begin, start, warnings.append)
        for sentence in warnings:
            await _send(socket, note(sentence))
        await _send_all(socket, run, live.begin())
        heard = next_tick = time.monotonic()
        while True:
            interval, now = live.interval, time.monotonic()
            wait = idle_seconds if interval is None else min(idle_seconds, next_tick - now)
            try:
                # Without time to wait, `wait_for` would not even look: a slow game could not be stopped.
                text = (
                    await asyncio.wait_for(inbox.get(), wait)
                    if inbox.empty()
                    else inbox.get_nowait()
                )
            except TimeoutError:
                now = time.monotonic()
                if now - heard >= idle_seconds:
                    await _send(socket, note("This session has ended, for nobody used it."))
                    break
                if interval is None:
                    continue
                # A game that cannot keep up becomes slow; it does not hurry afterwards.
                next_tick = max(next_tick + interval, now)
                await _send_all(socket, run, live.tick())
                if now - looked >= _LOOK_SECONDS:
                    await look()
                continue
            if text is None:
                break
            heard = time.monotonic()
            await look()
            next_tick = max(next_tick, heard) if live.interval is None else next_tick
            try:
                await _send_all(socket, run, live.handle(_parsed(text)))
            except (FathomError, WorldError) as error:
                await _send(socket, note(str(error)))
    except (FathomError, WorldError) as error:
        await _send(socket, note(str(error)))
    except _LeftError:
        raise
    except (
        Exception
    ):  # a fault of ours, or of a user's own code that is not run through our wrappers
        _log.exception("a session failed")
        await _send(socket, note("This session failed; the terminal of `fathom watch` says why."))
    finally:
        if live is not None:
            await asyncio.shield(run(live.close))
        await _close(socket)


async def _read(socket: WebSocket, inbox: asyncio.Queue[str | None]) -> None:
    """Put the person's messages into a queue, and None at their end."""
    with contextlib.suppress(WebSocketDisconnect, KeyError, RuntimeError):
        while True:
            text = await socket.receive_text()
            if len(text) > MOST_TEXT:
                await _close(socket, TOO_BIG)
                break
            await inbox.put(text)
    await inbox.put(None)


def _parsed(text: str) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise FathomError("a message is a JSON object with a text `do`")
    return message


async def _send_all(socket: WebSocket, run: Callable[..., Any], replies: Iterator[Reply]) -> None:
    """Send what a generator yields, which runs in the session's thread."""
    async for reply in _in_thread(run, replies):
        await _send(socket, reply)


async def _in_thread(run: Callable[..., Any], replies: Iterator[Reply]) -> AsyncIterator[Reply]:
    while (reply := await run(next, replies, None)) is not None:
        yield reply


async def _send(socket: WebSocket, reply: Reply) -> None:
    try:
        if isinstance(reply, bytes):
            await socket.send_bytes(reply)
        else:
            await socket.send_text(json.dumps(reply, allow_nan=False))
    except (RuntimeError, WebSocketDisconnect) as error:
        raise _LeftError from error


async def _close(socket: WebSocket, code: int = 1000) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code)


def note(sentence: str) -> Message:
    """A message with a sentence for the person."""
    return {"type": "note", "text": printable(" ".join(sentence.split()))}


def with_pictures(message: Mapping[str, Any], pictures: Sequence[np.ndarray | bytes]) -> bytes:
    """A message together with pictures, (height, width, 3) uint8 or PNG each, in one binary message.

    Four bytes with the length of the JSON, big-endian; the JSON, whose `pictures` are their lengths in bytes; the
    pictures as PNG.
    """
    files = [one if isinstance(one, bytes) else png(one) for one in pictures]
    head = json.dumps({**message, "pictures": [len(file) for file in files]}, allow_nan=False)
    encoded = head.encode()
    return b"".join([struct.pack(">I", len(encoded)), encoded, *files])


def png(picture: np.ndarray) -> bytes:
    """A picture as PNG, compressed fast rather than well."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def number_in(message: Message, name: str, low: float, high: float, default: float) -> float:
    """A number of a message, kept between two others; FathomError for what is none."""
    value = message.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise FathomError(f"{name} is a number from {low:g} to {high:g}")
    return min(max(value, low), high)


def text_in(message: Message, name: str) -> str:
    """A text of a message; FathomError for what is none."""
    value = message.get(name, "")
    if not isinstance(value, str):
        raise FathomError(f"{name} is a text")
    return value
