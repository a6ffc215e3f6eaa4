"""What an environment owes to Gymnasium and to learning, and a sentence for each way to break it."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import Env
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import concatenate, create_empty_array

from envs.go.program import ProgramError
from fathom.errors import FathomError

if TYPE_CHECKING:
    from fathom.environments.spec import EnvironmentSpec

SERIOUS_WARNINGS = (
    "Core environment is written in old step API",
    "Expects `terminated` signal",
    "Expects `truncated` signal",
    "The reward",
)
"""Beginnings of what Gymnasium's checker only warns of, or says before it stumbles itself, and
learning cannot bear."""


def check(world: EnvironmentSpec) -> list[str]:
    """Check that a world keeps Gymnasium's contract, and return the checker's warnings.

    A broken contract is a FathomError in one sentence. Atari games are not checked.
    """
    if world.is_atari:
        return []
    env = world.make_single(None)
    broken: str | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env.unwrapped, skip_render_check=True)
            broken = _misfit(env.unwrapped) or _misdescribed(env.unwrapped.metadata)
        except ProgramError as error:  # the opponent's fault
            raise FathomError(f"{world.reference}: {error}") from error
        except (Exception, SystemExit) as error:
            if line_in(error, _file(world.reference)):
                raise failure(world.reference, "Gymnasium's check", error) from error
            broken = one_line(error)
        finally:
            env.close()
    colours = re.compile(r"\x1b\[\d*m")
    message = [colours.sub("", str(warning.message)).removeprefix("WARN: ") for warning in caught]
    broken = next((text for text in message if text.startswith(SERIOUS_WARNINGS)), broken)
    if broken is not None:
        raise FathomError(f"{world.reference} does not keep Gymnasium's contract: {broken}")
    return message


def _misfit(env: Env) -> str | None:
    """What the checker lets pass and learning cannot bear, if there is any."""
    space, actions = env.observation_space, env.action_space
    observation, info = env.reset(seed=0)
    after, _, terminated, truncated, next_info = env.step(actions.sample())
    for method, value in (("reset", observation), ("step", after)):
        try:
            batch: Any = create_empty_array(space, n=1)
            concatenate(space, [value], batch)
        except Exception as error:
            return (
                f"the observation of {method}() does not fit its space {space}: {one_line(error)}"
            )
    if ("action_mask" in info) != ("action_mask" in next_info) and not (terminated or truncated):
        return "info['action_mask'] must come with every reset() and step(), or never"
    if "action_mask" not in info:
        return None
    from agents.parts.actions import action_distribution  # here, for it brings torch with it

    size = action_distribution(actions).mask_size
    if not size:
        return f"info['action_mask'] is for numbered actions, and these are {actions}"
    shape = np.shape(info["action_mask"])
    if shape != (size,):
        return f"info['action_mask'] must have the shape ({size},), not {shape}"
    return None


def _misdescribed(metadata: dict[str, Any]) -> str | None:
    """What is wrong with the parts of `metadata` that are used here, if anything is."""
    measures = metadata.get("measures", ())
    if not isinstance(measures, (list, tuple)) or not all(isinstance(m, str) for m in measures):
        return f"metadata['measures'] must be a list of names, not {measures!r}"
    fps = metadata.get("render_fps", 1)
    if not isinstance(fps, (int, float)) or not 0 < fps < 1_000:
        return f"metadata['render_fps'] must be a number of frames a second, not {fps!r}"
    return None


class ErrorReportingEnv(gymnasium.Wrapper):
    """Makes a sentence of whatever an environment raises; `which` of several it is."""

    def __init__(self, env: Env, reference: str, which: str) -> None:
        super().__init__(env)
        self._reference, self._which = reference, which
        self._calls = 0  # a vector environment spends a step on a reset

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._calls += 1
        with reporting_errors(self._reference, f"reset{self._which}"):
            return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._calls += 1
        try:  # no context manager: it would cost as much as a step of CartPole
            return self.env.step(action)
        except (Exception, SystemExit) as error:
            where = f"step {self._calls - 1:,}{self._which}"
            raise failure(self._reference, where, error) from error

    def close(self) -> None:
        with reporting_errors(self._reference, "close"):
            self.env.close()


class ErrorReportingVectorEnv(VectorWrapper):
    """Makes a sentence of what a vector environment raises when it puts its parts together."""

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
        except FathomError:  # one of its environments has said it
            raise
        except Exception as error:
            raise failure(self._reference, f"step {self._steps:,}", error) from error


@contextmanager
def reporting_errors(reference: str, where: str) -> Iterator[None]:
    """Make a sentence of whatever is raised inside."""
    try:
        yield
    except FathomError:
        raise
    except (Exception, SystemExit) as error:
        raise failure(reference, where, error) from error


def failure(reference: str, where: str, error: BaseException) -> FathomError:
    """The sentence for an exception: the environment, the line of its file, what it was doing."""
    line = line_in(error, _file(reference))
    at = f"at line {line}, " if line else ""
    return FathomError(f"{reference} failed {at}in {where}: {one_line(error)}")


def _file(reference: str) -> Path:
    return Path(reference.rpartition(":")[0])


def line_in(error: BaseException, path: Path) -> int | None:
    """The last line of a file that an exception came through, if it did."""
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] if lines else None


def one_line(error: BaseException) -> str:
    """Put an exception into one line: its kind and what it says."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    said = " ".join(message.split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
