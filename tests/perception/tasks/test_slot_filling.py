"""Slot filling: the network, the task and its score."""

import dataclasses
import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from seqeval.metrics import f1_score as seqeval_f1
from torch import nn
from torch.nn import functional as F

from perception.data.source import DataSource
from perception.networks.slot_filling import (
    IntentSlotModel,
    Sentence,
    Shape,
    SlotFiller,
    TagChain,
    parts,
    spans,
    tokenize,
    well_formed,
)
from perception.tasks.slot_filling import SlotFilling, SlotFillingConfig, score
from perception.tasks.task import TaskData

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


def _data(
    folder: Path, train: list[Sentence], test: list[Sentence], config: SlotFillingConfig = SMALL
) -> TaskData:
    """Sentences by way of files, as a user's are."""
    folder.mkdir(exist_ok=True)
    for name, sentences in (("train", train), ("test", test)):
        lines = [json.dumps(sentence._asdict()) for sentence in sentences]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return SlotFilling.load_data(config, DataSource(str(folder)))


Fitted = Callable[..., IntentSlotModel]


@pytest.fixture
def fitted(fit: Callable[..., Any], tmp_path: Path) -> Fitted:
    """Fits a model to sentences."""

    def make(sentences: list[Sentence], epochs: int) -> IntentSlotModel:
        data = _data(tmp_path / "fitted", sentences, sentences[:1])
        model: IntentSlotModel = fit(SlotFilling, SMALL, data, epochs).model
        return model

    return make


class _WordTagger(nn.Module):
    """A feed-forward network that tags every word by itself."""

    def __init__(self, words: int, tags: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Embedding(words, 32), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, tags)
        )

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.layers(words)


def test_arriving_and_leaving_are_told_apart_by_a_recurrent_network_and_not_word_by_word(
    fitted: Fitted,
) -> None:
    sentences = _travel(250, 0)
    arriving = ["arrive", "taipei", "on", "november", "2nd"]
    leaving = ["leave", "taipei", "on", "november", "2nd"]
    as_arrival = ["O", "B-arrival_city", "O", "B-arrival_day", "I-arrival_day"]
    as_departure = ["O", "B-departure_city", "O", "B-departure_day", "I-departure_day"]

    model = fitted([s for s in sentences if s.tokens[-5:] not in (arriving, leaving)], 5)
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
    assert next(iter(result)) == "slot F1"
    assert result["slot F1"].mean == pytest.approx(0.5)
    assert result["intent accuracy"].mean == 1.0
    assert result["whole-sentence accuracy"].mean == 0.0
    assert result["slot F1"].table[1:] == [["city", 0.0, 0.0, 0.0, 1], ["day", 1.0, 1.0, 1.0, 1]]
    right = score([message] * 3, [(message.tags, "stay", 1.0)] * 3)
    assert right["slot F1"].mean == 1.0
    assert right["intent accuracy"].mean == 0.0


def test_f1_is_seqeval_s() -> None:
    rng = random.Random(0)
    tags = ["O", "O", "B-city", "I-city", "B-day", "I-day"]
    for _ in range(20):
        true, predicted = (
            [[rng.choice(tags) for _ in range(1 + number)] for number in range(8)] for _ in range(2)
        )
        predicted[3] = true[3]
        rows = [Sentence(["w"] * len(one), one, "go") for one in true]
        metrics = score(rows, [(one, "go", 1.0) for one in predicted])
        assert metrics["slot F1"].mean == pytest.approx(seqeval_f1(true, predicted))


def test_without_slots_in_the_data_there_is_no_f1() -> None:
    sentences = [Sentence(["hello"], ["O"], "greet"), Sentence(["bye"], ["O"], "leave")]
    result = score(sentences, [(["O"], "greet", 1.0), (["B-x"], "greet", 1.0)])
    assert list(result) == ["intent accuracy", "whole-sentence accuracy"]
    assert result["intent accuracy"].mean == 0.5


def test_a_test_without_slots_is_said(tmp_path: Path) -> None:
    for name, tags in (("train", '["O", "B-city"]'), ("test", '["O", "O"]')):
        line = f'{{"tokens": ["to", "Rome"], "tags": {tags}, "intent": "go"}}'
        (tmp_path / f"{name}.jsonl").write_text(line)
    config, source = SlotFillingConfig(), DataSource(str(tmp_path), {})
    assert SlotFilling.load_data(config, source).origin["slots"].endswith("slot F1 is not defined")


@pytest.mark.parametrize(("tags", "intents"), [(["B-city"], ["go"]), (["O"], [])])
def test_a_model_needs_the_tag_o_and_an_intent(tags: list[str], intents: list[str]) -> None:
    network = SlotFiller(Shape(embedding=4, buckets=8, hidden_size=4), 2, ["O"], 1)
    with pytest.raises(ValueError, match="needs the tag O"):
        IntentSlotModel(network, ["to"], tags, intents)


def test_anything_can_be_said_to_it(
    fitted: Fitted,
) -> None:
    model = fitted(_travel(20, 0), 1)
    assert model.understand([]) == ([], model.intents[0], 0.0)
    for tokens in (["arrive"] * 5_000, ["x" * 10_000], ["\x00\x1b"], ["到達", "🙂"], [""]):
        tags, intent, confidence = model.understand(tokens)
        assert len(tags) == len(tokens)
        assert well_formed(tags) == tags
        assert intent in model.intents
        assert 0 <= confidence <= 1


def test_sentences_are_understood_alike_alone_and_together(
    fitted: Fitted,
) -> None:
    model = fitted(_travel(40, 0), 1)
    sentences = [sentence.tokens for sentence in _travel(20, 1)]
    together = model.understand_all([*sentences, []])
    for tokens, (tags, intent, confidence) in zip([*sentences, []], together, strict=True):
        alone = model.understand(tokens)
        assert alone[:2] == (tags, intent)
        assert alone[2] == pytest.approx(confidence, abs=1e-5)


def test_one_of_n_learns_as_well(fit: Callable[..., Any], tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, words="one-hot", buckets=0)
    data = _data(tmp_path, _travel(200, 0), _travel(50, 1), config)
    task = fit(SlotFilling, config, data, 6)
    assert task.network.embedding is None
    assert task.evaluate(task.batches(data.test, training=False))["slot F1"].mean > 0.95


def test_a_text_is_answered_with_its_slots(fit: Callable[..., Any], tmp_path: Path) -> None:
    task = fit(SlotFilling, SMALL, _data(tmp_path, _travel(250, 0), _travel(5, 1)), 5)
    (answer,) = task.predict(["leave new york on may 5th"])
    assert answer["intent"] == "departure"
    assert answer["slots"] == [
        {"slot": "departure_city", "value": "new york"},
        {"slot": "departure_day", "value": "may 5th"},
    ]
    json.dumps(answer)


def test_a_very_long_training_sentence_is_cut(fit: Callable[..., Any], tmp_path: Path) -> None:
    long = Sentence(["rome"] * 3000, ["B-city"] * 3000, "go")
    data = _data(tmp_path, [long, *_travel(5, 0)], _travel(2, 1))
    task = fit(SlotFilling, SMALL, data, 0)
    lengths = {batch[0].shape[1] for batch in task.batches(data.train, training=True)}
    assert max(lengths) == 200


def test_batches_of_long_sentences_are_small_in_learning_and_in_reading(
    fit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention compares all pairs of words: 256 sentences of 200 words would take 5 GB."""
    long = Sentence(["arrive"] * 5_000, ["O"] * 5_000, "go")
    data = _data(tmp_path, [*_travel(20, 0), *[long] * 12], _travel(5, 1), SMALL)
    task = fit(SlotFilling, SMALL, data, 1)
    sizes = []
    forward = SlotFiller.forward

    def counted(self: SlotFiller, words: torch.Tensor, parts: torch.Tensor) -> Any:
        sizes.append(words.shape)
        return forward(self, words, parts)

    monkeypatch.setattr(SlotFiller, "forward", counted)
    for batch in task.batches(data.train, training=True):
        task.train_step(batch, 0)
    task.model.understand_all([long.tokens] * 12)
    assert max(length for _, length in sizes) == 200
    assert max(count * length**2 for count, length in sizes) <= 200_000


def test_a_word_s_parts_are_the_same_in_every_process_and_shared_by_words_alike() -> None:
    # Python's own hash of a text differs from process to process.
    assert parts("Rome", 1000)[:2] == (374, 966)
    shared = set(parts("November", 10_000)) & set(parts("December", 10_000))
    assert len(shared) >= 4
    assert set(parts("Rome", 1000)) != set(parts("rome", 1000))


def test_text_is_cut_into_words_and_signs() -> None:
    message = tokenize("What's Elvis' 7:30 show, at O'Hare?")
    assert message == ["What", "'s", "Elvis", "'", "7:30", "show", ",", "at", "O", "'Hare", "?"]
