"""Tables of a user's own, and tables of numbers for regression.

A table is a `.csv` file (commas, quotes as RFC 4180 has them) or a `.tsv` file (tabs, no quotes), in UTF-8, with
a row of column names. For regression every cell is a number, and the last column is what is predicted. A folder
holds `train.csv` and `test.csv`; of a single file a fifth of the rows is the test.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.data.source import DataError, DataSource

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_MOST_BYTES = 1 << 29
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}


def read_bytes(path: Path) -> bytes:
    """The content of a file, which may be compressed (`.gz`, `.xz`).

    Raises:
        DataError: it cannot be read, or has more than 512 MiB.
    """
    opened: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix.lower(), open)
    try:
        if path.is_fifo():  # opening one may wait for ever
            raise DataError(f"{path} is a pipe: data are read from a file, more than once")
        with opened(path, "rb") as file:
            data: bytes = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path} has more than {_MOST_BYTES >> 20} MiB")
    return data


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte-order mark, which may be compressed (`.gz`, `.xz`).

    Raises:
        DataError: it cannot be read, is empty or too large, or has another encoding.
    """
    return decode_text(read_bytes(path), path)


def decode_text(data: bytes, path: Path) -> str:
    """The bytes of a text file as `read_text` gives them."""
    if not data.strip():
        raise DataError(f"{path} is empty")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        looks = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8; if it is {looks}, convert it by"
            f" `iconv -f {looks} -t utf-8 {path} > {path.stem}-utf8{path.suffix}`"
        ) from None
    if "\0" in text:
        raise DataError(f"{path} is no text file: it has null characters")
    return text


def read_table(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a .csv or .tsv file, that of the column names too, each with its line number.

    Raises:
        DataError: it cannot be read, is empty, or has another delimiter.
    """
    text, delimiter = read_text(path), _DELIMITERS[path.suffix.lower()]
    head = next((line for line in text.splitlines() if line.strip()), "")
    if delimiter not in head:
        for other, name in _NAMES.items():
            if other in head:
                raise DataError(
                    f"{path} has {name} between its columns, and a {path.suffix} file must have"
                    f" {_NAMES[delimiter]}"
                )
    quoting: Any = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise DataError(f"{path} is empty")
    return rows


def file_in(folder: Path, name: str, where: str) -> Path:
    """A file within a folder, which a table there names.

    Args:
        where: file and line of the table, for errors.

    Raises:
        DataError: there is none, or it is outside.
    """
    # Path.resolve and Path.is_file raise errors for loops of links and for long names.
    path = folder / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{where}: {name!r} is outside the folder")
    if not os.path.isfile(path):
        raise DataError(f"{where}: there is no file {name!r}")
    return path


# -- tables of numbers -----------------------------------------------------------------------------------


@dataclass
class Numbers:
    """Inputs and targets of a regression."""

    train: np.ndarray
    """(n, columns) float64."""
    train_targets: np.ndarray
    """(n,) float64."""
    test: np.ndarray
    test_targets: np.ndarray
    columns: list[str]
    target: str
    origin: dict[str, Any]


def load_numbers(source: DataSource, columns: Sequence[str] = (), split_seed: int = 42) -> Numbers:
    """Find and read a table of numbers.

    Args:
        columns: names of the inputs; all columns but the last one if empty.
        split_seed: decides which fifth of the rows is the test, where the data do not say.

    Raises:
        DataError: there is none, or it cannot be used.
    """
    location = source.locate({"diabetes": "scikit-learn"})
    licence = "not stated"
    if location.kind == "shipped":
        names, rows = _diabetes()
        parts, licence = [rows], "not stated (Efron et al. 2004), with scikit-learn (BSD)"
    else:
        names, parts = _own(location.path)
    chosen = _chosen(list(columns) or names[:-1], names, source.reference)
    if len(parts) == 1:
        parts = _split(parts[0], split_seed, source.reference)
    train, test = parts
    if len(np.unique(train[:, -1])) < 2:
        raise DataError(f"all training rows of {source.reference} have the same {names[-1]}")
    for number in chosen:
        if (train[:, number] == train[0, number]).all():
            raise DataError(
                f"the column {names[number]} of {source.reference} has the same value in all training"
                " rows: leave it out"
            )
    sizes = {"train": len(train), "test": len(test)}
    return Numbers(
        *(train[:, chosen], train[:, -1], test[:, chosen], test[:, -1]),
        [names[number] for number in chosen],
        names[-1],
        {"name": source.reference, "found": location.found, "licence": licence, **sizes},
    )


def _chosen(wanted: Sequence[str], names: Sequence[str], reference: str) -> list[int]:
    for name in wanted:
        if name not in names[:-1]:
            raise DataError(
                f"{reference} has no input column {name!r}; it has {', '.join(names[:-1])}"
            )
    return [names.index(name) for name in wanted]


def _diabetes() -> tuple[list[str], np.ndarray]:
    """442 patients, ten measurements, and how far the disease has got a year later (Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    return [*data.feature_names, "progression"], np.column_stack([data.data, data.target])


def _own(path: Path) -> tuple[list[str], list[np.ndarray]]:
    if path.is_file() and path.suffix.lower() in _DELIMITERS:
        names, rows = _read_numbers(path)
        return names, [rows]
    if not (path / "train.csv").is_file():
        raise DataError(
            f"{path} holds no numbers in a known form: neither a .csv or .tsv file, nor a folder with"
            " train.csv and test.csv"
        )
    names, train = _read_numbers(path / "train.csv")
    others, test = _read_numbers(path / "test.csv")
    if names != others:
        raise DataError(f"train.csv and test.csv in {path} have different columns")
    return names, [train, test]


def _read_numbers(path: Path) -> tuple[list[str], np.ndarray]:
    (_, names), *lines = read_table(path)
    names = [name.strip() for name in names]
    if len(names) < 2:
        raise DataError(f"{path} has one column, and needs one or more inputs and a target")
    if not any(_number(name) is None for name in names):
        raise DataError(f"{path}, line 1: there must be a row of column names")
    if len(set(names)) < len(names):
        raise DataError(f"{path}, line 1: two columns have the same name")
    if not lines:
        raise DataError(f"{path} has column names and no rows")
    rows = []
    for line, cells in lines:
        if len(cells) != len(names):
            raise DataError(f"{path}, line {line}: {len(cells)} cells for {len(names)} columns")
        values = [_number(cell) for cell in cells]
        if None in values:
            column = values.index(None)
            raise DataError(
                f"{path}, line {line}: {cells[column]!r} in the column {names[column]} is no number"
            )
        rows.append(values)
    return names, np.array(rows, np.float64)


def _number(text: str) -> float | None:
    """The finite number that a text is, None for any other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _split(rows: np.ndarray, seed: int, reference: str) -> list[np.ndarray]:
    from sklearn.model_selection import train_test_split

    if len(rows) < 5:
        raise DataError(f"{reference} has {len(rows)} rows; at least 5 are needed")
    return list(train_test_split(rows, test_size=0.2, random_state=seed))


def numbers_of(text: Any, columns: Sequence[str]) -> list[float]:
    """A user's row, such as "59,2,32.1", as numbers.

    Raises:
        DataError: it is no text of a number for each column.
    """
    cells = text.split(",") if isinstance(text, str) else []
    values = [_number(cell) for cell in cells]
    if len(values) != len(columns) or None in values:
        raise DataError(
            f"an input must be {len(columns)} numbers with commas between them"
            f" ({', '.join(columns)}), not {text!r}"
        )
    return [value for value in values if value is not None]
