"""The simulated user: an agenda of things to say and to ask (Schatzmann et al. 2007; Li et al. 2016).

It opens with one to three of its constraints and perhaps a question. Asked for a slot, it gives its value,
or says that it does not care, or asks its own question again. Told a value, it notes the answer, corrects
what contradicts its goal, or says what comes next: a constraint not told yet, a question not answered yet,
or that there is nothing more. Asked to confirm, it affirms, or denies and gives the right value. Told that
nothing matches, it turns to its second choice if it still holds a first wish, else it repeats a constraint.
It never lies about its goal, and it never learns what the agent heard.
"""

import numpy as np

from envs.dialogue.domain import ASKED, NONE
from envs.dialogue.frames import (
    AFFIRM,
    ANY,
    ASK,
    BYE,
    CONFIRM,
    DENY,
    INFORM,
    NO_MATCH,
    REQUEST,
    TELL,
)
from envs.dialogue.tables import DialogueState, DialogueTables, compiled, internal
from envs.random import below, chance

UNANSWERED = -4
"""A question's answer so far. (`NONE` is an answer: the agent's row does not know.)"""
_TOLD, _ANSWER = range(2)
"""Rows of `DialogueState.memory`."""
_UNTOLD, _QUESTION, _CONSTRAINT = range(3)
"""Slots that wait to be told; that wait for an answer; that the goal constrains and the rows know."""

ONGOING, SUCCESS, TOO_LONG, _FAILURES = range(4)
_WRONG_ROW, _UNANSWERED, _WRONG_ANSWER, _MISUNDERSTOOD = range(4)


def reasons(slots: tuple[str, ...]) -> tuple[str, ...]:
    """What the codes of `judge` say, in order; "" while a dialogue goes on."""
    failures = ("wrong row", "question unanswered", "answered from another row", "misunderstood")
    return (
        "",
        "success",
        "too long",
        *(f"{failure}: {slot}" for failure in failures for slot in slots),
    )


@compiled
def begin(tables: DialogueTables, state: DialogueState) -> None:
    """Say something first; `state.goal` is drawn."""
    message, random = state.said, state.random
    state.memory[_TOLD] = 0
    state.memory[_ANSWER] = UNANSWERED
    message[0], message[1:] = INFORM, NONE
    told = 0
    for _ in range(1 + below(random, 3)):
        slot = _any(tables, state, _UNTOLD)
        if slot != NONE:
            _tell(state, slot)
            told += 1
    question = _any(tables, state, _QUESTION)
    if question != NONE and (chance(random) < 0.5 or told == 0):
        message[0], message[1] = REQUEST, question


@compiled
def reply(tables: DialogueTables, state: DialogueState, kind: int, slot: int, value: int) -> None:
    """Answer an agent's act other than "book"; into `state.said`."""
    goal, message = state.goal, state.said
    message[0], message[1:] = INFORM, NONE
    if kind == ASK:
        if goal[slot] == ASKED and state.memory[_ANSWER, slot] == UNANSWERED:
            message[0], message[1] = REQUEST, slot
        else:
            _tell(state, slot)
    elif kind == CONFIRM:
        if value == wanted(goal, slot):
            message[0] = AFFIRM
            state.memory[_TOLD, slot] = 1
        else:
            message[0] = DENY
            _tell(state, slot)
    elif kind == TELL:
        if goal[slot] == ASKED:
            state.memory[_ANSWER, slot] = value
        if wanted(goal, slot) != ANY and wanted(goal, slot) != value:
            message[0] = DENY
            _tell(state, slot)
        else:
            _next(tables, state)
    elif kind == NO_MATCH:
        if goal[-2] != NONE:
            slot = int(goal[-2])
            goal[-2] = goal[-1] = NONE
        else:
            slot = _any(tables, state, _CONSTRAINT)
        if slot != NONE:
            _tell(state, slot)
        else:
            _next(tables, state)


@compiled
def reward(tables: DialogueTables, reason: int) -> float:
    """What the agent gets for a turn that ends with a code of `reasons`."""
    if reason == ONGOING:
        return -1.0
    # The paper's numbers are two and one times the turns of both sides.
    return -1.0 + (4.0 if reason == SUCCESS else -2.0) * tables.max_turns


@compiled
def judge(tables: DialogueTables, state: DialogueState, row: int) -> int:
    """Whether booking the row, and what only the user knows as the agent understood it, is what was
    wanted: a code of `reasons`."""
    goal, slots = state.goal, len(tables.column)
    for slot in range(slots):
        if tables.column[slot] and goal[slot] >= 0 and tables.rows[row, slot] != goal[slot]:
            return _FAILURES + _WRONG_ROW * slots + slot
    for slot in range(slots):
        if goal[slot] == ASKED:
            answer = state.memory[_ANSWER, slot]
            if answer == UNANSWERED:
                return _FAILURES + _UNANSWERED * slots + slot
            if answer != tables.rows[row, slot]:
                return _FAILURES + _WRONG_ANSWER * slots + slot
    for slot in range(slots):
        if not tables.column[slot] and state.values[0, slot] != goal[slot]:
            return _FAILURES + _MISUNDERSTOOD * slots + slot
    return SUCCESS


@internal
def wanted(goal: np.ndarray, slot: int) -> int:
    """The value that the user gives a slot now: its first wish while it holds one; or `ANY`."""
    if slot == goal[-2]:
        return int(goal[-1])
    return int(goal[slot]) if goal[slot] >= 0 else ANY


@internal
def _tell(state: DialogueState, slot: int) -> None:
    state.said[2 + slot] = wanted(state.goal, slot)
    state.memory[_TOLD, slot] = 1


@internal
def _next(tables: DialogueTables, state: DialogueState) -> None:
    """The next thing of the agenda."""
    slot = _any(tables, state, _UNTOLD)
    if slot != NONE:
        _tell(state, slot)
        return
    question = _any(tables, state, _QUESTION)
    if question == NONE:
        state.said[0] = BYE
    else:
        state.said[0], state.said[1] = REQUEST, question


@internal
def _any(tables: DialogueTables, state: DialogueState, what: int) -> int:
    """A random slot that is `what`, or `NONE`."""
    slots, left = len(tables.column), 0
    for slot in range(slots):
        left += _is(tables, state, slot, what)
    if left == 0:
        return NONE
    left = below(state.random, left)
    for slot in range(slots):
        if _is(tables, state, slot, what):
            if left == 0:
                return slot
            left -= 1
    return NONE


@internal
def _is(tables: DialogueTables, state: DialogueState, slot: int, what: int) -> bool:
    if what == _QUESTION:
        return state.goal[slot] == ASKED and state.memory[_ANSWER, slot] == UNANSWERED
    if what == _UNTOLD:
        return state.goal[slot] >= 0 and state.memory[_TOLD, slot] == 0
    return state.goal[slot] >= 0 and tables.column[slot]
