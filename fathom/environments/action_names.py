"""What the numbered actions of an environment are called."""

from __future__ import annotations

from typing import Any

import gymnasium

_OF_GYMNASIUM = {
    "Acrobot": ("LEFT", "NOOP", "RIGHT"),
    "Blackjack": ("STICK", "HIT"),
    "CartPole": ("LEFT", "RIGHT"),
    "CliffWalking": ("UP", "RIGHT", "DOWN", "LEFT"),
    "FrozenLake": ("LEFT", "DOWN", "RIGHT", "UP"),
    "LunarLander": ("NOOP", "LEFT", "UP", "RIGHT"),
    "MountainCar": ("LEFT", "NOOP", "RIGHT"),
    "Taxi": ("DOWN", "UP", "RIGHT", "LEFT", "PICKUP", "DROPOFF"),
}
"""Of Gymnasium's own environments, which do not tell; LunarLander's UP is the main engine."""


def action_names(env: gymnasium.Env, count: int, first: int = 0) -> list[str]:
    """The actions as the environment calls them (`get_action_meanings`), or their numbers.

    Args:
        count: how many there are.
        first: the number of the first.
    """
    names: Any = None
    try:
        meanings = getattr(env.unwrapped, "get_action_meanings", None)
        names = meanings() if callable(meanings) else None
    except Exception:  # a user's own code, and only names are missing
        names = None
    if names is None and env.spec is not None and env.spec.namespace is None:
        names = _OF_GYMNASIUM.get(env.spec.name)
    if isinstance(names, list | tuple) and len(names) == count:
        return [str(name) for name in names]
    return [str(first + number) for number in range(count)]
