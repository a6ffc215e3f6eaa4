"""Running text as numbers of words: a text file, a folder of them, or the texts of a labelled data set.

A text is a paragraph where a file has empty lines, else a line. Words are runs of letters and digits, in small
letters. Every twentieth text is held out as a test.
"""

from __future__ import annotations

import csv
import importlib.util
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perception.data.source import DataError, DataSource
from perception.data.tables import read_text
from perception.data.texts import SHIPPED, load_texts, words_of

ROW = 256
"""Words of an example."""
_HELD_OUT = 20
_LEAST_WORDS = 10
_LABELLED = (".csv", ".tsv", ".jsonl", ".json")


@dataclass
class Corpus:
    """Texts in rows of `ROW` numbers of words; -1 is between texts."""

    train: Tensor
    """int32 (n, ROW)."""
    test: Tensor
    words: list[str]
    """The known words, frequent ones first; others are left out of the texts."""
    counts: np.ndarray
    """int64 (words,), occurrences in the training texts."""
    origin: dict[str, Any]


def load_corpus(source: DataSource, *, min_count: int, vocabulary: int) -> Corpus:
    """Find and read texts.

    Args:
        min_count: rarer words are left out.
        vocabulary: the most words that are known.

    Raises:
        DataError: there are none, or too few.
    """
    texts, origin = _texts(source)
    if len(texts) < _HELD_OUT:
        raise DataError(
            f"{source.reference} has {len(texts)} texts (paragraphs, or lines where no line is empty), and"
            f" {_HELD_OUT} are needed"
        )
    is_test = np.arange(len(texts)) % _HELD_OUT == _HELD_OUT - 1
    counter: Counter[str] = Counter()
    for text, out in zip(texts, is_test, strict=True):
        if not out:
            counter.update(words_of(text))
    frequent = sorted(
        (word for word, count in counter.items() if count >= min_count),
        key=lambda word: (-counter[word], word),
    )
    words = frequent[:vocabulary]
    if len(words) < _LEAST_WORDS:
        raise DataError(
            f"{source.reference} has {len(words)} different words that occur {min_count} times or more, and"
            f" {_LEAST_WORDS} are needed: give more text, or a smaller --min-count"
        )
    numbers = {word: number for number, word in enumerate(words)}
    train, test = (
        _rows([text for text, out in zip(texts, is_test, strict=True) if out == part], numbers)
        for part in (False, True)
    )
    for name, rows in (("training texts", train), ("held-out texts, every twentieth,", test)):
        if not (contexts(rows, 1, 1)[1] >= 0).any():
            raise DataError(f"the {name} of {source.reference} have no two known words in a row")
    counts = np.array([counter[word] for word in words])
    origin |= {"words": int(counts.sum()), "train": len(train), "test": len(test)}
    return Corpus(train, test, words, counts, origin)


def _texts(source: DataSource) -> tuple[list[str], dict[str, Any]]:
    """Texts in their order, and where they were found."""
    location = None if source.scheme or source.reference in SHIPPED else source.locate()
    path = location.path if location else Path()
    files = [path] if path.is_file() else sorted(path.rglob("*.txt")) if location else []
    labelled = path.suffix.lower() in _LABELLED or (path / "R8.txt").is_file()
    if location is None or labelled or not files:
        read = load_texts(source)
        kept = {name: read.origin[name] for name in ("name", "found", "licence")}
        return [*read.train, *read.test], kept
    texts = [text for file in files for text in _split(read_text(file))]
    return texts, {"name": source.reference, "found": location.found, "licence": "not stated"}


def _split(text: str) -> list[str]:
    """The paragraphs of a text, or its lines where none is empty."""
    text = text.strip()
    parts = (
        re.split(r"\n[^\S\n]*\n", text) if re.search(r"\n[^\S\n]*\n", text) else text.split("\n")
    )
    return [part for part in parts if part.strip()]


def _rows(texts: Sequence[str], numbers: dict[str, int]) -> Tensor:
    pieces = [
        np.array([*(numbers[word] for word in words_of(text) if word in numbers), -1], np.int32)
        for text in texts
    ]
    stream = np.concatenate(pieces)
    missing = -len(stream) % ROW
    return torch.from_numpy(np.pad(stream, (0, missing), constant_values=-1).reshape(-1, ROW))


def contexts(rows: Tensor, before: int, after: int) -> tuple[Tensor, Tensor]:
    """What is around each word of rows.

    Args:
        rows: int (n, length); -1 is between texts.
        before, after: words of the context.

    Returns:
        places: bool (n, length), where the words are.
        context: int (words, before + after), in the order of the text; -1 where the text has ended.
    """
    windows = F.pad(rows, (before, after), value=-1).unfold(1, before + 1 + after, 1)
    left, right = windows[..., :before], windows[..., before + 1 :]
    ended = (left < 0).flip(-1).cumsum(-1).flip(-1), (right < 0).cumsum(-1)
    context = torch.cat([left, right], dim=-1).masked_fill(torch.cat(ended, dim=-1) > 0, -1)
    return rows >= 0, context[rows >= 0]


def similarity_judgements() -> list[tuple[str, str, float]]:
    """WordSim-353 (Finkelstein et al. 2001), pairs of words with people's judgement, 0…10.

    It comes with gensim; without it there are none.
    """
    gensim = importlib.util.find_spec("gensim")
    if gensim is None or gensim.origin is None:
        return []
    path = Path(gensim.origin).parent / "test" / "test_data" / "wordsim353.tsv"
    if not path.is_file():
        return []
    lines = [line for line in read_text(path).splitlines() if line and not line.startswith("#")]
    return [
        (one.lower(), other.lower(), float(mean))
        for one, other, mean in csv.reader(lines, delimiter="\t")
    ]
