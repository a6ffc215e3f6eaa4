"""Stories with questions: files, and their numbers."""

import gzip
import io
import lzma
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import torch

from perception.data import stories as module
from perception.data.source import DataError, DataSource
from perception.data.stories import encode, load_stories, question_of, word_numbers
from perception.data.texts import WordNumbers

STORY = (
    "1 Ann went out.\n2 Bob sat.\n3 Where is Ann?\tout\t1\n4 Ann sat.\n5 Who sat?\tBob,Ann\t2 4\n"
)


def test_babi_ships_with_all_its_tasks() -> None:
    stories = load_stories(DataSource("babi"))
    assert (stories.origin["train"], stories.origin["test"]) == (20_000, 20_000)
    for part in (stories.train, stories.test):
        counts = Counter(one.kind for one in part)
        assert counts.pop("6, 9, 10 yes, no, maybe") == 3_000
        assert len(counts) == 17
        assert set(counts.values()) == {1_000}
        assert all(one.supports and one.story for one in part)


@pytest.mark.parametrize("name", ["qa1_train.txt", "train.txt.xz"])
def test_a_question_is_about_what_came_before_it(tmp_path: Path, name: str) -> None:
    for part in ("train", "test"):
        path = tmp_path / name.replace("train", part)
        path.write_bytes(lzma.compress(STORY.encode()) if path.suffix == ".xz" else STORY.encode())
    first, second = load_stories(DataSource(str(tmp_path))).train
    assert first.story == ("Ann went out.", "Bob sat.")
    assert (first.question, first.answer, first.supports) == ("Where is Ann?", "out", (0,))
    assert second.story == ("Ann went out.", "Bob sat.", "Ann sat.")
    assert (second.answer, second.supports) == ("Bob,Ann", (1, 2))


def test_every_fifth_story_of_a_single_file_is_the_test(tmp_path: Path) -> None:
    (tmp_path / "my-test.txt").write_text(STORY * 6)
    stories = load_stories(DataSource(str(tmp_path / "my-test.txt")))
    assert (len(stories.train), len(stories.test)) == (10, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann went out.\n", "line 1: it must begin with a number"),
        ("1 Where is Ann?\tout\n", "line 1: a question needs a statement before it"),
        ("1 Ann sat.\n2 Where?\t\t1\n", "line 2: there is no answer"),
        (STORY, "no questions to test with"),
        ("1 Ann sat.\n" * 9, "no questions to learn from"),
        (b"1 Ann\n2 \xff\xfe\n", "line 2: not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    tmp_path: Path, text: str | bytes, expected: str
) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=expected):
        load_stories(DataSource(str(path)))
    path.rename(tmp_path / "s.txt.xz")
    with pytest.raises(DataError, match=r"s\.txt\.xz cannot be read"):
        load_stories(DataSource(f"{path}.xz"))


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.txt"
    path.write_text("".join(f"{n} Ann sat.\n" for n in range(1, 1002)))
    with pytest.raises(DataError, match="line 1001: a story has at most 1,000 statements"):
        load_stories(DataSource(str(path)))
    path.write_text(STORY * 9)
    monkeypatch.setattr(module, "_MOST_QUESTIONS", 17)
    with pytest.raises(DataError, match="has more than 17 questions"):
        load_stories(DataSource(str(path)))


def test_an_archive_is_read_and_a_broken_one_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        for name in ("en/my_train.txt", "en/my_test.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(STORY)
            tar.addfile(info, io.BytesIO(STORY.encode()))
    stories = load_stories(DataSource(str(tmp_path)))
    assert (len(stories.train), len(stories.test)) == (2, 2)
    whole = (tmp_path / "all.tar.gz").read_bytes()
    for content in (whole[:50], lzma.compress(b""), gzip.compress(b"no archive" * 99)):
        (tmp_path / "all.tar.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read|no tar archive"):
            load_stories(DataSource(str(tmp_path)))


def test_more_words_than_int16_has_are_told_apart() -> None:
    words = WordNumbers([str(n) for n in range(40_000)], 4)
    stories, _, _ = encode([question_of("39999 sat. Who?", "a test")], words, 1)
    assert stories[0, 0, 0] == 40_001


def test_the_last_statements_come_first_as_numbers() -> None:
    one = question_of("Ann sat. Bob ran out! Where did Ann sit?", "a test")
    assert (one.story, one.question) == (("Ann sat.", "Bob ran out!"), "Where did Ann sit?")
    words = WordNumbers(**word_numbers([one]))
    stories, questions, supports = encode([one._replace(supports=(0,))], words, 3)
    names = ["", "?", *sorted(words.numbers)]
    assert [[names[n] for n in row if n] for row in stories[0].tolist()] == [
        ["bob", "ran", "out"],
        ["ann", "sat"],
        [],
    ]
    assert supports.tolist() == [[False, True, False]]
    assert torch.equal(encode([one], words, 1)[0][0], stories[0, :1])
    assert questions.shape == (1, stories.shape[2])


@pytest.mark.parametrize("text", ["Ann sat.", "Where is Ann?", "", 3])
def test_a_text_needs_a_statement_and_a_question(text: object) -> None:
    with pytest.raises(DataError):
        question_of(text, "a test")
