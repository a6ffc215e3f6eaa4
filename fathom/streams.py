"""Standard output and standard error of a command, which programs of others write to as well."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class _DroppingFile(io.FileIO):
    """A file that drops what is written once its reader has gone away, as that of `fathom train … | head`."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            forget(self.fileno())
            return memoryview(data).nbytes


def forget(descriptor: int) -> None:
    """Point a descriptor at nothing."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def open_stream(descriptor: int, line_buffering: bool = False) -> TextIO:
    """A text stream on a descriptor, which it leaves open.

    A letter that the encoding lacks becomes a question mark, and output without a reader is dropped.
    """
    binary = io.BufferedWriter(_DroppingFile(descriptor, "w", closefd=False))
    return io.TextIOWrapper(
        binary, sys.stdout.encoding, errors="replace", line_buffering=line_buffering
    )


def replace_standard_streams() -> None:
    """Let standard output and error be streams of `open_stream`; a stream that is a test's is left alone."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # the descriptor is closed
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif _descriptor_of(stream) == descriptor:
            stream.flush()
            setattr(sys, name, open_stream(descriptor, stream.line_buffering))


@contextlib.contextmanager
def quiet(as_json: bool) -> Iterator[TextIO]:
    """Give standard output; with JSON asked for, everything else goes to standard error meanwhile.

    That includes what C code and child processes print, so the descriptor is redirected too.
    """
    out = sys.stdout
    if not as_json:
        yield out
        return
    out.flush()
    kept = os.dup(1)
    if _descriptor_of(out) == 1:
        out = open_stream(kept)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield out
    finally:
        out.flush()
        _flush_everything()
        os.dup2(kept, 1)
        os.close(kept)


def _descriptor_of(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):  # a stream in memory
        return None


def _flush_everything() -> None:
    """Write out what Python's first standard output, and C's, still hold."""
    import ctypes

    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    with contextlib.suppress(
        OSError, AttributeError, TypeError
    ):  # Windows has no library of no name
        ctypes.CDLL(None).fflush(None)
