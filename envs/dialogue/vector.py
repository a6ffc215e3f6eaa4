"""The vector environment of Dialogue, compiled; each step equals that of `envs.dialogue.dialogue`."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import gymnasium as gym
import numba
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.dialogue import rules, user
from envs.dialogue.belief import (
    KIND,
    OVER,
    ROW,
    SLOT,
    TURNS,
    VALUE,
    act,
    clear,
    fields,
    hear,
    observe,
)
from envs.dialogue.channel import CONFIDENCE, transmit
from envs.dialogue.config import DialogueConfig
from envs.dialogue.frames import BOOK
from envs.dialogue.goals import new_goal
from envs.dialogue.tables import DialogueState, DialogueTables, compiled, new_states, one_of
from envs.dialogue.text import Words
from envs.dialogue.user import ONGOING, SUCCESS, TOO_LONG, judge, reply, reward
from envs.hooks import TrainedRun, WorldError
from envs.random import reseed

_SHARE = 256
"""Least number of dialogues of one thread; for fewer, a thread costs more than it saves."""


class DialogueVector(VectorEnv):
    """`num_envs` of `envs.dialogue.dialogue.Dialogue`, with the same arguments, in next-step autoreset mode.
    `info["reason"]`, (n,) int64, has indices in `reasons`."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "measures": ("success", "turns")}

    def __init__(
        self,
        num_envs: int = 1,
        domain: str = "movie",
        split: Any = "train",
        slot_error: float = 0.0,
        intent_error: float = 0.0,
        max_turns: int = 20,
        rule: Any = "worthy",
        language: Any = "frames",
        understanding: TrainedRun | str | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.config = DialogueConfig(
            domain=domain,
            split=split,
            slot_error=slot_error,
            intent_error=intent_error,
            max_turns=max_turns,
            rule=rule,
            language=language,
        )
        self.render_mode = None
        parts = self.config.load()
        self.domain, self.tables, self.acts = parts.domain, parts.tables, parts.acts
        self.words = Words(self.domain, understanding) if language == "text" else None
        self.single_observation_space = parts.observation_space
        self.single_action_space = parts.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.fields = fields(len(self.domain.slots))
        self.reasons = user.reasons(tuple(slot.name for slot in self.domain.slots))
        self.states = new_states(self.tables, num_envs)
        self._actions = rules.actions_of(self.tables, self.acts)
        self._seeded = False
        shares = max(1, min(numba.get_num_threads(), num_envs // _SHARE))
        self._borders = np.linspace(0, num_envs, shares + 1).astype(int).tolist()
        self._threads = ThreadPoolExecutor(shares)

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new dialogues; environment i gets `seed + i`, or the i-th seed of a list."""
        gym.vector.VectorEnv.reset(self, seed=seed if isinstance(seed, int) else None)
        n, random = self.num_envs, self.states.random
        random[:] = reseed(random if self._seeded else None, n, seed, self.np_random)
        self._seeded = True
        self.states.numbers[:, OVER] = True
        first, _, _, _, info = self.step(np.zeros(n, np.int64))
        return first, info

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one step in every environment; actions are (num_envs,)."""
        assert self._seeded, "reset comes first"
        n, count = self.num_envs, len(self.acts)
        actions = np.asarray(actions, np.int64)
        wrong = actions[(actions < 0) | (actions >= count)]
        if len(wrong):
            raise WorldError(f"an action is a number from 0 to {count - 1}, not {wrong[0]}")
        shape = self.observation_space.shape
        assert shape is not None
        step = _Step(
            actions,
            np.empty(shape, np.float32),
            np.empty((n, count), bool),
            np.zeros(n),
            np.zeros(n, np.int64),
            np.ones(n),
        )
        if self.words is None:
            shares = [
                self._threads.submit(_step, self.tables, self.states, step, first, last)
                for first, last in pairwise(self._borders[1:])
            ]
            _step(self.tables, self.states, step, 0, self._borders[1])
            for share in shares:
                share.result()
        else:
            _speak(self.tables, self.states, step, 0, n)
            understood = self._understood(self.words, step)
            _listen(self.tables, self.states._replace(said=understood), step, 0, n)
        everyone = np.ones(n, bool)
        info = {
            "action_mask": step.masks.view(np.int8),
            "_action_mask": everyone,
            "success": step.reasons == SUCCESS,
            "_success": everyone,
            "reason": step.reasons,
            "_reason": everyone,
            "turns": self.states.numbers[:, TURNS].copy(),
            "_turns": everyone,
        }
        return (
            step.observations,
            step.rewards,
            step.reasons != ONGOING,
            np.zeros(n, bool),
            info,
        )

    def _understood(self, words: Words, step: "_Step") -> np.ndarray:
        """Return the frames understood of the users' words, (n, 2 + S) int16; writes `step.sure`."""
        states, spoke = self.states, np.flatnonzero(step.reasons == ONGOING)
        understood, random = states.said.copy(), states.random[spoke]
        _, understood[spoke], step.sure[spoke] = words.convey(states.said[spoke], random)
        states.random[spoke] = random
        return understood

    def expert_action(
        self, observations: np.ndarray, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the rule agent's actions, (n,) int64, for observations (n, d) float32."""
        rule = rules.worthy if self.config.rule == "worthy" else rules.weak
        return rule(observations, self._actions)

    def close_extras(self, **_: Any) -> None:
        """End the threads."""
        self._threads.shutdown()


class _Step(NamedTuple):
    """Input and output of a step."""

    actions: np.ndarray
    """(n,) int64"""
    observations: np.ndarray
    """(n, d) float32"""
    masks: np.ndarray
    """(n, A) bool"""
    rewards: np.ndarray
    """(n,) float64"""
    reasons: np.ndarray
    """(n,) int64"""
    sure: np.ndarray
    """(n,) float64: confidence of the model of understanding."""


def _step(
    tables: DialogueTables, states: DialogueState, step: _Step, first: int, last: int
) -> None:
    _speak(tables, states, step, first, last)
    _listen(tables, states, step, first, last)


@compiled
def _speak(
    tables: DialogueTables, states: DialogueState, step: _Step, first: int, last: int
) -> None:
    """Let agents act and users reply; begin a new dialogue where one is over."""
    for i in range(first, last):
        state = one_of(states, i)
        numbers = state.numbers
        if numbers[OVER]:
            new_goal(tables, state.goal, state.rows, state.random)
            clear(tables, state)
            user.begin(tables, state)
            continue
        act(tables, state, step.actions[i])
        if numbers[KIND] == BOOK:
            step.reasons[i] = judge(tables, state, numbers[ROW])
        else:
            reply(tables, state, numbers[KIND], numbers[SLOT], numbers[VALUE])


@compiled
def _listen(
    tables: DialogueTables, states: DialogueState, step: _Step, first: int, last: int
) -> None:
    """Pass what the users said through the channel to the agents, and observe."""
    for i in range(first, last):
        state = one_of(states, i)
        if step.reasons[i] == ONGOING:
            transmit(tables, state)
            state.trust[CONFIDENCE] *= step.sure[i]
            hear(tables, state)
            if state.numbers[TURNS] >= tables.max_turns:
                step.reasons[i] = TOO_LONG
        if state.numbers[TURNS]:  # else a new dialogue has begun
            step.rewards[i] = reward(tables, step.reasons[i])
        state.numbers[OVER] = step.reasons[i] != ONGOING
        observe(tables, state, step.observations[i], step.masks[i])
