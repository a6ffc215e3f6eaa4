"""A domain: the subject of dialogues, as numbers for environments and as words for people.

A domain has slots with values, a knowledge base whose rows give values to some of the slots, and a way to
draw goals (the frames of Li et al. 2016, "A User Simulator for Task-Completion Dialogues"). It is described
by a YAML file: `docs/dialogue.md` shows how to write one, `envs.dialogue.domain_file` reads and checks it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from envs.dialogue.words import Phrases, key_of
from envs.hooks import WorldError

NONE = -1
"""No value: unknown in a row, not mentioned in a goal."""
ASKED = -3
"""In `Domain.goals`: the goal asks for the slot's value."""


class DomainError(WorldError):
    """A domain cannot be used. The message is one sentence with file and line."""


@dataclass(frozen=True)
class Slot:
    """A property that users and agents talk about."""

    name: str
    """An identifier, such as `start_time`."""
    values: tuple[str, ...]
    """All values; a value's number is its index."""
    constraint: float
    """Probability that a goal constrains it."""
    question: float
    """Probability that a goal asks for it, given that it does not constrain it."""
    column: bool = True
    """Whether the knowledge base has it. If not, only the user knows it: every goal has a value, and booking
    needs it."""


@dataclass(frozen=True, eq=False)
class Domain:
    """A domain with S slots, R rows, and at most V values per slot."""

    name: str
    task: str
    """What users want to do, in a few words."""
    slots: tuple[Slot, ...]
    rows: np.ndarray
    """(R, S) int16: value numbers; `NONE` where unknown, and for slots without a column."""
    matches: np.ndarray
    """(S, V, ⌈R/64⌉) uint64: bit r % 64 of word r // 64 is set if row r has the value."""
    constraint_chance: np.ndarray
    """(S,) float64, `Slot.constraint`; 1 for slots without a column."""
    question_chance: np.ndarray
    """(S,) float64, `Slot.question`; 0 for slots without a column."""
    column: np.ndarray
    """(S,) bool, `Slot.column`."""
    goals: np.ndarray
    """(G, S) int16: the users' goals, each slot's value number, `NONE` or `ASKED`; empty if goals are drawn from
    the rows."""
    change_of_mind: float
    """Probability that a user first wishes for something that does not exist."""
    phrases: Phrases
    numbers: tuple[Mapping[str, int], ...]
    """For each slot, the numbers of its values by the `key_of` of each and of its synonyms."""

    def digest(self) -> str:
        """Return the first twelve hexadecimal digits of the SHA-256 of file and knowledge base."""
        content = (
            self.task,
            self.slots,
            self.rows.tolist(),
            self.goals.tolist(),
            self.change_of_mind,
        )
        return sha256(repr((*content, self.phrases)).encode()).hexdigest()[:12]

    def index(self, slot: str) -> int:
        """Return the number of a slot; KeyError if there is none of this name."""
        for number, one in enumerate(self.slots):
            if one.name == slot:
                return number
        raise KeyError(slot)

    def row(self, number: int) -> dict[str, str]:
        """Return the known values of a row, by slot."""
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
    synonyms: Mapping[str, Mapping[str, str]] | None = None,
) -> Domain:
    """Return a domain, its slots and values numbered. The arguments are not checked.

    Args:
        rows: slot name → one of the slot's values, without unknown ones.
        goals: constraints (slot name → value) and the slots asked for.
        synonyms: slot name → other word for a value → the value. They are understood, never said.
    """
    numbers = tuple(
        {key_of(value): number for number, value in enumerate(slot.values)} for slot in slots
    )
    for slot, own in zip(slots, numbers, strict=True):
        for word, meant in (synonyms or {}).get(slot.name, {}).items():
            own.setdefault(key_of(word), own[key_of(meant)])
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
