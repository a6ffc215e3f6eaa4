"""The noisy channel between what a user says and what the agent hears.

Each value is changed with probability `slot_error`, in one of three equally likely ways: another value of
the slot, another slot with some value of its own, or dropped. The act is replaced by another one with
probability `intent_error`. The frame comes with a confidence in (0, 1]: the sixth root of a random number if
everything is right, the square root if anything is wrong. Without errors it is 1. (Li et al. 2017 study such
errors. Unlike in their code, the channel never changes the user's own memory.)
"""

from envs.dialogue.domain import NONE
from envs.dialogue.frames import ACTS, ANY, REQUEST
from envs.dialogue.tables import DialogueState, DialogueTables, compiled, internal
from envs.random import below, chance

CONFIDENCE = 0
"""Index in `DialogueState.trust`."""
_RIGHT, _WRONG = 1 / 6, 1 / 2
_OTHER_VALUE, _OTHER_SLOT, _DROPPED = range(3)


@compiled
def transmit(tables: DialogueTables, state: DialogueState) -> None:
    """Write `state.heard` and its confidence from `state.said`."""
    said, heard, random = state.said, state.heard, state.random
    for i in range(len(said)):
        heard[i] = said[i]
    state.trust[CONFIDENCE] = 1.0
    if tables.slot_error == 0 and tables.intent_error == 0:
        return
    wrong = False
    for slot in range(len(tables.column)):
        value = said[2 + slot]
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
    """Whether a value can be misheard as one of this slot: users give it values, and this frame does not."""
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
