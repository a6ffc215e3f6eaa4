"""The simulated user: an agenda of things to say and to ask (Schatzmann et al. 2007; Li et al. 2016).

The user begins with one to three of its constraints and perhaps a question. Then it replies by the agent's act:

- request: it gives the slot's value, says that it does not care, or repeats its own question.
- inform: it notes the answer, and corrects a value that contradicts its goal. Else it says what comes next: a
  constraint not told yet, a question not answered yet, or "bye".
- confirm: it affirms, or denies and gives the right value.
- no_match: if it still holds a first wish it changes to its second choice, else it repeats a constraint.

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
"""No answer to a question yet. (`NONE` is an answer: the value is unknown in the agent's row.)"""
_TOLD, _ANSWER = range(2)
"""Rows of `DialogueState.memory`."""
_UNTOLD, _QUESTION, _CONSTRAINT = range(3)
"""Kinds of slots: not told yet; not answered yet; constrained by the goal and with a column."""

ONGOING, SUCCESS, TOO_LONG, _FAILURES = range(4)
_WRONG_ROW, _UNANSWERED, _WRONG_ANSWER, _MISUNDERSTOOD = range(4)


def reasons(slots: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of the codes of `judge`; "" while a dialogue goes on."""
    failures = ("wrong row", "question unanswered", "answered from another row", "misunderstood")
    return (
        "",
        "success",
        "too long",
        *(f"{failure}: {slot}" for failure in failures for slot in slots),
    )


@compiled
def begin(tables: DialogueTables, state: DialogueState) -> None:
    """Write the user's first frame; `state.goal` is drawn already."""
    said, random = state.said, state.random
    state.memory[_TOLD] = 0
    state.memory[_ANSWER] = UNANSWERED
    said[0], said[1:] = INFORM, NONE
    told = 0
    for _ in range(1 + below(random, 3)):
        slot = _any(tables, state, _UNTOLD)
        if slot != NONE:
            _tell(state, slot)
            told += 1
    question = _any(tables, state, _QUESTION)
    if question != NONE and (chance(random) < 0.5 or told == 0):
        said[0], said[1] = REQUEST, question


@compiled
def reply(tables: DialogueTables, state: DialogueState, kind: int, slot: int, value: int) -> None:
    """Write the reply to an agent's act other than "book" into `state.said`."""
    goal, said = state.goal, state.said
    said[0], said[1:] = INFORM, NONE
    if kind == ASK:
        if goal[slot] == ASKED and state.memory[_ANSWER, slot] == UNANSWERED:
            said[0], said[1] = REQUEST, slot
        else:
            _tell(state, slot)
    elif kind == CONFIRM:
        if value == wanted(goal, slot):
            said[0] = AFFIRM
            state.memory[_TOLD, slot] = 1
        else:
            said[0] = DENY
            _tell(state, slot)
    elif kind == TELL:
        if goal[slot] == ASKED:
            state.memory[_ANSWER, slot] = value
        if wanted(goal, slot) != ANY and wanted(goal, slot) != value:
            said[0] = DENY
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
    """Return the reward of a turn that ends with a code of `reasons`."""
    if reason == ONGOING:
        return -1.0
    # The paper has 2 and 1 times the turns of both sides.
    return -1.0 + (4.0 if reason == SUCCESS else -2.0) * tables.max_turns


@compiled
def judge(tables: DialogueTables, state: DialogueState, row: int) -> int:
    """Return the outcome of booking a row, with the agent's values for slots without a column, as a code of
    `reasons`."""
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
    """Return the value that the user gives a slot now: its first wish while it holds one, its constraint, or
    `ANY`."""
    if slot == goal[-2]:
        return int(goal[-1])
    return int(goal[slot]) if goal[slot] >= 0 else ANY


@internal
def _tell(state: DialogueState, slot: int) -> None:
    state.said[2 + slot] = wanted(state.goal, slot)
    state.memory[_TOLD, slot] = 1


@internal
def _next(tables: DialogueTables, state: DialogueState) -> None:
    """Say the next item of the agenda."""
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
    """Return a random slot of kind `what`, or `NONE`."""
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
