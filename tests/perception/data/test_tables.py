"""Reading tables."""

import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perception.data import tables
from perception.data.source import DataError, DataSource
from perception.data.tables import load_numbers, read_table, read_text


def test_a_table_has_line_numbers_quotes_and_any_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfname,x\r\n\r\n"a ""b"", c",1\r\n')
    assert read_table(path) == [(1, ["name", "x"]), (3, ['a "b", c', "1"])]
    path = tmp_path / "a.tsv"
    path.write_text('x\ty\n"half quoted\t2\n')
    assert read_table(path) == [(1, ["x", "y"]), (2, ['"half quoted', "2"])]


def test_a_folder_says_what_is_the_test(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,y\n1,2,3\n2,3,4\n3,1,9\n")
    (tmp_path / "test.csv").write_text("a,b,y\n5,6,7\n")
    data = load_numbers(DataSource(str(tmp_path)), columns=["b"])
    np.testing.assert_array_equal(data.train, [[2], [3], [1]])
    np.testing.assert_array_equal(data.test_targets, [7])
    assert (data.columns, data.target) == (["b"], "y")
    assert data.origin["train"] == 3


def test_another_split_seed_is_another_test() -> None:
    one, other, again = (
        load_numbers(DataSource("diabetes"), split_seed=seed) for seed in (42, 1, 42)
    )
    assert not np.array_equal(one.test, other.test)
    np.testing.assert_array_equal(one.test, again.test)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b",,\n", "is empty"),
        (b"a;b;y\n1;2;3\n", "semicolons between its columns, and a .csv file must have commas"),
        (b"a\tb\ty\n1\t2\t3\n", "has tabs between"),
        (b"a|y\n1|3\n", "vertical bars"),
        (b"y\n1\n", "one column"),
        (b"1,2\n3,4\n", "row of column names"),
        (b"a,a\n3,4\n", "same name"),
        (b"a,y\n", "no rows"),
        (b"a,y\n1,2\n3\n", "line 3: 1 cells for 2 columns"),
        (b"a,y\n1,2\n3,many\n", "line 3: 'many' in the column y is no number"),
        (b"a,y\n1,2\n,2\n", "line 3: '' in the column a"),
        (b"a,y\n1,inf\n", "'inf' in the column y"),
        (b"a,y\n1,2\n", "at least 5 are needed"),
        (b"a,y\n" + b"1,2\n" * 9, "the same y"),
        (b"a,y\n" + b"".join(b"1,%d\n" % n for n in range(9)), "leave it out"),
        ("a,größe\n1,2\n".encode("latin1"), "not UTF-8; if it is latin1, convert it by `iconv"),
        ("a,y\n1,2\n".encode("utf-16"), "if it is utf-16"),
        (b"a,y\n1,\x002\n", "null characters"),
        (b'a,y\n"1,2\n' + b"x" * 200_000, "field"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        load_numbers(DataSource(str(path)))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert "a.csv" in str(error.value)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_a_text_larger_than_the_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / {bytes: "a.txt", gzip.compress: "a.gz", lzma.compress: "a.xz"}[compress]
    path.write_bytes(compress(b"a" * (2 << 20)))
    assert read_text(path) == "a" * (2 << 20)
    monkeypatch.setattr(tables, "_MOST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="has more than 1 MiB"):
        read_text(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a"):
        load_numbers(DataSource(str(tmp_path)))
    with pytest.raises(DataError, match="no input column 'weight'; it has age, sex"):
        load_numbers(DataSource("diabetes"), columns=["weight"])
    (tmp_path / "train.csv").write_text("a,y\n1,2\n2,3\n")
    (tmp_path / "test.csv").write_text("b,y\n1,2\n")
    with pytest.raises(DataError, match="different columns"):
        load_numbers(DataSource(str(tmp_path)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="is a pipe"):
        read_text(tmp_path / "pipe.csv")
