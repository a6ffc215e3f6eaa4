"""Reading tagged sentences and acts."""

import json
from pathlib import Path

import pytest

from perception.data.sentences import load, load_acts
from perception.data.source import DataError
from perception.networks.response_generation import Utterance
from perception.networks.slot_filling import Sentence, spans


def _snips(folder: Path) -> Path:
    folder.mkdir()
    item = {"data": [{"text": "fly to "}, {"text": "New York", "entity": "city"}, {"text": "."}]}
    (folder / "train_Fly_full.json").write_bytes(
        json.dumps({"Fly": [item, {"data": [{"text": " "}]}]}, ensure_ascii=False).encode("latin-1")
    )
    (folder / "validate_Fly.json").write_text(json.dumps({"Fly": [item]}))
    return folder


def test_snips_is_read(tmp_path: Path) -> None:
    train, test = load(_snips(tmp_path / "snips"))
    wanted = Sentence(["fly", "to", "New", "York", "."], ["O", "O", "B-city", "I-city", "O"], "Fly")
    assert train == test == [wanted], "a sentence of spaces is none"


def _atis(folder: Path) -> Path:
    folder.mkdir()
    for name, lines in (
        ("dict.vocab", ["BOS", "EOS", "to", "rome"]),
        ("dict.slots", ["B-city", "O"]),
        ("dict.intent", ["flight"]),
    ):
        (folder / f"atis.{name}.csv").write_text("\n".join(lines) + "\n")
    for part in ("train", "test"):
        (folder / f"atis.{part}.query.csv").write_text("0 2 3 1\n2 3\n")
        (folder / f"atis.{part}.slots.csv").write_text("1 1 0 1\n1 0\n")
        (folder / f"atis.{part}.intent.csv").write_text("0\n0\n")
    return folder


def test_atis_is_read_without_its_marks_of_beginning_and_end(tmp_path: Path) -> None:
    train, test = load(_atis(tmp_path / "atis"))
    assert train == test == [Sentence(["to", "rome"], ["O", "B-city"], "flight")] * 2


def test_one_s_own_sentences_are_read(tmp_path: Path) -> None:
    line = '{"tokens": ["to", "Rome"], "tags": ["O", "B-city"], "intent": "fly"}\n'
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(line + "\n" + line)
    train, test = load(tmp_path)
    assert train == test == [Sentence(["to", "Rome"], ["O", "B-city"], "fly")] * 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("train_A_full.json", "\n{", "train_A_full.json, line 2: not JSON"),
        ("train_A_full.json", "[" * 100_000, "train_A_full.json is not JSON: too deep"),
        ("train_A_full.json", "[1]", "an object with a list of sentences for each intent"),
        ("train_A_full.json", '{"A": 3}', "an object with a list of sentences for each intent"),
        (
            "train_A_full.json",
            '{"A": [{"data": []}, {"data": [{"txt": "a"}]}]}',
            "\"A\", sentence 2: the field 'text' must be a text, not missing",
        ),
        ("train_A_full.json", '{"A": [{"data": 3}]}', "sentence 1: .* field 'data' is a list"),
        (
            "train_A_full.json",
            '{"A": [{"data": [{"text": "a", "entity": 3}]}]}',
            "sentence 1: the field 'entity' must be a text",
        ),
        ("train_A_full.json", '{"A": []}', "no sentences to learn from"),
        ("train.jsonl", '{"tokens": ["a"], "tags": [], "intent": "b"}', "line 1: .* 0 tags for 1"),
        (
            "train.jsonl",
            '{"tokens": ["a"], "tags": ["X-b"], "intent": "b"}',
            "line 1: tag 1 of the field 'tags' is \"X-b\", and a tag is O, B-NAME or I-NAME",
        ),
        ("train.conll", "to O\nRome\n", "line 2: there must be a token and, last, its tag"),
        ("train.conll", "to O\n\n\nRome city\n", 'the sentence of line 4: tag 1 .* "city"'),
        ("train.conll", "to O\n", "test.conll"),
        ("train.jsonl", '\n{"tokens": "a", "tags": "O", "intent": "b"}', "line 2: .*'tokens'"),
        ("train.jsonl", '{"tokens": ["a"], "tags": ["O"]}', "line 1: .*'intent'.* missing"),
        ("train.jsonl", '{"tokens": ["a"], "tags": ["O"], "intent": 3}', "line 1: .*'intent'.* 3"),
        ("train.jsonl", '{"tokens": ["a"], "tags": [1], "intent": "b"}', "line 1: .*'tags'"),
        ("train.jsonl", "{'a'}", "line 1: not JSON .*column 2"),
        ("train.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("train.jsonl", "[1]", "line 1: .* JSON object"),
        ("train.jsonl", '{"tokens": ["a"], "tags": ["O"], "intent": "b"}', "test.jsonl"),
        ("other.txt", "", "neither SNIPS"),
    ],
)
def test_broken_data_get_one_sentence(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=expected):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("query", "0 2 9 1\n2 3\n", "line 1: only numbers from 0 to 3"),
        ("query", "0 2 3 1\n2 three\n", "line 2: only numbers are allowed"),
        ("slots", "1 1 0\n1 0\n", "line 1 .* 4 words, 3 tags"),
        ("intent", "0\n", "differ in length"),
        ("intent", "0\n\n", "line 2"),
    ],
)
def test_broken_atis_gets_file_and_line(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    folder = _atis(tmp_path / "atis")
    (folder / f"atis.train.{name}.csv").write_text(content)
    with pytest.raises(DataError, match=expected):
        load(folder)


@pytest.mark.parametrize(
    ("single", "inside", "last"),
    [("B", "I", "I"), ("U", "I", "L"), ("S", "I", "E"), ("I", "I", "I")],
)
def test_files_of_conll_and_tags_of_bilou_and_bioes_are_read(
    single: str, inside: str, last: str, tmp_path: Path
) -> None:
    """The last case is IOB1, in which B- only separates neighbours."""
    begin = "I" if single == "I" else "B"
    text = (
        "-DOCSTART- O\n\n# intent: fly\n# from a book\nto\tTO\tO\n"
        f"New\tNN\t{begin}-city\nYork\tNN\t{inside}-city\nCity\tNN\t{last}-city\n"
        f"today\tRB\t{single}-day\n\n\n# 1\tO\nfive O"
    )
    for name in ("train", "test"):
        (tmp_path / f"{name}.conll").write_text(text)
    train, test = load(tmp_path)
    assert train == test
    assert [row.tokens for row in train] == [["to", "New", "York", "City", "today"], ["five"]]
    assert [row.intent for row in train] == ["fly", "none"]
    assert spans(train[0].tags) == [("city", 1, 4), ("day", 4, 5)]
    lines = [
        json.dumps({"tokens": row.tokens, "tags": row.tags, "intent": row.intent}) for row in train
    ]
    for name in ("train", "test"):
        (tmp_path / f"{name}.conll").unlink()
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    assert load(tmp_path) == (train, test), "the same as JSON lines"


def test_a_text_file_is_one_of_conll(tmp_path: Path) -> None:
    path = tmp_path / "conll.txt"
    path.write_text("to O\nRome B-city\n\nin O\nYork B-city\n")
    train, test = load(path)
    assert sorted(row.tokens for row in train + test) == [["in", "York"], ["to", "Rome"]]


def test_of_very_few_sentences_one_is_the_test(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    for start in range(20):  # the hashes of some are all for training, of others all for the test
        tokens = [str(start), str(start + 1), str(start + 2), str(start)]
        rows = [{"tokens": [one], "tags": ["O"], "intent": "a"} for one in tokens]
        path.write_text("\n".join(json.dumps(row) for row in rows))
        train, test = load(path)
        assert train
        assert test
        assert not {row.tokens[0] for row in train} & {row.tokens[0] for row in test}
    path.write_text(json.dumps(rows[0]) + "\n" + json.dumps(rows[0]))
    with pytest.raises(DataError, match="at least two different"):
        load(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load(tmp_path / "nothing")


def test_acts_are_read_as_lists_or_as_text(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        '{"act": ["agent", "request", "city"], "sentence": "Which city?"}\n'
        '{"act": "agent inform city", "sentence": "It is {city}."}\n'
    )
    (tmp_path / "test.jsonl").write_text('{"act": "user bye", "sentence": "bye"}')
    train, test = load_acts(tmp_path)
    assert train == [
        Utterance(["agent", "request", "city"], ["Which", "city", "?"]),
        Utterance(["agent", "inform", "city"], ["It", "is", "{city}", "."]),
    ]
    assert test == [Utterance(["user", "bye"], ["bye"])]
    (tmp_path / "test.jsonl").write_text('\n{"act": 3, "sentence": "bye"}')
    with pytest.raises(DataError, match=r"test.jsonl, line 2: the field 'act' .* not 3"):
        load_acts(tmp_path)


def test_one_file_is_split_and_the_same_words_are_in_one_part_only(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    rows = [
        {"tokens": ["to", str(number % 50)], "tags": ["O", "B-n"], "intent": "go"}
        for number in range(100)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    train, test = load(path)
    assert len(train) + len(test) == 100
    assert not {row.tokens[1] for row in train} & {row.tokens[1] for row in test}
    assert load(tmp_path) == (train, test)
