"""Warnings of observations that networks learn badly from: numbers far from −1…1 that nothing scales."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import Any

import numpy as np
from gymnasium import Env, spaces

from envs.observations import ObservationFlattener, Part, finite_bounds, image_axis, is_vector

RANDOM_STEPS = 30
"""Steps with random actions whose observations are looked at: fewer if they take longer than a second, none
if some actions are illegal."""
FAR = 10.0
"""Observed numbers beyond ± this are warned of."""
FAR_BOUND = 100.0
"""Bounds beyond ± this are, too, whatever was observed; narrower ones are often never reached."""
CNN_SIDE = 84
"""Pixels that small pictures are best enlarged to."""
MANY_BYTES = 1_000
"""A vector of so many bytes may be a picture."""


def scale_warnings(env: Env, normalized: bool) -> list[str]:
    """A sentence for each part of the observation that is badly scaled, after a few random steps.

    Args:
        normalized: vectors are normalised in training.
    """
    parts = ObservationFlattener(env.observation_space).parts
    seen = _largest_seen(env, parts)
    sentences = [_sentence(part, seen[part.path], normalized) for part in parts]
    return [sentence for sentence in sentences if sentence]


def _largest_seen(env: Env, parts: list[Part]) -> dict[tuple, float]:
    """The largest absolute number of each part's observations."""
    seen = {part.path: 0.0 for part in parts}
    env.action_space.seed(0)
    # An environment that breaks here will in training, which says so better.
    with suppress(Exception, SystemExit):
        began, over = monotonic(), True
        for _ in range(RANDOM_STEPS):
            if over:
                observation, info = env.reset(seed=0)
                over = False
            else:
                observation, _, terminated, truncated, info = env.step(env.action_space.sample())
                over = bool(terminated or truncated)
            for part in parts:
                seen[part.path] = max(seen[part.path], _largest(part.space, part.of(observation)))
            if "action_mask" in info or monotonic() - began > 1:
                break
    return seen


def _largest(space: Any, value: Any) -> float:
    if isinstance(space, spaces.Sequence):
        return max((_largest(space.feature_space, one) for one in value), default=0.0)
    if not isinstance(space, spaces.Box):
        return 0.0
    numbers = np.abs(np.asarray(value, np.float64))
    return float(numbers[np.isfinite(numbers)].max(initial=0))


def _sentence(part: Part, seen: float, normalized: bool) -> str | None:
    space = part.space
    name = "the observation" + "".join(f"[{key!r}]" for key in part.path)
    shape = part.flat.shape or ()
    if isinstance(space, spaces.Box) and len(shape) == 3 and image_axis(shape) is not None:
        if finite_bounds(space)[2].all():
            return None
        return (
            f"{name} is an image without finite bounds, so it is not scaled to 0…1 for the network: give"
            " its Box a low and a high, such as 0 and 255"
        )
    largest = seen if seen > FAR else 0.0
    if isinstance(space, spaces.Box) and is_vector(part.flat):
        if normalized:
            return None
        low, high, known = finite_bounds(space)
        bound = float(np.maximum(np.abs(low), np.abs(high))[known].max(initial=0))
        largest = max(largest, bound if bound > FAR_BOUND else 0.0)
    if not largest:
        return None
    cure = "scale it in the environment"
    if isinstance(space, spaces.Box) and len(shape) == 3 and space.dtype == np.uint8:
        cure += f"; if it is a picture, --resize {CNN_SIDE} makes it one that a CNN reads"
    if is_vector(part.flat):
        cure += ", or train ppo, a2c or reinforce with --normalize-observations"
        if space.dtype == np.uint8 and shape[0] >= MANY_BYTES:
            cure += "; if it is a picture, give it as (height, width, channels), which a CNN reads"
    return f"{name} has numbers up to {largest:.4g}, and networks learn badly from numbers far from −1…1: {cure}"
