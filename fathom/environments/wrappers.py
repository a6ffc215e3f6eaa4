"""Wrappers that a user puts round an environment by reference, and those for pictures.

A reference is `module:Wrapper` or `path/to/file.py:Wrapper`, whose arguments may follow as a JSON object:
`gymnasium.wrappers:ClipReward{"min_reward": -1}`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import pydantic.dataclasses
from gymnasium import Env, Space
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from gymnasium.spaces import Tuple as TupleSpace
from gymnasium.wrappers import FrameStackObservation, GrayscaleObservation
from pydantic import ConfigDict, Field, ValidationError

from fathom.environments.reporting import one_line
from fathom.environments.user_files import Importing, absolute, import_module_of
from fathom.errors import FathomError, one_sentence

GREY = "gymnasium.wrappers:GrayscaleObservation"
RESIZE = "fathom.environments.wrappers:ResizePicture"
STACK = "gymnasium.wrappers:FrameStackObservation"
_MOST_NUMBERS = 1 << 26
"""Of one observation inside the wrappers for pictures."""


@dataclass(frozen=True)
class LoadedWrapper:
    """A wrapper that was loaded: editing its file changes nothing until the next process."""

    reference: str
    constructor: Callable[..., Any]
    arguments: Mapping[str, Any]
    importing: Importing
    """A context for its constructor, whose imports are those of the user's project."""


def wrapper_references(
    wrap: Sequence[str] = (), grey: bool = False, resize: str | None = None, frame_stack: int = 1
) -> tuple[str, ...]:
    """Return the references of the wrappers that options ask for, the innermost first.

    Args:
        wrap: references; those of files become absolute.
        resize: "84", or "84x96" of height and width.

    Raises:
        FathomError: a text is no reference, or `resize` is no size.
    """
    references = []
    for reference in wrap:
        name, arguments = _split(reference)
        references.append(absolute(name) + arguments)
    if grey:
        references.append(GREY)
    if resize is not None:
        match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", resize.strip())
        height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not (0 < height < 1 << 14 and 0 < width < 1 << 14):
            raise FathomError(
                f"--resize must be a size such as 84, or 84x96 of height and width, not {resize!r}"
            )
        shape = f"[{height}, {width}]"
        references.append(f'{RESIZE}{{"shape": {shape}}}')
    if frame_stack > 1:
        references.append(f'{STACK}{{"stack_size": {frame_stack}}}')
    return tuple(references)


def load_wrapper(reference: str) -> LoadedWrapper:
    """Return the wrapper that a reference names; FathomError if there is none or its arguments are wrong."""
    name, text = _split(reference)
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise FathomError(
            f"the arguments of {name} must be a JSON object such as"
            f' {{"min_reward": -1}}, not {text[:80]}'
        ) from None
    if name in HARMLESS_WRAPPERS:  # by themselves, for a folder of the user's may have such names
        constructor, schema = HARMLESS_WRAPPERS[name]
        try:
            schema(**arguments)
        except ValidationError as error:
            raise FathomError(f"the arguments of {name}: {one_sentence(error)}") from None
        return LoadedWrapper(reference, constructor, arguments, nullcontext)
    module, importing = import_module_of(name)
    target, _, attribute = name.rpartition(":")
    named = getattr(module, attribute, None)
    if not callable(named):
        raise FathomError(f"{target} has no wrapper {attribute!r}")
    return LoadedWrapper(reference, named, arguments, importing)


def wrapped(env: Env, wrappers: Sequence[LoadedWrapper], reference: str) -> Env:
    """Return an environment inside wrappers, the first of them innermost.

    Args:
        reference: what the user calls the environment.

    Raises:
        FathomError: a wrapper cannot be put round this environment.
    """
    for wrapper in wrappers:
        try:
            _check_size(env, wrapper)
            with wrapper.importing():
                env = wrapper.constructor(env, **wrapper.arguments)
        except (Exception, SystemExit) as error:
            raise FathomError(
                f"{reference} cannot be wrapped in {wrapper.reference}: {one_line(error)}"
            ) from error
        if not isinstance(env, Env):
            raise FathomError(
                f"{wrapper.reference} is no wrapper: it makes a {type(env).__name__}, not a gymnasium.Env"
            )
    return env


def _split(reference: str) -> tuple[str, str]:
    """Return a wrapper's name, and its arguments as the text of a JSON object, or an empty text."""
    name, brace, arguments = reference.partition("{")
    if ":" not in name.removesuffix(":"):
        raise FathomError(
            f"a wrapper is given as module:Wrapper or path/to/file.py:Wrapper, not as {reference!r}"
        )
    return name.strip(), brace + arguments


def _check_size(env: Env, wrapper: LoadedWrapper) -> None:
    """Raise ValueError where a wrapper for pictures would make observations that fill the memory."""
    shape = getattr(env.observation_space, "shape", None) or ()
    size = 0
    if wrapper.constructor is FrameStackObservation:
        size = _numbers(env.observation_space) * wrapper.arguments["stack_size"]
    elif wrapper.constructor is ResizePicture:
        size = math.prod((*wrapper.arguments["shape"], *shape[2:]))
    if size > _MOST_NUMBERS:
        raise ValueError(
            f"an observation would have {size:,} numbers, and {_MOST_NUMBERS:,} is the most"
        )


def _numbers(space: Space) -> int:
    """How many numbers an observation has."""
    if isinstance(space, DictSpace):
        return sum(_numbers(inner) for inner in space.spaces.values())
    if isinstance(space, TupleSpace):
        return sum(_numbers(inner) for inner in space.spaces)
    return math.prod(space.shape or ())


class ResizePicture(
    gymnasium.ObservationWrapper[np.ndarray, Any, np.ndarray],
    gymnasium.utils.RecordConstructorArgs,
):
    """Resizes pictures, each new pixel the mean of those that it covers.

    It is `gymnasium.wrappers.ResizeObservation` by Pillow, which Fathom needs anyway, rather than OpenCV.

    Args:
        env: its observations are pictures (height, width) or (height, width, channels), of bytes or floats.
        shape: the new height and width.
    """

    def __init__(self, env: Env, shape: Sequence[int]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, shape=shape)
        super().__init__(env)
        space = env.observation_space
        channels_first = len(space.shape or ()) == 3 and space.shape[0] < min(space.shape[1:])  # type: ignore[index]
        if not isinstance(space, Box) or len(space.shape) not in (2, 3) or channels_first:
            raise ValueError(
                f"it resizes pictures (height, width) or (height, width, channels), not {space}"
            )
        self._height, self._width = shape
        self.observation_space = Box(
            self.observation(space.low), self.observation(space.high), dtype=space.dtype.type
        )

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return one picture of the new size, in its type."""
        from PIL import Image

        kind = observation.dtype
        planes = np.atleast_3d(observation)
        if kind != np.uint8:
            planes = planes.astype(np.float32)
        resized = np.stack(
            [
                np.asarray(
                    Image.fromarray(np.ascontiguousarray(planes[:, :, i])).resize(
                        (self._width, self._height), Image.Resampling.BOX
                    )
                )
                for i in range(planes.shape[2])
            ],
            axis=2,
        )
        shape = (self._height, self._width, *observation.shape[2:])
        if kind.kind in "iu" and kind != np.uint8:
            resized = np.rint(resized)
        return resized.astype(kind).reshape(shape)


_Side = Annotated[int, Field(strict=True, gt=0, lt=1 << 14)]
_EXACTLY = ConfigDict(extra="forbid")


@pydantic.dataclasses.dataclass(config=_EXACTLY)
class _GreyArguments:
    keep_dim: Annotated[bool, Field(strict=True)] = False


@pydantic.dataclasses.dataclass(config=_EXACTLY)
class _ResizeArguments:
    shape: tuple[_Side, _Side]


@pydantic.dataclasses.dataclass(config=_EXACTLY)
class _StackArguments:
    stack_size: Annotated[int, Field(strict=True, ge=1, le=64)]
    padding_type: Literal["reset", "zero"] = "reset"


HARMLESS_WRAPPERS: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    GREY: (GrayscaleObservation, _GreyArguments),
    RESIZE: (ResizePicture, _ResizeArguments),
    STACK: (FrameStackObservation, _StackArguments),
}
"""The wrappers for pictures, each with the schema of its arguments.

Others of Gymnasium write files, for example, which a run from elsewhere may not do."""
