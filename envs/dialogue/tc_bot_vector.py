"""The vector environment of TCBot, compiled; each step equals that of `envs.dialogue.tc_bot`.

Sets of slots are bits of integers, values are ids (see `envs.dialogue.tc_bot_data`).
"""

from typing import Any, NamedTuple, get_args

import gymnasium as gym
import numba
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.dialogue.tc_bot import (
    ACTIONS,
    FIELDS,
    MAX_TURN,
    OBSERVATION_SPACE,
    SlotErrors,
    TCBotConfig,
    rule_agent,
)
from envs.dialogue.tc_bot_data import (
    ACTS,
    ANY,
    AVAILABLE,
    NO_MATCH,
    NONE,
    SLOTS,
    SPECIAL,
    load_movie_data,
)
from envs.random import below, chance, reseed

_ANY, _NO_MATCH, _AVAILABLE = SPECIAL[ANY], SPECIAL[NO_MATCH], SPECIAL[AVAILABLE]
_S = len(SLOTS)
_REQUEST, _INFORM, _CONFIRM_ANSWER = map(ACTS.index, ("request", "inform", "confirm_answer"))
_THANKS, _DENY = map(ACTS.index, ("thanks", "deny"))
_TICKET, _TASKCOMPLETE, _MOVIE = map(SLOTS.index, ("ticket", "taskcomplete", "moviename"))
_NOT_LOOKED_UP = sum(
    1 << SLOTS.index(slot) for slot in ("ticket", "numberofpeople", "taskcomplete", "closing")
)
_ACTION_ACTS = np.array([ACTS.index(act) for act, _ in ACTIONS])
_ACTION_SLOTS = np.array([NONE if slot is None else SLOTS.index(slot) for _, slot in ACTIONS])
_AT = {name: where.start for name, where in FIELDS.items()}
_USER_ACT, _USER_INFORMS, _USER_REQUESTS = (
    _AT["user act"], _AT["user informs"], _AT["user requests"],
)  # fmt: skip
_AGENT_ACT, _AGENT_INFORMS, _AGENT_REQUESTS = (
    _AT["agent act"], _AT["agent informs"], _AT["agent requests"],
)  # fmt: skip
_KNOWN, _TURN, _TURN_ONE_HOT, _FIT, _FITS = (
    _AT["known"], _AT["turn"], _AT["turn one-hot"], _AT["any fit"], _AT["how many fit"],
)  # fmt: skip
_VALUE, _SLOT, _, _MIXED = range(len(get_args(SlotErrors)))

_GOAL, _REST, _OPEN, _ACT, _BOOKED, _EXCHANGES, _OVER = range(7)
"""Columns of a dialogue's numbers: first the user's goal, sets, act and judgement."""
_HEARD_ACT, _HEARD_INFORMS, _HEARD_REQUESTS, _SAID_ACT, _SAID_INFORMS, _SAID_REQUESTS = range(7, 13)
"""The latest frames of both sides as they were heard; `_SAID_ACT` is `NONE` before the agent's first act."""
_TOLD, _HEARD, _HISTORY, _KNOWN_VALUES = range(4)
"""Values by slot: what the user says in its turn, what is heard, the user's memory of both sides, and what the
agent knows."""


class _Goals(NamedTuple):
    """The users' goals."""

    numbers: np.ndarray
    """(g,) the goals of this split."""
    values: np.ndarray
    questions: np.ndarray


class _Showings(NamedTuple):
    """The knowledge base; see `MovieData`."""

    values: np.ndarray
    folded: np.ndarray
    matches: np.ndarray
    everything: np.ndarray
    """(W,) uint64: all the showings, as bits of words like `matches`."""
    counts: np.ndarray


class _Channel(NamedTuple):
    """The error channel."""

    word_values: np.ndarray
    word_counts: np.ndarray
    slot_error: float
    kind: int
    intent_error: float
    is_paper: bool


class TCBotVector(VectorEnv):
    """`num_envs` of `envs.dialogue.tc_bot.TCBot`, with the same arguments, in next-step autoreset mode."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "measures": ("success", "turns")}

    def __init__(
        self,
        num_envs: int = 1,
        data: str = "",
        slot_error: float = 0.0,
        slot_error_kind: Any = "value",
        intent_error: float = 0.0,
        errors: Any = "paper",
        goals: Any = "all",
        split: Any = "train",
    ) -> None:
        config = TCBotConfig(
            data=data,
            slot_error=slot_error,
            slot_error_kind=slot_error_kind,
            intent_error=intent_error,
            errors=errors,
            goals=goals,
            split=split,
        )
        movies = load_movie_data(data)
        self.num_envs, self.config = num_envs, config
        self.render_mode = None
        self.single_observation_space = OBSERVATION_SPACE
        self.single_action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(OBSERVATION_SPACE, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        bits = np.arange(64 * movies.matches.shape[2]) < len(movies.rows)
        everything = np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)
        self._goals = _Goals(
            np.array(config.goals_of(movies)), movies.goal_values, movies.goal_questions
        )
        self._showings = _Showings(
            movies.row_values, movies.folded, movies.matches, everything, movies.counts
        )
        self._channel = _Channel(
            movies.word_values, movies.word_counts,
            float(slot_error), get_args(SlotErrors).index(slot_error_kind), float(intent_error),
            errors == "paper",
        )  # fmt: skip
        self._numbers = np.zeros((num_envs, 13), np.int64)
        self._values = np.zeros((num_envs, 4, _S), np.int16)
        self._random: np.ndarray | None = None

    def expert_action(
        self, observations: np.ndarray, action_masks: np.ndarray | None
    ) -> np.ndarray:
        """Return the rule agent's actions, (n,), for observations (n, 272)."""
        return rule_agent(observations)

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new dialogues; environment i gets `seed + i`, or the i-th seed of a list."""
        gym.vector.VectorEnv.reset(self, seed=seed if isinstance(seed, int) else None)
        n = self.num_envs
        self._random = reseed(self._random, n, seed, self.np_random)
        observations = np.zeros((n, *OBSERVATION_SPACE.shape), np.float32)
        _reset(self._goals, self._showings, self._random, self._numbers, self._values, observations)
        return observations, self._info(np.zeros(n, bool))

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one step in every environment; actions are (num_envs,)."""
        assert self._random is not None, "reset comes first"
        n = self.num_envs
        observations = np.zeros((n, *OBSERVATION_SPACE.shape), np.float32)
        rewards = np.zeros(n)
        terminated, truncated, success = np.zeros((3, n), bool)
        _step(
            self._goals, self._showings, self._channel,
            self._random, self._numbers, self._values,
            np.asarray(actions, np.int64), observations, rewards, terminated, success,
        )  # fmt: skip
        return observations, rewards, terminated, truncated, self._info(success)

    def _info(self, success: np.ndarray) -> dict[str, Any]:
        everyone = np.ones(self.num_envs, bool)
        turns = 2 * self._numbers[:, _EXCHANGES]
        return {"success": success, "_success": everyone, "turns": turns, "_turns": everyone}


# Sets


@numba.njit(cache=True)
def _has(slots: int, slot: int) -> bool:
    return slots >> slot & 1 == 1


@numba.njit(cache=True)
def _choose(random: np.ndarray, slots: int) -> int:
    count = 0
    for slot in range(_S):
        count += slots >> slot & 1
    left = below(random, count)
    for slot in range(_S):
        if _has(slots, slot):
            if left == 0:
                return slot
            left -= 1
    return -1


@numba.njit(cache=True)
def _slots_of(values: np.ndarray) -> int:
    slots = 0
    for slot in range(_S):
        if values[slot] != NONE:
            slots |= 1 << slot
    return slots


# The knowledge base


@numba.njit(cache=True)
def _look_up(showings: _Showings, known: np.ndarray, but: int) -> np.ndarray:
    """Find the showings that fit, as bits of words, like `matches`."""
    rows = showings.everything.copy()
    for slot in range(_S):
        value = known[slot]
        if value in (NONE, _ANY) or _has(but, slot):
            continue
        for word in range(len(rows)):
            if value < 0:
                rows[word] = 0
            else:
                rows[word] &= showings.matches[slot, showings.folded[slot, value], word]
    return rows


@numba.njit(cache=True)
def _count(rows: np.ndarray) -> int:
    count = 0
    for word in rows:
        while word:
            word &= word - np.uint64(1)
            count += 1
    return count


@numba.njit(cache=True)
def _commonest(showings: _Showings, slot: int, rows: np.ndarray) -> int:
    """Return the value that most rows have; of equally frequent ones the first."""
    counts = np.zeros(showings.folded.shape[1], np.int64)
    for again in range(2):
        best, most = _NO_MATCH, 0
        for row in range(len(showings.values)):
            value = showings.values[row, slot]
            if value >= 0 and rows[row >> 6] >> np.uint64(row & 63) & np.uint64(1):
                if not again:
                    counts[value] += 1
                elif counts[value] > most:
                    best, most = value, counts[value]
    return best


# The user


@numba.njit(cache=True)
def _begin(goals: _Goals, random: np.ndarray, own: np.ndarray, values: np.ndarray) -> None:
    for column in range(len(own)):
        own[column] = 0
    for slot in range(_S):
        for kind in range(len(values)):
            values[kind, slot] = NONE
    own[_GOAL] = goals.numbers[below(random, len(goals.numbers))]
    own[_ACT], own[_SAID_ACT] = _REQUEST, NONE
    wishes = goals.values[own[_GOAL]]
    questions = goals.questions[own[_GOAL]]
    constrained = _slots_of(wishes)
    own[_REST] = constrained | questions | 1 << _TICKET
    if constrained:
        first = _choose(random, constrained)
        _tell(own, values, wishes, first)
        if _has(constrained, _MOVIE):
            _tell(own, values, wishes, _MOVIE)
    own[_OPEN] = 1 << (_choose(random, questions) if questions else _TICKET)
    _hear(own, values, values[_TOLD], own[_ACT])


@numba.njit(cache=True)
def _tell(own: np.ndarray, values: np.ndarray, wishes: np.ndarray, slot: int) -> None:
    values[_TOLD, slot] = wishes[slot]
    own[_REST] &= ~(1 << slot)


@numba.njit(cache=True)
def _go_on(
    random: np.ndarray,
    own: np.ndarray,
    values: np.ndarray,
    wishes: np.ndarray,
    rest: int,
    also_ticket: bool,
) -> None:
    if not rest:
        own[_ACT] = _THANKS
        return
    slot = _choose(random, rest)
    if wishes[slot] == NONE:
        own[_ACT] = _REQUEST
        own[_OPEN] |= 1 << slot
        return
    own[_ACT] = _INFORM
    _tell(own, values, wishes, slot)
    if also_ticket and _has(own[_REST], _TICKET):
        own[_ACT] = _REQUEST
        own[_OPEN] |= 1 << _TICKET


@numba.njit(cache=True)
def _answer(
    own: np.ndarray, values: np.ndarray, wishes: np.ndarray, questions: int, slot: int
) -> None:
    if wishes[slot] != NONE:
        own[_ACT] = _INFORM
        _tell(own, values, wishes, slot)
        own[_OPEN] = 0
    elif _has(questions, slot) and _has(own[_REST], slot):
        own[_ACT] = _REQUEST
        own[_OPEN] |= 1 << slot
        for wish in range(_S):
            if wishes[wish] != NONE and _has(own[_REST], wish):
                _tell(own, values, wishes, wish)
    elif _has(questions, slot) and values[_HISTORY, slot] != NONE:
        own[_ACT] = _INFORM
        values[_TOLD, slot] = values[_HISTORY, slot]
        own[_OPEN] = 0
    else:
        own[_ACT] = _INFORM if own[_OPEN] or own[_REST] else _THANKS
        values[_TOLD, slot] = _ANY


@numba.njit(cache=True)
def _listen(
    random: np.ndarray, own: np.ndarray, values: np.ndarray, wishes: np.ndarray, slot: int
) -> None:
    value, wish = values[_KNOWN_VALUES, slot], wishes[slot]
    values[_HISTORY, slot] = value
    own[_REST] &= ~(1 << slot)
    if wish != NONE and wish != value:
        own[_ACT] = _INFORM
        _tell(own, values, wishes, slot)
        return
    if wish == NONE:
        own[_OPEN] &= ~(1 << slot)
    if own[_OPEN]:
        own[_ACT] = _REQUEST
    elif own[_REST] == 1 << _TICKET:
        own[_ACT] = _REQUEST
        own[_OPEN] |= 1 << _TICKET
    else:
        _go_on(random, own, values, wishes, own[_REST] & ~(1 << _TICKET), wish == NONE)


@numba.njit(cache=True)
def _judge(folded: np.ndarray, own: np.ndarray, values: np.ndarray, wishes: np.ndarray) -> None:
    own[_ACT], own[_BOOKED] = _THANKS, 1
    known = values[_KNOWN_VALUES]
    if known[_TASKCOMPLETE] == _NO_MATCH:
        values[_HISTORY, _TICKET] = _NO_MATCH
        own[_REST] &= ~(1 << _TICKET)
        own[_OPEN] &= ~(1 << _TICKET)
    for slot in range(_S):
        if wishes[slot] == NONE:
            continue
        fits = known[slot] >= 0
        if fits:
            fits = folded[slot, known[slot]] == folded[slot, wishes[slot]]
        if not fits:
            own[_ACT], own[_BOOKED], own[_OPEN] = _DENY, 0, 0


@numba.njit(cache=True)
def _is_content(own: np.ndarray, values: np.ndarray, wishes: np.ndarray) -> bool:
    if not own[_BOOKED] or (own[_OPEN] | own[_REST]) & ~(1 << _TICKET):
        return False
    for slot in range(_S):
        value = values[_HISTORY, slot]
        if value == _NO_MATCH or (value != NONE and wishes[slot] != NONE and wishes[slot] != value):
            return False
    return True


# The channel, and what the agent sees


@numba.njit(cache=True)
def _hear(own: np.ndarray, values: np.ndarray, heard: np.ndarray, act: int) -> None:
    own[_HEARD_ACT], own[_HEARD_INFORMS] = act, _slots_of(heard)
    own[_HEARD_REQUESTS] = own[_OPEN]
    for slot in range(_S):
        if heard[slot] != NONE:
            values[_KNOWN_VALUES, slot] = heard[slot]


@numba.njit(cache=True)
def _mishear(channel: _Channel, random: np.ndarray, own: np.ndarray, values: np.ndarray) -> None:
    told, heard, act = values[_TOLD], values[_HEARD], own[_ACT]
    for slot in range(_S):
        heard[slot] = told[slot]
    for slot in range(_S):
        if told[slot] == NONE or chance(random) >= channel.slot_error:
            continue
        kind = channel.kind
        if kind == _MIXED:
            kind = below(random, 3)
        if kind == _VALUE:
            if channel.word_counts[slot]:
                heard[slot] = channel.word_values[slot, below(random, channel.word_counts[slot])]
            continue
        heard[slot] = NONE
        if kind == _SLOT:
            choice = 0
            for other in range(_S):
                if channel.word_counts[other]:
                    choice |= 1 << other
            other = _choose(random, choice)
            value = channel.word_values[other, below(random, channel.word_counts[other])]
            if not channel.is_paper:
                heard[other] = value
    if chance(random) < channel.intent_error:
        act = below(random, len(ACTS))
    if channel.is_paper:
        own[_ACT] = act
        for slot in range(_S):
            told[slot] = heard[slot]
    _hear(own, values, heard, act)


@numba.njit(cache=True)
def _mark(observation: np.ndarray, start: int, slots: int) -> None:
    for slot in range(_S):
        observation[start + slot] = slots >> slot & 1


@numba.njit(cache=True)
def _observe(
    showings: _Showings, own: np.ndarray, values: np.ndarray, observation: np.ndarray
) -> None:
    """Fill a row of zeros."""
    known = values[_KNOWN_VALUES]
    observation[_USER_ACT + own[_HEARD_ACT]] = 1
    _mark(observation, _USER_INFORMS, own[_HEARD_INFORMS])
    _mark(observation, _USER_REQUESTS, own[_HEARD_REQUESTS])
    if own[_SAID_ACT] != NONE:
        observation[_AGENT_ACT + own[_SAID_ACT]] = 1
        _mark(observation, _AGENT_INFORMS, own[_SAID_INFORMS])
        _mark(observation, _AGENT_REQUESTS, own[_SAID_REQUESTS])
    _mark(observation, _KNOWN, _slots_of(known))
    turn = 1 + 2 * own[_EXCHANGES]
    observation[_TURN] = turn / 10
    observation[_TURN_ONE_HOT + turn] = 1
    everything = _count(_look_up(showings, known, 1 << _TICKET))
    for slot in range(_S + 1):
        count = everything
        if slot < _S and known[slot] != NONE:
            count = 0
            if known[slot] >= 0 and slot != _TICKET:
                count = showings.counts[slot, showings.folded[slot, known[slot]]]
        observation[_FIT + slot] = count > 0
        observation[_FITS + slot] = count / 100


# Dialogues


@numba.njit(cache=True)
def _reset(
    goals: _Goals,
    showings: _Showings,
    random: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    observations: np.ndarray,
) -> None:
    for i in range(len(numbers)):
        _begin(goals, random[i], numbers[i], values[i])
        _observe(showings, numbers[i], values[i], observations[i])


@numba.njit(cache=True)
def _step(
    goals: _Goals,
    showings: _Showings,
    channel: _Channel,
    random: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    actions: np.ndarray,
    observations: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    success: np.ndarray,
) -> None:
    for i in range(len(numbers)):
        own = numbers[i]
        if own[_OVER]:
            _begin(goals, random[i], own, values[i])
        else:
            act, slot = _ACTION_ACTS[actions[i]], _ACTION_SLOTS[actions[i]]
            _speak(showings, own, values[i], act, slot)
            own[_EXCHANGES] += 1
            if 2 * own[_EXCHANGES] > MAX_TURN:
                own[_OVER] = 1
            else:
                success[i] = _reply(goals, showings.folded, random[i], own, values[i], act, slot)
            terminated[i] = own[_OVER]
            if not own[_OVER]:
                _mishear(channel, random[i], own, values[i])
            rewards[i] = 2 * MAX_TURN if success[i] else -MAX_TURN if terminated[i] else -1
        _observe(showings, own, values[i], observations[i])


@numba.njit(cache=True)
def _speak(showings: _Showings, own: np.ndarray, values: np.ndarray, act: int, slot: int) -> None:
    own[_SAID_ACT], own[_SAID_INFORMS], own[_SAID_REQUESTS] = act, 0, 0
    if act == _REQUEST:
        own[_SAID_REQUESTS] = 1 << slot
    elif act == _INFORM:
        known = values[_KNOWN_VALUES]
        rows = _look_up(showings, known, _NOT_LOOKED_UP)
        if slot in (_TICKET, _TASKCOMPLETE):
            known[slot] = _AVAILABLE if _count(rows) else _NO_MATCH
        else:
            known[slot] = _commonest(showings, slot, rows)
        own[_SAID_INFORMS] = _slots_of(known) if slot == _TASKCOMPLETE else 1 << slot


@numba.njit(cache=True)
def _reply(
    goals: _Goals,
    folded: np.ndarray,
    random: np.ndarray,
    own: np.ndarray,
    values: np.ndarray,
    act: int,
    slot: int,
) -> bool:
    """Let the user answer; return whether it ends the dialogue with success."""
    wishes = goals.values[own[_GOAL]]
    questions = goals.questions[own[_GOAL]] | 1 << _TICKET
    for told in range(_S):
        if values[_TOLD, told] != NONE:
            values[_HISTORY, told] = values[_TOLD, told]
            values[_TOLD, told] = NONE
    if act == _THANKS:
        own[_OVER] = 1
        return _is_content(own, values, wishes)
    if act == _CONFIRM_ANSWER:
        _go_on(random, own, values, wishes, own[_REST], False)
    elif act == _REQUEST:
        _answer(own, values, wishes, questions, slot)
    elif act == _INFORM and slot == _TASKCOMPLETE:
        _judge(folded, own, values, wishes)
    elif act == _INFORM:
        _listen(random, own, values, wishes, slot)
    return False
