"""Running text as numbers of words."""

from pathlib import Path

import pytest
import torch

from perception.data.corpus import ROW, Corpus, contexts, load_corpus
from perception.data.source import DataError, DataSource

WORDS = "one two three four five six seven eight nine ten"


def _load(path: Path, **changes: int) -> Corpus:
    options = {"min_count": 2, "vocabulary": 1000} | changes
    return load_corpus(DataSource(str(path)), **options)


def _decoded(corpus: Corpus, rows: torch.Tensor) -> list[str]:
    """The texts of rows."""
    words = ["/" if n < 0 else corpus.words[n] for n in rows.flatten().tolist()]
    return [text.strip() for text in " ".join(words).split("/") if text.strip()]


def test_lines_are_texts_and_every_twentieth_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "my.txt"
    path.write_text("".join(f"{WORDS}, Word{'AB'[n % 2]}!\n" for n in range(60)))
    corpus = _load(path)
    train, test = _decoded(corpus, corpus.train), _decoded(corpus, corpus.test)
    assert test == [f"{WORDS} wordb"] * 3
    assert train[:2] == [f"{WORDS} worda", f"{WORDS} wordb"]
    assert len(train) == 57
    assert corpus.train.shape == (3, ROW)
    assert corpus.words == [*sorted(WORDS.split()), "worda", "wordb"]
    assert corpus.counts.tolist() == [57] * 10 + [30, 27]
    assert corpus.origin["words"] == 57 * 11


def test_paragraphs_are_texts_where_a_line_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "prose.md"
    path.write_text("\r\n \r\n".join([WORDS.replace(" six", "\r\nsix")] * 40))
    corpus = _load(path)
    assert _decoded(corpus, corpus.train) == [WORDS] * 38


def test_rare_words_and_those_beyond_the_vocabulary_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "my.txt"
    path.write_text("\n".join([f"{WORDS} often often", f"{WORDS} sometimes"] * 20 + ["once"]))
    assert {"often", "sometimes"} < set(_load(path).words)
    assert "once" not in _load(path).words
    assert "once" in _load(path, min_count=1).words
    few = _load(path, vocabulary=10)
    assert len(few.words) == 10
    assert few.words[0] == "often"
    assert few.train.max() == 9


def test_a_folder_of_texts_is_read_by_name_and_labelled_texts_lose_their_labels(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "books"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_text("\n".join([WORDS] * 30))
    (folder / "b" / "c.txt").write_text("\n".join([f"{WORDS} later"] * 30))
    corpus = _load(folder)
    assert _decoded(corpus, corpus.train)[-1] == f"{WORDS} later"
    table = tmp_path / "labelled.tsv"
    table.write_text("".join(f"{'ab'[n % 2]}\t{WORDS}\n" for n in range(60)))
    corpus = _load(table)
    assert set(_decoded(corpus, corpus.train)) == {WORDS}
    assert load_corpus(DataSource("sms-spam"), min_count=5, vocabulary=50).words[0] == "i"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n\n ", "is empty"),
        ("naïve\n".encode("latin1") * 30, "line 1: not UTF-8.*iconv -f latin1"),
        ((f"{WORDS}\n" * 30).encode("utf-16"), "not UTF-8.*utf-16"),
        (b"\0" * 50, "null characters"),
        (b"word", "has 1 texts .*, and 20 are needed"),
        (b"word\n" * 50, "has 1 different words that occur 2 times or more, and 10 are needed"),
        (b"... !\n" * 50, "has 0 different words"),
        (f"{WORDS}\n".encode() * 19 + b"unknown", "held-out texts.* no two known words in a row"),
        (
            "\n".join([*WORDS.split() * 5]).encode(),
            "training texts of .* no two known words in a row",
        ),
    ],
)
def test_unusable_texts_are_refused_in_a_sentence(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as error:
        _load(path)
    assert "\n" not in str(error.value)


def test_unknown_data_and_folders_without_texts_are_refused(tmp_path: Path) -> None:
    for path, sentence in (
        (tmp_path / "nowhere", "no data"),
        (tmp_path, "no texts in a known form"),
    ):
        with pytest.raises(DataError, match=sentence):
            _load(path)


def test_contexts_end_where_the_text_does() -> None:
    rows = torch.tensor([[1, 2, -1, 3, 4, 5], [6, -1, 7, 8, 9, -1]], dtype=torch.int32)
    places, context = contexts(rows, 2, 1)
    assert torch.equal(places, rows >= 0)
    assert context.tolist() == [
        [-1, -1, 2],
        [-1, 1, -1],
        [-1, -1, 4],
        [-1, 3, 5],
        [3, 4, -1],
        [-1, -1, -1],
        [-1, -1, 8],
        [-1, 7, 9],
        [7, 8, -1],
    ]
    assert contexts(rows, 2, 0)[1].tolist() == [row[:2] for row in context.tolist()]
