"""Goals of users: constraints that some row of the knowledge base meets, and questions about it.

A hash of a goal (of its slots with a column) assigns it to training (four fifths) or test (one fifth). An
environment draws until a goal belongs to its split, so no goal is in both.
"""

from dataclasses import dataclass

import numpy as np

from envs.dialogue.domain import ASKED, NONE, Domain
from envs.dialogue.tables import DialogueTables, compiled, internal
from envs.random import below, chance

TRIES = 10_000
"""Draws after which the split counts as empty; one in five goals is a test goal."""


@dataclass(frozen=True)
class Goal:
    """A user's goal in words."""

    constraints: dict[str, str]
    """Slot → value, with the values that only the user knows."""
    questions: tuple[str, ...]
    first_wish: tuple[str, str] | None
    """Slot and value that the user wants until the agent says that nothing matches."""


def goal_of(domain: Domain, ints: np.ndarray) -> Goal:
    """Return the readable form of `DialogueState.goal`."""
    *values, slot, value = (int(number) for number in ints)
    pairs = list(zip(domain.slots, values, strict=True))
    return Goal(
        {about.name: about.values[own] for about, own in pairs if own >= 0},
        tuple(about.name for about, own in pairs if own == ASKED),
        None if slot == NONE else (domain.slots[slot].name, domain.slots[slot].values[value]),
    )


@compiled
def new_goal(
    tables: DialogueTables, goal: np.ndarray, rows: np.ndarray, random: np.ndarray
) -> bool:
    """Draw a goal into `goal` (see `DialogueState.goal`); False if there is none. `rows` is working memory."""
    for _ in range(TRIES):
        if len(tables.goals):
            number = below(random, len(tables.goals))
            for slot in range(len(tables.column)):
                goal[slot] = tables.goals[number, slot]
        else:
            _draw(tables, goal, random)
        if _says_something(tables, goal) and is_test(tables, goal) == tables.test:
            for slot in range(len(tables.column)):
                if not tables.column[slot] and goal[slot] == NONE:
                    goal[slot] = below(random, tables.counts[slot])
            _wish(tables, goal, rows, random)
            return True
    return False


@internal
def is_test(tables: DialogueTables, goal: np.ndarray) -> bool:
    """Whether a goal is held out. It depends only on its constraints and questions."""
    mixed = np.uint64(0)
    for slot in range(len(tables.column)):
        value = np.int64(goal[slot]) if tables.column[slot] else np.int64(NONE)
        mixed ^= np.uint64(value + 4)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
    return mixed % np.uint64(5) == np.uint64(0)


@internal
def _draw(tables: DialogueTables, goal: np.ndarray, random: np.ndarray) -> None:
    """Draw constraints and questions from a random row; slots without a column are drawn later."""
    row = below(random, len(tables.rows))
    for slot in range(len(tables.column)):
        value = tables.rows[row, slot]
        goal[slot] = NONE
        if not tables.column[slot] or value == NONE:
            continue
        if chance(random) < tables.constraint_chance[slot]:
            goal[slot] = value
        elif chance(random) < tables.question_chance[slot]:
            goal[slot] = ASKED


@internal
def _says_something(tables: DialogueTables, goal: np.ndarray) -> bool:
    constraints = 0
    for slot in range(len(tables.column)):
        constraints += tables.column[slot] and goal[slot] != NONE
    return constraints > 0


@internal
def _wish(tables: DialogueTables, goal: np.ndarray, rows: np.ndarray, random: np.ndarray) -> None:
    """Perhaps draw a first wish: another value for one constraint, with which no row meets the others."""
    goal[-2] = goal[-1] = NONE
    if chance(random) >= tables.change_of_mind:
        return
    slots = len(tables.column)
    constraints = 0
    for slot in range(slots):
        constraints += tables.column[slot] and goal[slot] >= 0
    if constraints == 0:
        return
    left = below(random, constraints)
    wish = 0
    rows[:] = ~np.uint64(0)
    for slot in range(slots):
        if tables.column[slot] and goal[slot] >= 0:
            if left == 0:
                wish = slot
            else:
                for word in range(len(rows)):
                    rows[word] &= tables.matches[slot, goal[slot], word]
            left -= 1
    first = below(random, tables.counts[wish])
    for step in range(tables.counts[wish]):
        value = (first + step) % tables.counts[wish]
        meets = np.uint64(0)
        for word in range(len(rows)):
            meets |= rows[word] & tables.matches[wish, value, word]
        if meets == 0 and value != goal[wish]:
            goal[-2], goal[-1] = wish, value
            return
