"""Understanding of a person's lines in a chat.

A fitted model of slot filling reads the line, with three additions: values that are in the line letter for
letter, or nearly so, count even if the model missed them; a bare answer ("yes", "4", "I don't care") refers to
the agent's last act; and lines that make no sense are not understood as anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from envs.dialogue.domain import Domain
from envs.dialogue.frames import ANY_WORD, AgentFrame, Frame, askable, requestable
from envs.dialogue.phrases import CLOSE_ENOUGH, Sentence, closest_value, understood
from envs.dialogue.words import key_of, tokens_of
from perception.networks.slot_filling import OUTSIDE, IntentSlotModel, spans

CERTAIN = 0.98
"""Confidence in exact values and in bare answers."""
DOUBTFUL = 0.6
"""Confidence in a guess. Agents ask to confirm below 0.95."""
SURE = 0.95
"""Confidence from which agents do not ask to confirm."""
_TRUSTED, _KNOWN = 0.45, 0.6
"""Without exact values: the least confidence of the model, and the least share of words that it knows."""
_LONGEST_TEXT, _LONGEST_LINE = 1000, 60
"""Largest number of letters and tokens that are read."""
_LONGEST_VALUE, _SHORTEST_GUESS = 6, 5
"""Largest number of tokens of a value; least number of letters of a misspelt value that is searched for."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_YES = _set(
    "yes y yeah yep yup sure right correct ok okay fine exactly indeed good great perfect true"
    " absolutely definitely alright affirmative please do it is that's that s"
)
_NO = _set("no n nope nah not wrong never incorrect false none neither")
_BYE = _set(
    "bye goodbye thanks thank thx you nothing else more that's that s is all no not it done ok okay"
    " everything book go ahead reserve please yes good great fine perfect i m am"
)
_ENDING = _set("bye goodbye thanks thank thx nothing all done book ahead reserve")
_HELLO = _set("hello hi hey good morning afternoon evening day there greetings")
_QUESTION = _set("what which when where who how whose why")
_FILLER = _set(
    "a an the in on at for to of i we want would like need please is it be should my our me us with and"
    " maybe perhaps about around some by from get it's its im i'm just only prefer think"
)
_INDIFFERENCE = (
    "do not care", "don't care", "dont care", "does not matter", "doesn't matter", "doesnt matter",
    "do not mind", "don't mind", "dont mind", "no preference", "anything", "whatever", "whichever",
    "either", "no idea", "don't know", "do not know", "dont know", "not sure", "up to you",
    "you choose", "surprise me", "anywhere", "anytime", "wherever", "whenever", "skip", "any",
)  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """What was understood of a line."""

    frame: Frame
    confidence: float
    sentence: Sentence
    """The line with labels that mean the same, as far as labels can."""


@dataclass
class _Values:
    """Values in a line, by slot, with their places."""

    informs: dict[str, str] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    certain: bool = True

    def free(self, start: int, end: int) -> bool:
        return all(end <= first or last <= start for first, last in self.places.values())

    def add(self, slot: str, value: str, start: int, end: int) -> None:
        self.informs[slot] = value  # the last one of a slot counts
        self.places[slot] = (start, end)


class Listener:
    """Understands a person's lines in a domain."""

    def __init__(self, domain: Domain, understanding: IntentSlotModel) -> None:
        self.domain, self.understanding = domain, understanding
        self._words = set(understanding.vocabulary)
        names = [slot.name for slot in domain.slots]
        self._told = {names[slot] for slot in np.flatnonzero(requestable(domain))}
        self._asked = [names[slot] for slot in np.flatnonzero(askable(domain))]
        self._slots: dict[str, list[str]] = {}
        for slot, numbers in zip(domain.slots, domain.numbers, strict=True):
            for key in numbers if slot.name in self._told else ():
                self._slots.setdefault(key, []).append(slot.name)
        self._guesses = [
            key
            for key, slots in self._slots.items()
            if len(slots) == 1 and len(key) >= _SHORTEST_GUESS and not _has_digits(key)
        ]
        self._questions = {
            f" {' '.join(_spoken(tokens_of(phrase)))} ": slot
            for slot in self._asked
            for phrase in domain.phrases.user["request"][slot]
        }

    def hear(self, text: str, last: AgentFrame | None) -> Heard | None:
        """Return what a line means after the agent's last act; None if it makes no sense."""
        text = "".join(sign if sign.isprintable() else " " for sign in text[:_LONGEST_TEXT])
        tokens = tokens_of(text)[:_LONGEST_LINE]
        if not _spoken(tokens):
            return None
        tags, intent, confidence = self.understanding.understand(tokens)
        about = last.slot if last is not None and last.kind in ("request", "confirm") else None
        values = self._values(tokens, tags, about)
        understood_as = self._bare(tokens, values, last) or self._meant(
            tokens, values, intent, confidence, last
        )
        if understood_as is None:
            return None
        frame, sure = understood_as
        if not self._can_be_said(frame):
            return None
        return Heard(frame, sure, self._sentence(tokens, frame, values))

    # -- values -------------------------------------------------------------------------------

    def _values(self, tokens: Sequence[str], tags: Sequence[str], about: str | None) -> _Values:
        values = _Values()
        doubtful = []
        for slot, start, end in spans(tags):
            if slot not in self._told:
                continue
            text = " ".join(tokens[start:end])
            if about is not None and self._stands_alone(tokens, start, end):
                number = self.domain.index(about)
                meant = closest_value(self.domain, number, text)
                slot = slot if meant is None else about
            value = closest_value(self.domain, self.domain.index(slot), text)
            if value == ANY_WORD and about is None and self._stands_alone(tokens, start, end):
                continue  # "any", but nothing was asked
            if value is not None and (value == ANY_WORD or key_of(value) == key_of(text)):
                values.add(slot, value, start, end)
            elif value is not None:
                doubtful.append((slot, value, start, end))
        for start, end, key in self._standing(tokens):
            slots = self._slots[key]
            slot = about if about in slots else slots[0]
            if slot != about and (len(slots) > 1 or _is_number(key)):
                continue
            if values.free(start, end) and slot not in values.informs:
                values.add(slot, self._value(slot, key), start, end)
        for slot, value, start, end in doubtful:
            if values.free(start, end) and slot not in values.informs:
                values.add(slot, value, start, end)
                values.certain = False
        if not values.informs:
            self._guess(tokens, about, values)
        return values

    def _stands_alone(self, tokens: Sequence[str], start: int, end: int) -> bool:
        """Whether all other tokens are filler, so that this answers the agent's question."""
        rest = [*tokens[:start], *tokens[end:]]
        return all(token in _FILLER for token in _spoken(rest))

    def _standing(self, tokens: Sequence[str]) -> Iterator[tuple[int, int, str]]:
        """Yield the exact values in the line; of overlapping ones the longest."""
        start = 0
        while start < len(tokens):
            for end in range(min(len(tokens), start + _LONGEST_VALUE), start, -1):
                key = key_of(" ".join(tokens[start:end]))
                if key in self._slots:
                    yield start, end, key
                    break
            else:
                end = start + 1
            start = end

    def _guess(self, tokens: Sequence[str], about: str | None, values: _Values) -> None:
        """Add a misspelt value: of the slot that the agent asked for, or one that only one slot has."""
        meaningful = [number for number, token in enumerate(tokens) if token not in _FILLER]
        if not meaningful or set(tokens) & (_QUESTION | _NO):
            return
        start, end = meaningful[0], meaningful[-1] + 1
        if about is not None and len(meaningful) <= _LONGEST_VALUE:
            value = closest_value(
                self.domain, self.domain.index(about), " ".join(tokens[start:end])
            )
            if value is not None and value != ANY_WORD:
                values.add(about, value, start, end)
                values.certain = False
                return
        for size in (3, 2, 1):
            for start in range(min(len(tokens), 30) - size + 1):
                text = key_of(" ".join(tokens[start : start + size]))
                if len(text) < _SHORTEST_GUESS or _has_digits(text):
                    continue
                close = difflib.get_close_matches(text, self._guesses, 1, CLOSE_ENOUGH)
                if close and text not in self._words:
                    slot = self._slots[close[0]][0]
                    values.add(slot, self._value(slot, close[0]), start, start + size)
                    values.certain = False
                    return

    def _value(self, slot: str, key: str) -> str:
        number = self.domain.index(slot)
        return self.domain.slots[number].values[self.domain.numbers[number][key]]

    # -- acts ---------------------------------------------------------------------------------

    def _bare(
        self, tokens: Sequence[str], values: _Values, last: AgentFrame | None
    ) -> tuple[Frame, float] | None:
        """Return the frame of an answer that depends on the agent's last act, or None."""
        words = _spoken(tokens)
        word_set, kind = set(words), None if last is None else last.kind
        informs = values.informs
        if informs:
            if kind != "confirm" or last is None or last.slot not in informs:
                return None
            if informs[last.slot] == last.value:
                return Frame("affirm"), CERTAIN
            return Frame("deny", None, informs), CERTAIN if values.certain else DOUBTFUL
        if kind in ("request", "confirm") and last is not None and self._is_indifferent(words):
            slot = self._named(words) or last.slot
            assert slot is not None
            act = "inform" if kind == "request" else "deny"
            return Frame(act, None, {slot: ANY_WORD}), CERTAIN
        if (
            kind in ("inform", "no_match")
            and word_set <= _BYE | _YES
            and word_set & (_ENDING | _YES)
        ):
            return Frame("bye"), CERTAIN
        if kind == "request" and last is not None and last.slot and word_set <= _NO | {"thanks"}:
            return Frame("inform", None, {last.slot: ANY_WORD}), CERTAIN
        if kind in ("confirm", "inform", "no_match") and words[0] in _NO:
            return Frame("deny"), CERTAIN
        if kind == "confirm" and word_set <= _YES:
            return Frame("affirm"), CERTAIN
        return None

    def _meant(
        self,
        tokens: Sequence[str],
        values: _Values,
        intent: str,
        confidence: float,
        last: AgentFrame | None,
    ) -> tuple[Frame, float] | None:
        """Return the frame that the model predicts, if it can be trusted."""
        act, _, request = intent.partition(".")
        words = _spoken(tokens)
        known = sum(word in self._words or key_of(word) in self._slots for word in words)
        trusted = confidence >= _TRUSTED and known >= _KNOWN * len(words)
        informs = {slot: value for slot, value in values.informs.items() if slot != request}
        if not (trusted and act == "request"):
            asks = words[0] in _QUESTION or "?" in tokens
            request = self._question(words) or (self._named(words) if asks else None) or ""
            request = request if request in self._asked and request not in informs else ""
        sure = max(confidence, CERTAIN) if values.certain else DOUBTFUL
        if request:
            return Frame("request", request, informs), sure
        if informs:
            act_told = act if trusted and act in ("affirm", "deny") else "inform"
            if words[0] in _NO and last is not None and last.kind in ("confirm", "inform"):
                act_told = "deny"
            return Frame(act_told, None, informs), sure
        if set(words) <= _HELLO:
            return Frame("inform"), CERTAIN
        answers = ("bye",) if last is None or last.kind == "request" else ("affirm", "deny", "bye")
        if not trusted or act not in answers or last is None:
            return None
        return Frame(act), confidence

    def _question(self, words: Sequence[str]) -> str | None:
        """Return the slot that one of the domain's phrases asks for."""
        line = f" {' '.join(words)} "
        return next((slot for phrase, slot in self._questions.items() if phrase in line), None)

    def _is_indifferent(self, words: Sequence[str]) -> bool:
        line = f" {' '.join(words).replace('’', chr(39))} "
        return any(f" {phrase} " in line for phrase in _INDIFFERENCE)

    def _named(self, words: Sequence[str]) -> str | None:
        """Return a slot whose name is in the line."""
        line = f" {' '.join(words)} "
        for slot in (*self._told, *self._asked):
            if f" {slot.replace('_', ' ')} " in line:
                return slot
        return None

    def _can_be_said(self, frame: Frame) -> bool:
        """Whether the frame is possible: slots without a column cannot be "any"."""
        return all(
            value != ANY_WORD or self.domain.slots[self.domain.index(slot)].column
            for slot, value in frame.informs.items()
        )

    def _sentence(self, tokens: Sequence[str], frame: Frame, values: _Values) -> Sentence:
        tags = [OUTSIDE] * len(tokens)
        for slot, (start, end) in values.places.items():
            if slot in frame.informs:
                tags[start:end] = [f"B-{slot}", *[f"I-{slot}"] * (end - start - 1)]
        intent = frame.act if frame.request is None else f"request.{frame.request}"
        return Sentence(tuple(tokens), tuple(tags), intent)


def speaks_for_itself(domain: Domain, heard: Heard) -> bool:
    """Whether a line means the same without context, so that a model can learn from it."""
    sentence = heard.sentence
    return understood(domain, sentence.tokens, sentence.tags, sentence.intent) == heard.frame


def _spoken(tokens: Sequence[str]) -> list[str]:
    return [token for token in tokens if token[0].isalnum()]


def _is_number(key: str) -> bool:
    return all(token[0].isdigit() for token in key.split())


def _has_digits(key: str) -> bool:
    return any(sign.isdigit() for sign in key)
