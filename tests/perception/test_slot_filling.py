"""Understanding sentences."""

import dataclasses
import itertools
import json
import math
import random
from pathlib import Path

import pytest
import torch
from perception.tasks.sentences import DataError, load
from torch import nn
from torch.nn import functional as F

from perception.networks.slot_filling import (
    IntentSlotModel,
    Sentence,
    Shape,
    TagChain,
    parts,
    spans,
    tokenize,
    well_formed,
)
from perception.tasks.slot_filling import SlotFilling, SlotFillingConfig, score

CITIES = ("taipei", "boston", "denver", "new york", "rome", "san jose")
DAYS = ("november 2nd", "may 5th", "monday", "june 1st")
SMALL = SlotFillingConfig(
    vocabulary=100,
    embedding=16,
    buckets=64,
    hidden_size=16,
    dropout=0.1,
    forget=0.1,
    learning_rate=0.01,
    batch_size=16,
)


def _travel(count: int, seed: int) -> list[Sentence]:
    """Journeys, in which only the first word tells arrival from departure."""
    rng = random.Random(seed)
    result = []
    for _ in range(count):
        verb, slot = rng.choice([("arrive", "arrival"), ("leave", "departure")])
        pieces = [(verb, ""), (rng.choice(CITIES), f"{slot}_city"), ("on", "")]
        pieces.append((rng.choice(DAYS), f"{slot}_day"))
        if rng.random() < 0.5:
            pieces = [("please", ""), *pieces]
        tokens, tags = [], []
        for text, name in pieces:
            for number, token in enumerate(text.split()):
                tokens.append(token)
                tags.append(f"{'I' if number else 'B'}-{name}" if name else "O")
        result.append(Sentence(tokens, tags, slot))
    return result


def _fitted(sentences: list[Sentence], epochs: int) -> IntentSlotModel:
    torch.manual_seed(0)
    model = SlotFilling.new_model(SMALL, sentences)
    task = SlotFilling(SMALL, model, sentences)
    for _ in range(epochs):
        list(task.epoch())
    return model


class _WordTagger(nn.Module):
    """A feed-forward network that tags every word by itself."""

    def __init__(self, words: int, tags: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Embedding(words, 32), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, tags)
        )

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.layers(words)


def test_arriving_and_leaving_are_told_apart_by_a_recurrent_network_and_not_word_by_word() -> None:
    sentences = _travel(250, 0)
    arriving = ["arrive", "taipei", "on", "november", "2nd"]
    leaving = ["leave", "taipei", "on", "november", "2nd"]
    as_arrival = ["O", "B-arrival_city", "O", "B-arrival_day", "I-arrival_day"]
    as_departure = ["O", "B-departure_city", "O", "B-departure_day", "I-departure_day"]

    model = _fitted([s for s in sentences if s.tokens[-5:] not in (arriving, leaving)], 5)
    tags, intent, confidence = model.understand(arriving)
    assert (tags, intent) == (as_arrival, "arrival")
    assert confidence > 0.9
    assert model.understand(leaving)[:2] == (as_departure, "departure")

    torch.manual_seed(0)
    tagger = _WordTagger(1 + len(model.vocabulary), len(model.tags))
    words = torch.tensor([number for s in sentences for number in model.words(s.tokens)])
    wanted = torch.tensor([number for s in sentences for number in model.tag_numbers(s.tags)])
    adam = torch.optim.Adam(tagger.parameters(), lr=0.01)
    for _ in range(100):
        adam.zero_grad()
        F.cross_entropy(tagger(words), wanted).backward()
        adam.step()
    one, other = (
        [model.tags[number] for number in tagger(torch.tensor(model.words(tokens))).argmax(1)]
        for tokens in (arriving, leaving)
    )
    assert one[0] == other[0] == "O", "it has learnt what a word by itself can tell"
    assert one[1:] == other[1:]
    assert (one, other) != (as_arrival, as_departure)


def test_the_chain_s_likelihood_and_best_tags_are_those_of_trying_every_sequence() -> None:
    torch.manual_seed(0)
    names = ["O", "B-a", "I-a", "B-b"]
    chain = TagChain(names)
    nn.init.normal_(chain.transitions)
    steps_between = chain.transitions.tolist()
    scores = torch.randn(1, 4, len(names))
    weights = {}
    for tags in itertools.product(range(len(names)), repeat=4):
        if well_formed([names[tag] for tag in tags]) != [names[tag] for tag in tags]:
            continue  # I-a after something else
        steps = zip((len(names), *tags[:-1]), tags, strict=True)
        total = sum(steps_between[a][b] for a, b in steps)
        total += sum(float(scores[0, place, tag]) for place, tag in enumerate(tags))
        weights[tags] = math.exp(total)
    everything = sum(weights.values())
    for tags, weight in weights.items():
        chance = chain.log_likelihood(scores, torch.tensor([tags])).exp()
        assert chance.item() == pytest.approx(weight / everything, rel=1e-3, abs=1e-6)
    best, log_chance = chain.best(scores)
    likeliest = max(weights, key=lambda tags: weights[tags])
    assert tuple(best[0].tolist()) == likeliest
    assert log_chance.exp().item() == pytest.approx(weights[likeliest] / everything, rel=1e-3)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["O", "B-city", "I-city", "O"], [("city", 1, 3)]),
        (["B-city", "B-city"], [("city", 0, 1), ("city", 1, 2)]),
        (["I-city", "I-city"], [("city", 0, 2)]),
        (["B-city", "I-day"], [("city", 0, 1), ("day", 1, 2)]),
        (["O", "O"], []),
        ([], []),
    ],
)
def test_spans_are_conlleval_s(tags: list[str], expected: list[tuple[str, int, int]]) -> None:
    assert spans(tags) == expected


def test_a_value_counts_only_whole() -> None:
    message = Sentence(["to", "new", "york", "today"], ["O", "B-city", "I-city", "B-day"], "go")
    half = (["O", "B-city", "O", "B-day"], "go", 1.0)
    result = score([message], [half])
    assert result["mean"] == pytest.approx(0.5)
    assert result["measures"] == {"intent_accuracy": 1.0, "whole_sentence_accuracy": 0.0}
    assert result["table"][1:] == [["city", 0.0, 0.0, 0.0, 1], ["day", 1.0, 1.0, 1.0, 1]]
    right = score([message] * 3, [(message.tags, "stay", 1.0)] * 3)
    assert (right["mean"], right["interval"]) == (1.0, [1.0, 1.0])
    assert right["measures"]["intent_accuracy"] == 0.0


def test_a_description_and_weights_make_the_same_understanding_again() -> None:
    model = _fitted(_travel(40, 0), 1)
    again = IntentSlotModel.described(json.loads(json.dumps(model.description())))
    again.network.load_state_dict(model.network.state_dict())
    for sentence in _travel(10, 1):
        assert again.understand(sentence.tokens) == model.understand(sentence.tokens)


@pytest.mark.parametrize(
    "change",
    [
        {"tags": ["B-city"]},
        {"tags": "O"},
        {"intents": []},
        {"vocabulary": [1]},
        {"shape": {"words": "eval"}},
        {"shape": {"hidden_size": -1}},
        {"shape": {"size": 3}},
        {"shape": None},
    ],
)
def test_a_description_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    shape = Shape(embedding=4, buckets=8, hidden_size=4)
    good = IntentSlotModel(shape, ["to"], ["O"], ["go"]).description()
    with pytest.raises(ValueError, match="describes no understanding"):
        IntentSlotModel.described(good | change)


def test_anything_can_be_said_to_it() -> None:
    model = _fitted(_travel(20, 0), 1)
    assert model.understand([]) == ([], model.intents[0], 0.0)
    for tokens in (["arrive"] * 5_000, ["x" * 10_000], ["\x00\x1b"], ["到達", "🙂"], [""]):
        tags, intent, confidence = model.understand(tokens)
        assert len(tags) == len(tokens)
        assert well_formed(tags) == tags
        assert intent in model.intents
        assert 0 <= confidence <= 1


def test_sentences_are_understood_alike_alone_and_together() -> None:
    model = _fitted(_travel(40, 0), 1)
    sentences = [sentence.tokens for sentence in _travel(20, 1)]
    together = model.understand_all([*sentences, []])
    for tokens, (tags, intent, confidence) in zip([*sentences, []], together, strict=True):
        alone = model.understand(tokens)
        assert alone[:2] == (tags, intent)
        assert alone[2] == pytest.approx(confidence, abs=1e-5)


def test_one_of_n_learns_as_well() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, words="one-hot", buckets=0)
    sentences = _travel(200, 0)
    model = SlotFilling.new_model(config, sentences)
    assert model.network.embedding is None
    task = SlotFilling(config, model, sentences)
    for _ in range(6):
        list(task.epoch())
    assert SlotFilling.test(model, _travel(50, 1))["mean"] > 0.95


def test_a_word_s_parts_are_the_same_in_every_process_and_shared_by_words_alike() -> None:
    # Python's own hash of a text differs from process to process.
    assert parts("Rome", 1000)[:2] == (374, 966)
    shared = set(parts("November", 10_000)) & set(parts("December", 10_000))
    assert len(shared) >= 4
    assert set(parts("Rome", 1000)) != set(parts("rome", 1000))


def test_text_is_cut_into_words_and_signs() -> None:
    message = tokenize("What's Elvis' 7:30 show, at O'Hare?")
    assert message == ["What", "'s", "Elvis", "'", "7:30", "show", ",", "at", "O", "'Hare", "?"]


# -- data -----------------------------------------------------------------------------------------


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
        ("train_A_full.json", "{", "train_A_full.json"),
        ("train_A_full.json", "[" * 100_000, "train_A_full.json"),
        ("train_A_full.json", '{"A": [{"data": [{"txt": "a"}]}]}', "train_A_full.json"),
        ("train_A_full.json", '{"A": []}', "no sentences to learn from"),
        ("train.jsonl", '{"tokens": ["a"], "tags": [], "intent": "b"}', "line 1"),
        ("train.jsonl", '{"tokens": ["a"], "tags": ["X-b"], "intent": "b"}', "line 1"),
        ("train.jsonl", '\n{"tokens": "a", "tags": "O", "intent": "b"}', "line 2"),
        ("train.jsonl", "[1]", "line 1"),
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
        ("query", "0 2 9 1\n2 3\n", "line 1: there should be numbers from 0 to 3"),
        ("query", "0 2 3 1\n2 three\n", "line 2: there should be numbers only"),
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


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load(tmp_path / "nothing")
