"""A domain: what a dialogue is about, as numbers for the worlds and as words for people.

A task is slots with values, a knowledge base whose rows give some of the slots a value, and a way
to draw goals (the frames of Li et al. 2016, "A User Simulator for Task-Completion Dialogues"). A
domain file says all of it in YAML; `docs/dialogue.md` writes one from nothing,
`envs.dialogue.domain_file` reads and checks it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from envs.dialogue.words import Phrases, key_of
from envs.hooks import WorldError

NONE = -1
"""No value: a row does not know it, a goal does not mention it."""
ASKED = -3
"""In `Domain.goals`: the goal asks for the slot's value."""


class DomainError(WorldError):
    """A domain that cannot be used: one sentence with file and line."""


@dataclass(frozen=True)
class Slot:
    """One thing that is talked about."""

    name: str
    """An identifier, such as `start_time`."""
    values: tuple[str, ...]
    """All that can be said about it; a value's number is its place."""
    constraint: float
    """Chance that a goal constrains it."""
    question: float
    """Chance that a goal asks for it, given that it does not constrain it."""
    column: bool = True
    """Whether the knowledge base knows it. If not, only the user does: every goal has a value, and
    booking needs it."""


@dataclass(frozen=True, eq=False)
class Domain:
    """What `load_domain` makes of a domain file; S slots, R rows, V most values of a slot."""

    name: str
    task: str
    """What the user comes for, in a few words."""
    slots: tuple[Slot, ...]
    rows: np.ndarray
    """(R, S) int16: value numbers; `NONE` where unknown, and for slots without a column."""
    matches: np.ndarray
    """(S, V, ⌈R/64⌉) uint64: bit r % 64 of word r // 64 is set if row r has the value."""
    constraint_chance: np.ndarray
    """(S,) float64, of `Slot.constraint`; 1 for slots without a column."""
    question_chance: np.ndarray
    """(S,) float64, of `Slot.question`; 0 for slots without a column."""
    column: np.ndarray
    """(S,) bool, of `Slot.column`."""
    goals: np.ndarray
    """(G, S) int16: the goals that users have, each slot's value number, `NONE` or `ASKED`; empty
    where goals are drawn from the rows."""
    change_of_mind: float
    """Chance that a user first wishes for something that does not exist."""
    phrases: Phrases
    numbers: tuple[Mapping[str, int], ...]
    """Of each slot: the number of a value by its `key_of`."""

    def digest(self) -> str:
        """Twelve hexadecimal digits of all that its file and knowledge base say: the start of a SHA-256."""
        message = (
            self.task,
            self.slots,
            self.rows.tolist(),
            self.goals.tolist(),
            self.change_of_mind,
        )
        return sha256(repr((*message, self.phrases)).encode()).hexdigest()[:12]

    def index(self, slot: str) -> int:
        """The number of a slot; raises KeyError."""
        for number, one in enumerate(self.slots):
            if one.name == slot:
                return number
        raise KeyError(slot)

    def row(self, number: int) -> dict[str, str]:
        """What the knowledge base knows of one of its rows."""
        return {
            slot.name: slot.values[value]
            for slot, value in zip(self.slots, self.rows[number], strict=True)
            if value != NONE
        }


def build_domain(
    name: str,
    task: str,
    slots: Sequence[Slot],
    rows: Sequence[Mapping[str, str]],
    goals: Sequence[tuple[Mapping[str, str], Sequence[str]]],
    change_of_mind: float,
    phrases: Phrases,
) -> Domain:
    """Number what has been checked.

    Args:
        rows: slot name → one of the slot's values; unknown ones left out.
        goals: constraints (slot name → value) and the slots asked for.
    """
    numbers = tuple(
        {key_of(value): number for number, value in enumerate(slot.values)} for slot in slots
    )
    table = np.full((len(rows), len(slots)), NONE, np.int16)
    matches = np.zeros(
        (len(slots), max(len(slot.values) for slot in slots), -(-len(rows) // 64)), np.uint64
    )
    for r, row in enumerate(rows):
        for s, slot in enumerate(slots):
            if slot.name in row:
                value = numbers[s][key_of(row[slot.name])]
                table[r, s] = value
                matches[s, value, r // 64] |= np.uint64(1) << np.uint64(r % 64)
    wishes = np.full((len(goals), len(slots)), NONE, np.int16)
    for g, (constraints, questions) in enumerate(goals):
        for s, slot in enumerate(slots):
            if slot.name in constraints:
                wishes[g, s] = numbers[s][key_of(constraints[slot.name])]
            elif slot.name in questions:
                wishes[g, s] = ASKED
    column = np.array([slot.column for slot in slots])
    return Domain(
        name=name,
        task=task,
        slots=tuple(slots),
        rows=table,
        matches=matches,
        constraint_chance=np.array([slot.constraint if slot.column else 1.0 for slot in slots]),
        question_chance=np.array([slot.question if slot.column else 0.0 for slot in slots]),
        column=column,
        goals=wishes,
        change_of_mind=change_of_mind,
        phrases=phrases,
        numbers=numbers,
    )
