"""The agent's belief: hypotheses about the user's goal, the matching rows, and the observation of both.

For each slot the two best hypotheses are kept, by focus tracking (Henderson et al. 2014): with confidence c
in what was heard, p(v) ← c + (1 − c) p(v) for the value heard and p ← (1 − c) p for the other. `ANY` is a
hypothesis like any value. An affirmed value counts as heard again; for a denied one p ← (1 − c) p. The
knowledge base is searched with the best hypotheses of at least `BINDS`. Values that the agent has told from
its row are search conditions too, so that its answers stay true; if nothing matches, they are dropped. The
first matching row is the agent's row.

The observation is a vector of numbers from 0 to 1; `fields` names its parts in order. For every slot:

    best, second      probabilities of the two hypotheses
    any               1: the best is "I don't care"
    heard             how often a value was heard, in thirds, at most 1
    requested         how often the agent asked for it, in thirds
    checked           how often the agent asked to confirm, in thirds
    affirmed          1: the user affirmed the best hypothesis
    question          1: the user asked for it
    told              1: the agent told the value that its row has, so a question is answered
    agreed            1: all rows that fit have the same value
    blocks            1: no row fits, but one would without this slot
    offered           1: a told value of this slot is a search condition
    heard_now, asked_now
                      1: the user's last frame gives a value, asks for it
    subject           1: the agent's last act was about it
    open              1: question, and not told
    missing           1: the user's value would narrow the search: no hypothesis is likely, the rows that fit
                      differ (or have no such slot), and the user does not ask for the slot
    doubt             1 − best, if a value was heard that is not "I don't care"

and once: matches (5: none, one, two to five, six to twenty, more rows fit), user_act (6: the last, by
`ACTS`), confidence, agent_act (5: the last, by `KINDS`), finished (probability that the user has nothing
more to say), no_match (how often the agent said so, in thirds), turns (share of `max_turns`), left (3: the
largest of open, missing and doubt over all slots), sure (probability that all hypotheses are right).
"""

import numpy as np

from envs.dialogue.channel import CONFIDENCE
from envs.dialogue.domain import NONE
from envs.dialogue.frames import (
    ACTS,
    AFFIRM,
    ASK,
    BOOK,
    BYE,
    CONFIRM,
    DENY,
    KINDS,
    NO_MATCH,
    TELL,
)
from envs.dialogue.tables import DialogueState, DialogueTables, compiled, internal

BINDS = 0.2
"""Probability below which a hypothesis is no search condition, because it was denied."""
UNTOLD = -4

HEARD, ASKED_FOR, CHECKED, AFFIRMED, QUESTION, TOLD, OFFER, AGREED, BLOCKS = range(9)
"""Indices in `DialogueState.marks`: the fields of the same name; the value told last; the value offered."""
TURNS, KIND, SLOT, VALUE, MATCHES, ROW, NO_MATCHES, OVER, REASON = range(9)
"""Indices in `DialogueState.numbers`: the agent's turns; kind, slot and value of its last act; the number of
matching rows, and the first of them or `NONE`; the number of "no_match" acts; whether the dialogue is over,
and the reason."""
FINISHED = 1
"""Index in `DialogueState.trust`."""

SLOT_FIELDS = (
    "best", "second", "any", "heard", "requested", "checked", "affirmed", "question", "told", "agreed",
    "blocks", "offered", "heard_now", "asked_now", "subject", "open", "missing", "doubt",
)  # fmt: skip
OTHER_FIELDS = {
    "matches": 5, "user_act": len(ACTS), "confidence": 1, "agent_act": len(KINDS), "finished": 1,
    "no_match": 1, "turns": 1, "left": 3, "sure": 1,
}  # fmt: skip
_PER_SLOT = len(SLOT_FIELDS)
_LIKELY = 0.5
"""Probability of the best hypothesis from which a slot is not missing."""


def fields(slots: int) -> list[tuple[str, slice]]:
    """Return the names of an observation's parts and their slices, in order."""
    sizes = [(name, slots) for name in SLOT_FIELDS] + list(OTHER_FIELDS.items())
    parts, begin = [], 0
    for name, size in sizes:
        parts.append((name, slice(begin, begin + size)))
        begin += size
    return parts


def observation_size(slots: int) -> int:
    """Return the length of an observation."""
    return fields(slots)[-1][1].stop


@compiled
def clear(tables: DialogueTables, state: DialogueState) -> None:
    """Reset the belief to the start of a dialogue."""
    state.values[:] = NONE
    state.odds[:] = 0
    state.marks[:] = 0
    state.marks[:, TOLD] = UNTOLD
    state.marks[:, OFFER] = NONE
    state.numbers[:] = 0
    state.numbers[KIND] = state.numbers[SLOT] = state.numbers[VALUE] = NONE
    state.trust[:] = 0


@compiled
def act(tables: DialogueTables, state: DialogueState, action: int) -> None:
    """Perform an agent's act and write it to `state.numbers`. A masked act is replaced: without a matching row,
    "inform" and "book" become "no_match"; without a value heard, "confirm" becomes "request"."""
    numbers, marks = state.numbers, state.marks
    kind, slot, value = tables.kinds[action], tables.targets[action], NONE
    if kind in (TELL, BOOK) and numbers[ROW] == NONE:
        kind, slot = NO_MATCH, NONE
    if kind == CONFIRM and state.values[0, slot] == NONE:
        kind = ASK
    if kind == ASK:
        marks[slot, ASKED_FOR] += 1
    elif kind == CONFIRM:
        value = state.values[0, slot]
        marks[slot, CHECKED] += 1
    elif kind == TELL:
        value = tables.rows[numbers[ROW], slot]
        marks[slot, TOLD] = marks[slot, OFFER] = value
    elif kind == NO_MATCH:
        numbers[NO_MATCHES] += 1
    numbers[KIND], numbers[SLOT], numbers[VALUE] = kind, slot, value
    numbers[TURNS] += 1


@compiled
def hear(tables: DialogueTables, state: DialogueState) -> None:
    """Update the belief with `state.heard` and its confidence, and search the rows."""
    heard, marks, numbers, c = state.heard, state.marks, state.numbers, state.trust[CONFIDENCE]
    kind, subject = numbers[KIND], numbers[SLOT]
    if heard[0] == DENY and kind in (CONFIRM, TELL):
        marks[subject, OFFER] = NONE
        if state.values[0, subject] == numbers[VALUE]:
            state.odds[0, subject] *= 1 - c
            _order(state, subject)
            marks[subject, AFFIRMED] = 0
    if heard[0] == AFFIRM and kind == CONFIRM and heard[2 + subject] == NONE:
        _raise(state, subject, numbers[VALUE], c)
        marks[subject, AFFIRMED] = state.values[0, subject] == numbers[VALUE]
    if heard[1] != NONE:
        marks[heard[1], QUESTION] = 1
    for slot in range(len(tables.column)):
        if heard[2 + slot] != NONE:
            marks[slot, HEARD] += 1
            marks[slot, OFFER] = NONE
            _raise(state, slot, heard[2 + slot], c)
    if kind in (TELL, NO_MATCH):  # users say "bye" only after these
        state.trust[FINISHED] *= 1 - c
        if heard[0] == BYE:
            state.trust[FINISHED] += c
    _look_up(tables, state)


@internal
def _raise(state: DialogueState, slot: int, value: int, c: float) -> None:
    """Raise the probability of a value that the user said or affirmed."""
    values, odds = state.values, state.odds
    odds[0, slot] *= 1 - c
    odds[1, slot] *= 1 - c
    if values[0, slot] == value or values[0, slot] == NONE:
        values[0, slot] = value
        odds[0, slot] += c
    else:
        if values[1, slot] != value:
            values[1, slot], odds[1, slot] = value, 0
        odds[1, slot] += c
    _order(state, slot)


@internal
def _order(state: DialogueState, slot: int) -> None:
    values, odds = state.values, state.odds
    if odds[1, slot] > odds[0, slot]:
        values[0, slot], values[1, slot] = values[1, slot], values[0, slot]
        odds[0, slot], odds[1, slot] = odds[1, slot], odds[0, slot]
        state.marks[slot, AFFIRMED] = 0


@internal
def _look_up(tables: DialogueTables, state: DialogueState) -> None:
    marks, numbers = state.marks, state.numbers
    slots = len(tables.column)
    _search(tables, state, slots)
    if numbers[MATCHES] == 0:
        marks[:, OFFER] = NONE
        _search(tables, state, slots)
    marks[:, AGREED] = 0
    marks[:, BLOCKS] = 0
    row = numbers[ROW]
    if row == NONE:
        for slot in range(slots):
            if _bound(tables, state, slot) != NONE:
                _search(tables, state, slot)
                marks[slot, BLOCKS] = numbers[MATCHES] > 0
        numbers[MATCHES], numbers[ROW] = 0, NONE
        return
    for slot in range(slots):
        value = tables.rows[row, slot]
        others = numbers[MATCHES] > 1
        if others and value != NONE:
            others = False
            for word in range(len(state.rows)):
                others |= state.rows[word] & ~tables.matches[slot, value, word] != 0
        marks[slot, AGREED] = not others


@internal
def _search(tables: DialogueTables, state: DialogueState, without: int) -> None:
    """Search the rows by all conditions but that of one slot (S: none is left out)."""
    rows_found, numbers, rows = state.rows, state.numbers, len(tables.rows)
    rows_found[:] = ~np.uint64(0)
    if rows % 64:
        rows_found[-1] >>= np.uint64(64 - rows % 64)
    for slot in range(len(tables.column)):
        value = _bound(tables, state, slot)
        if value != NONE and slot != without:
            for word in range(len(rows_found)):
                rows_found[word] &= tables.matches[slot, value, word]
    numbers[MATCHES], numbers[ROW] = 0, NONE
    for word in range(len(rows_found)):
        if rows_found[word] and numbers[ROW] == NONE:
            lowest = rows_found[word] & (~rows_found[word] + np.uint64(1))
            numbers[ROW] = 64 * word + _ones(lowest - np.uint64(1))
        numbers[MATCHES] += _ones(rows_found[word])


@internal
def _bound(tables: DialogueTables, state: DialogueState, slot: int) -> int:
    """Return a slot's search condition, a value or `NONE`."""
    if not tables.column[slot]:
        return NONE
    if state.values[0, slot] >= 0 and state.odds[0, slot] >= BINDS:
        return int(state.values[0, slot])
    return int(state.marks[slot, OFFER])


@internal
def _ones(x: np.uint64) -> int:
    """Return the number of bits that are set; see Warren, "Hacker's Delight"."""
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def observe(
    tables: DialogueTables, state: DialogueState, out: np.ndarray, mask: np.ndarray
) -> None:
    """Write the observation (see the module) and the action mask, (A,) bool."""
    marks, numbers, slots = state.marks, state.numbers, len(tables.column)
    row = numbers[ROW]
    rest = out[_PER_SLOT * slots :]
    rest[:] = 0
    sure = 1.0
    for slot in range(slots):
        mark = marks[slot]
        told = row != NONE and mark[TOLD] == tables.rows[row, slot]
        is_open = mark[QUESTION] > 0 and not told
        differs = mark[AGREED] == 0 or not tables.column[slot]
        unlikely = state.odds[0, slot] < _LIKELY and mark[QUESTION] == 0
        missing = tables.requestable[slot] and differs and unlikely
        doubt = 0.0
        if state.values[0, slot] >= 0 and state.odds[0, slot] > 0:
            doubt = 1 - state.odds[0, slot]
        sure *= 1 - doubt
        out[slot] = state.odds[0, slot]
        out[slots + slot] = state.odds[1, slot]
        out[2 * slots + slot] = state.values[0, slot] < NONE
        out[3 * slots + slot] = min(mark[HEARD], 3) / 3
        out[4 * slots + slot] = min(mark[ASKED_FOR], 3) / 3
        out[5 * slots + slot] = min(mark[CHECKED], 3) / 3
        out[6 * slots + slot] = mark[AFFIRMED]
        out[7 * slots + slot] = mark[QUESTION]
        out[8 * slots + slot] = told
        out[9 * slots + slot] = mark[AGREED]
        out[10 * slots + slot] = mark[BLOCKS]
        out[11 * slots + slot] = mark[OFFER] != NONE
        out[12 * slots + slot] = state.heard[2 + slot] != NONE
        out[13 * slots + slot] = state.heard[1] == slot
        out[14 * slots + slot] = numbers[SLOT] == slot
        out[15 * slots + slot] = is_open
        out[16 * slots + slot] = missing
        out[17 * slots + slot] = doubt
        for place in range(3):
            rest[20 + place] = max(rest[20 + place], out[(15 + place) * slots + slot])
    matches = numbers[MATCHES]
    rest[min(matches, 2) + (matches > 5) + (matches > 20)] = 1
    rest[5 + state.heard[0]] = 1
    rest[11] = state.trust[CONFIDENCE]
    if numbers[KIND] != NONE:
        rest[12 + numbers[KIND]] = 1
    rest[17] = state.trust[FINISHED]
    rest[18] = min(numbers[NO_MATCHES], 3) / 3
    rest[19] = numbers[TURNS] / tables.max_turns
    rest[23] = sure
    for action in range(len(mask)):
        kind = tables.kinds[action]
        if kind == ASK:
            mask[action] = True
        elif kind == CONFIRM:
            mask[action] = state.values[0, tables.targets[action]] != NONE
        elif kind == NO_MATCH:
            mask[action] = row == NONE
        else:
            mask[action] = row != NONE
