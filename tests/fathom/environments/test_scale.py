"""Observations that networks learn badly from are warned of, and no others."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from fathom.environments import resolve
from fathom.environments.check import check
from fathom.environments.scale import scale_warnings


class Shows(gymnasium.Env):
    """Shows the same observation in every step."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space, observation: Any) -> None:
        self.observation_space, self.observation = space, observation

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        return self.observation, {}

    def step(self, action: Any) -> Any:
        return self.observation, 0.0, False, False, {}


def full(space: spaces.Box, number: float) -> Shows:
    return Shows(space, np.full(space.shape, number, space.dtype))


FREE = spaces.Box(-np.inf, np.inf, (3,))


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (full(FREE, 25), "numbers up to 25,"),
        (full(spaces.Box(0, 1000, (3,)), 0), "numbers up to 1000,"),
        (full(spaces.Box(0, 255, (4800,), np.uint8), 0), "which a CNN reads"),
        (full(spaces.Box(0, 255, (9, 9, 3), np.uint8), 200), "scale it in the environment"),
        (full(spaces.Box(-np.inf, np.inf, (40, 40, 3)), 0), "image without finite bounds"),
        (full(spaces.Box(-np.inf, np.inf, (40, 40)), 255), "numbers up to 255,"),
    ],
)
def test_numbers_far_from_one_are_warned_of(env: Shows, words: str) -> None:
    (sentence,) = scale_warnings(env, normalized=False)
    assert words in sentence


@pytest.mark.parametrize(
    "env",
    [
        full(FREE, 5),
        full(spaces.Box(-28, 28, (3,)), 1),
        full(spaces.Box(0, 255, (9, 9, 3), np.uint8), 10),
        full(spaces.Box(0, 65535, (40, 40, 1), np.uint16), 60000),
        full(spaces.Box(0, 255, (40, 40)), 250),
        Shows(spaces.Discrete(10**6), 10**6 - 1),
    ],
)
def test_others_are_not(env: Shows) -> None:
    assert scale_warnings(env, normalized=False) == []


def test_the_part_is_named_and_what_is_normalised_needs_no_warning() -> None:
    space = spaces.Dict(speed=FREE, place=spaces.Box(-1, 1, (2,)))
    observation = {"speed": np.full(3, 240, np.float32), "place": np.zeros(2, np.float32)}
    (sentence,) = scale_warnings(Shows(space, observation), normalized=False)
    assert sentence.startswith("the observation['speed'] has numbers up to 240,")
    assert scale_warnings(Shows(space, observation), normalized=True) == []


@pytest.mark.parametrize("reference", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_the_environments_of_gymnasium_give_no_warning(reference: str) -> None:
    assert not [text for text in check(resolve(reference, {})) if "numbers up to" in text]
