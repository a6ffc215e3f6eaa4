"""Slot filling and intent detection: the values in a sentence, as IOB tags, and what is wanted, in one pass.

A bidirectional LSTM reads the words, attention lets each word look at the whole sentence, and the maximum
over all words gives the intent (Liu & Lane 2016). A linear-chain conditional random field (Lafferty et al.
2001) chooses the tags together: it rules out impossible sequences and gives the chosen one its probability.
A word enters as the vector of its vocabulary entry and as the bag of its hashed letter triples, prefixes,
suffixes and shape (Bojanowski et al. 2017), so that unknown words carry information too.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.attention import Attention

OUTSIDE = "O"
UNKNOWN = 0
"""Number of all words outside the vocabulary."""

_IMPOSSIBLE = -1e4
_PARTS = 24
"""Largest number of hashed parts of a word; further ones are dropped."""
_LONGEST_WORD = 64
LONGEST_SENTENCE = 200
"""Tokens that are read; attention takes memory by the square of the length."""
_MOST_PAIRS = 200_000
"""Pairs of tokens in a batch, each of which takes as many numbers as the LSTM has units: 100 MB of 128."""

_TOKEN = re.compile(r"\w+(?:[.&/:-]\w+)*|['’]\w+|[^\w\s]")


class Sentence(NamedTuple):
    """A sentence with its labels."""

    tokens: list[str]
    tags: list[str]
    """IOB2, one per token: B-SLOT at the first token of a value, I-SLOT at its others, O elsewhere."""
    intent: str


def tokenize(text: str) -> list[str]:
    """Split a text into words and punctuation; `'s` and the like stand alone."""
    return _TOKEN.findall(text)


def tokenize_at(text: str) -> Iterator[tuple[int, str]]:
    """`tokenize`, with the position of each token's first letter."""
    return ((match.start(), match.group()) for match in _TOKEN.finditer(text))


def well_formed(tags: Sequence[str]) -> list[str]:
    """The same spans in IOB2: as in conlleval, an I- tag that continues no span starts one."""
    result: list[str] = []
    before = OUTSIDE
    for tag in tags:
        if tag.startswith("I-") and before[2:] != tag[2:]:
            tag = f"B-{tag[2:]}"
        result.append(tag)
        before = tag
    return result


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The values of a tagged sentence as (slot, start, end), by conlleval's rules."""
    result: list[tuple[str, int, int]] = []
    slot, start = "", 0
    for position, tag in enumerate([*well_formed(tags), OUTSIDE]):
        if slot and not tag.startswith("I-"):
            result.append((slot, start, position))
            slot = ""
        if tag.startswith("B-"):
            slot, start = tag[2:], position
    return result


@functools.lru_cache(maxsize=100_000)
def parts(word: str, buckets: int) -> tuple[int, ...]:
    """Hashes, in 1…buckets, of a word's shape, prefixes, suffixes and letter triples."""
    word = word[:_LONGEST_WORD]
    lowered = f"^{word.lower()}$"
    shape = re.sub(r"[A-ZÀ-Þ]", "X", re.sub(r"[a-zß-ÿ]", "x", re.sub(r"\d", "d", word)))
    pieces = ["shape " + re.sub(r"(.)\1+", r"\1+", shape)]
    pieces += [lowered[: size + 1] for size in (1, 3, 4)]
    pieces += [lowered[-size - 1 :] for size in (1, 3, 4)]
    pieces += [lowered[at : at + 3] for at in range(len(lowered) - 2)]
    pieces = list(dict.fromkeys(pieces))[:_PARTS]
    return tuple(1 + zlib.crc32(piece.encode()) % buckets for piece in pieces)


def most_sentences(length: int) -> int:
    """The number of sentences of so many tokens, at most `LONGEST_SENTENCE`, that a batch may have; 256 of up to 27."""
    return min(256, _MOST_PAIRS // max(1, length) ** 2)


class TagChain(nn.Module):
    """A linear-chain conditional random field over tags.

    Args:
        tags: names; I-x can follow only B-x and I-x.
    """

    possible: torch.Tensor

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(len(tags) + 1, len(tags)))
        """Score of going from a tag (row; the last row is the start of the sentence) to another."""
        before = [tag[2:] for tag in tags] + [""]
        possible = [
            [not tag.startswith("I-") or tag[2:] == slot for tag in tags] for slot in before
        ]
        self.register_buffer("possible", torch.tensor(possible), persistent=False)

    def _steps(self) -> torch.Tensor:
        return self.transitions.masked_fill(~self.possible, _IMPOSSIBLE)

    def log_total(self, scores: torch.Tensor) -> torch.Tensor:
        """The log-partition function (batch,) for scores (batch, length, tags)."""
        steps = self._steps()
        chances = steps[:-1].exp()
        total = steps[-1] + scores[:, 0]
        for score in scores[:, 1:].unbind(1):
            most = total.max(dim=1, keepdim=True).values
            total = ((total - most).exp() @ chances).clamp_min(1e-30).log() + most + score
        return total.logsumexp(dim=1)

    def log_likelihood(self, scores: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """The log-probability of tag sequences.

        Args:
            scores: (batch, length, tags) float.
            tags: (batch, length) int64.

        Returns:
            (batch,) float.
        """
        steps = self._steps()
        beginning = torch.full_like(tags[:, :1], len(steps) - 1)
        before = torch.cat([beginning, tags[:, :-1]], dim=1)
        score = scores.gather(2, tags.unsqueeze(2)).squeeze(2) + steps[before, tags]
        return score.sum(dim=1) - self.log_total(scores)

    def best(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable tags (batch, length) int64 and their log-probability (Viterbi)."""
        steps = self._steps()
        total = steps[-1] + scores[:, 0]
        backward = []
        for score in scores[:, 1:].unbind(1):
            most, origin = (total.unsqueeze(2) + steps[:-1]).max(dim=1)
            backward.append(origin)
            total = most + score
        value, last = total.max(dim=1)
        chosen = [last]
        for origin in reversed(backward):
            chosen.append(origin.gather(1, chosen[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(chosen[::-1], dim=1), value - self.log_total(scores)


@dataclass(frozen=True)
class Shape:
    """The sizes of the network."""

    words: Literal["learnt", "one-hot"] = "learnt"
    """Input of a known word: a learnt vector, or 1-of-N."""
    embedding: int = 96
    """Size of a learnt vector."""
    buckets: int = 4096
    """Vectors that the parts of words are hashed to; 0: words are seen only as a whole."""
    hidden_size: int = 128
    """Units of the LSTM in each direction."""
    layers: int = 1
    """Layers of the LSTM."""
    dropout: float = 0.4
    """Dropout probability between layers."""


class SlotFiller(nn.Module):
    """The network: words in, scores of tags and intents out.

    Args:
        vocabulary: number of words, the unknown one included.
        tags: names of the tags.
        intents: number of intents.
    """

    def __init__(self, shape: Shape, vocabulary: int, tags: Sequence[str], intents: int) -> None:
        super().__init__()
        self.shape, self.vocabulary = shape, vocabulary
        width = vocabulary
        self.embedding: nn.Embedding | None = None
        if shape.words == "learnt":
            self.embedding = nn.Embedding(vocabulary, shape.embedding)
            nn.init.normal_(self.embedding.weight, std=0.1)
            width = shape.embedding
        self.parts: nn.EmbeddingBag | None = None
        if shape.buckets:
            self.parts = nn.EmbeddingBag(
                shape.buckets + 1, shape.embedding, mode="mean", padding_idx=0
            )
            nn.init.normal_(self.parts.weight, std=0.1)
            width += shape.embedding
        self.rnn = nn.LSTM(
            width,
            shape.hidden_size,
            shape.layers,
            batch_first=True,
            bidirectional=True,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(shape.dropout)
        states = 2 * shape.hidden_size
        self.attention = Attention(states, states, shape.hidden_size)
        self.tag = nn.Linear(2 * states, len(tags))
        self.chain = TagChain(tags)
        self.intent = nn.Linear(2 * states, intents)

    def forward(
        self, words: torch.Tensor, word_parts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Read sentences of one length.

        Args:
            words: (batch, length) int64, numbers in the vocabulary.
            word_parts: (batch, length, parts) int64, padded with 0; ignored without buckets.

        Returns:
            Scores of the tags (batch, length, tags), for `chain`, and of the intents (batch, intents).
        """
        both, _ = self.read(words, word_parts)
        return self.tag(both), self.intent(self.dropout(both.max(dim=1).values))

    def read(
        self, words: torch.Tensor, word_parts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of each word (batch, length, 4 · hidden), and what it attends to (batch, length, length)."""
        if self.embedding is None:
            x = F.one_hot(words, self.vocabulary).to(self.tag.weight.dtype)
        else:
            x = self.embedding(words)
        if self.parts is not None:
            bags = self.parts(word_parts.flatten(0, 1))
            x = torch.cat([x, bags.view(*words.shape, -1)], dim=2)
        states, _ = self.rnn(self.dropout(x))
        states = self.dropout(states)
        result, weights = self.attention(states, states)
        return torch.cat([states, result], dim=2), weights


class IntentSlotModel:
    """A network with its vocabulary: tokens in, tags and an intent out.

    Args:
        network: for these lists.
        vocabulary: known words, lower case.
        tags: known tags; O must be among them.
        intents: known intents, at least one.

    Raises:
        ValueError: one of the lists lacks what it must have.
    """

    def __init__(
        self, network: SlotFiller, vocabulary: list[str], tags: list[str], intents: list[str]
    ) -> None:
        if OUTSIDE not in tags or not intents:
            raise ValueError("slot filling needs the tag O and at least one intent")
        self.network, self.vocabulary, self.tags, self.intents = network, vocabulary, tags, intents
        self._word_numbers = {word: 1 + number for number, word in enumerate(vocabulary)}
        self._tag_numbers = {tag: number for number, tag in enumerate(tags)}
        self._intent_numbers = {intent: number for number, intent in enumerate(intents)}

    # -- numbers ------------------------------------------------------------------------------

    def words(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of words in the vocabulary."""
        return [self._word_numbers.get(token.lower(), UNKNOWN) for token in tokens]

    def word_parts(self, tokens: Sequence[str]) -> list[list[int]]:
        """Numbers of the parts of words, padded with 0; a single 0 for each word without buckets."""
        if not self.network.shape.buckets:
            return [[0]] * len(tokens)
        result = [parts(token, self.network.shape.buckets) for token in tokens]
        return [[*numbers, *[0] * (_PARTS - len(numbers))] for numbers in result]

    def tag_numbers(self, tags: Sequence[str]) -> list[int]:
        """Numbers of tags; an unknown tag counts as O."""
        outside = self._tag_numbers[OUTSIDE]
        return [self._tag_numbers.get(tag, outside) for tag in well_formed(tags)]

    def intent_number(self, intent: str) -> int:
        """Number of an intent; −1 for an unknown one."""
        return self._intent_numbers.get(intent, -1)

    def inputs(self, sentences: Sequence[Sequence[str]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the network, on its device, for sentences of one length."""
        device = self.network.tag.weight.device
        words = torch.tensor([self.words(tokens) for tokens in sentences], device=device)
        bags = torch.tensor([self.word_parts(tokens) for tokens in sentences], device=device)
        return words, bags

    # -- use ----------------------------------------------------------------------------------

    def understand(self, tokens: Sequence[str]) -> tuple[list[str], str, float]:
        """Tags and intent of a sentence, and their joint probability under the model.

        An empty sentence gets the first intent, with probability 0. Tokens beyond the 200th are not read;
        their tag is O.
        """
        ((tags, intent, confidence),) = self.understand_all([tokens])
        return tags, intent, confidence

    def understand_all(
        self, sentences: Sequence[Sequence[str]]
    ) -> list[tuple[list[str], str, float]]:
        """`understand` for many sentences; those of one length are a batch."""
        by_length: dict[int, list[int]] = {}
        for number, tokens in enumerate(sentences):
            by_length.setdefault(min(len(tokens), LONGEST_SENTENCE), []).append(number)
        results: list[tuple[list[str], str, float]] = [([], self.intents[0], 0.0)] * len(sentences)
        self.network.eval()
        for length, numbers in by_length.items():
            size = most_sentences(length)
            for first in range(0, len(numbers) if length else 0, size):
                chosen = numbers[first : first + size]
                read = [sentences[number][:length] for number in chosen]
                for number, result in zip(chosen, self._batch(read), strict=True):
                    tags, intent, confidence = result
                    beyond = [OUTSIDE] * (len(sentences[number]) - length)
                    results[number] = ([*tags, *beyond], intent, confidence)
        return results

    @torch.no_grad()
    def _batch(self, sentences: list[Sequence[str]]) -> list[tuple[list[str], str, float]]:
        scores, intent_scores = self.network(*self.inputs(sentences))
        best, log_chance = self.network.chain.best(scores)
        chance, intents = intent_scores.softmax(dim=1).max(dim=1)
        confidences = (log_chance.exp() * chance).clamp(0, 1)
        return [
            ([self.tags[number] for number in numbers], self.intents[intent], confidence)
            for numbers, intent, confidence in zip(
                best.tolist(), intents.tolist(), confidences.tolist(), strict=True
            )
        ]
