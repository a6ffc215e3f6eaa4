"""The movie-ticket domain of Li et al. 2017, from the paper's data.

`movie_db.txt` is a knowledge base of showings in 2016, the text of a Python 2 dictionary;
`movie_user_goals.txt` has one goal a line, also as a dictionary. Both are parsed as literals and never
executed. The data do not ship; `docs/dialogue.md` says where they come from.
"""

import itertools
import math
import os
from collections import Counter
from pathlib import Path

from envs.dialogue.domain import Domain, DomainError, Slot, build_domain
from envs.dialogue.literals import read_lines, read_table
from envs.dialogue.words import RESERVED, default_phrases, key_of

REAL = "movie-real"
"""The domain's name; "movie-real:FOLDER" gives the folder of the data."""

MOST_ROWS = 10_000
PEOPLE = "numberofpeople"
"""The only slot of the goals without a column in the knowledge base."""


def read_movie_data(folder: str = "") -> Domain:
    """Return the domain of the real knowledge base, with the goals that it can satisfy.

    Slots are those that the goals mention; probabilities are their shares among the goals. Spellings that
    differ in case or spaces are one value, cells such as "7pm#9pm" make a row for each part, and "any" is no
    value.

    Args:
        folder: folder of the two files; "" for `$FATHOM_DATA/movie-dialogue`.

    Raises:
        DomainError: the files are missing or wrong.
    """
    place = Path(folder) if folder else Path(os.environ.get("FATHOM_DATA", "")) / "movie-dialogue"
    if not (folder or os.environ.get("FATHOM_DATA")) or not place.is_dir():
        raise DomainError(
            f"{REAL} needs the movie data of TC-Bot, and there is"
            + (
                f" no folder {place}"
                if folder or "FATHOM_DATA" in os.environ
                else " no FATHOM_DATA"
            )
            + f": say {REAL}:FOLDER with the folder that has movie_db.txt and movie_user_goals.txt"
        )
    database = place / "movie_db.txt"
    table = read_table(database)
    if not isinstance(table, dict) or not all(_is_record(row) for row in table.values()):
        raise DomainError(f"{database}:1: this is not a dictionary of rows")
    path = place / "movie_user_goals.txt"
    wishes = []
    for where, goal in read_lines(path):
        if not (
            isinstance(goal, dict)
            and _is_record(goal.get("inform_slots"))
            and _is_record(goal.get("request_slots"))
        ):
            raise DomainError(
                f"{where}: a goal is a dictionary with inform_slots and request_slots"
            )
        wishes.append((_cells(goal["inform_slots"]), sorted(goal["request_slots"])))
    if not table or not wishes:
        raise DomainError(f"{place} has no rows or no goals")
    return _domain([_cells(row) for row in table.values()], wishes)


def _domain(cells: list[dict[str, str]], wishes: list[tuple[dict[str, str], list[str]]]) -> Domain:
    constrained = Counter(name for constraints, _ in wishes for name in constraints)
    asked = Counter(name for _, questions in wishes for name in questions)
    names = sorted(constrained.keys() | asked.keys())
    values: dict[str, dict[str, str]] = {name: {} for name in names}
    rows: list[dict[str, str]] = []
    for cell in cells:
        options = [
            [(name, values[name].setdefault(key_of(one), one)) for one in cell[name].split("#")]
            for name in names
            if name in cell and name != PEOPLE
        ]
        if len(rows) + math.prod(len(option) for option in options) > MOST_ROWS:
            raise DomainError(f"{REAL} has more than {MOST_ROWS:,} rows")
        rows += [dict(row) for row in itertools.product(*options) if row]
    for constraints, _ in wishes:
        if PEOPLE in constraints:
            people = constraints[PEOPLE]
            constraints[PEOPLE] = values[PEOPLE].setdefault(key_of(people), people)
    goals = []
    for constraints, questions in wishes:
        spelled = {
            name: values[name].get(key_of(value), value) for name, value in constraints.items()
        }
        fixed = {name: value for name, value in spelled.items() if name != PEOPLE}
        fitting = [row for row in rows if fixed.items() <= row.items()]
        if fixed and any(row.keys() >= set(questions) for row in fitting):
            goals.append((spelled, questions))
    slots = []
    for name in names:
        share = constrained[name] / len(wishes)
        question = asked[name] / max(len(wishes) - constrained[name], 1)
        own = tuple(values[name].values())
        if name == PEOPLE:
            slots.append(Slot(name, own, constraint=1.0, question=0.0, column=False))
        else:
            slots.append(Slot(name, own, share, min(question, 1.0)))
    return build_domain(
        REAL, "book tickets for a film", slots, rows, goals, 0.0, default_phrases(tuple(names))
    )


def _is_record(row: object) -> bool:
    return isinstance(row, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in row.items()
    )


def _cells(row: dict[str, str]) -> dict[str, str]:
    """Return the row without empty cells and "any"."""
    texts = {
        name: "#".join(" ".join(one.split()) for one in cell.split("#"))
        for name, cell in row.items()
    }
    return {name: text for name, text in texts.items() if key_of(text) not in ("", *RESERVED)}
