"""Stories with questions: bAbI (Weston et al. 2015), or one's own in its form.

A line is a number and a statement; or a number and a question, its answer, and the numbers of the statements that
it follows from, with tabs between them (these numbers may be left out). The numbers begin with 1 at every story, and a
question is about the statements before it. A folder holds files with "train" and "test" in their names, `.txt`,
`.txt.xz`, or packed in one `.tar.gz`; of a single file every fifth story is the test.
"""

from __future__ import annotations

import functools
import io
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from perception.data.source import DataError, DataSource
from perception.data.tables import decode_text, read_bytes, read_text
from perception.data.texts import WordNumbers

SHIPPED = {"babi": "Fathom"}
_MOST_STATEMENTS, _MOST_QUESTIONS = 1_000, 300_000
"""Of a story, and of all of them."""
_MOST_WORDS = 64
"""Of a statement; longer ones are cut."""
_KINDS = (
    ("20 motivations", "why|where will", ""),
    ("19 path finding", "how do you", ""),
    ("7 counting", "how many", ""),
    ("16 induction", "what color", ""),
    ("15 deduction", r"what is \w+ afraid", ""),
    ("8 lists", r"what is \w+ carrying", ""),
    ("5 three-argument relations", "who|what did", ""),
    ("4 two-argument relations", "what is", ""),
    ("3 three supporting facts", "where was the", ""),
    ("14 time", "where was", ""),
    ("2 two supporting facts", "where is the", ""),
    ("13 compound coreference", "where is", r"\bthey\b"),
    ("11 coreference", "where is", r"\b(he|she)\b"),
    ("12 conjunction", "where is", r"\band\b"),
    ("1 one supporting fact", "where is", ""),
    ("18 size", "does the|is the .* bigger", ""),
    ("17 position", "is the", ""),
    ("6, 9, 10 yes, no, maybe", "is", ""),
)
"""Tasks of bAbI: a name, how its questions begin, and what is found in its stories."""


class Question(NamedTuple):
    """A question about a story."""

    story: tuple[str, ...]
    """Statements, in their order."""
    question: str
    answer: str
    supports: tuple[int, ...]
    """Places in `story` of the statements that the answer follows from."""
    kind: str
    """Which task of bAbI it is of; empty for other data."""


@dataclass
class Stories:
    """Training and test questions."""

    train: list[Question]
    test: list[Question]
    origin: dict[str, Any]


def load_stories(source: DataSource) -> Stories:
    """Find and read stories with questions.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    location = source.locate(SHIPPED)
    shipped = location.kind == "shipped"
    path = Path(__file__).with_name(location.value) if shipped else location.path
    is_babi = Path(source.reference).name == "babi"
    parts: dict[str, list[Question]] = {"train": [], "test": []}
    names = [path.name] if path.is_file() else []
    for name, text in _files(path):
        names.append(name)
        stories = list(_stories(text, name, is_babi))
        part = "train" if "train" in name.lower() else "test"
        if path.is_file():
            parts["test"] += [one for story in stories[4::5] for one in story]
            del stories[4::5]
            part = "train"
        parts[part] += [one for story in stories for one in story]
        if sum(map(len, parts.values())) > _MOST_QUESTIONS:
            raise DataError(f"{path} has more than {_MOST_QUESTIONS:,} questions")
    for part, questions in parts.items():
        if not questions:
            wanted = (
                "a file of one's own needs five stories or more"
                if path.is_file()
                else f"it needs a .txt file with {part!r} in its name, beside the other part"
            )
            raise DataError(f"{path} has no questions to {_USE[part]}: {wanted}")
    sizes = {part: len(questions) for part, questions in parts.items()}
    licence = "CC BY 3.0 (Facebook AI Research)" if is_babi else "not stated"
    origin = {"name": source.reference, "found": location.found, "licence": licence, **sizes}
    return Stories(parts["train"], parts["test"], origin)


_USE = {"train": "learn from", "test": "test with"}


def _files(path: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of the files, training and test."""
    if path.is_file():
        yield path.name, read_text(path)
        return
    packed = sorted(path.glob("*.tar.gz"))
    if len(packed) == 1:
        yield from _packed(packed[0])
        return
    for one in sorted([*path.glob("*.txt"), *path.glob("*.txt.xz")]):
        if _part_of(one.name):
            yield one.name, read_text(one)


def _part_of(name: str) -> str | None:
    return next((part for part in ("train", "test") if part in name.lower()), None)


def _packed(archive: Path) -> Iterator[tuple[str, str]]:
    """The same from a tar archive, which is not unpacked."""
    data = io.BytesIO(read_bytes(archive))
    try:
        with tarfile.open(fileobj=data, mode="r:") as tar:
            for one in tar:
                name = PurePosixPath(one.name).name
                if one.isfile() and name.endswith(".txt") and _part_of(name):
                    file = tar.extractfile(one) or io.BytesIO()
                    yield name, decode_text(file.read(), archive / name)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{archive} is no tar archive that can be read: {error}") from error


def _stories(text: str, name: str, is_babi: bool) -> Iterator[list[Question]]:
    """The questions of each story."""
    story: dict[str, str] = {}
    asked: list[tuple[int, list[str]]] = []
    count = 0
    for place, line in enumerate([*text.split("\n"), "1 "], 1):
        line = line.strip()
        if not line:
            continue
        number, _, rest = line.partition(" ")
        if not number.isdecimal() or len(number) > 9:
            raise DataError(
                f"{name}, line {place}: it must begin with a number, as in `1 Mary went home.`"
            )
        if number == "1":
            if asked:
                yield _questions(story, asked, is_babi)
            story, asked = {}, []
        if "\t" not in rest:
            story[number] = rest
            if len(story) > _MOST_STATEMENTS:
                raise DataError(
                    f"{name}, line {place}: a story has at most {_MOST_STATEMENTS:,} statements"
                )
            continue
        cells = [cell.strip() for cell in rest.split("\t")]
        if not cells[0] or not cells[1]:
            lacking = "answer" if cells[0] else "question"
            raise DataError(f"{name}, line {place}: there is no {lacking}")
        if not story:
            raise DataError(f"{name}, line {place}: a question needs a statement before it")
        asked.append((len(story), cells))
        count += 1
        if count > _MOST_QUESTIONS:
            raise DataError(f"{name} has more than {_MOST_QUESTIONS:,} questions")


def _questions(
    story: Mapping[str, str], asked: Sequence[tuple[int, list[str]]], is_babi: bool
) -> list[Question]:
    """Questions of one story; each comes with the number of statements before it."""
    statements = tuple(story.values())
    places = {number: place for place, number in enumerate(story)}
    every = " ".join(statements).lower() if is_babi else ""
    told = functools.cache(lambda before: statements[:before])
    result = []
    for before, (question, answer, *supports) in asked:
        numbers = " ".join(supports).split()
        found = tuple(places[number] for number in numbers if places.get(number, before) < before)
        kind = _kind(question.lower(), every) if is_babi else ""
        result.append(Question(told(before), question, answer, found, kind))
    return result


def _kind(question: str, story: str) -> str:
    return next(
        (kind for kind, found in _kinds(question) if not found or re.search(found, story)), "other"
    )


@functools.cache
def _kinds(question: str) -> list[tuple[str, str]]:
    """The kinds that a question can be of, with what must be in the story."""
    return [(kind, found) for kind, start, found in _KINDS if re.match(start, question)]


# -- as numbers ------------------------------------------------------------------------------------------


def word_numbers(questions: Sequence[Question]) -> dict[str, Any]:
    """The arguments of a `WordNumbers` that knows the words of questions and statements, as JSON."""
    texts = {text for one in questions for text in (*one.story, one.question)}
    return WordNumbers.fit(sorted(texts), _MOST_WORDS, 1)


def encode(
    questions: Sequence[Question], words: WordNumbers, memory: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Questions as numbers of words; 0 pads.

    Args:
        memory: only so many statements of a story are kept, the last ones.

    Returns:
        stories: int16 (int32 for more than 32,768 words) (n, memory, words), the last statement first.
        questions: the same, (n, words).
        supports: bool (n, memory), which of the statements the answer follows from.
    """
    places: dict[str, int] = {"": 0}
    rows = np.zeros((len(questions), memory), np.int64)
    asked = np.zeros(len(questions), np.int64)
    supports = np.zeros((len(questions), memory), bool)
    for i, one in enumerate(questions):
        last = one.story[: -memory - 1 : -1]
        rows[i, : len(last)] = [places.setdefault(text, len(places)) for text in last]
        asked[i] = places.setdefault(one.question, len(places))
        for place in one.supports:
            if len(one.story) - 1 - place < memory:
                supports[i, len(one.story) - 1 - place] = True
    table = words(list(places)).to(torch.int16 if words.size <= 1 << 15 else torch.int32)
    return table[torch.from_numpy(rows)], table[torch.from_numpy(asked)], torch.from_numpy(supports)


def question_of(text: Any, what: str) -> Question:
    """A question of a user's own: statements, then a sentence with a question mark.

    Raises:
        DataError: it is no text, or lacks the one or the other.
    """
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{what} reads statements and a question, not {text!r}")
    sentences = [one.strip() for one in re.findall(r"[^.!?\n]+[.!?]*", text) if one.strip()]
    if not sentences[-1:] or not sentences[-1].endswith("?"):
        raise DataError("the last sentence must be a question, with a question mark")
    if len(sentences) < 2:
        raise DataError("there must be a statement before the question")
    return Question(tuple(sentences[:-1]), sentences[-1], "", (), "")
