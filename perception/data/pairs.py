"""Pairs of texts, such as sentences with their translations, or questions with answers.

They are

- a `.tsv` file in UTF-8: text, tab, text in each line; what comes after a second tab is a note, and is not used;
- a folder with `train.tsv` and `test.tsv`;
- a folder of parallel files, which have as many lines: `train.de` and `train.en`, `test.de` and `test.en`, where the
  endings are any two languages, of more the first two of the alphabet. Names may go on before the language
  (`test_2016_flickr.de`) and end with `.gz`.

A single file is split: a tenth of the different first texts, by a hash, and at most a thousand pairs, are the test;
what shares a text with the test is not learnt from.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.data.source import DataError, DataSource
from perception.data.tables import read_text

Pair = tuple[str, str]

SHIPPED = {"tatoeba": "Fathom"}
HUB = {"multi30k": "bentrevett/multi30k"}
_LICENCES = {
    "multi30k": "not stated (captions of Flickr30k, Elliott et al. 2016)",
    "tatoeba": "CC BY 2.0 FR (tatoeba.org, credit in each line)",
    "tatoeba-cmn-eng": "CC BY 2.0 FR (tatoeba.org, credit in each line)",
}
_TEST_SHARE, _MOST_TESTS = 10, 1000
_LONGEST_LINE = 10_000
_MOST_PAIRS = 2_000_000


@dataclass
class Pairs:
    """Training and test pairs."""

    train: list[Pair]
    test: list[Pair]
    origin: dict[str, Any]

    def __post_init__(self) -> None:
        for part, pairs in (("learn from", self.train), ("test with", self.test)):
            if not pairs:
                raise DataError(f"{self.origin['name']} has no pairs of texts to {part}")
        count = len(self.train) + len(self.test)
        if count > _MOST_PAIRS:
            raise DataError(f"{self.origin['name']} has {count:,} pairs, more than {_MOST_PAIRS:,}")
        self.origin |= {"train": len(self.train), "test": len(self.test)}

    def swapped(self) -> Pairs:
        """The same with the second text first."""
        train, test = ([(b, a) for a, b in part] for part in (self.train, self.test))
        return Pairs(train, test, self.origin)


def load_pairs(source: DataSource) -> Pairs:
    """Find and read pairs of texts.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    location = source.locate(SHIPPED, HUB, licences=_LICENCES)
    if location.kind == "hub":
        train, test = _hub(location.value)
    elif location.kind == "shipped":
        train, test = split(read_pairs(Path(__file__).parent / "tatoeba" / "pairs.tsv"))
    else:
        train, test = _parts(location.path)
    licence = _LICENCES.get(Path(source.reference).name, "not stated")
    origin = {"name": source.reference, "found": location.found, "licence": licence}
    return Pairs(train, test, origin)


def _parts(path: Path) -> tuple[list[Pair], list[Pair]]:
    if path.is_file():
        return split(read_pairs(path))
    if (path / "train.tsv").is_file():
        return read_pairs(path / "train.tsv"), read_pairs(path / "test.tsv")
    train, test = _parallel(path, "train"), _parallel(path, "test")
    if train and test and train.keys() & test.keys():
        languages = sorted(train.keys() & test.keys())[:2]
        if len(languages) < 2:
            raise DataError(f"{path} has parallel files of one language, {languages[0]}")
        first, second = (
            _lines_of_both([part[name] for name in languages]) for part in (train, test)
        )
        return first, second
    tables = sorted([*path.glob("*.tsv"), *path.glob("*.txt")])
    if len(tables) == 1:
        return split(read_pairs(tables[0]))
    raise DataError(
        f"{path} holds no pairs of texts in a known form: neither train.tsv and test.tsv, nor parallel files"
        " such as train.de, train.en, test.de and test.en, nor a single .tsv file"
    )


def _parallel(folder: Path, part: str) -> dict[str, Path]:
    """Parallel files of a part by language; of several of a language the last one by name."""
    result = {}
    for path in sorted(folder.glob(f"{part}*.*")):
        language = path.name.removesuffix(".gz").rpartition(".")[2]
        if language not in ("tsv", "txt", "gz"):
            result[language] = path
    return result


def _lines_of_both(paths: Sequence[Path]) -> list[Pair]:
    parts = [read_lines(path) for path in paths]
    if len({len(part) for part in parts}) > 1:
        counts = " and ".join(
            f"{len(p)} lines in {q.name}" for p, q in zip(parts, paths, strict=True)
        )
        raise DataError(f"parallel files must have as many lines: {counts} in {paths[0].parent}")
    pairs = zip(*parts, strict=True)
    return [(first, second) for first, second in pairs if first and second]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8, which may be compressed by gzip, without spaces at their ends.

    Raises:
        DataError: it cannot be read or is too large, or a line is longer than 10,000 characters.
    """
    lines = [line.strip() for line in read_text(path).removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: {len(line):,} characters, and a line may have {_LONGEST_LINE:,}"
            )
    return lines


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file of lines "text TAB text"; empty lines are left out.

    Raises:
        DataError: it cannot be read, or a line is no pair.
    """
    pairs = []
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2 or not cells[0] or not cells[1]:
            raise DataError(
                f"{path}, line {number}: there must be two texts with a tab between them"
            )
        pairs.append((cells[0], cells[1]))
    return pairs


def split(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Training and test pairs; no text of the test is learnt from."""
    test = [pair for pair in pairs if zlib.crc32(pair[0].encode()) % _TEST_SHARE == 0]
    seen = {text for pair in test for text in pair}
    train = [pair for pair in pairs if not seen & set(pair)]
    return train, test[:_MOST_TESTS]


def _hub(identifier: str) -> tuple[list[Pair], list[Pair]]:
    import datasets

    try:
        data = datasets.load_dataset(identifier)
        train, test = (
            [(row["de"].strip(), row["en"].strip()) for row in data[part]]
            for part in ("train", "test")
        )
    except Exception as error:  # many kinds, of several libraries
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{identifier} cannot be fetched from the Hub: {reason[0]}") from error
    return train, test
