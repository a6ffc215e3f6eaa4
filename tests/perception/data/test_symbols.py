"""Texts as numbers of symbols, and back."""

import json

import pytest

from perception.data.symbols import Characters, Subwords
from perception.networks.seq2seq import END, PADDING, SPECIAL, UNKNOWN

TEXTS = [
    "The lower, the better: 25.",
    "lower and lower",
    "He lowers it.",
    "They lowered 25 of them.",
]


def test_subwords_are_joined_to_the_text_again_and_frequent_words_are_one_symbol() -> None:
    fitted = Subwords.fit(TEXTS, 60)
    assert json.loads(json.dumps(fitted)) == fitted == Subwords.fit(TEXTS, 60)
    subwords = Subwords(**fitted)
    rows = subwords.split(TEXTS)
    assert [subwords.join(row) for row in rows] == TEXTS
    assert "▁lower" in subwords.names(rows[1])
    assert subwords.names(rows[0])[-3:] == ["2", "5", "."], "digits and punctuation stay alone"
    (row,) = subwords.split(["lower λ"])
    assert row[-1] == UNKNOWN
    assert subwords.join(row) == "lower"


def test_chinese_is_cut_into_characters() -> None:
    texts = ["我认为你了解我。", "我认为 Tom 了解我。"]
    subwords = Subwords(**Subwords.fit(texts, 100))
    rows = subwords.split(texts)
    assert subwords.names(rows[0]) == ["▁", *texts[0]]
    assert [subwords.join(row) for row in rows] == texts


def test_texts_become_a_padded_tensor_and_long_ones_are_cut() -> None:
    characters = Characters(**Characters.fit(["12+3", "4"]))
    assert characters.symbols == ["+", "1", "2", "3", "4"]
    one, plus = SPECIAL + 1, SPECIAL
    rows = characters(["1+", "", "1+1+1", "9"], 3)
    assert rows.tolist() == [
        [one, plus, END, PADDING],
        [END, PADDING, PADDING, PADDING],
        [one, plus, one, END],
        [UNKNOWN, END, PADDING, PADDING],
    ]
    assert characters.join(rows[2].tolist()) == "1+1"
    assert characters([], 3).shape == (0, 1)


def test_what_came_as_no_utf_8_is_read_as_question_marks() -> None:
    subwords = Subwords(**Subwords.fit(["who? you? he?"] * 3, 50))
    assert subwords.split(["who\udcff"]) == subwords.split(["who?"])


@pytest.mark.parametrize("joins", [[["a", "x"]], [["b", "a"]]])
def test_joins_of_unknown_symbols_are_refused(joins: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="no symbols for the join"):
        Subwords(["a", "b", "ab"], joins)
