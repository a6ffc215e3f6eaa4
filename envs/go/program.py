"""Other programs that play Go, by the Go Text Protocol.

GTP 2 (Farnebäck 2002) runs over two pipes: a command is one line, its answer begins with "=" or "?" and
ends with an empty line. A program that is missing, dies, hangs or answers nonsense raises a
`ProgramError` of one sentence.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envs.go.vertices import action_at, vertex
from envs.hooks import WorldError

if TYPE_CHECKING:
    from envs.go.board import Rules

_LONGEST_ANSWER = 1 << 20
"""Bytes; a longer answer is taken for an endless one."""


class ProgramError(WorldError):
    """A program failed and cannot be played with any more."""


class ProgramRefusedError(ProgramError):
    """A program answered a command with "?". It can still be played with."""


class Program:
    """A running GTP program.

    Args:
        command: a command line, or its words.
        timeout: seconds without an answer after which the program counts as hung.
        name: used in errors; by default the command's first word.

    Raises:
        ProgramError: it cannot be started.
    """

    def __init__(
        self, command: str | Sequence[str], timeout: float = 120.0, name: str | None = None
    ) -> None:
        try:
            words = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise ProgramError(f"{command!r} is no command line: {error}") from error
        if not words:
            raise ProgramError("an empty command names no program")
        self.name = name or Path(words[0]).name
        self.timeout = timeout
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C must not reach it; and its children can be ended with it
            )
        except FileNotFoundError:
            raise ProgramError(f"the program {words[0]} is not installed") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ProgramError(f"the program {words[0]} cannot be started: {reason}") from error
        self._size = 19
        self._complaint = b""  # the end of its standard error
        self._finalizer = weakref.finalize(self, _end, self._process)

    def command(self, text: str, timeout: float | None = None) -> str:
        """Send a command and return its answer without the "=".

        Raises:
            ProgramRefusedError: the program answered "?".
            ProgramError: there was no proper answer within `timeout` seconds (None: the program's own
                limit); the program was ended.
        """
        if not self._finalizer.alive:
            raise ProgramError(f"{self.name} is not running any more")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode() + b"\n")
        except OSError:
            raise self._dead(text) from None
        reply = self._answer(text, self.timeout if timeout is None else timeout)
        answer = reply[1:].lstrip("0123456789").strip()
        if reply[0] == "?":
            raise ProgramRefusedError(f"{self.name} refused {_shown(text)}: {_shown(answer)}")
        return answer

    def new_game(self, rules: Rules) -> None:
        """Set up an empty board of the size and komi of `rules`."""
        self._size = rules.size
        for text in (f"boardsize {rules.size}", "clear_board", f"komi {rules.komi:g}"):
            self.command(text)

    def play(self, colour: int, action: int) -> None:
        """Send a move: colour 1 (black) or 2 (white), and an action."""
        self.command(f"play {_letter(colour)} {vertex(action, self._size)}")

    def genmove(self, colour: int, timeout: float | None = None) -> int | None:
        """Let it move, and return the action, already played on its board, or None if it resigns."""
        text = f"genmove {_letter(colour)}"
        answer = self.command(text, timeout)
        if answer.lower() == "resign":
            return None
        try:
            return action_at(answer, self._size)
        except ValueError as error:
            raise self._lost(f"answered {text!r} with nonsense: {error}") from None

    def close(self) -> None:
        """End the program."""
        self._finalizer()

    def _answer(self, text: str, timeout: float) -> str:
        """Read up to the empty line that ends an answer."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        deadline, got = time.monotonic() + timeout, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            selector.register(self._process.stderr, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._lost(f"has not answered {_shown(text)} within {timeout:g} seconds")
                for key, _ in selector.select(left):
                    chunk = os.read(key.fd, 1 << 16)
                    if key.fileobj is self._process.stderr:
                        self._complaint = (self._complaint + chunk)[-2000:]
                        if not chunk:
                            selector.unregister(key.fileobj)
                        continue
                    if not chunk:
                        raise self._dead(text)
                    got = (got + chunk.replace(b"\r", b"")).lstrip()
                    answer, end, _ = got.partition(b"\n\n")
                    proper = got[:1] in (b"", b"=", b"?") and len(got) <= _LONGEST_ANSWER
                    if not proper and (b"\n" in got or len(got) > 1000):
                        first = got.partition(b"\n")[0].decode(errors="replace")
                        raise self._lost(f"answered {_shown(text)} with nonsense: {_shown(first)}")
                    if end:
                        return answer.decode(errors="replace")

    def _dead(self, text: str) -> ProgramError:
        assert self._process.stderr is not None
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:  # it closed its output and still runs
            return self._lost(f"closed its output at {_shown(text)}")
        os.set_blocking(self._process.stderr.fileno(), False)
        self._complaint += self._process.stderr.read() or b""
        lines = self._complaint.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        why = f": {_shown(last)}" if last else ""
        return self._lost(f"ended ({how}) at {_shown(text)}{why}")

    def _lost(self, what: str) -> ProgramError:
        self.close()
        return ProgramError(f"{self.name} {what}")


def _letter(colour: int) -> str:
    return "bw"[colour - 1]


def _shown(text: str) -> str:
    """Return a program's text in quotes, on one line and shortened."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 80 else line[:79] + "…")


def _end(process: subprocess.Popen) -> None:
    """Ask a program to quit, and end it if it does not."""
    assert process.stdin is not None
    try:
        process.stdin.write(b"quit\n")
        process.stdin.close()
        process.wait(0.5)
    except (OSError, subprocess.TimeoutExpired):
        pass
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
