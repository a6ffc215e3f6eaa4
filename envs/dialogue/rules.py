"""Rule agents, as baselines and as experts: functions of the agent's observation.

The worthy one asks for missing slots (no value heard, and the matching rows differ), confirms doubtful ones,
answers questions, tells a value of its row to hear what else the user wants, and books when the user has
nothing more to say. The weak one, of Li et al. 2017, asks for a list of slots and then books, whatever the
user asks.
"""

from typing import NamedTuple

import numba
import numpy as np

from envs.dialogue.belief import SLOT_FIELDS, fields
from envs.dialogue.domain import NONE
from envs.dialogue.frames import AgentAct
from envs.dialogue.tables import DialogueTables, internal

_DOUBTFUL = 0.05
"""Doubt above which the agent asks to confirm."""
_OFTEN = 0.9
"""Number of requests or confirmations of a slot, in thirds, above which the agent stops."""
_FINISHED = 0.6
"""Probability of `finished` below which the user may have more to say."""
_LIST = 5
"""Slots that the weak agent asks for, besides those without a column."""

_BEST, _REQUESTED, _CHECKED, _TOLD, _AGREED, _BLOCKS, _OPEN, _MISSING, _DOUBT = (
    SLOT_FIELDS.index(name)
    for name in (
        "best", "requested", "checked", "told", "agreed", "blocks", "open", "missing", "doubt",
    )
)  # fmt: skip


class Actions(NamedTuple):
    """Numbers of the agent's actions by slot; `NONE` if there is none."""

    ask: np.ndarray
    """(S,) int64"""
    tell: np.ndarray
    """(S,) int64"""
    confirm: np.ndarray
    """(S,) int64"""
    column: np.ndarray
    """(S,) bool: whether the knowledge base knows the slot."""
    no_match: int
    book: int
    nothing_fits: int
    """Index in the observation: whether no row matches."""
    finished: int
    """Index: whether the user has nothing more to say."""
    said_no_match: int
    """Index: number of "no_match" acts."""
    turns: int
    """Index: share of the turns."""
    max_turns: int


def actions_of(tables: DialogueTables, acts: tuple[AgentAct, ...]) -> Actions:
    """Return the numbers of the actions by kind and slot."""
    slots = len(tables.column)
    places_of = {kind: np.full(slots, NONE, np.int64) for kind in ("request", "inform", "confirm")}
    for number, act in enumerate(acts):
        if act.slot != NONE:
            places_of[act.kind][act.slot] = number
    places = {name: place.start for name, place in fields(slots)}
    return Actions(
        places_of["request"],
        places_of["inform"],
        places_of["confirm"],
        tables.column,
        len(acts) - 2,
        len(acts) - 1,
        places["matches"],
        places["finished"],
        places["no_match"],
        places["turns"],
        tables.max_turns,
    )


@numba.njit(cache=True, nogil=True)
def worthy(observations: np.ndarray, actions: Actions) -> np.ndarray:
    """Return actions (n,) int64 for observations (n, d) float32."""
    chosen = np.empty(len(observations), np.int64)
    for i in range(len(observations)):
        chosen[i] = _worthy(observations[i], actions)
    return chosen


@numba.njit(cache=True, nogil=True)
def weak(observations: np.ndarray, actions: Actions) -> np.ndarray:
    """Return actions (n,) int64 for observations (n, d) float32."""
    chosen = np.empty(len(observations), np.int64)
    for i in range(len(observations)):
        chosen[i] = _weak(observations[i], actions)
    return chosen


@internal
def _worthy(observation: np.ndarray, actions: Actions) -> int:
    slots = len(actions.column)
    if observation[actions.nothing_fits] > 0:
        return _repair(observation, actions)
    questions, question = 0, NONE
    for slot in range(slots - 1, -1, -1):
        if observation[_OPEN * slots + slot] > 0 and actions.tell[slot] != NONE:
            questions, question = questions + 1, slot
    left = round((1 - observation[actions.turns]) * actions.max_turns)
    if left == 1:
        return actions.book
    if left > questions + 1:
        for slot in range(slots):
            often = observation[_REQUESTED * slots + slot] > _OFTEN
            if observation[_MISSING * slots + slot] > 0 and not often:
                return actions.ask[slot]
        for slot in range(slots):
            if _is_doubtful(observation, actions, slot):
                return actions.confirm[slot]
    if question != NONE:
        return actions.tell[question]
    if observation[actions.finished] < _FINISHED:
        something = _something_to_tell(observation, actions)
        if something != NONE:
            return something
    return actions.book


@internal
def _repair(observation: np.ndarray, actions: Actions) -> int:
    """Return the action if no row matches: confirm what is doubtful; then say so, because the user may hold a
    wish that cannot be met; then confirm values that block the search, which may have been misheard."""
    slots = len(actions.column)
    told = observation[actions.said_no_match] > 0
    least, suspect = 2.0, NONE
    for slot in range(slots):
        if observation[_BLOCKS * slots + slot] == 0 or actions.confirm[slot] == NONE:
            continue
        best = observation[_BEST * slots + slot]
        unsure = told and observation[_CHECKED * slots + slot] == 0
        if best < least and (unsure or _is_doubtful(observation, actions, slot)):
            least, suspect = best, slot
    return actions.no_match if suspect == NONE else actions.confirm[suspect]


@internal
def _is_doubtful(observation: np.ndarray, actions: Actions, slot: int) -> bool:
    slots = len(actions.column)
    often = observation[_CHECKED * slots + slot] > _OFTEN
    doubtful = observation[_DOUBT * slots + slot] > _DOUBTFUL
    return actions.confirm[slot] != NONE and doubtful and not often


@internal
def _something_to_tell(observation: np.ndarray, actions: Actions) -> int:
    """Return the action that tells a slot told before, one on which all rows agree, or any. Others come last,
    because a value told becomes a search condition."""
    slots = len(actions.column)
    for field in (_TOLD, _AGREED):
        for slot in range(slots):
            if actions.tell[slot] != NONE and observation[field * slots + slot] > 0:
                return actions.tell[slot]
    for slot in range(slots):
        if actions.tell[slot] != NONE:
            return actions.tell[slot]
    return NONE


@internal
def _weak(observation: np.ndarray, actions: Actions) -> int:
    slots = len(actions.column)
    listed = 0
    for slot in range(slots):
        if actions.ask[slot] == NONE or (actions.column[slot] and listed == _LIST):
            continue
        listed += actions.column[slot]
        if observation[_REQUESTED * slots + slot] == 0 and observation[_BEST * slots + slot] == 0:
            return actions.ask[slot]
    return actions.no_match if observation[actions.nothing_fits] > 0 else actions.book
