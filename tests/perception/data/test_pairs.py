"""Pairs of texts: files of several forms, how one is split, what is wrong with a file."""

import gzip
import os
from pathlib import Path

import pytest

from perception.data import pairs as module
from perception.data.pairs import load_pairs, read_pairs, split
from perception.data.source import DataError, DataSource

MULTI30K = Path(os.environ.get("FATHOM_DATA", "nowhere")) / "multi30k"


def test_a_file_a_folder_of_two_files_and_parallel_files_are_read(tmp_path: Path) -> None:
    rows = [(f"frage {n}", f"question {n}") for n in range(40)]
    text = "".join(f"{a}\t{b}\ta note\n" for a, b in rows)
    file = tmp_path / "all.tsv"
    file.write_text(text)
    pairs = load_pairs(DataSource(str(file)))
    assert sorted(pairs.train + pairs.test) == sorted(rows)
    assert 0 < len(pairs.test) < 12
    assert pairs.origin["train"] == len(pairs.train)

    both = tmp_path / "both"
    both.mkdir()
    (both / "train.tsv").write_text(text)
    (both / "test.tsv").write_text("ja\tyes\n\n")
    pairs = load_pairs(DataSource(str(both)))
    assert (pairs.train, pairs.test) == (rows, [("ja", "yes")])
    assert pairs.swapped().test == [("yes", "ja")]

    parallel = tmp_path / "parallel"
    parallel.mkdir()
    for place, language in enumerate(("de", "en")):
        lines = "".join(f"{row[place]}\n" for row in rows)
        (parallel / f"train.{language}.gz").write_bytes(gzip.compress(lines.encode()))
        (parallel / f"test_2016.{language}").write_text(lines)
    (parallel / "train.fr").write_text("question\n" * 40)
    pairs = load_pairs(DataSource(str(parallel)))
    assert pairs.train == pairs.test == rows


def test_no_text_of_the_test_is_learnt_from() -> None:
    pairs = [(f"a{n % 50}", f"b{n % 70}") for n in range(300)]
    train, test = split(pairs)
    assert test
    assert train
    assert not {t for pair in train for t in pair} & {t for pair in test for t in pair}
    assert (train, test) == split(pairs)


def test_what_ships_gives_credit_in_each_line() -> None:
    pairs = load_pairs(DataSource("tatoeba"))
    assert 1500 < len(pairs.train) < 2000
    assert 150 < len(pairs.test) < 300
    assert "CC BY 2.0 FR" in pairs.origin["licence"]
    import perception.data

    path = Path(perception.data.__file__).parent / "tatoeba" / "pairs.tsv"
    lines = path.read_text().splitlines()
    assert len(lines) == 2000
    assert all(" #" in line.split("\t")[2] for line in lines)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a\tb\nno tab here\n", "line 2: there must be two texts with a tab between them"),
        (b"a\tb\n\tb\n", "line 2: there must be two texts"),
        (b"a\tb\n\xff\tb\n", "line 2: not UTF-8"),
        (b"a\t" + b"b" * 10_001, "line 1: 10,003 characters, and a line may have 10,000"),
        (b"", "is empty"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as error:
        read_pairs(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    def refused(sentence: str) -> None:
        with pytest.raises(DataError, match=sentence):
            load_pairs(DataSource(str(tmp_path)))

    refused("holds no pairs of texts in a known form")
    for name, count in (("train.de", 3), ("train.en", 4), ("test.de", 1), ("test.en", 1)):
        (tmp_path / name).write_text("a\n" * count)
    refused("as many lines: 3 lines in train.de and 4 lines in train.en")
    (tmp_path / "train.en").unlink()
    refused("parallel files of one language, de")
    (tmp_path / "train.tsv").write_text("a\tb\n")
    refused(r"test\.tsv cannot be read")
    (tmp_path / "test.tsv").write_text("\n\n a\tb")
    assert load_pairs(DataSource(str(tmp_path))).test == [("a", "b")]
    (tmp_path / "train.tsv").write_bytes(b"\x1f\x8b broken")
    refused("not UTF-8")
    (tmp_path / "train.tsv").rename(tmp_path / "train.en.gz")
    refused("train.en.gz cannot be read")


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PAIRS", 1_935)
    with pytest.raises(DataError, match="tatoeba has 1,936 pairs, more than 1,935"):
        load_pairs(DataSource("tatoeba"))


@pytest.mark.skipif(not MULTI30K.is_dir(), reason="Multi30k is not in FATHOM_DATA")
def test_multi30k_is_german_and_english() -> None:
    pairs = load_pairs(DataSource(str(MULTI30K)))
    assert (len(pairs.train), len(pairs.test)) == (29000, 1000)
    assert pairs.train[0] == (
        "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
        "Two young, White males are outside near many bushes.",
    )
