"""Saying acts in words."""

import json

import numpy as np
import pytest
import torch
from perception.tasks.utterances import Utterances, UtterancesConfig, bleu

from perception.networks.seq2seq import (
    LONGEST,
    ResponseGenerator,
    Utterance,
    placeholders,
    text_of,
    words_of,
)

SLOTS = ("city", "date", "price", "theater", "genre")
CONFIG = UtterancesConfig(
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


def _fitted(utterances: list[Utterance], epochs: int) -> ResponseGenerator:
    torch.manual_seed(0)
    speaker = Utterances.new_model(CONFIG, utterances)
    task = Utterances(CONFIG, speaker, utterances)
    for _ in range(epochs):
        list(task.epoch())
    return speaker


def test_an_act_that_was_never_heard_is_said_with_its_own_slots() -> None:
    unheard = ["user", "inform", "inform=date", "inform=genre"]
    utterances = [utterance for utterance in _acts() if utterance.act != unheard]
    speaker = _fitted(utterances * 4, 10)
    message = speaker.say(unheard, {"date": "may 5th", "genre": "drama"})
    assert message == "for date may 5th and for genre drama"
    assert speaker.say(["agent", "inform", "price"], {"price": "9 dollars"}) == (
        "The price is 9 dollars."
    )
    result = Utterances.test(speaker, utterances)
    assert result["mean"] == 1.0
    assert result["measures"]["bleu"] == pytest.approx(1.0)


def test_a_draw_says_one_act_in_several_ways_and_the_likeliest_is_always_the_same() -> None:
    ways = [words_of("Where?"), words_of("In which city?"), words_of("What city?")]
    speaker = _fitted([Utterance(["agent", "request", "city"], way) for way in ways] * 20, 10)
    act = ["agent", "request", "city"]
    drawn = {speaker.say(act, {}, np.random.default_rng(seed)) for seed in range(40)}
    assert {text_of(way) for way in ways} <= drawn
    assert len({speaker.say(act, {}) for _ in range(3)}) == 1
    first = speaker.say(act, {}, np.random.default_rng(7))
    assert first == speaker.say(act, {}, np.random.default_rng(7))


def test_an_untrained_speaker_ends_and_an_unknown_act_is_no_error() -> None:
    torch.manual_seed(0)
    speaker = Utterances.new_model(CONFIG, _acts())
    for act in ([], ["nothing"], ["agent", "dance"] * 100):
        assert len(speaker.sentence(act)) <= LONGEST
    assert speaker.say([], {}) == ""


def test_a_description_and_weights_make_the_same_speaker_again() -> None:
    speaker = _fitted(_acts(), 2)
    again = ResponseGenerator.described(json.loads(json.dumps(speaker.description())))
    again.network.load_state_dict(speaker.network.state_dict())
    for utterance in _acts():
        assert again.sentence(utterance.act) == speaker.sentence(utterance.act)
    for change in (
        {"words": "abc"},
        {"acts": [1]},
        {"hidden_size": 0},
        {"dropout": "a"},
        {"hidden_size": 1e9},
    ):
        with pytest.raises(ValueError, match="describes no speaker"):
            ResponseGenerator.described(speaker.description() | change)


def test_words_and_text() -> None:
    text = "The show at {start_time} o'clock costs 9.50, doesn't it?"
    words = words_of(text)
    assert words[3:5] == ["{start_time}", "o'clock"]
    assert text_of(words) == text
    assert placeholders(words_of("{b} or {a}, {b}!")) == ["a", "b", "b"]


def test_bleu_of_known_sentences() -> None:
    reference = ["the", "cat", "is", "on", "the", "mat"]
    assert bleu([reference], [[["no"], reference]]) == pytest.approx(1.0)
    other = ["the", "cat", "sat", "on", "the", "mat"]
    assert bleu([other], [[reference]]) == 0.0, "no four words in a row are right"
    longer = ["so", "the", "cat", "is", "on", "the", "mat"]
    assert bleu([longer], [[reference]]) == pytest.approx((6 * 5 * 4 * 3 / (7 * 6 * 5 * 4)) ** 0.25)
    shorter = ["cat", "is", "on", "the", "mat"]
    assert bleu([shorter], [[reference]]) == pytest.approx(np.exp(1 - 6 / 5))
