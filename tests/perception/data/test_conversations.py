"""Questions with answers for a chat bot."""

import gzip
from pathlib import Path

import pytest

from perception.data.conversations import load_conversations, read_qna, split
from perception.data.source import DataError, DataSource

QNA = """> # QnA pairs

# ? How are you?
- How's it going
- how are YOU

**Filters:**
- editorial = chitchat

```markdown
Fine,
thanks.
```

# ? Who are you?

```markdown
A bot.
```
"""


def test_questions_and_answers_of_a_qna_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "talk.qna.gz"
    path.write_bytes(gzip.compress(QNA.encode()))
    assert read_qna(path) == [
        ("How are you?", "Fine, thanks."),
        ("How's it going", "Fine, thanks."),
        ("how are YOU", "Fine, thanks."),
        ("Who are you?", "A bot."),
    ]


def test_every_fifth_wording_is_the_test_and_none_is_in_both_parts() -> None:
    rows = [(f"question {n}, {answer}?", answer) for n in range(12) for answer in ("yes", "no")]
    rows += [("QUESTION 3 yes", "yes"), ("question 4 – yes!", "no")]
    train, test = split(rows, wordings=10)
    assert test == [rows[8], rows[9], rows[18], rows[19]]
    assert len(train) == 16


def test_what_ships_has_five_personalities_in_two_languages() -> None:
    english = load_conversations(DataSource("chitchat"), "english", "friendly", 30)
    witty = load_conversations(DataSource("chitchat"), "english", "witty", 30)
    chinese = load_conversations(DataSource("chitchat"), "chinese_simplified", "friendly", 1000)
    assert len({answer for _, answer in english.train}) > 80
    assert {answer for _, answer in english.test} <= {answer for _, answer in english.train}
    assert {a for _, a in english.train} != {a for _, a in witty.train}
    assert len(chinese.train) > 10_000
    assert english.origin["licence"] == "MIT (Microsoft)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# ? Hi\n# ? Ho\n", "line 2: the question before has no answer"),
        ("```markdown\nHi\n```\n", "line 3: an answer without a question"),
        ("# ? Hi\n```markdown\n\n```\n", "line 4: an answer without a text"),
        ("# ? Hi\n```markdown\nHello\n", "the last question has no answer"),
        ("nothing\n", "has no questions"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.qna"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        load_conversations(DataSource(str(path)), "english", "friendly", 30)


def test_a_folder_without_the_personality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no english/qna_chitchat_witty\.qna; give a"):
        load_conversations(DataSource(str(tmp_path)), "english", "witty", 30)


def test_answers_with_too_few_wordings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "talk.tsv"
    path.write_text("".join(f"question {n}\tanswer {n % 3}\n" for n in range(12)))
    with pytest.raises(DataError, match="no answer with 5 wordings of its question"):
        load_conversations(DataSource(str(path)), "english", "friendly", 30)
