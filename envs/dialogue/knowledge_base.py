"""Reads the rows of a knowledge base from a CSV file or an SQLite database."""

import csv
import io
import itertools
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from envs.dialogue.domain import DomainError

Record = tuple[str, dict[str, str]]
"""A row's place, "file:line", and its values by slot name, without unknown ones."""

MOST_BYTES = 20_000_000
_DELIMITERS = ",;\t|"
_MOST_STEPS, _LONGEST_CELL = 30_000, 1_000_000
"""Of a database: the most thousands of instructions of a query, and the most bytes of a cell."""


def read_csv(place: str, path: Path, columns: Sequence[str], most: int) -> list[Record]:
    """Return the rows of a CSV file whose first line names the columns, in any order.

    Cells are between commas, semicolons, tabs or vertical bars. Other columns are ignored.

    Args:
        place: the place in the domain file that names it.
        most: number of rows to read; one more is read if there are more.

    Raises:
        DomainError: the file is wrong.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DomainError(f"{place}: {path} has more than {MOST_BYTES // 10**6} MB")
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as problem:
        raise DomainError(f"{place}: {path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise DomainError(f"{path}:{line}: this is not text in UTF-8") from None
    first = text.partition("\n")[0]
    # The sign that gives the first line most columns of the domain; a comma if none does.
    delimiter = max(
        _DELIMITERS,
        key=lambda sign: len({name.strip(' "\r') for name in first.split(sign)} & {*columns}),
    )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Record] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in header:
            if header.count(name) > 1:
                raise DomainError(f"{path}:1: column {name!r} is there twice")
        _check_columns(place, path, columns, header)
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise DomainError(
                    f"{place}: this row has {len(cells)} cells, the first line {len(header)}"
                )
            texts = (" ".join(cell.split()) for cell in cells)
            records.append(
                (
                    place,
                    {
                        name: text
                        for name, text in zip(header, texts, strict=True)
                        if text and name in columns
                    },
                )
            )
            if len(records) > most:
                break
    except csv.Error as problem:
        raise DomainError(f"{path}:{reader.line_num}: this is no CSV: {problem}") from None
    return records


def read_sqlite(
    place: str, path: Path, table: str, columns: Sequence[str], most: int
) -> list[Record]:
    """Return the rows of a table in the order of its row ids, or of a view. It may have other columns too.

    Args:
        place: the place in the domain file that names it.
        table: a table or a view of the database; the name is checked before it is used in a query.
        most: number of rows to read; one more is read if there are more.

    Raises:
        DomainError: the database is wrong.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            # A view could run for ever, or make cells of a gigabyte.
            calls = itertools.count(1)
            connection.set_progress_handler(lambda: next(calls) > _MOST_STEPS, 1000)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_CELL)
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                )
            ]
            if table not in tables:
                raise DomainError(
                    f"{place}: {path} has no table {table!r}; it has {_listed(tables)}"
                )
            there = [
                name
                for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
            ]
            _check_columns(place, path, columns, there)
            names = ", ".join(_quoted(name) for name in columns)
            rows = connection.execute(
                f"SELECT {names} FROM {_quoted(table)} LIMIT ?", (most + 1,)
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as problem:
        if str(problem) == "interrupted":
            raise DomainError(f"{place}: {path}, {table!r} takes too long to read") from None
        raise DomainError(f"{place}: {path} cannot be read as SQLite: {problem}") from None
    records: list[Record] = []
    for number, cells in enumerate(rows, start=1):
        row = {}
        for name, cell in zip(columns, cells, strict=True):
            if isinstance(cell, bytes):
                raise DomainError(f"{place}: {path}, row {number}: {name} is bytes, not text")
            if cell is not None and str(cell).strip():
                row[name] = " ".join(str(cell).split())
        records.append((f"{place}: {path}, row {number}", row))
    return records


def _check_columns(place: str, path: Path, columns: Sequence[str], there: Sequence[str]) -> None:
    for name in columns:
        if name not in there:
            raise DomainError(
                f"{place}: slot {name} has no column in {path}, which has {_listed(there)}"
            )


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names) if names else "none"
    return text if len(text) <= 200 else text[:200] + " …"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
