"""Acts and slots of TC-Bot's movie-ticket domain, and the data of Li et al. 2016.

There are three files: showings (the knowledge base), the values that a slot may be misheard as, and the
users' goals. A folder has them as TC-Bot publishes them (JSON, its `src/deep_dialog/data`) or as Python
literals (`movie_db.txt`, `movie_dict.txt`, `movie_user_goals.txt`), which are never executed.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.dialogue.domain import DomainError
from envs.dialogue.literals import read_lines, read_table, read_text

ACTS = (
    "request", "inform", "confirm_question", "confirm_answer", "greeting", "closing",
    "multiple_choice", "thanks", "welcome", "deny", "not_sure",
)  # fmt: skip
"""Dialogue acts, in the order of the state vector."""

SLOTS = (
    "actor", "actress", "city", "closing", "critic_rating", "date", "description",
    "distanceconstraints", "genre", "greeting", "implicit_value", "movie_series", "moviename",
    "mpaa_rating", "numberofpeople", "numberofkids", "taskcomplete", "other", "price", "seating",
    "starttime", "state", "theater", "theater_chain", "video_format", "zip", "result", "ticket",
    "mc_list",
)  # fmt: skip
"""Slots, in the order of the state vector."""

ANY, NO_MATCH, AVAILABLE = "I do not care", "nothing fits", "ticket available"
"""Special values of a slot: the user does not care; the results of a look-up."""
SPECIAL = {ANY: -2, NO_MATCH: -3, AVAILABLE: -4}
"""Ids of the special values; a slot's own values count from 0."""
NONE = -1

_FILES = {
    "rows": ("movie_kb.1k.json", "movie_db.txt"),
    "words": ("dicts.v3.json", "movie_dict.txt"),
    "goals": ("user_goals_first_turn_template.part.movie.v1.json", "movie_user_goals.txt"),
}
_MOST = 10_000
"""Rows, and values of a slot."""


@dataclass(frozen=True)
class Goal:
    """A user's goal: every constraint met, every question answered."""

    constraints: dict[str, str]
    questions: tuple[str, ...]
    """Without the ticket, which every user asks for."""


@dataclass(frozen=True, eq=False)
class MovieData:
    """The content of the files, as it is and as arrays. S slots, at most V values per slot, R rows."""

    rows: list[dict[str, str]]
    words: dict[str, list[str]]
    """The values that a slot's value may be misheard as."""
    goals: list[Goal]
    values: tuple[tuple[str, ...], ...]
    """Each slot's values; a value's id is its index."""
    row_values: np.ndarray
    """(R, S) int16 value ids, or `NONE`."""
    folded: np.ndarray
    """(S, V) int16: the first value that is the same in lower case."""
    matches: np.ndarray
    """(S, V, W) uint64: bit r%64 of word r//64 is set if row r has the (folded) value."""
    counts: np.ndarray
    """(S, V) int16 rows that have the (folded) value."""
    word_values: np.ndarray
    """(S, D) int16 ids of `words`."""
    word_counts: np.ndarray
    """(S,) int64 how many of them a slot has."""
    goal_values: np.ndarray
    """(G, S) int16 the value ids of the constraints, or `NONE`."""
    goal_questions: np.ndarray
    """(G,) int64 sets of slots as bits, without the ticket."""


def load_movie_data(folder: str = "") -> MovieData:
    """Read the three files of a folder; "" means $FATHOM_DATA/movie-dialogue.

    Raises:
        DomainError: a file is missing or wrong.
    """
    root = os.environ.get("FATHOM_DATA", "")
    if not folder and not root:
        raise DomainError(
            "the movie-ticket data of TC-Bot is not here: give its folder as the argument data"
            " (the src/deep_dialog/data of github.com/MiuLab/TC-Bot), or put it in"
            " movie-dialogue under the folder that FATHOM_DATA names"
        )
    path = Path(folder).expanduser() if folder else Path(root) / "movie-dialogue"
    rows, words, goals = (_read(_find(path, names)) for names in _FILES.values())
    return index(
        list(_mapping(rows, "the knowledge base").values()), _mapping(words, "the values"), goals
    )


def _find(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DomainError(f"the folder {folder} has neither {names[0]} nor {names[1]}")


def _read(path: Path) -> Any:
    if path.suffix != ".json":
        goals = "goals" in path.name
        return [goal for _, goal in read_lines(path)] if goals else read_table(path)
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise DomainError(f"{path} is no JSON") from None


def _mapping(value: Any, what: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise DomainError(f"{what} must be a dictionary, not {type(value).__name__}")
    return value


def index(rows: list[Any], words: dict[Any, Any], goals: Any) -> MovieData:
    """Check the parts and number them.

    Args:
        rows: a dictionary slot → value for each showing.
        words: slot → values that may be misheard.
        goals: dictionaries with `inform_slots` (slot → value) and `request_slots` (slot → anything).

    Raises:
        DomainError: a part is wrong.
    """
    if not 0 < len(rows) <= _MOST:
        raise DomainError(f"the knowledge base must have 1 to {_MOST:,} rows, not {len(rows):,}")
    for number, row in enumerate(rows):
        _check(_mapping(row, f"row {number}"), f"row {number}")
    for slot, choices in words.items():
        if not isinstance(choices, list):
            raise DomainError(f"the values of {slot!r} must be a list")
        for choice in choices or [""]:
            _check({slot: choice}, "the list of values")
    words = {slot: choices for slot, choices in words.items() if choices}
    if not words:
        raise DomainError("the list of values has none")
    if not isinstance(goals, list) or not goals:
        raise DomainError("the goals must be a list of at least one goal")
    read = [_goal(goal, f"goal {number}") for number, goal in enumerate(goals)]

    seen: list[dict[str, int]] = [{} for _ in SLOTS]
    parts = [
        *rows,
        *({slot: v} for slot in words for v in words[slot]),
        *(g.constraints for g in read),
    ]
    for part in parts:
        for slot, value in part.items():
            own = seen[SLOTS.index(slot)]
            own.setdefault(value, len(own))
    values = tuple(tuple(own) for own in seen)
    most = max(len(own) for own in values)
    if most > _MOST:
        raise DomainError(f"a slot has {most:,} values, and may have {_MOST:,}")

    folded = np.zeros((len(SLOTS), most), np.int16)
    for slot, spelled in enumerate(values):
        lower: dict[str, int] = {}
        folded[slot, : len(spelled)] = [
            lower.setdefault(value.lower(), i) for i, value in enumerate(spelled)
        ]

    def ids(parts: Iterable[dict[str, str]], count: int) -> np.ndarray:
        table = np.full((count, len(SLOTS)), NONE, np.int16)
        for i, part in enumerate(parts):
            for slot, value in part.items():
                table[i, SLOTS.index(slot)] = seen[SLOTS.index(slot)][value]
        return table

    row_values = ids(rows, len(rows))
    matches = np.zeros((len(SLOTS), most, -(-len(rows) // 64)), np.uint64)
    counts = np.zeros((len(SLOTS), most), np.int16)
    for row, slot in zip(*np.nonzero(row_values >= 0), strict=True):
        value = folded[slot, row_values[row, slot]]
        matches[slot, value, row // 64] |= np.uint64(1 << int(row % 64))
        counts[slot, value] += 1

    word_counts = np.array([len(words.get(slot, ())) for slot in SLOTS], np.int64)
    word_values = np.full((len(SLOTS), max(1, word_counts.max())), NONE, np.int16)
    for i, slot in enumerate(SLOTS):
        word_values[i, : word_counts[i]] = [seen[i][value] for value in words.get(slot, ())]
    questions = [sum(1 << SLOTS.index(slot) for slot in goal.questions) for goal in read]
    return MovieData(
        rows, words, read, values, row_values, folded, matches, counts, word_values, word_counts,
        ids((goal.constraints for goal in read), len(read)), np.array(questions, np.int64),
    )  # fmt: skip


def _goal(goal: Any, what: str) -> Goal:
    wanted = _mapping(goal, what)
    constraints = _mapping(wanted.get("inform_slots"), f"inform_slots of {what}")
    questions = _mapping(wanted.get("request_slots"), f"request_slots of {what}")
    _check(constraints, what)
    _check(dict.fromkeys(questions, ""), what)
    asked = tuple(slot for slot in SLOTS if slot in questions and slot != "ticket")
    both = [slot for slot in asked if slot in constraints]
    if both:
        raise DomainError(f"{what} both demands and asks {both[0]!r}")
    return Goal(dict(constraints), asked)


def _check(part: dict[Any, Any], what: str) -> None:
    for slot, value in part.items():
        if slot not in SLOTS:
            raise DomainError(f"{what} has {slot!r}, which is no slot of TC-Bot")
        if not isinstance(value, str):
            raise DomainError(f"{what} has {value!r} for {slot!r}, where a text should be")
        if value in SPECIAL:
            raise DomainError(f"{what} has {value!r} for {slot!r}, which means something else")
