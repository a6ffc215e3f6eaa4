"""Reading labelled texts, and turning them into numbers."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from perception.data import sentences
from perception.data.source import DataError, DataSource
from perception.data.texts import (
    TextRows,
    Tfidf,
    WordNumbers,
    length_batches,
    load_texts,
    words_of,
)

_SMS = 'ham\tsee you at 8\nspam\tWIN "£1000" now\nham\tok\nspam\tfree; call, now\n' * 3


def test_what_ships_is_found_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    sms = load_texts(DataSource("sms-spam"))
    assert (len(sms.train), len(sms.test), sms.classes) == (3901, 1673, ["ham", "spam"])
    share = sms.test_labels.float().mean()
    assert share == pytest.approx(747 / 5574, abs=1e-3), "both parts have the same share"
    assert sms.origin["licence"].startswith("CC BY 4.0")
    snips = load_texts(DataSource("snips"))
    assert (len(snips.train), len(snips.test), len(snips.classes)) == (13784, 700, 7)
    assert snips.origin["licence"] == "CC0 1.0"
    films = load_texts(DataSource("movie-sentiment"), fold=9)
    assert (len(films.train), len(films.test)) == (9596, 1066)
    assert films.classes == ["negative", "positive"]
    assert films.test_labels.sum() == 533, "both classes have the same share in every fold"
    for name in ("sms-spam", "snips", "movie-sentiment"):
        notice = Path(sentences.__file__).with_name(name) / "NOTICE"
        assert "Licence: C" in notice.read_text()


def test_the_sentences_of_snips_that_ship_have_their_slots() -> None:
    location = DataSource("snips").locate(sentences.SHIPPED)
    train, test = sentences.load(sentences.folder_of(location))
    assert (len(train), len(test)) == (13784, 700)
    assert train[0].tags[5:7] == ["B-playlist", "I-playlist"]
    if (original := Path(os.environ.get("FATHOM_DATA", "nowhere")) / "snips").is_dir():
        assert sentences.load(original) == (train, test)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", _SMS),
        ("a.tsv", "label\tnote\ttext\n" + _SMS.replace("\t", "\tnone\t")),
        (
            "a.csv",
            "text,label\n"
            '"see you at 8",ham\n"WIN ""£1000"" now",spam\nok,ham\n"free; call, now",spam\n' * 1,
        ),
        (
            "a.jsonl",
            "\n".join(
                json.dumps(dict(zip(("label", "text"), line.split("\t"), strict=True)))
                for line in _SMS.splitlines()
            ),
        ),
    ],
)
def test_one_s_own_texts_are_read_in_each_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    for reference in (tmp_path / name, tmp_path):
        texts = load_texts(DataSource(str(reference)), test_share=0.5)
        assert texts.classes == ["ham", "spam"]
        rows = {
            (text, int(label))
            for part, labels in (
                (texts.train, texts.train_labels),
                (texts.test, texts.test_labels),
            )
            for text, label in zip(part, labels, strict=True)
        }
        assert rows == {
            ("see you at 8", 0),
            ("ok", 0),
            ('WIN "£1000" now', 1),
            ("free; call, now", 1),
        }


def test_what_says_what_is_the_test_has_no_folds(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text("text,label\nyes,a\nno,b\n")
    assert len(load_texts(DataSource(str(tmp_path)), fold=0).test) == 2
    with pytest.raises(DataError, match="no --fold"):
        load_texts(DataSource(str(tmp_path)), fold=1)


def test_a_folder_says_what_is_the_test(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(_SMS)
    (tmp_path / "test.jsonl").write_text('{"text": "ok", "label": "ham"}\n')
    texts = load_texts(DataSource(str(tmp_path)))
    assert (len(texts.train), texts.test) == (12, ["ok"])
    tagged = '{"tokens": ["to", "Rome"], "tags": ["O", "B-city"], "intent": "%s"}\n'
    for part in ("train", "test"):
        (tmp_path / f"{part}.jsonl").write_text(tagged % "fly" + tagged % "drive")
    (tmp_path / "train.tsv").unlink()
    texts = load_texts(DataSource(str(tmp_path)))
    assert (texts.train, texts.classes) == (["to Rome"] * 2, ["drive", "fly"])


def test_reuters_is_read_from_its_two_files(tmp_path: Path) -> None:
    (tmp_path / "R8.txt").write_text("1\ttrain\tearn\n2\ttest\tacq\n3\ttrain\tacq\n")
    (tmp_path / "R8.clean.txt").write_text("profit rose\nmerger\nshares bought")
    texts = load_texts(DataSource(str(tmp_path)))
    assert (texts.train, texts.test) == (["profit rose", "shares bought"], ["merger"])
    assert texts.train_labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tsv", b"", "is empty"),
        ("a.csv", b"text;label\na;b\n", "semicolons between its columns"),
        ("a.csv", b"message,kind\na,b\n", "columns named text and label"),
        ("a.tsv", b"a\tb\tc\n", "columns named text and label"),
        ("a.tsv", b"ham\tok\nham\n", "line 2: 1 cells for 2 columns"),
        ("a.tsv", b"ham\tok\n\tno\n", "line 2: there is no label"),
        ("a.tsv", b"ham\tok\nspam\t \n", "line 2: there is no text"),
        ("a.tsv", b"ham\tok\nham\tyes\nham\tno\nham\twell\n", "are of one class, 'ham'"),
        ("a.tsv", b"ham\tok\nham\tyes\nspam\tno\n", "one text of the class 'spam'"),
        ("a.tsv", b"a\tx\na\ty\nb\tx\nb\ty\nc\tx\nc\ty\n", "too few texts to be split"),
        ("a.tsv", "ham\tgrüß dich\n".encode("latin1"), "line 1: not UTF-8"),
        ("a.jsonl", b'{"text": "a", "label": "b"}\n{"text": "a"}\n', "line 2: there must be"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n', "line 1: there must be"),
        ("a.jsonl", b"text\n", "line 1: not JSON"),
        ("a.txt", b"ham ok\n", "must be a file of .csv, .tsv, .jsonl"),
    ],
)
def test_texts_that_cannot_be_used_are_one_sentence(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_texts(DataSource(str(tmp_path / name)))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_texts_or_with_more_classes_in_the_test_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="neither one file, nor train and test"):
        load_texts(DataSource(str(tmp_path)))
    (tmp_path / "train.tsv").write_text(_SMS)
    (tmp_path / "test.tsv").write_text("eggs\tok\n")
    with pytest.raises(DataError, match="have the class 'eggs', which the training texts lack"):
        load_texts(DataSource(str(tmp_path)))


def test_what_is_missing_is_said_with_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    with pytest.raises(DataError) as error:
        load_texts(DataSource("r8"))
    for part in ("at r8", "FATHOM_DATA", "https://", "licence"):
        assert part in str(error.value)


def test_stored_tfidf_gives_what_scikit_learn_gave() -> None:
    texts = ["the cat sat", "the dog sat down", "a cat and a dog", "nothing at all"]
    options = {"analyzer": "char_wb", "ngram_range": [2, 3]}
    stored = json.loads(json.dumps(Tfidf.fit(texts, options)))
    wanted = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 3)).fit(texts)
    new = ["a cat, two dogs", "unheard of", ""]
    np.testing.assert_allclose(
        Tfidf(**stored)(new).toarray(), wanted.transform(new).toarray(), atol=1e-5
    )
    with pytest.raises(DataError, match="no words to learn from"):
        Tfidf.fit(["?", "!"], {"token_pattern": r"\w+"})


def test_words_are_numbered_cut_and_padded() -> None:
    assert words_of("Don't call £1000!") == ["don", "t", "call", "1000"]
    stored = WordNumbers.fit(["a b", "b c", "a b"], longest=3)
    assert stored == {"words": ["a", "b"], "longest": 3}
    numbers = WordNumbers(**stored)(["b", "A x b b b", "?"])
    assert numbers.tolist() == [[3, 0, 0], [2, 1, 3], [0, 0, 0]]


def test_batches_have_labels_texts_and_encodings() -> None:
    texts = ["b", "a a b b", "c"]
    rows = TextRows(texts, torch.tensor([0, 1, 0]), WordNumbers(["a", "b"], longest=9))
    assert rows[1] == ("a a b b", 1)
    labels, chosen, (numbers,) = rows.__getitems__([2, 0])
    assert (labels.tolist(), chosen, numbers.tolist()) == ([0, 0], ["c", "b"], [[1], [3]])
    sparse = TextRows(
        texts, torch.tensor([0, 1, 0]), Tfidf(["a", "b"], [1.0, 1.0], {"token_pattern": r"\w+"})
    )
    _, _, (terms, places, weights) = sparse.__getitems__([1, 2, 0])
    assert (terms.tolist(), places.tolist()) == ([0, 1, 1], [0, 2, 2])
    assert weights.tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 1])


def test_ten_folds_have_every_text_in_the_test_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{'ab'[n % 2]}\ttext {n}\n" for n in range(40)))
    tests = []
    for fold in range(10):
        texts = load_texts(DataSource(str(path)), fold=fold)
        assert not set(texts.train) & set(texts.test)
        tests += texts.test
    assert sorted(tests) == sorted(f"text {n}" for n in range(40))
    assert load_texts(DataSource(str(path)), fold=0, split_seed=1).test != tests[:4]
    path.write_text("a\tone\n" * 20 + "b\ttwo\n" * 9)
    with pytest.raises(DataError, match="'b' has 9, and there are 10 folds"):
        load_texts(DataSource(str(path)), fold=0)


def test_a_broken_archive_of_sentence_polarity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sentence_polarity.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="is not the archive of sentence polarity"):
        load_texts(DataSource(str(tmp_path)))
    for content, expected in ((None, "no item named"), ("x" * 10_000_001, "more than 10,000,000")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if content:
                archive.writestr("sentence_polarity/rt-polarity.neg", content)
        with pytest.raises(DataError, match=expected):
            load_texts(DataSource(str(tmp_path)))


def test_batches_of_like_lengths_have_every_text_once() -> None:
    torch.manual_seed(0)
    encoded = (torch.arange(9) < torch.randint(1, 10, (500, 1))).int()
    batches = length_batches(encoded, 8)
    assert sorted(number for batch in batches for number in batch) == list(range(500))
    assert max(map(len, batches)) == 8
    lengths = encoded.sum(dim=1)
    spread = [int(lengths[batch].max() - lengths[batch].min()) for batch in batches]
    assert sum(spread) / len(spread) < 2, "of random batches it is about 8"
    assert length_batches(encoded, 8) != batches
