"""Actions of any Gymnasium space: batches of them, and the length of their masks."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def first_of(actions: Any) -> Any:
    """The first action of a batch, which is an array, or a dict or tuple of batches."""
    if isinstance(actions, dict):
        return {key: first_of(part) for key, part in actions.items()}
    return tuple(map(first_of, actions)) if isinstance(actions, tuple) else actions[0]


def mask_size(space: gym.Space) -> int:
    """Length of an action mask: one entry for each value of each number, in order; 0 without numbers."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.MultiBinary):
        return 2 * int(np.prod(space.shape))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        return sum(space.high.ravel().tolist()) - sum(space.low.ravel().tolist()) + space.low.size
    if isinstance(space, spaces.Dict):
        return sum(map(mask_size, space.spaces.values()))
    return sum(map(mask_size, space.spaces)) if isinstance(space, spaces.Tuple) else 0
