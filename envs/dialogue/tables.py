"""The arrays of compiled functions: a domain with its rules, and the state of a dialogue.

Functions are compiled without numba's reference counts, as for Go, so that calls are cheap; they cannot
create arrays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

from envs.dialogue.domain import Domain
from envs.dialogue.frames import KINDS, agent_acts, askable, requestable

_Function = TypeVar("_Function", bound=Callable[..., Any])


_UNCOUNTED: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
_FOR_KERNELS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: _Function) -> _Function:
    """Decorator for functions of `DialogueTables` and `DialogueState` that compiled code and Python call."""
    return numba.njit(**_UNCOUNTED)(function)


def internal(function: _Function) -> _Function:
    """Decorator for functions that only compiled code calls; they compile in half the time."""
    return numba.njit(**_UNCOUNTED, **_FOR_KERNELS)(function)


class DialogueTables(NamedTuple):
    """A domain, its channel and its rules. S slots, R rows, A actions, W words for 64 rows each."""

    rows: np.ndarray
    """(R, S) int16, see `Domain.rows`."""
    matches: np.ndarray
    """(S, V, W) uint64, see `Domain.matches`."""
    counts: np.ndarray
    """(S,) int64: number of values."""
    column: np.ndarray
    """(S,) bool: whether the knowledge base has the slot."""
    requestable: np.ndarray
    """(S,) bool: whether the agent can ask for it."""
    askable: np.ndarray
    """(S,) bool: whether the user may ask for it."""
    constraint_chance: np.ndarray
    """(S,) float64"""
    question_chance: np.ndarray
    """(S,) float64"""
    goals: np.ndarray
    """(G, S) int16, see `Domain.goals`."""
    change_of_mind: float
    kinds: np.ndarray
    """(A,) int64 place in `KINDS`."""
    targets: np.ndarray
    """(A,) int64 slot, or `NONE`."""
    slot_error: float
    intent_error: float
    max_turns: int
    test: bool
    """Whether goals are the held-out ones."""


class DialogueState(NamedTuple):
    """The state of one dialogue, or of n with a leading axis in all arrays."""

    goal: np.ndarray
    """(S + 2,) int16: each slot's value, `NONE` or `ASKED`; then slot and value of the first wish."""
    memory: np.ndarray
    """(2, S) int16, the user's memory: whether it has told a slot, and the answer it got."""
    said: np.ndarray
    """(2 + S,) int16: the user's frame."""
    heard: np.ndarray
    """(2 + S,) int16: the frame that the agent heard."""
    values: np.ndarray
    """(2, S) int16: the best and the second hypothesis."""
    odds: np.ndarray
    """(2, S) float64: their probabilities."""
    marks: np.ndarray
    """(S, `MARKS`) int16: see `envs.dialogue.belief`."""
    numbers: np.ndarray
    """(`NUMBERS`,) int64: see `envs.dialogue.belief`."""
    trust: np.ndarray
    """(2,) float64: confidence in `heard`; probability that the user has nothing more to say."""
    rows: np.ndarray
    """(W,) uint64: the set of rows that the last look-up gave, as bits."""
    random: np.ndarray
    """(1,) uint64: see `envs.random`."""


MARKS, NUMBERS = 9, 9


def tables_of(
    domain: Domain, slot_error: float, intent_error: float, max_turns: int, test: bool
) -> DialogueTables:
    """Return a domain as arrays for compiled functions."""
    acts = agent_acts(domain)
    return DialogueTables(
        domain.rows,
        domain.matches,
        np.array([len(slot.values) for slot in domain.slots], np.int64),
        domain.column,
        requestable(domain),
        askable(domain),
        domain.constraint_chance,
        domain.question_chance,
        domain.goals,
        float(domain.change_of_mind),
        np.array([KINDS.index(act.kind) for act in acts], np.int64),
        np.array([act.slot for act in acts], np.int64),
        float(slot_error),
        float(intent_error),
        max_turns,
        test,
    )


def new_states(tables: DialogueTables, n: int) -> DialogueState:
    """Return the states of n dialogues."""
    slots, words = tables.rows.shape[1], tables.matches.shape[2]
    return DialogueState(
        goal=np.zeros((n, slots + 2), np.int16),
        memory=np.zeros((n, 2, slots), np.int16),
        said=np.zeros((n, 2 + slots), np.int16),
        heard=np.zeros((n, 2 + slots), np.int16),
        values=np.zeros((n, 2, slots), np.int16),
        odds=np.zeros((n, 2, slots)),
        marks=np.zeros((n, slots, MARKS), np.int16),
        numbers=np.zeros((n, NUMBERS), np.int64),
        trust=np.zeros((n, 2)),
        rows=np.zeros((n, words), np.uint64),
        random=np.zeros((n, 1), np.uint64),
    )


@internal
def one_of(states: DialogueState, i: int) -> DialogueState:
    """Return the state of the i-th dialogue, as views."""
    return DialogueState(
        states.goal[i],
        states.memory[i],
        states.said[i],
        states.heard[i],
        states.values[i],
        states.odds[i],
        states.marks[i],
        states.numbers[i],
        states.trust[i],
        states.rows[i],
        states.random[i],
    )
