"""Errors of understanding, between what a user says and what the agent hears.

Each value that is said goes wrong with `slot_error`, in one of three ways that are equally likely: another
value of the slot, another slot with some value of its own, nothing. The act becomes another one with
`intent_error`. With the frame comes a confidence in (0, 1]: the sixth root of a random number where all is
right, the square root where anything is wrong, so that it tells, but not surely. Without errors it is 1.
(Li et al. 2017 call these errors and study what they do; their code's defects are not ours: nothing here
touches the user's own memory.)
"""

from envs.dialogue.domain import NONE
from envs.dialogue.frames import ACTS, ANY, REQUEST
from envs.dialogue.tables import DialogueState, DialogueTables, compiled, internal
from envs.random import below, chance

CONFIDENCE = 0
"""Place in `DialogueState.trust`."""
_RIGHT, _WRONG = 1 / 6, 1 / 2
_OTHER_VALUE, _OTHER_SLOT, _DROPPED = range(3)


@compiled
def transmit(tables: DialogueTables, state: DialogueState) -> None:
    """From `state.said` to `state.heard` and the confidence in it."""
    message, heard, random = state.said, state.heard, state.random
    for i in range(len(message)):
        heard[i] = message[i]
    state.trust[CONFIDENCE] = 1.0
    if tables.slot_error == 0 and tables.intent_error == 0:
        return
    wrong = False
    for slot in range(len(tables.column)):
        value = message[2 + slot]
        if value != NONE and chance(random) < tables.slot_error:
            wrong = True
            _spoil(tables, state, slot, value)
    if chance(random) < tables.intent_error:
        wrong = True
        _mistake(tables, state)
    state.trust[CONFIDENCE] = (1 - chance(random)) ** (_WRONG if wrong else _RIGHT)


@internal
def _spoil(tables: DialogueTables, state: DialogueState, slot: int, value: int) -> None:
    heard, random = state.heard, state.random
    heard[2 + slot] = NONE
    kind = below(random, 3)
    if kind == _OTHER_VALUE:
        if value == ANY:
            heard[2 + slot] = below(random, tables.counts[slot])
        elif tables.counts[slot] > 1:
            other = 1 + below(random, tables.counts[slot] - 1)
            heard[2 + slot] = (value + other) % tables.counts[slot]
    elif kind == _OTHER_SLOT:
        free = 0
        for other in range(len(tables.column)):
            free += other != slot and _is_free(tables, state, other)
        if free == 0:
            return
        left = below(random, free)
        for other in range(len(tables.column)):
            if other != slot and _is_free(tables, state, other):
                if left == 0:
                    heard[2 + other] = below(random, tables.counts[other])
                    return
                left -= 1


@internal
def _is_free(tables: DialogueTables, state: DialogueState, slot: int) -> bool:
    """Whether a value can be misheard as one of this slot: users speak of it, and did not just now."""
    return tables.requestable[slot] and state.said[2 + slot] == NONE == state.heard[2 + slot]


@internal
def _mistake(tables: DialogueTables, state: DialogueState) -> None:
    heard, random = state.heard, state.random
    questions = 0
    for slot in range(len(tables.column)):
        questions += tables.askable[slot]
    act = (heard[0] + 1 + below(random, len(ACTS) - 1)) % len(ACTS)
    while act == REQUEST and questions == 0:
        act = (heard[0] + 1 + below(random, len(ACTS) - 1)) % len(ACTS)
    heard[0], heard[1] = act, NONE
    if act != REQUEST:
        return
    left = below(random, questions)
    for slot in range(len(tables.column)):
        if tables.askable[slot]:
            if left == 0:
                heard[1] = slot
                return
            left -= 1
