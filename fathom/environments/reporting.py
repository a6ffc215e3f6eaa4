"""Turns what an environment raises into one sentence: which environment, which line, during what."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Env
from gymnasium.vector import VectorEnv, VectorWrapper
from pydantic import ValidationError

from envs.hooks import WorldError
from fathom.errors import FathomError, one_sentence

OUR_FOLDER = Path(__file__).resolve().parents[2]


class ErrorReportingEnv(gymnasium.Wrapper):
    """An environment whose exceptions become FathomErrors of one sentence.

    Args:
        reference: what the user called it.
        which: which of several copies it is, such as " of environment 3"; empty if there is one.
    """

    def __init__(self, env: Env, reference: str, which: str) -> None:
        super().__init__(env)
        metadata = env.metadata
        if not isinstance(metadata, (Mapping, type(None))):
            raise FathomError(f"{reference}: metadata must be a dictionary, not {metadata!r}")
        self.metadata = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in (metadata or {}).items()
        }
        self._reference, self._which = reference, which
        self._calls = 0  # a vector environment spends a step on a reset

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._calls += 1
        with reporting_errors(self._reference, f"reset{self._which}"):
            return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._calls += 1
        try:  # a context manager would cost as much as a step of CartPole
            return self.env.step(action)
        except (Exception, SystemExit) as error:
            where = f"step {self._calls - 1:,}{self._which}"
            raise failure(self._reference, where, error) from error

    def close(self) -> None:
        with reporting_errors(self._reference, "close"):
            self.env.close()


class ErrorReportingVectorEnv(VectorWrapper):
    """A vector environment whose exceptions become FathomErrors of one sentence."""

    def __init__(self, env: VectorEnv, reference: str) -> None:
        super().__init__(env)
        self._reference, self._steps = reference, 0

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        with reporting_errors(self._reference, "reset"):
            return self.env.reset(**arguments)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._steps += 1
        try:
            return self.env.step(actions)
        except FathomError:  # one of its environments has reported it
            raise
        except Exception as error:
            raise failure(self._reference, f"step {self._steps:,}", error) from error


@contextmanager
def reporting_errors(reference: str, where: str) -> Iterator[None]:
    """Turn whatever is raised inside into a FathomError."""
    try:
        yield
    except FathomError:
        raise
    except (Exception, SystemExit) as error:
        raise failure(reference, where, error) from error


def failure(reference: str, where: str, error: BaseException) -> FathomError:
    """Return the FathomError for an exception that an environment raised during `where`."""
    place = place_of(error, reference)
    at = f"at {place}, " if place else ""
    return FathomError(f"{reference} failed {at}in {where}: {one_line(error)}")


def not_made(reference: str, error: BaseException) -> FathomError:
    """Return the FathomError for an exception that an environment's constructor raised."""
    place = "" if isinstance(error, (FathomError, WorldError)) else place_of(error, reference)
    at = f" ({place})" if place else ""
    return FathomError(f"{reference} cannot be made: {one_line(error)}{at}")


def file_of(reference: str) -> Path | None:
    """Return the file that a reference `path/to/file.py:Class` or `module:Class` names."""
    target = reference.rpartition(":")[0]
    if target.endswith(".py"):
        return Path(target)
    file = getattr(sys.modules.get(target), "__file__", None)
    return None if file is None else Path(file)


def place_of(error: BaseException, reference: str) -> str:
    """Return where the user's code raised an exception, such as "line 8"; empty if it did not.

    It is the last line of the referenced file that the exception passed through, or else the last of a file
    beside it, such as "base.py, line 8".
    """
    file = file_of(reference)
    line = None if file is None else line_in(error, file)
    if line is not None:
        return f"line {line}"
    folder = Path.cwd() if file is None else file.parent
    beside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
        and not Path(frame.filename).is_relative_to(OUR_FOLDER)
        and "site-packages" not in frame.filename
    ]
    return f"{Path(beside[-1].filename).name}, line {beside[-1].lineno}" if beside else ""


def line_in(error: BaseException, path: Path) -> int | None:
    """Return the last line of a file that an exception passed through, or None."""
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] if lines else None


def one_line(error: BaseException) -> str:
    """Return an exception as one line, its type first unless its message is a sentence for the user.

    An exception without a message, such as that of an `assert`, shows the line of code that raised it.
    """
    if isinstance(error, ValidationError):
        return one_sentence(error)
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(message.split()).rstrip(".")
    if text and isinstance(error, (FathomError, WorldError)):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    text = text or (frames[-1].line or "" if frames else "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
