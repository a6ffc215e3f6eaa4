"""Sentences of a domain's users and agents, as data to learn language from.

Rows are plain tuples and lists; what learns from them is elsewhere. They are drawn with a fixed seed, so
that a domain and a number of sentences name one data set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from envs.dialogue.domain import Domain
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import ANY_WORD, UNKNOWN_WORD, AgentFrame, Frame, agent_acts
from envs.dialogue.phrases import agent_sentence, some_frame, user_sentence
from envs.dialogue.words import tokens_of

TaggedSentence = tuple[list[str], list[str], str]
"""Tokens, an IOB2 tag per token, and the intent."""
ActSentence = tuple[list[str], str]
"""The symbols of a dialogue act, and a sentence with `{slot}` in place of each value."""

SENTENCES = 10_000
"""Training and test sentences together, by default."""
_MOST = 1_000_000
_SEED = 1
_NONSENSE = 0.03
"""Share of meaningless sentences, which teach to tell them from the others."""
_SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "".join(chr(0x4E00 + number) for number in range(1000)),
    "?!.,;:()*#",
)


def dialogue_data(name: str, form: str, options: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Training and test rows made from a domain: the data of the scheme `domain:NAME`.

    Args:
        name: a domain's name or file, as `load_domain` takes it.
        form: "tagged-sentences" for rows of `TaggedSentence`, "acts" for rows of `ActSentence`.
        options: `{"sentences": n}`, training and test together; 10,000 by default.

    Raises:
        ValueError: there is no such domain, form or option; the message is one sentence.
    """
    makers: dict[str, Callable[[Domain, int], tuple[list[Any], list[Any]]]]
    makers = {"tagged-sentences": tagged_sentences, "acts": act_sentences}
    if form not in makers:
        raise ValueError(f"a dialogue domain offers {' and '.join(makers)}, not {form}")
    if unknown := sorted(options.keys() - {"sentences"}):
        raise ValueError(f"data of a dialogue domain have no option {unknown[0]!r}, only sentences")
    count = options.get("sentences", SENTENCES)
    if type(count) is not int or not 2 <= count <= _MOST:
        raise ValueError(f"sentences must be a whole number from 2 to {_MOST:,}, not {count!r}")
    train, test = makers[form](load_domain(name), count)
    if not train or not test:
        raise ValueError(
            f"{count} sentences leave none to {'test with' if train else 'learn from'}"
        )
    return train, test


def tagged_sentences(
    domain: Domain, count: int
) -> tuple[list[TaggedSentence], list[TaggedSentence]]:
    """Sentences of users, for training and for the test.

    A hash of everything a sentence informs of decides whether it is in the test: the combinations of values
    there do not occur in training. Sentences without a value, such as "yes", and nonsense (intent "unclear")
    occur in both.
    """
    rng = np.random.default_rng(_SEED)
    train: list[TaggedSentence] = []
    test: list[TaggedSentence] = []
    while len(train) + len(test) < count:
        if rng.random() < _NONSENSE:
            (test if rng.random() < 0.2 else train).append(_nonsense(rng))
            continue
        frame = some_frame(domain, rng)
        message = user_sentence(domain, frame, rng)
        key = json.dumps([frame.act, frame.request, sorted(frame.informs.items())])
        held_out = _is_test(key) if frame.informs else rng.random() < 0.2
        (test if held_out else train).append(
            (list(message.tokens), list(message.tags), message.intent)
        )
    return train, test


def _nonsense(rng: np.random.Generator) -> TaggedSentence:
    """One to eight words of random letters of one script."""
    letters = list(_SCRIPTS[int(rng.integers(len(_SCRIPTS)))])
    words = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(rng.integers(1, 9))]
    tokens = tokens_of(" ".join(words))
    return tokens, ["O"] * len(tokens), "unclear"


def act_sentences(domain: Domain, count: int) -> tuple[list[ActSentence], list[ActSentence]]:
    """Acts of users and agents with a sentence for each, for training and for the test.

    A fifth of the combinations of two slots or more occurs only in the test; other acts occur in both.
    """
    rng = np.random.default_rng(_SEED)
    acts = agent_acts(domain)
    names = [slot.name for slot in domain.slots]
    train: list[ActSentence] = []
    test: list[ActSentence] = []
    while len(train) + len(test) < count:
        if rng.random() < 0.5:
            frame = some_frame(domain, rng)
            words = _without_values(domain, frame, rng)
            # The act has its slots in the order of the sentence: planning is not the network's task.
            order = sorted(frame.informs, key=lambda name: words.index(f"{{{name}}}"))
            informs = {name: frame.informs[name] for name in order}
            act = user_act(dataclasses.replace(frame, informs=informs))
            sentence = " ".join(words)
        else:
            chosen = acts[int(rng.integers(len(acts)))]
            slot = names[chosen.slot] if chosen.slot >= 0 else None
            unsaid = {"inform": UNKNOWN_WORD, "confirm": ANY_WORD}.get(chosen.kind)
            value = unsaid if unsaid and rng.random() < 0.1 else f"{{{slot}}}"
            row = {name: f"{{{name}}}" for name in names} if chosen.kind == "book" else None
            told = value if chosen.kind in ("inform", "confirm") else None
            agent_frame = AgentFrame(chosen.kind, slot, told, row)
            act, sentence = agent_act(agent_frame), agent_sentence(domain, agent_frame, rng)
        held_out = _is_test(json.dumps(sorted(act))) if len(act) > 3 else rng.random() < 0.2
        (test if held_out else train).append((act, sentence))
    return train, test


def user_act(frame: Frame) -> list[str]:
    """A user's act as symbols, such as `user inform inform=city any=date`: slots without values, in the order
    of the informs."""
    informs = [
        f"{'any' if value == ANY_WORD else 'inform'}={slot}"
        for slot, value in frame.informs.items()
    ]
    asked = [] if frame.request is None else [f"request={frame.request}"]
    return ["user", frame.act, *asked, *informs]


def agent_act(frame: AgentFrame) -> list[str]:
    """An agent's act as symbols, such as `agent request city` or `agent any-confirm date`, without values."""
    unsaid = "" if frame.value not in (ANY_WORD, UNKNOWN_WORD) else f"{frame.value}-"
    slots = [frame.slot] if frame.slot is not None else []
    return ["agent", f"{unsaid}{frame.kind}", *slots]


def _without_values(domain: Domain, frame: Frame, rng: np.random.Generator) -> list[str]:
    """A user's sentence with `{slot}` in place of each value."""
    message = user_sentence(domain, frame, rng)
    words = []
    for token, tag in zip(message.tokens, message.tags, strict=True):
        if tag.startswith("I-"):
            continue
        words.append(f"{{{tag[2:]}}}" if tag.startswith("B-") else token)
    return words


def _is_test(key: str) -> bool:
    return hashlib.sha256(key.encode()).digest()[0] % 5 == 0
