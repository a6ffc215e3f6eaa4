"""Sentences to learn understanding from: SNIPS, ATIS, or one's own as JSON lines.

A folder is known by the files in it:

- SNIPS 2017 (Coucke et al. 2018): `train_*_full.json` to learn from, `validate_*.json` as the test.
- ATIS (Hemphill et al. 1990) as numbers: `atis.{train,test}.{query,slots,intent}.csv`, a sentence a
  line, and `atis.dict.{vocab,slots,intent}.csv`, where line n says what number n means.
- one's own: `train.jsonl` and `test.jsonl`, a sentence a line, as
  `{"tokens": ["to", "Rome"], "tags": ["O", "B-city"], "intent": "book"}`.
- such lines in one file, or in other `.jsonl` files of a folder, such as transcripts of dialogues: a fifth
  of the sentences, by a hash of their words, is the test.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from perception.networks.slot_filling import OUTSIDE, Sentence, tokenize_at


class DataError(ValueError):
    """Data that cannot be used, and why, in one sentence."""


def load(folder: Path) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences to learn from, and sentences to test with.

    Raises:
        DataError: the folder (or file of JSON lines) holds none of the known data sets, or is broken.
    """
    if folder.is_file():
        train, test = _split(_lines(folder))
    elif not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    elif list(folder.glob("train_*_full.json")):
        train, test = _snips(folder, "train_*_full.json"), _snips(folder, "validate_*.json")
    elif (folder / "atis.train.query.csv").is_file():
        train, test = _atis(folder, "train"), _atis(folder, "test")
    elif (folder / "train.jsonl").is_file():
        train, test = _lines(folder / "train.jsonl"), _lines(folder / "test.jsonl")
    elif files := sorted(folder.glob("*.jsonl")):
        train, test = _split([sentence for path in files for sentence in _lines(path)])
    else:
        raise DataError(
            f"{folder} holds no sentences that are known here: neither SNIPS (train_*_full.json), nor "
            "ATIS (atis.train.query.csv), nor any .jsonl file"
        )
    if not train or not test:
        raise DataError(f"{folder} holds no sentences to {'test with' if train else 'learn from'}")
    return train, test


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # one file of SNIPS is


def _snips(folder: Path, pattern: str) -> list[Sentence]:
    result = []
    for path in sorted(folder.glob(pattern)):
        try:
            whole = json.loads(_text(path))
            for intent, items in whole.items():
                for item in items:
                    pieces = [(piece["text"], piece.get("entity")) for piece in item["data"]]
                    result.append(_tagged(pieces, intent))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} is not a file of SNIPS: {error}") from error
    return [sentence for sentence in result if sentence.tokens]


def _tagged(pieces: list[tuple[str, str | None]], intent: str) -> Sentence:
    """A sentence of pieces of text and the slots they fill.

    The text is split as a whole, as a person's would be, not where the slots are.
    """
    slots: list[tuple[int, str | None]] = []
    for number, (text, slot) in enumerate(pieces):
        slots += [(number, slot)] * len(text)
    tokens, tags, before = [], [], -1
    for at, token in tokenize_at("".join(text for text, _ in pieces)):
        number, slot = slots[at]
        tokens.append(token)
        tags.append(OUTSIDE if slot is None else f"{'I' if number == before else 'B'}-{slot}")
        before = number
    return Sentence(tokens, tags, intent)


def _atis(folder: Path, part: str) -> list[Sentence]:
    meanings = {
        kind: _text(folder / f"atis.dict.{kind}.csv").splitlines()
        for kind in ("vocab", "slots", "intent")
    }
    words = _numbers(folder / f"atis.{part}.query.csv", meanings["vocab"])
    tags = _numbers(folder / f"atis.{part}.slots.csv", meanings["slots"])
    intents = _numbers(folder / f"atis.{part}.intent.csv", meanings["intent"])
    if not len(words) == len(tags) == len(intents):
        raise DataError(f"the files atis.{part}.*.csv in {folder} differ in length")
    result = []
    for line, (tokens, tag_row, intent) in enumerate(zip(words, tags, intents, strict=True), 1):
        if len(tokens) != len(tag_row) or len(intent) != 1:
            raise DataError(
                f"line {line} of the files atis.{part}.*.csv in {folder} has {len(tokens)} words, "
                f"{len(tag_row)} tags and {len(intent)} intents"
            )
        inside = tokens[0] == "BOS" and tokens[-1] == "EOS"
        cut = slice(1, -1) if inside else slice(None)  # marks of the ends, which nobody says
        result.append(Sentence(tokens[cut], tag_row[cut], intent[0]))
    return [sentence for sentence in result if sentence.tokens]


def _numbers(path: Path, meanings: list[str]) -> list[list[str]]:
    rows = []
    for line, row in enumerate(_text(path).splitlines(), 1):
        try:
            numbers = [int(word) for word in row.split()]
        except ValueError:
            raise DataError(f"{path}, line {line}: there should be numbers only") from None
        if not numbers or min(numbers) < 0 or max(numbers) >= len(meanings):
            raise DataError(
                f"{path}, line {line}: there should be numbers from 0 to {len(meanings) - 1}"
            )
        rows.append([meanings[number] for number in numbers])
    return rows


def _split(sentences: list[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences to learn from, and others."""
    train: list[Sentence] = []
    test: list[Sentence] = []
    for sentence in sentences:
        number = zlib.crc32(" ".join(sentence.tokens).encode("utf-8", "replace"))
        (test if number % 5 == 0 else train).append(sentence)
    return train, test


def _lines(path: Path) -> list[Sentence]:
    result = []
    for line, text in enumerate(_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            item = json.loads(text)
            if isinstance(item, dict) and "line" in item and "tokens" not in item:
                continue  # of a transcript: not a user's, or nobody knows what it means
            sentence = _checked(item)
        except (ValueError, RecursionError):
            sentence = None
        if sentence is None:
            raise DataError(
                f"{path}, line {line}: a sentence has tokens, as many tags (O, B-NAME or I-NAME) and "
                "an intent"
            )
        result.append(sentence)
    return [sentence for sentence in result if sentence.tokens]


def _checked(item: Any) -> Sentence | None:
    if not isinstance(item, dict):
        return None
    tokens, tags, intent = item.get("tokens"), item.get("tags"), item.get("intent")
    if not (isinstance(tokens, list) and isinstance(tags, list) and isinstance(intent, str)):
        return None
    if len(tokens) != len(tags) or not all(isinstance(word, str) for word in tokens + tags):
        return None
    if not all(tag == OUTSIDE or (tag[:2] in ("B-", "I-") and tag[2:]) for tag in tags):
        return None
    return Sentence(tokens, tags, intent)
