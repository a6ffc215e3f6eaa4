"""Response generation from dialogue acts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.data.source import DataError, DataSource
from perception.networks.response_generation import (
    LONGEST,
    Utterance,
    placeholders,
    text_of,
    words_of,
)
from perception.tasks.response_generation import ResponseGeneration, ResponseGenerationConfig

SLOTS = ("city", "date", "price", "theater", "genre")
CONFIG = ResponseGenerationConfig(
    embedding=24, hidden_size=32, dropout=0.0, learning_rate=0.01, batch_size=16, average=0.9
)


def _acts() -> list[Utterance]:
    result = []
    for slot in SLOTS:
        result.append(Utterance(["agent", "request", slot], words_of(f"Which {slot} do you want?")))
        message = words_of(f"The {slot} is {{{slot}}}.")
        result.append(Utterance(["agent", "inform", slot], message))
        for other in SLOTS:
            if other != slot:
                text = f"for {slot} {{{slot}}} and for {other} {{{other}}}"
                act = ["user", "inform", f"inform={slot}", f"inform={other}"]
                result.append(Utterance(act, words_of(text)))
    return result


Fitted = Callable[..., ResponseGeneration]


@pytest.fixture
def fitted(fit: Callable[..., Any], tmp_path: Path) -> Fitted:
    """Fits a task to acts with sentences, which also are the test."""

    def make(utterances: list[Utterance], epochs: int) -> ResponseGeneration:
        lines = [
            json.dumps({"act": row.act, "sentence": " ".join(row.words)}) for row in utterances
        ]
        for name in ("train", "test"):
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        data = ResponseGeneration.load_data(CONFIG, DataSource(str(tmp_path)))
        task: ResponseGeneration = fit(ResponseGeneration, CONFIG, data, epochs)
        return task

    return make


def test_an_act_never_learnt_from_is_expressed_with_its_own_slots(fitted: Fitted) -> None:
    unheard = ["user", "inform", "inform=date", "inform=genre"]
    utterances = [utterance for utterance in _acts() if utterance.act != unheard]
    task = fitted(utterances * 4, 10)
    message = task.model.say(unheard, {"date": "may 5th", "genre": "drama"})
    assert message == "for date may 5th and for genre drama"
    assert task.model.say(["agent", "inform", "price"], {"price": "9 dollars"}) == (
        "The price is 9 dollars."
    )
    result = task.evaluate([utterances])
    assert next(iter(result)) == "slots right"
    assert [metric.mean for metric in result.values()] == pytest.approx([1.0, 1.0, 1.0])
    assert task.predict(["agent request city", ("agent", "inform", "city")]) == [
        {"act": ["agent", "request", "city"], "sentence": "Which city do you want?"},
        {"act": ["agent", "inform", "city"], "sentence": "The city is {city}."},
    ]
    for wrong in ("agent dance", [], 3, None):
        with pytest.raises(DataError):
            task.predict([wrong])


def test_sampling_gives_several_sentences_for_an_act_and_greedy_decoding_one(
    fitted: Fitted,
) -> None:
    ways = [words_of("Where?"), words_of("In which city?"), words_of("What city?")]
    utterances = [Utterance(["agent", "request", "city"], way) for way in ways] * 20
    speaker = fitted(utterances, 10).model
    act = ["agent", "request", "city"]
    drawn = {speaker.say(act, {}, np.random.default_rng(seed)) for seed in range(40)}
    assert {text_of(way) for way in ways} <= drawn
    assert len({speaker.say(act, {}) for _ in range(3)}) == 1
    first = speaker.say(act, {}, np.random.default_rng(7))
    assert first == speaker.say(act, {}, np.random.default_rng(7))


def test_an_untrained_generator_ends_and_an_unknown_act_is_no_error(fitted: Fitted) -> None:
    speaker = fitted(_acts(), 0).model
    for act in ([], ["nothing"], ["agent", "dance"] * 100):
        assert len(speaker.sentence(act)) <= LONGEST
    assert speaker.say([], {}) == ""


def test_words_and_text() -> None:
    text = "The show at {start_time} o'clock costs 9.50, doesn't it?"
    words = words_of(text)
    assert words[3:5] == ["{start_time}", "o'clock"]
    assert text_of(words) == text
    assert placeholders(words_of("{b} or {a}, {b}!")) == ["a", "b", "b"]
