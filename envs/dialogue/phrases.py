"""Frames to sentences and back, by the phrases of the domain.

A user's sentence comes with its labels for slot filling: the intent, which is the act and, for a request, its
slot; and a tag for each token, "B-city" where a value of the slot city begins, "I-city" where it continues,
"O" elsewhere (IOB2, Tjong Kim Sang & Veenstra 1999). `understood` turns labels into a frame: exactly for right
labels, as well as possible for wrong ones.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from envs.dialogue.domain import Domain
from envs.dialogue.frames import (
    ACTS,
    ANY_WORD,
    UNKNOWN_WORD,
    AgentFrame,
    Frame,
    askable,
    requestable,
)
from envs.dialogue.words import ANY_WORDS, NUMBERS, PLACEHOLDER, key_of, placeholders, tokens_of

CONNECTORS = (("and",), (",",), (",", "and"), ())
"""Tokens between two parts of a sentence."""
GREETING = ("hello",)
"""The sentence of an "inform" without values."""
_Choice = TypeVar("_Choice")
_NUMBER_WORDS = {str(number): word for number, word in enumerate(NUMBERS)}

CLOSE_ENOUGH = 0.8
"""Similarity (`difflib`) from which a misspelt text is taken for a value."""


@dataclass(frozen=True)
class Sentence:
    """A user's sentence with its labels."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    """One per token: "O", "B-SLOT" or "I-SLOT"."""
    intent: str
    """An act, or "request.SLOT"."""


def tag_labels(domain: Domain) -> tuple[str, ...]:
    """Return all tags of tokens, "O" first."""
    return ("O", *(f"{part}-{slot.name}" for slot in domain.slots for part in "BI"))


def some_frame(domain: Domain, rng: np.random.Generator) -> Frame:
    """Return a random frame, without a goal behind it, for training sentences.

    Most give values to one to three slots; for slots with a column a quarter of the values is "any".
    """
    act = ACTS[int(rng.choice(len(ACTS), p=(0.55, 0.2, 0.05, 0.1, 0.05, 0.05)))]
    asked = np.flatnonzero(askable(domain))
    if act == "request" and not len(asked):
        act = "inform"
    request = domain.slots[int(rng.choice(asked))].name if act == "request" else None
    least, most = {"inform": (1, 3), "request": (0, 2), "deny": (0, 1)}.get(act, (0, 0))
    told = (domain.slots[slot] for slot in np.flatnonzero(requestable(domain)))
    free = [slot for slot in told if slot.name != request]
    count = min(int(rng.integers(least, most + 1)), len(free))
    informs = {}
    for number in rng.permutation(len(free))[:count]:
        slot = free[int(number)]
        any_will_do = slot.column and rng.random() < 0.25
        informs[slot.name] = ANY_WORD if any_will_do else _one(slot.values, rng)
    return Frame(act, request, informs)


def user_sentence(domain: Domain, frame: Frame, rng: np.random.Generator) -> Sentence:
    """Return a random sentence for a frame."""
    parts = _clauses(domain, frame.informs, rng)
    phrases = domain.phrases.user
    intent = frame.act
    if frame.act == "request":
        assert frame.request is not None, "a request names its slot"
        intent = f"request.{frame.request}"
        question = _fill(_one(phrases["request"][frame.request], rng), {}, rng)
        parts.insert(0 if rng.random() < 0.5 else len(parts), question)
    elif frame.act != "inform":
        parts.insert(0, _fill(_one(phrases[frame.act][""], rng), {}, rng))
    elif not parts:
        parts = [[(token, "O") for token in GREETING]]
    tagged = parts[0]
    for part in parts[1:]:
        between = () if tagged[-1][0] == "?" else _one(CONNECTORS, rng)
        tagged = [*tagged, *((token, "O") for token in between), *part]
    return Sentence(tuple(token for token, _ in tagged), tuple(tag for _, tag in tagged), intent)


def understood(domain: Domain, tokens: Sequence[str], tags: Sequence[str], intent: str) -> Frame:
    """Return the frame of a sentence with predicted labels.

    An unknown value is replaced by the closest one if that is close, else dropped. Of two values for a slot
    the last counts. An unknown intent becomes "unclear".
    """
    spans: list[tuple[str, list[str]]] = []
    previous = ""
    for token, tag in zip(tokens, tags, strict=True):
        part, _, slot = tag.partition("-")
        if slot and part == "I" and slot == previous:
            spans[-1][1].append(token)
        elif slot:
            spans.append((slot, [token]))
        previous = slot
    names = {slot.name: number for number, slot in enumerate(domain.slots)}
    informs = {}
    for slot, span in spans:
        value = closest_value(domain, names[slot], " ".join(span)) if slot in names else None
        if value is not None:
            informs[slot] = value
    act, _, request = intent.partition(".")
    if act not in ACTS or (act == "request") != (request in names):
        return Frame("unclear", None, informs)
    return Frame(act, request or None, informs)


def closest_value(domain: Domain, slot: int, text: str) -> str | None:
    """Return the value of a slot that a text means, "any", or None.

    That is the value that is equal but for case, spaces and number words; or the only one that has all the
    text's words, or whose words are all in the text; or the most similar by letters. Numbers must be equal:
    7:15 is not close to 7:45.
    """
    key = key_of(text)
    if key in ANY_WORDS:
        return ANY_WORD
    values, numbers = domain.slots[slot].values, domain.numbers[slot]
    if key in numbers:
        return values[numbers[key]]
    words = set(key.split())
    alike = [one for one in numbers if _digits(one) == _digits(key)]
    parts = [one for one in numbers if words and (words <= set(one.split()))]
    parts = parts or [one for one in alike if set(one.split()) <= words]
    if len({numbers[one] for one in parts}) == 1:
        return values[numbers[parts[0]]]
    close = difflib.get_close_matches(key, alike, n=1, cutoff=CLOSE_ENOUGH)
    return values[numbers[close[0]]] if close else None


def agent_sentence(
    domain: Domain, frame: AgentFrame, rng: np.random.Generator | None = None
) -> str:
    """Return a sentence for an agent's frame: the domain's first phrase, or a random one by `rng`."""
    slot = frame.slot or ""
    name = slot.replace("_", " ")
    if frame.kind == "inform" and frame.value == UNKNOWN_WORD:
        return f"I do not know the {name}."
    if frame.kind == "confirm" and frame.value == ANY_WORD:
        return f"So any {name} will do?"
    values = dict(frame.row or {})
    if frame.value is not None:
        values[slot] = frame.value
    phrases = [
        phrase
        for phrase in domain.phrases.agent[frame.kind][slot]
        if values.keys() >= set(placeholders(phrase))
    ]
    if not phrases:
        # The row lacks a value that every phrase of booking mentions.
        phrases = ["It is booked."]
    phrase = phrases[0] if rng is None else _one(phrases, rng)
    phrase = _COUNTED.sub(lambda match: match[1] if values[match[2]] == "1" else match[0], phrase)
    return PLACEHOLDER.sub(lambda match: values[match[1]], phrase)


_COUNTED = re.compile(r"(\{([^{}]*)\} [a-z]{3,}[a-rt-z])s\b")
"""A slot with a noun in the plural, which has no s after 1: "1 ticket"."""

Tagged = list[tuple[str, str]]
"""Tokens with their tags."""


def _clauses(domain: Domain, informs: dict[str, str], rng: np.random.Generator) -> list[Tagged]:
    """Return phrases that tell each value once, in random order; a phrase may tell several."""
    phrases = domain.phrases.user
    parts = []
    left = [slot for slot, value in informs.items() if value != ANY_WORD]
    while left:
        slot = left[int(rng.integers(len(left)))]
        fitting = [
            phrase for phrase in phrases["inform"][slot] if set(placeholders(phrase)) <= set(left)
        ]
        phrase = _one(fitting, rng)
        parts.append(_fill(phrase, informs, rng))
        left = [slot for slot in left if slot not in placeholders(phrase)]
    for slot, value in informs.items():
        if value == ANY_WORD:
            phrase = _one(phrases["any"][slot], rng)
            parts.append(_fill(phrase, {slot: _one(ANY_WORDS, rng)}, rng))
    return [parts[int(number)] for number in rng.permutation(len(parts))]


def _fill(phrase: str, values: dict[str, str], rng: np.random.Generator) -> Tagged:
    tagged: Tagged = []
    for text, slot in _pieces(phrase):
        if not slot:
            tagged += [(token, "O") for token in tokens_of(text)]
            continue
        value = values[slot]
        if value in _NUMBER_WORDS and rng.random() < 0.5:
            value = _NUMBER_WORDS[value]
        tokens = tokens_of(value)
        tagged += [(token, f"{'I' if i else 'B'}-{slot}") for i, token in enumerate(tokens)]
    return tagged


@lru_cache(maxsize=4096)
def _pieces(phrase: str) -> tuple[tuple[str, str], ...]:
    """Split a phrase at its placeholders into (text, "") and ("", slot)."""
    parts = PLACEHOLDER.split(phrase)
    return tuple(
        ("", part) if number % 2 else (part, "") for number, part in enumerate(parts) if part
    )


def _digits(key: str) -> list[str]:
    return [token for token in key.split() if token[0].isdigit()]


def _one(choices: Sequence[_Choice], rng: np.random.Generator) -> _Choice:
    return choices[int(rng.integers(len(choices)))]
