"""Natural-language generation from dialogue acts.

An encoder reads the act, a short sequence of symbols ("user", "inform=city"); a decoder with attention writes the
sentence (`perception.networks.seq2seq`). The sentence has `{city}` in place of a value (delexicalised; Wen et al.
2015), so that values need not be learnt. A sentence that lacks a slot of its act, or has another, is replaced by a
sampled one (over-generation, ibid.).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from perception.networks.seq2seq import (
    BEGIN,
    END,
    NEVER_WRITTEN,
    SPECIAL,
    UNKNOWN,
    Seq2Seq,
)

LONGEST = 60
"""Largest number of words of a sentence."""

_TRIES = 20

_WORD = re.compile(r"\{\w+\}|\w+(?:['’:.-]\w+)*|[^\w\s]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Utterance(NamedTuple):
    """An act and a sentence that expresses it."""

    act: list[str]
    words: list[str]
    """With `{slot}` as one word in place of a value."""


def words_of(text: str) -> list[str]:
    """Words, `{slot}`s and punctuation of a text."""
    return _WORD.findall(text)


def text_of(words: Sequence[str]) -> str:
    """Words joined to text, without a space before punctuation."""
    return re.sub(r" ([.,?!;:])", r"\1", " ".join(words))


def placeholders(words: Sequence[str]) -> list[str]:
    """The slots in a sentence, sorted."""
    return sorted(match[1] for word in words if (match := _PLACEHOLDER.fullmatch(word)))


class ResponseGenerator:
    """A network with its vocabularies: an act in, a sentence out.

    Args:
        network: for these lists.
        acts: symbols of acts.
        words: words of sentences.
    """

    def __init__(self, network: Seq2Seq, acts: list[str], words: list[str]) -> None:
        self.network, self.acts, self.words = network, acts, words
        self._act_numbers = {word: SPECIAL + number for number, word in enumerate(acts)}
        self._word_numbers = {word: SPECIAL + number for number, word in enumerate(words)}

    def unknown(self, act: Sequence[str]) -> list[str]:
        """The symbols of an act that were not learnt."""
        return [word for word in act if word not in self._act_numbers]

    def act_numbers(self, act: Sequence[str]) -> list[int]:
        """Numbers of the symbols of an act."""
        return [self._act_numbers.get(word, UNKNOWN) for word in act]

    def word_numbers(self, words: Sequence[str]) -> list[int]:
        """Numbers of the words of a sentence, with its end."""
        return [*(self._word_numbers.get(word, UNKNOWN) for word in words), END]

    def say(
        self,
        act: Sequence[str],
        values: Mapping[str, str],
        rng: np.random.Generator | None = None,
    ) -> str:
        """The text for an act.

        Args:
            act: its symbols; the sentence has its slots in the same order.
            values: slot → text in place of `{slot}`; a slot without a value is named instead.
            rng: samples the sentence; None decodes greedily.
        """
        words = self.sentence(act, rng)
        return text_of(
            [
                values.get(match[1], match[1].replace("_", " "))
                if (match := _PLACEHOLDER.fullmatch(word))
                else word
                for word in words
            ]
        )

    def sentence(self, act: Sequence[str], rng: np.random.Generator | None = None) -> list[str]:
        """The words for an act, with `{slot}` in place of values; none for an empty act.

        A sentence whose slots are not those of the act is replaced by the first of 20 sampled ones that has
        the right slots, if one has.
        """
        first = self.first_try(act, rng)
        wanted = sorted(
            word.partition("=")[2] for word in act if word.startswith(("inform=", "any="))
        )
        if not wanted or placeholders(first) == wanted:  # an agent's act names none
            return first
        tries = self._draw(act, _TRIES, rng or np.random.default_rng(0))
        return next((words for words in tries if placeholders(words) == wanted), first)

    def first_try(self, act: Sequence[str], rng: np.random.Generator | None = None) -> list[str]:
        """`sentence` without the check of its slots."""
        return self._draw(act, 1, rng)[0] if act else []

    @torch.no_grad()
    def _draw(
        self, act: Sequence[str], count: int, rng: np.random.Generator | None
    ) -> list[list[str]]:
        """A batch of sentences, sampled, or greedy without a generator."""
        self.network.eval()
        device = self.network.word_bias.device
        numbers = torch.tensor([self.act_numbers(act)] * count, device=device)
        memory, state = self.network.encode(numbers)
        words = torch.full((count,), BEGIN, device=device)
        columns: list[list[int]] = []
        ended = torch.zeros(count, dtype=torch.bool, device=device)
        while len(columns) < LONGEST and not ended.all():
            scores, state = self.network.step(words, memory, state)
            scores[:, NEVER_WRITTEN] = -torch.inf
            if rng is not None:  # Gumbel-max: a sample from the softmax of the scores
                scores += torch.from_numpy(rng.gumbel(size=scores.shape)).to(scores)
            words = scores.argmax(dim=1)
            ended |= words == END
            columns.append(words.tolist())
        return [
            [
                self.words[number - SPECIAL]
                for number in itertools.takewhile(lambda number: number != END, row)
            ]
            for row in zip(*columns, strict=True)
        ]
