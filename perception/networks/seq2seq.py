"""Saying an act in words: an encoder and a decoder with attention (Bahdanau, Cho & Bengio 2015).

A bidirectional GRU reads the act, word by word of a small language ("user", "inform=city"); a GRU writes
the sentence and looks, before each word, at what of the act matters now. The sentence has `{city}` where
a value goes (delexicalised; Wen et al. 2015), so that values need not be learnt. A sentence that leaves out
a slot of its act, or says another, is drawn anew (over-generation, as there).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from perception.networks.attention import Attention

PADDING, BEGIN, END, UNKNOWN = range(4)
_SPECIAL = 4
"""Numbers below this are no words."""
LONGEST = 60
"""Words of a sentence at most; the decoder stops there."""

_TRIES = 20

_WORD = re.compile(r"\{\w+\}|\w+(?:['’:.-]\w+)*|[^\w\s]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Utterance(NamedTuple):
    """An act and a sentence that says it."""

    act: list[str]
    words: list[str]
    """With `{slot}` as one word where a value goes."""


def words_of(text: str) -> list[str]:
    """Words, `{slot}`s and punctuation of a text."""
    return _WORD.findall(text)


def text_of(words: Sequence[str]) -> str:
    """Words as people write them: no space before punctuation."""
    return re.sub(r" ([.,?!;:])", r"\1", " ".join(words))


def placeholders(words: Sequence[str]) -> list[str]:
    """The slots of a sentence whose values are left open, sorted."""
    return sorted(match[1] for word in words if (match := _PLACEHOLDER.fullmatch(word)))


class Seq2Seq(nn.Module):
    """The network, from numbers to scores of numbers.

    Args:
        acts: numbers that acts are made of, 0 being padding.
        words: the same for sentences.
        embedding, hidden: widths.
        dropout: share of numbers left out while it learns.
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
        """Read acts (batch, m) int64 of one length; what the decoder looks at, and begins with."""
        states, _ = self.encoder(self.dropout(self.act_embedding(acts)))
        return states, self.bridge(states.mean(dim=1)).tanh()

    def step(
        self, before: torch.Tensor, state: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Get ready to write one word more.

        Args:
            before: (batch, embedding), the vectors of the words before.
            state: (batch, hidden) of the decoder.
            seen: what `encode` gave to look at.

        Returns:
            What `word` makes scores of, (batch, 3 · hidden), and the next state.
        """
        result = self.attention(state.unsqueeze(1), seen)[0].squeeze(1)
        state = self.decoder(torch.cat([before, result], dim=1), state)
        return torch.cat([state, result], dim=1), state

    def forward(self, acts: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Scores (batch, n, words) of each of `words` (batch, n), given those before it."""
        seen, state = self.encode(acts)
        numbers = torch.cat([torch.full_like(words[:, :1], BEGIN), words[:, :-1]], dim=1)
        outputs = []
        for before in self.dropout(self.word_embedding(numbers)).unbind(1):
            output, state = self.step(before, state, seen)
            outputs.append(output)
        return self.word(self.dropout(torch.stack(outputs, dim=1)))


class ResponseGenerator:
    """A network with the words that it knows.

    Args:
        acts: words that acts are made of.
        words: words of sentences.
        embedding, hidden, dropout: of the network.

    Raises:
        ValueError: a size makes no sense.
    """

    def __init__(
        self, acts: list[str], words: list[str], embedding: int, hidden_size: int, dropout: float
    ) -> None:
        for name, value in (("embedding", embedding), ("hidden_size", hidden_size)):
            if not isinstance(value, int) or not 1 <= value <= 10_000:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {dropout!r}")
        self.acts, self.words = acts, words
        self._sizes = {"embedding": embedding, "hidden_size": hidden_size, "dropout": dropout}
        self._act_numbers = {word: _SPECIAL + number for number, word in enumerate(acts)}
        self._word_numbers = {word: _SPECIAL + number for number, word in enumerate(words)}
        self.network = Seq2Seq(
            _SPECIAL + len(acts), _SPECIAL + len(words), embedding, hidden_size, dropout
        )

    def description(self) -> dict[str, Any]:
        """All but the weights, ready for JSON."""
        return {"acts": self.acts, "words": self.words, **self._sizes}

    @classmethod
    def described(cls, description: Any) -> ResponseGenerator:
        """An untrained one, as `description` gave it; ValueError where it is no description."""
        try:
            lists = [description[name] for name in ("acts", "words")]
            if not all(isinstance(item, list) for item in lists) or not all(
                isinstance(word, str) for item in lists for word in item
            ):
                raise ValueError("its words are no lists of texts")
            sizes = {name: description[name] for name in ("embedding", "hidden_size", "dropout")}
            return cls(*lists, **sizes)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this describes no speaker: {error}") from error

    def act_numbers(self, act: Sequence[str]) -> list[int]:
        """Numbers of the words of an act."""
        return [self._act_numbers.get(word, UNKNOWN) for word in act]

    def word_numbers(self, words: Sequence[str]) -> list[int]:
        """Numbers of the words of a sentence and its end."""
        return [*(self._word_numbers.get(word, UNKNOWN) for word in words), END]

    def say(
        self,
        act: Sequence[str],
        values: Mapping[str, str],
        rng: np.random.Generator | None = None,
    ) -> str:
        """Say an act.

        Args:
            act: its words, as it has learnt them; slots are said in the order in which they stand.
            values: what goes where `{slot}` stands; a slot without a value is named instead.
            rng: with it one of many ways to say the act is drawn, else it is always the likeliest word
                after word.
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
        """The sentence's words, with `{slot}` where values go; of no act there is nothing to say.

        Where what the act informs of is not what the sentence does, it is the first of 20 drawn ones that
        does; if none does, it stays as it is.
        """
        first = self.first_try(act, rng)
        wanted = sorted(
            word.partition("=")[2] for word in act if word.startswith(("inform=", "any="))
        )
        if not wanted or placeholders(first) == wanted:  # an agent's act has none
            return first
        tries = self._draw(act, _TRIES, rng or np.random.default_rng(0))
        return next((words for words in tries if placeholders(words) == wanted), first)

    def first_try(self, act: Sequence[str], rng: np.random.Generator | None = None) -> list[str]:
        """`sentence`, whatever comes."""
        return self._draw(act, 1, rng)[0] if act else []

    @torch.no_grad()
    def _draw(
        self, act: Sequence[str], count: int, rng: np.random.Generator | None
    ) -> list[list[str]]:
        """Some sentences, side by side; without a generator, of the likeliest words."""
        self.network.eval()
        device = self.network.word.weight.device
        numbers = torch.tensor([self.act_numbers(act)] * count, device=device)
        seen, state = self.network.encode(numbers)
        words = torch.full((count,), BEGIN, device=device)
        columns: list[list[int]] = []
        ended = torch.zeros(count, dtype=torch.bool, device=device)
        while len(columns) < LONGEST and not ended.all():
            output, state = self.network.step(self.network.word_embedding(words), state, seen)
            scores = self.network.word(output)
            scores[:, [PADDING, BEGIN, UNKNOWN]] = -torch.inf
            if (
                rng is not None
            ):  # the largest of scores with Gumbel noise is a draw from their softmax
                scores += torch.from_numpy(rng.gumbel(size=scores.shape)).to(scores)
            words = scores.argmax(dim=1)
            ended |= words == END
            columns.append(words.tolist())
        return [
            [
                self.words[number - _SPECIAL]
                for number in itertools.takewhile(lambda number: number != END, row)
            ]
            for row in zip(*columns, strict=True)
        ]
