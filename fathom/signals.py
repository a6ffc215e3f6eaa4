"""Signals that stop a training. Only the command line installs handlers."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from fathom.errors import Stopped
from fathom.runs import curves


@contextlib.contextmanager
def stopping_signals() -> Iterator[Callable[[], bool]]:
    """Raise Stopped at the first SIGINT or SIGTERM; gives a function that tells whether one came.

    The function is needed because an exception raised by a handler is lost inside a finalizer, and none is
    raised while curves are written.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if not received:
            received.append(number)
            if not curves.writing:
                raise Stopped(number)

    def check() -> bool:
        if received:
            raise Stopped(received[0])  # with the exit code of its signal
        return False

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
