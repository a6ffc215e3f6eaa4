"""Frames: what user and agent say as a dialogue act with slots (Li et al. 2016), without words.

Compiled code uses integers. A user's frame is an int16 array (2 + S,): the act, the slot that is asked for or
`NONE`, and for every slot the number of the user's value, `ANY` ("I don't care") or `NONE` (not mentioned).
At most one slot is asked for; a request may give values too. `Frame` is the readable form. An agent's act is
its number in `agent_acts(domain)`; `AgentFrame` is the readable form with its value or row.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from envs.dialogue.domain import ASKED, NONE, Domain

ACTS = ("inform", "request", "affirm", "deny", "bye", "unclear")
"""A user's acts. "bye": nothing more to say. "unclear": the agent did not understand the act."""
INFORM, REQUEST, AFFIRM, DENY, BYE, UNCLEAR = range(6)

ANY = -2
"""In place of a value: "I don't care"."""
ANY_WORD = "any"
"""`ANY` in a `Frame`."""
UNKNOWN_WORD = "unknown"
"""The value of a slot that is unknown in the agent's row."""

Kind = Literal["request", "inform", "confirm", "no_match", "book"]
KINDS: tuple[Kind, ...] = ("request", "inform", "confirm", "no_match", "book")
"""An agent's acts: ask for a slot, tell its value from the matching row, ask whether a value was heard rightly,
say that nothing matches, book the row."""
ASK, TELL, CONFIRM, NO_MATCH, BOOK = range(5)
"""Numbers of `KINDS`."""


@dataclass(frozen=True)
class Frame:
    """What a user says; see the module."""

    act: str
    """One of `ACTS`."""
    request: str | None = None
    """The slot that is asked for, if the act is "request"."""
    informs: dict[str, str] = field(default_factory=dict)
    """Slot → value, or "any"."""


@dataclass(frozen=True)
class AgentAct:
    """An action of the agent."""

    kind: Kind
    slot: int = NONE
    """The number of its slot; `NONE` for "no_match" and "book"."""


@dataclass(frozen=True)
class AgentFrame:
    """What an agent says."""

    kind: Kind
    slot: str | None = None
    value: str | None = None
    """The value that it tells or wants confirmed; may be "any" or "unknown"."""
    row: dict[str, str] | None = None
    """The row that it books: slot → value, with the values that only the user knows."""


def requestable(domain: Domain) -> np.ndarray:
    """Return which slots an agent can ask for, (S,) bool: those that a goal may constrain."""
    return (domain.constraint_chance > 0) | (domain.goals >= 0).any(axis=0) | ~domain.column


def askable(domain: Domain) -> np.ndarray:
    """Return which slots a user may ask for, (S,) bool."""
    return domain.column & ((domain.question_chance > 0) | (domain.goals == ASKED).any(axis=0))


def agent_acts(domain: Domain) -> tuple[AgentAct, ...]:
    """Return the agent's actions: request each slot, inform each, confirm each, no_match, book."""
    ask, tell = np.flatnonzero(requestable(domain)), np.flatnonzero(askable(domain))
    return (
        *(AgentAct("request", int(slot)) for slot in ask),
        *(AgentAct("inform", int(slot)) for slot in tell),
        *(AgentAct("confirm", int(slot)) for slot in ask),
        AgentAct("no_match"),
        AgentAct("book"),
    )


def value_word(domain: Domain, slot: int, value: int) -> str:
    """Return a value's text; "any" for `ANY`, "unknown" for `NONE`."""
    if value == ANY:
        return ANY_WORD
    return UNKNOWN_WORD if value < 0 else domain.slots[slot].values[value]


def frame_of(domain: Domain, ints: np.ndarray) -> Frame:
    """Return the readable form of (2 + S,) integers."""
    act, request, *values = (int(number) for number in ints)
    return Frame(
        ACTS[act],
        None if request == NONE else domain.slots[request].name,
        {
            domain.slots[slot].name: value_word(domain, slot, value)
            for slot, value in enumerate(values)
            if value != NONE
        },
    )


def ints_of(domain: Domain, frame: Frame) -> np.ndarray:
    """Return the (2 + S,) int16 form; KeyError or ValueError if the domain lacks a slot or value."""
    ints = np.full(2 + len(domain.slots), NONE, np.int16)
    ints[0] = ACTS.index(frame.act)
    if frame.request is not None:
        ints[1] = domain.index(frame.request)
    for name, word in frame.informs.items():
        slot = domain.index(name)
        ints[2 + slot] = ANY if word == ANY_WORD else domain.slots[slot].values.index(word)
    return ints
