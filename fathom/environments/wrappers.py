"""Wrappers that a user puts round an environment by reference, and those for pictures.

A reference is `module:Wrapper` or `path/to/file.py:Wrapper`, whose arguments may follow as a JSON object:
`gymnasium.wrappers:ClipReward{"min_reward": -1}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Env
from gymnasium.spaces import Box

from fathom.environments.reporting import one_line
from fathom.environments.user_files import import_file, import_named
from fathom.errors import FathomError

GREY = "gymnasium.wrappers:GrayscaleObservation"
RESIZE = "fathom.environments.wrappers:ResizePicture"
STACK = "gymnasium.wrappers:FrameStackObservation"
HARMLESS_WRAPPERS = (GREY, RESIZE, STACK)
"""Others of Gymnasium write files, for example, which a run from elsewhere may not do."""


def wrapper_references(
    wrap: Sequence[str] = (), grey: bool = False, resize: str | None = None, frame_stack: int = 1
) -> tuple[str, ...]:
    """Return the references of the wrappers that options ask for, the innermost first.

    Args:
        wrap: references; those of files become absolute.
        resize: "84", or "84x96" of height and width.

    Raises:
        FathomError: there is no such wrapper, or `resize` is no size.
    """
    references = []
    for reference in wrap:
        name, arguments = _split(reference)
        target, _, attribute = name.rpartition(":")
        if target.endswith(".py"):
            name = f"{Path(target).expanduser().resolve()}:{attribute}"
        references.append(name + arguments)
        _load(references[-1])
    if grey:
        references.append(GREY)
    if resize is not None:
        match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", resize.strip())
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


def wrapped(env: Env, wrappers: Sequence[str], reference: str) -> Env:
    """Return an environment inside wrappers, the first of them innermost.

    Args:
        reference: what the user calls the environment.

    Raises:
        FathomError: a wrapper cannot be put round this environment.
    """
    for wrapper in wrappers:
        constructor, arguments = _load(wrapper)
        try:
            env = constructor(env, **arguments)
        except (Exception, SystemExit) as error:
            raise FathomError(
                f"{reference} cannot be wrapped in {wrapper}: {one_line(error)}"
            ) from error
        if not isinstance(env, Env):
            raise FathomError(
                f"{wrapper} is no wrapper: it makes a {type(env).__name__}, not a gymnasium.Env"
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


def _load(reference: str) -> tuple[Any, dict[str, Any]]:
    """Return a wrapper's constructor and its arguments."""
    name, text = _split(reference)
    target, _, attribute = name.rpartition(":")
    if target.endswith(".py"):
        module = import_file(Path(target)).module
    else:
        module = import_named(target, name).module
    constructor = getattr(module, attribute, None)
    if not callable(constructor):
        raise FathomError(f"{target} has no wrapper {attribute!r}")
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        raise FathomError(
            f"the arguments of {name} must be a JSON object such as"
            f' {{"min_reward": -1}}, not {text}'
        ) from None
    return constructor, arguments


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
        if not isinstance(space, Box) or len(space.shape) not in (2, 3):
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
