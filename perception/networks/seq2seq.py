"""Natural-language generation from dialogue acts: an encoder and a decoder with attention.

A bidirectional GRU reads the act, a short sequence of symbols ("user", "inform=city"); a GRU writes the
sentence and attends to the act before each word (Bahdanau, Cho & Bengio 2015). The sentence has `{city}` in
place of a value (delexicalised; Wen et al. 2015), so that values need not be learnt. A sentence that lacks a
slot of its act, or has another, is replaced by a sampled one (over-generation, ibid.).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from perception.networks.attention import Attention

PADDING, BEGIN, END, UNKNOWN = range(4)
SPECIAL = 4
"""Words are numbered from here."""
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


class Seq2Seq(nn.Module):
    """The network: numbers of an act's symbols in, scores of words out.

    Args:
        acts: size of the acts' vocabulary.
        words: size of the sentences' vocabulary.
        embedding: size of the vectors of symbols and words.
        hidden_size: units of the encoder in each direction, and of the decoder.
        dropout: dropout probability.
    """

    def __init__(
        self, acts: int, words: int, embedding: int, hidden_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.act_embedding = nn.Embedding(acts, embedding)
        self.word_embedding = nn.Embedding(words, embedding)
        self.encoder = nn.GRU(embedding, hidden_size, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * hidden_size, hidden_size)
        self.attention = Attention(hidden_size, 2 * hidden_size, hidden_size)
        self.decoder = nn.GRUCell(embedding + 2 * hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.word = nn.Linear(hidden_size + 2 * hidden_size, words)

    def encode(self, acts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read acts (batch, m) int64; gives the states (batch, m, 2 · hidden) and the decoder's first state."""
        states, _ = self.encoder(self.dropout(self.act_embedding(acts)))
        return states, self.bridge(states.mean(dim=1)).tanh()

    def step(
        self, before: torch.Tensor, state: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of the decoder.

        Args:
            before: (batch, embedding), vectors of the preceding words.
            state: (batch, hidden) of the decoder.
            seen: the states that `encode` gave.

        Returns:
            The input of `word`, (batch, 3 · hidden); the next state; the attention weights (batch, m).
        """
        result, weights = self.attention(state.unsqueeze(1), seen)
        result = result.squeeze(1)
        state = self.decoder(torch.cat([before, result], dim=1), state)
        return torch.cat([state, result], dim=1), state, weights.squeeze(1)

    def forward(self, acts: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Scores (batch, n, vocabulary) of each of `words` (batch, n), given those before it."""
        outputs, _ = self.decode(acts, words)
        return self.word(self.dropout(outputs))

    def decode(self, acts: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """With given words: inputs of `word` (batch, n, 3 · hidden), attention weights (batch, n, m)."""
        seen, state = self.encode(acts)
        numbers = torch.cat([torch.full_like(words[:, :1], BEGIN), words[:, :-1]], dim=1)
        outputs, looks = [], []
        for before in self.dropout(self.word_embedding(numbers)).unbind(1):
            output, state, weights = self.step(before, state, seen)
            outputs.append(output)
            looks.append(weights)
        return torch.stack(outputs, dim=1), torch.stack(looks, dim=1)


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
        device = self.network.word.weight.device
        numbers = torch.tensor([self.act_numbers(act)] * count, device=device)
        seen, state = self.network.encode(numbers)
        words = torch.full((count,), BEGIN, device=device)
        columns: list[list[int]] = []
        ended = torch.zeros(count, dtype=torch.bool, device=device)
        while len(columns) < LONGEST and not ended.all():
            output, state, _ = self.network.step(self.network.word_embedding(words), state, seen)
            scores = self.network.word(output)
            scores[:, [PADDING, BEGIN, UNKNOWN]] = -torch.inf
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
