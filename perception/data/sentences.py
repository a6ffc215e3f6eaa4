"""Tagged sentences, and acts with sentences: SNIPS, ATIS, or one's own as JSON lines.

A folder is recognised by its files:

- SNIPS 2017 (Coucke et al. 2018): `train_*_full.json` for training, `validate_*.json` for the test. Its sentences
  ship with Fathom, as `snips`.
- ATIS (Hemphill et al. 1990), index-coded: `atis.{train,test}.{query,slots,intent}.csv`, a sentence per line,
  and `atis.dict.{vocab,slots,intent}.csv`, where line n is what index n stands for.
- one's own: `train.jsonl` and `test.jsonl`, a sentence per line:
  `{"tokens": ["to", "Rome"], "tags": ["O", "B-city"], "intent": "book"}`, or for response generation
  `{"act": ["agent", "request", "city"], "sentence": "Which city?"}`.
- the same as `train.conll` and `test.conll`: a token per line, its tag last in it, and an empty line after each
  sentence; a line `# intent: book` before the sentence has its intent, and other lines that begin with `#` are
  comments.
- one such file (CoNLL's may also end in `.txt`), or other `.jsonl` or `.conll` files of a folder, such as transcripts
  of dialogues: a fifth of the sentences, by a hash of their words, is the test; of very few at least one.

Tags are IOB, or BILOU or BIOES: U-x and S-x are B-x of a single token, L-x and E-x are the last I-x.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from perception.data.source import DataError, Location
from perception.data.tables import read_bytes
from perception.networks.response_generation import Utterance, words_of
from perception.networks.slot_filling import OUTSIDE, Sentence, tokenize_at

_Row = TypeVar("_Row", Sentence, Utterance)

SHIPPED = {"snips": "Fathom"}
"""Tagged sentences that are always there; a folder of this package."""


def folder_of(location: Location) -> Path:
    """The folder or file of tagged sentences that were found, or that ship."""
    return Path(__file__).with_name(location.value) if location.kind == "shipped" else location.path


def load(folder: Path) -> tuple[list[Sentence], list[Sentence]]:
    """Training and test sentences with tags and intents.

    Args:
        folder: or a file of JSON lines.

    Raises:
        DataError: it holds none of the known data sets, or is broken.
    """
    if list(folder.glob("train_*_full.json")):
        train, test = _snips(folder, "train_*_full.json"), _snips(folder, "validate_*.json")
    elif (folder / "atis.train.query.csv").is_file():
        train, test = _atis(folder, "train"), _atis(folder, "test")
    else:
        train, test = _own(
            folder, _sentence, "neither SNIPS, nor ATIS, nor any .jsonl or .conll file"
        )
    return _not_empty(folder, train, test)


def load_acts(folder: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Training and test acts with a sentence each, from JSON lines.

    Raises:
        DataError: there are none, or a file is broken.
    """
    train, test = _own(folder, _utterance, "no .jsonl file")
    return _not_empty(folder, train, test)


def _not_empty(folder: Path, train: list[_Row], test: list[_Row]) -> tuple[list[_Row], list[_Row]]:
    if not train or not test:
        raise DataError(
            f"{folder} has no sentences {'to test with' if train else 'to learn from'}: at least two different"
            " ones are needed, one to learn from and one to test with"
        )
    return train, test


def _own(
    folder: Path, read: Callable[[Any], _Row | None], lacking: str
) -> tuple[list[_Row], list[_Row]]:
    """One's own JSON lines, as two files or as others that are split."""
    if folder.is_file():
        return _split(_rows(folder, read))
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    for ending in (".jsonl", ".jsonl.gz", ".conll"):
        if (train := folder / f"train{ending}").is_file():
            return _rows(train, read), _rows(folder / f"test{ending}", read)
    if files := sorted([*folder.glob("*.jsonl"), *folder.glob("*.conll")]):
        return _split([row for path in files for row in _rows(path, read)])
    raise DataError(f"{folder} holds no sentences in a known form: {lacking}")


def _text(path: Path) -> str:
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # one file of SNIPS is


def _snips(folder: Path, pattern: str) -> list[Sentence]:
    result = []
    for path in sorted(folder.glob(pattern)):
        try:
            whole = json.loads(_text(path))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
        except RecursionError:
            raise DataError(f"{path} is not JSON: too deep") from None
        if not isinstance(whole, dict) or not all(isinstance(one, list) for one in whole.values()):
            raise DataError(f"{path} must be an object with a list of sentences for each intent")
        for intent, items in whole.items():
            for number, item in enumerate(items, 1):
                try:
                    result.append(_tagged(_pieces(item), intent))
                except DataError as error:
                    raise DataError(
                        f"{path}, {_short(intent)}, sentence {number}: {error}"
                    ) from None
    return [sentence for sentence in result if sentence.tokens]


def _pieces(item: Any) -> list[tuple[str, str | None]]:
    """The pieces of a sentence of SNIPS, with their slots."""
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, list) or not all(isinstance(piece, dict) for piece in data):
        raise DataError("there must be an object whose field 'data' is a list of objects")
    slots = [piece.get("entity") for piece in data]
    if not all(slot is None or isinstance(slot, str) for slot in slots):
        raise DataError("the field 'entity' must be a text")
    return [(_text_of(piece, "text"), slot) for piece, slot in zip(data, slots, strict=True)]


def _tagged(pieces: list[tuple[str, str | None]], intent: str) -> Sentence:
    """A sentence from pieces of text with their slots.

    The text is cut into tokens as a whole, as a user's is, not at the slots.
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
        cut = slice(1, -1) if inside else slice(None)  # marks of the ends, which are no words
        result.append(Sentence(tokens[cut], tag_row[cut], intent[0]))
    return [sentence for sentence in result if sentence.tokens]


def _numbers(path: Path, meanings: list[str]) -> list[list[str]]:
    rows = []
    for line, row in enumerate(_text(path).splitlines(), 1):
        try:
            numbers = [int(word) for word in row.split()]
        except ValueError:
            raise DataError(f"{path}, line {line}: only numbers are allowed") from None
        if not numbers or min(numbers) < 0 or max(numbers) >= len(meanings):
            raise DataError(
                f"{path}, line {line}: only numbers from 0 to {len(meanings) - 1} are allowed"
            )
        rows.append([meanings[number] for number in numbers])
    return rows


def _split(rows: list[_Row]) -> tuple[list[_Row], list[_Row]]:
    """Training and test rows; the same words are always in the same part, and no part is empty where two differ."""
    numbers = [_hash(row) for row in rows]
    tested = {number for number in numbers if number % 5 == 0} or set(numbers[-1:])
    learned = set(numbers) - tested
    if not learned and len(tested) > 1:
        learned = {numbers[0]}
    parts: tuple[list[_Row], list[_Row]] = ([], [])
    for row, number in zip(rows, numbers, strict=True):
        parts[number not in learned].append(row)
    return parts


def _hash(row: Sentence | Utterance) -> int:
    words = row.tokens if isinstance(row, Sentence) else row.words
    return zlib.crc32(" ".join(words).encode("utf-8", "replace"))


def _rows(path: Path, read: Callable[[Any], _Row | None]) -> list[_Row]:
    """The rows of a file that `read` makes of JSON objects."""
    return _conll(path, read) if path.suffix in (".conll", ".txt") else _lines(path, read)


def _conll(path: Path, read: Callable[[Any], _Row | None]) -> list[_Row]:
    """The rows of a file with a token and its tag per line, by the same objects as those of JSON lines."""
    rows, start = [], 1
    item: dict[str, Any] = {"tokens": [], "tags": [], "intent": "none"}
    for line, text in enumerate([*_text(path).split("\n"), ""], 1):
        cells = text.split()
        if text.startswith("#") and not item["tokens"]:
            name, _, value = text[1:].partition(":")
            if name.strip() == "intent":
                item["intent"] = value.strip()
        elif len(cells) == 1:
            raise DataError(
                f"{path}, line {line}: there must be a token and, last, its tag, with a space or tab"
                f" between them, not {_short(text)}"
            )
        elif cells and cells[0] != "-DOCSTART-":
            start = start if item["tokens"] else line
            item["tokens"].append(cells[0])
            item["tags"].append(cells[-1])
        elif item["tokens"]:
            try:
                row = read(item)
            except DataError as error:
                raise DataError(f"{path}, the sentence of line {start}: {error}") from None
            if row is not None:
                rows.append(row)
            item = {"tokens": [], "tags": [], "intent": "none"}
    return rows


def _lines(path: Path, read: Callable[[Any], _Row | None]) -> list[_Row]:
    """The rows of a file of JSON lines; those that `read` gives None for are left out."""
    rows = []
    for line, text in enumerate(_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            item = json.loads(text)
            if not isinstance(item, dict):
                raise DataError("a line must be a JSON object")
            row = read(item)
        except DataError as error:
            raise DataError(f"{path}, line {line}: {error}") from None
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {line}: not JSON ({error.msg}, column {error.colno})"
            ) from None
        except (ValueError, RecursionError):
            raise DataError(f"{path}, line {line}: not JSON") from None
        if row is not None:
            rows.append(row)
    return rows


def _sentence(item: dict[str, Any]) -> Sentence | None:
    if "line" in item and "tokens" not in item:
        return None  # a line of a transcript that no user said, or that has no labels
    tokens, tags = _texts(item, "tokens"), _texts(item, "tags")
    if len(tokens) != len(tags):
        raise DataError(f"there must be a tag per token, not {len(tags)} tags for {len(tokens)}")
    for number, tag in enumerate(tags, 1):
        if tag != OUTSIDE and not (tag[:2] in _TO_IOB and tag[2:]):
            raise DataError(
                f"tag {number} of the field 'tags' is {_short(tag)}, and a tag is O, B-NAME or"
                " I-NAME, or in BILOU L-NAME or U-NAME"
            )
    iob = [_TO_IOB.get(tag[:2], tag[:2]) + tag[2:] for tag in tags]
    return Sentence(tokens, iob, _text_of(item, "intent")) if tokens else None


_TO_IOB = {"B-": "B-", "I-": "I-", "L-": "I-", "U-": "B-", "E-": "I-", "S-": "B-"}
"""Kinds of tags of BILOU and BIOES, and what they are in IOB."""


def _utterance(item: dict[str, Any]) -> Utterance | None:
    act = item.get("act")
    symbols = act.split() if isinstance(act, str) else _texts(item, "act")
    words = words_of(_text_of(item, "sentence"))
    return Utterance(symbols, words) if symbols and words else None


def _texts(item: dict[str, Any], field: str) -> list[str]:
    value = item.get(field)
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise DataError(f"the field {field!r} must be a list of texts, not {_shown(item, field)}")
    return value


def _text_of(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    if not isinstance(value, str):
        raise DataError(f"the field {field!r} must be a text, not {_shown(item, field)}")
    return value


def _shown(item: dict[str, Any], field: str) -> str:
    return _short(item[field]) if field in item else "missing"


def _short(value: Any) -> str:
    """The beginning of a value, as JSON."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "…"


def origin(name: str, found: str, train: Sequence[Any], test: Sequence[Any]) -> dict[str, Any]:
    """The `origin` of sentences, for `TaskData`."""
    licences = {"snips": "CC0 1.0", "atis": "LDC (not free to distribute)"}
    licence = licences.get(Path(name).name, "not stated")
    sizes = {"train": len(train), "test": len(test)}
    return {"name": name, "found": found, "licence": licence, **sizes}
