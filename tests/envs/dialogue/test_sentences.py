"""Sentences of a domain as data."""

import importlib
from typing import Any

import pytest

from envs import DATA_SCHEMES
from envs.dialogue.sentences import dialogue_data


def test_every_registered_provider_is_found() -> None:
    for target in DATA_SCHEMES.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_held_out_sentences_say_what_no_training_sentence_says() -> None:
    options = {"sentences": 2000}
    train, test = dialogue_data("movie", "tagged-sentences", options)
    assert len(train) + len(test) == 2000
    assert 0.1 < len(test) / 2000 < 0.3
    assert dialogue_data("movie", "tagged-sentences", options) == (train, test)

    def told(rows: list[Any]) -> set[tuple[str, ...]]:
        return {(intent, *tokens) for tokens, tags, intent in rows if set(tags) != {"O"}}

    assert not told(train) & told(test)
    for tokens, tags, intent in train:
        assert len(tokens) == len(tags)
        assert isinstance(intent, str)
    assert sum(intent == "unclear" for *_, intent in train) > 20


def test_some_combinations_of_slots_are_only_in_the_test() -> None:
    train, test = dialogue_data("movie", "acts", {"sentences": 2000})
    acts, held_out = ({tuple(sorted(act)) for act, _ in part} for part in (train, test))
    assert any(len(act) > 3 for act in held_out)
    assert not [act for act in acts & held_out if len(act) > 3]
    for act, sentence in train:
        for symbol in act:
            kind, _, slot = symbol.partition("=")
            assert kind != "inform" or not slot or f"{{{slot}}}" in sentence


@pytest.mark.parametrize(
    ("name", "form", "options", "expected"),
    [
        ("nowhere", "acts", {}, "nowhere"),
        ("movie", "images", {}, "not images"),
        ("movie", "acts", {"words": 3}, "no option 'words'"),
        ("movie", "acts", {"sentences": 0}, "from 2 to"),
        ("movie", "acts", {"sentences": "9"}, "from 2 to"),
        ("movie", "acts", {"sentences": 2}, "leave none"),
    ],
)
def test_what_cannot_be_provided_gets_one_sentence(
    name: str, form: str, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected) as error:
        dialogue_data(name, form, options)
    assert "\n" not in str(error.value)
