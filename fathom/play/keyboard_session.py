"""A game of numbered actions played by a person, by an agent, or by both in turns, without a screen.

Any environment with discrete actions will do that can be rendered as a picture. A view calls `step` with the
person's action, or without one to let the agent act; who acts may change at every step. What the agent would do,
and its values or probabilities, are known at every step, whoever plays.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from gymnasium import spaces

from agents.agent import Agent, generator
from envs.actions import first_of
from envs.observations import FlatObservation, ObservationFlattener, batch_of_one
from fathom.environments import EnvironmentSpec
from fathom.environments.action_names import action_names
from fathom.errors import FathomError
from fathom.recording import frames_a_second, rendered

MOST_ACTIONS = 1000
"""Of an environment that is played by keyboard."""
LARGEST_PICTURE = 1 << 22
"""Most pixels of a picture."""
NOOP = "NOOP"
_DIRECTIONS = re.compile("(UP|DOWN)?(LEFT|RIGHT)?(FIRE)?")
_KEYS = {
    "UP": "ArrowUp",
    "DOWN": "ArrowDown",
    "LEFT": "ArrowLeft",
    "RIGHT": "ArrowRight",
    "FIRE": " ",
}
_LETTERS = "".join(sign for sign in string.ascii_lowercase if sign not in "hnp")
"""Keys of actions without a direction, after the digits; h, n and p are a view's own."""

End = Literal["", "terminated", "truncated"]


@dataclass(frozen=True)
class Key:
    """Keys that together stand for an action."""

    keys: tuple[str, ...]
    """Names as `KeyboardEvent.key` has them."""
    action: int
    """Its index among the actions."""


@dataclass(frozen=True)
class Moment:
    """The game before its next step."""

    picture: np.ndarray
    """(height, width, 3) uint8."""
    steps: int
    """Of the episode so far."""
    episode_return: float
    reward: float
    """Of the last step."""
    end: End
    """How the episode ended; empty while it goes on."""
    legal: tuple[bool, ...]
    """For each action."""
    choice: int | None
    """The action that the agent would take; None without an agent, and at the end."""
    scores: tuple[float, ...] | None
    """The agent's value, or probability, of each action; None if it has none."""


class KeyboardSession:
    """A game between two of whose steps anyone may take over.

    Args:
        agent: trained in this environment; None if only the person plays.
        seed: of the first episode and of the agent; each later episode has the next.

    Raises:
        FathomError: the environment has no numbered actions, or cannot be rendered.
    """

    def __init__(self, environment: EnvironmentSpec, agent: Agent | None, seed: int) -> None:
        self.environment, self.agent = environment, agent
        self._seed, self._rng = seed, generator(seed)
        space = environment.spaces()[1]
        if not isinstance(space, spaces.Discrete) or space.n > MOST_ACTIONS:
            raise FathomError(
                f"{environment.reference} cannot be played by keyboard: that needs at most {MOST_ACTIONS:,}"
                f" numbered actions, not {space}"
            )
        self._first = int(space.start)
        self._env = environment.make_single("rgb_array")
        try:
            self._flatten = ObservationFlattener(self._env.observation_space)
            self.names = action_names(self._env, int(space.n), self._first)
            """Of the actions."""
            self.keys = keys_of(self.names)
            """The keys of the actions that have some."""
            self.frames_a_second = frames_a_second(environment, self._env)
            """Steps in a second of the game at its own speed."""
            self.idle = self.names.index(NOOP) if NOOP in self.names else None
            """The action that does nothing; None if there is none, and the game waits for the person."""
            self.reset()
        except BaseException:
            self._env.close()
            raise

    @property
    def score_kind(self) -> str:
        """What the scores are: "value" or "probability"; empty if there are none."""
        return self.agent.score_kind if self.agent is not None else ""

    def reset(self) -> None:
        """Begin the next episode."""
        observation, info = self._env.reset(seed=self._seed)
        self._seed += 1
        self._starts = np.ones(1, dtype=bool)
        self._return, self._steps = 0.0, 0
        self._look(observation, info, 0.0, "")

    def step(self, action: int | None = None) -> None:
        """Take the person's action, or if there is none the agent's; nothing happens after the end.

        Raises:
            FathomError: the action is illegal here, there is no agent to act, or the environment fails.
        """
        if self.moment.end:
            return
        chosen = self.moment.choice if action is None else action
        if chosen is None:
            raise FathomError("there is no agent here that could play: play on by yourself")
        if not 0 <= chosen < len(self.names) or not self.moment.legal[chosen]:
            raise FathomError("that action is not possible here")
        result = self._env.step(self._first + chosen)
        observation, reward, terminated, truncated, info = result
        self._starts = np.zeros(1, dtype=bool)
        self._steps += 1
        self._return += float(reward)
        end: End = "terminated" if terminated else "truncated" if truncated else ""
        self._look(observation, info, float(reward), end)

    def action_for(self, held: Collection[str]) -> int | None:
        """The action that held keys stand for, by as many of them as possible; None if they mean nothing."""
        fitting = [key for key in self.keys if set(key.keys) <= set(held)]
        return max(fitting, key=lambda key: len(key.keys)).action if fitting else None

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _look(self, observation: object, info: dict[str, object], reward: float, end: End) -> None:
        """Note what there is to see, and ask the agent."""
        mask = info.get("action_mask")
        masks = None if mask is None else np.asarray(mask, dtype=bool)[None]
        if masks is not None and not masks.any():  # it counts as all legal
            masks = None
        self.observations: FlatObservation = self._flatten(
            batch_of_one(self._env.observation_space, observation)
        )
        """What the agent acts on, flat, (1, …)."""
        legal = (True,) * len(self.names) if masks is None else tuple(masks[0].tolist())
        self.moment = Moment(
            np.empty((0, 0, 3), np.uint8), self._steps, self._return, reward, end, legal, None, None
        )
        if self.agent is not None and not end:
            self.agent.annotate(self._env, self.observations, masks)
            scores = self._scores() if self.score_kind else None
            actions = self.agent.act(self.observations, masks, self._starts, self._rng)
            choice = int(first_of(actions)) - self._first
            self.moment = dataclasses.replace(self.moment, scores=scores, choice=choice)
        picture = rendered(self.environment, self._env)
        if picture.shape[0] * picture.shape[1] > LARGEST_PICTURE:
            raise FathomError(
                f"{self.environment.reference} has pictures of {picture.shape[1]}×{picture.shape[0]} pixels,"
                " too large to be played here"
            )
        self.moment = dataclasses.replace(self.moment, picture=picture)

    def _scores(self) -> tuple[float, ...]:
        import torch

        from perception.networks.encoders import as_tensor

        assert self.agent is not None
        flat = self.observations
        parts = flat if isinstance(flat, tuple) else (flat,)
        device = self.agent.context.device
        with torch.no_grad():
            scores = self.agent.scores(tuple(as_tensor(part).to(device) for part in parts))[0]
            if self.score_kind == "probability":
                scores = scores.float().softmax(dim=0)
        return tuple(scores.float().cpu().tolist())


def keys_of(names: Sequence[str]) -> list[Key]:
    """Keys for actions by their names: arrows and the space bar for directions and FIRE, for others digits and
    letters. NOOP, and what comes after the last letter, have none."""
    keys, free = [], iter(string.digits + _LETTERS)
    for action, name in enumerate(names):
        match = _DIRECTIONS.fullmatch(name.upper())
        parts = tuple(_KEYS[part] for part in match.groups() if part) if match else ()
        if parts:
            keys.append(Key(parts, action))
        elif name != NOOP and (sign := next(free, None)) is not None:
            keys.append(Key((sign,), action))
    return keys
