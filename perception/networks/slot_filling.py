"""Understanding a sentence: its slots, as IOB tags, and its intent, in one pass.

A bidirectional LSTM reads the words, attention lets every word look at the whole sentence, and the
sentence's summary names the intent (Liu & Lane 2016). The tags are chosen together, not one by one: a
chain of transitions over them (a conditional random field; Lafferty et al. 2001) rules out what
cannot follow and gives the chosen sequence as a whole its probability. A word is what the vocabulary
knows it as and the bag of its hashed letter triples, prefixes, suffixes and shape (Bojanowski et al.
2017), so that an unknown one still says something.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.attention import Attention

OUTSIDE = "O"
UNKNOWN = 0
"""Number of every word that the vocabulary lacks."""

_IMPOSSIBLE = -1e4
_PARTS = 24
"""Hashed parts of a word at most; what a very long word has more is left out."""
_LONGEST_WORD = 64
_LONGEST_SENTENCE = 200

_TOKEN = re.compile(r"\w+(?:[.&/:-]\w+)*|['’]\w+|[^\w\s]")


class Sentence(NamedTuple):
    """A sentence with what it means."""

    tokens: list[str]
    tags: list[str]
    """One a token: O, or B- and the slot's name at the first token of a value, I- and it at others."""
    intent: str


def tokenize(text: str) -> list[str]:
    """Split a text into words and punctuation; `'s` and the like stand alone."""
    return _TOKEN.findall(text)


def tokenize_at(text: str) -> Iterator[tuple[int, str]]:
    """`tokenize`, with the place where each token begins."""
    return ((match.start(), match.group()) for match in _TOKEN.finditer(text))


def well_formed(tags: Sequence[str]) -> list[str]:
    """The same spans in IOB2: an I- that continues nothing begins a span, as conlleval reads it."""
    result: list[str] = []
    before = OUTSIDE
    for tag in tags:
        if tag.startswith("I-") and before[2:] != tag[2:]:
            tag = f"B-{tag[2:]}"
        result.append(tag)
        before = tag
    return result


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Values in a tagged sentence as (slot, first token, token after the last), by conlleval's rules."""
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
    """Numbers in 1…buckets of a word's shape, prefixes, suffixes and letter triples."""
    word = word[:_LONGEST_WORD]
    lowered = f"^{word.lower()}$"
    shape = re.sub(r"[A-ZÀ-Þ]", "X", re.sub(r"[a-zß-ÿ]", "x", re.sub(r"\d", "d", word)))
    pieces = ["shape " + re.sub(r"(.)\1+", r"\1+", shape)]
    pieces += [lowered[: size + 1] for size in (1, 3, 4)]
    pieces += [lowered[-size - 1 :] for size in (1, 3, 4)]
    pieces += [lowered[at : at + 3] for at in range(len(lowered) - 2)]
    pieces = list(dict.fromkeys(pieces))[:_PARTS]
    return tuple(1 + zlib.crc32(piece.encode()) % buckets for piece in pieces)


class TagChain(nn.Module):
    """A linear-chain conditional random field over tags.

    Args:
        tags: names, by which it is known that I-x follows only B-x and I-x.
    """

    possible: torch.Tensor

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(len(tags) + 1, len(tags)))
        """Score of the step from a tag (row; the last one stands for the beginning) to another."""
        before = [tag[2:] for tag in tags] + [""]
        possible = [
            [not tag.startswith("I-") or tag[2:] == slot for tag in tags] for slot in before
        ]
        self.register_buffer("possible", torch.tensor(possible), persistent=False)

    def _steps(self) -> torch.Tensor:
        return self.transitions.masked_fill(~self.possible, _IMPOSSIBLE)

    def log_total(self, scores: torch.Tensor) -> torch.Tensor:
        """Logarithm of the sum over all sequences, (batch,), of scores (batch, length, tags)."""
        steps = self._steps()
        chances = steps[:-1].exp()
        total = steps[-1] + scores[:, 0]
        for score in scores[:, 1:].unbind(1):
            most = total.max(dim=1, keepdim=True).values
            total = ((total - most).exp() @ chances).clamp_min(1e-30).log() + most + score
        return total.logsumexp(dim=1)

    def log_likelihood(self, scores: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """Logarithm of the probability of tags.

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
        """The most probable tags (batch, length) int64, and the logarithm of their probability."""
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
    """The size of a network that understands."""

    words: Literal["learnt", "one-hot"] = "learnt"
    """How a word of the vocabulary goes in: as a vector that is learnt, or 1-of-N."""
    embedding: int = 96
    """Numbers of a learnt vector."""
    buckets: int = 4096
    """Vectors that the parts of words are hashed to; 0: words are seen only as a whole."""
    hidden_size: int = 128
    """Units of the LSTM in each direction."""
    layers: int = 1
    """Layers of the LSTM."""
    dropout: float = 0.4
    """Share of numbers that are left out between layers while it learns."""

    def __post_init__(self) -> None:
        if self.words not in ("learnt", "one-hot"):
            raise ValueError(f"words must be learnt or one-hot, not {self.words!r}")
        for name, least in (("embedding", 1), ("buckets", 0), ("hidden_size", 1), ("layers", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= 1_000_000:
                raise ValueError(f"{name} must be at least {least}, not {value!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout!r}")


class SlotFiller(nn.Module):
    """The network: words in, scores of tags and intents out."""

    def __init__(self, shape: Shape, vocabulary: int, tags: Sequence[str], intents: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
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
            word_parts: (batch, length, parts) int64, padded with 0; any numbers where there are no
                buckets.

        Returns:
            Scores of the tags (batch, length, tags), for `chain`, and of the intents (batch, intents).
        """
        if self.embedding is None:
            x = F.one_hot(words, self.vocabulary).to(self.tag.weight.dtype)
        else:
            x = self.embedding(words)
        if self.parts is not None:
            bags = self.parts(word_parts.flatten(0, 1))
            x = torch.cat([x, bags.view(*words.shape, -1)], dim=2)
        states, _ = self.rnn(self.dropout(x))
        states = self.dropout(states)
        result, _ = self.attention(states, states)
        both = torch.cat([states, result], dim=2)
        return self.tag(both), self.intent(self.dropout(both.max(dim=1).values))


class IntentSlotModel:
    """A network with the words, tags and intents that it knows.

    Args:
        shape: of the network.
        vocabulary: known words, lower case.
        tags: known tags; O must be among them.
        intents: known intents, at least one.

    Raises:
        ValueError: one of the lists is empty, or lacks what it must have.
    """

    def __init__(
        self, shape: Shape, vocabulary: list[str], tags: list[str], intents: list[str]
    ) -> None:
        if OUTSIDE not in tags or not intents:
            raise ValueError("understanding needs the tag O and at least one intent")
        self.shape, self.vocabulary, self.tags, self.intents = shape, vocabulary, tags, intents
        self._word_numbers = {word: 1 + number for number, word in enumerate(vocabulary)}
        self._tag_numbers = {tag: number for number, tag in enumerate(tags)}
        self._intent_numbers = {intent: number for number, intent in enumerate(intents)}
        self.network = SlotFiller(shape, 1 + len(vocabulary), tags, len(intents))

    @classmethod
    def of(cls, sentences: Sequence[Sentence], shape: Shape, words: int) -> IntentSlotModel:
        """An untrained one for the words, tags and intents of some sentences.

        Args:
            words: how many words to know at most: the most frequent.
        """
        counts = Counter(token.lower() for sentence in sentences for token in sentence.tokens)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        slots = sorted({slot for sentence in sentences for slot, _, _ in spans(sentence.tags)})
        tags = [OUTSIDE, *(f"{kind}-{slot}" for slot in slots for kind in "BI")]
        return cls(shape, ranked[:words], tags, sorted({item.intent for item in sentences}))

    def description(self) -> dict[str, Any]:
        """All but the weights, ready for JSON."""
        return {
            "shape": dataclasses.asdict(self.shape),
            "vocabulary": self.vocabulary,
            "tags": self.tags,
            "intents": self.intents,
        }

    @classmethod
    def described(cls, description: Any) -> IntentSlotModel:
        """An untrained one, as `description` gave it.

        Raises:
            ValueError: it is not such a description.
        """
        try:
            shape = Shape(**description["shape"])
            lists = [description[name] for name in ("vocabulary", "tags", "intents")]
            texts = all(isinstance(word, str) for words in lists for word in words)
            if not texts or not all(isinstance(words, list) for words in lists):
                raise ValueError("its words are no lists of texts")
            return cls(shape, *lists)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"this describes no understanding of sentences: {error}") from error

    # -- numbers ------------------------------------------------------------------------------

    def words(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of words in the vocabulary."""
        return [self._word_numbers.get(token.lower(), UNKNOWN) for token in tokens]

    def word_parts(self, tokens: Sequence[str]) -> list[list[int]]:
        """Numbers of the parts of words, padded to one length; one 0 a word where parts are unseen."""
        if not self.shape.buckets:
            return [[0]] * len(tokens)
        result = [parts(token, self.shape.buckets) for token in tokens]
        return [[*numbers, *[0] * (_PARTS - len(numbers))] for numbers in result]

    def tag_numbers(self, tags: Sequence[str]) -> list[int]:
        """Numbers of tags; an unknown one counts as O."""
        outside = self._tag_numbers[OUTSIDE]
        return [self._tag_numbers.get(tag, outside) for tag in well_formed(tags)]

    def intent_number(self, intent: str) -> int:
        """Number of an intent, −1 for an unknown one."""
        return self._intent_numbers.get(intent, -1)

    # -- use ----------------------------------------------------------------------------------

    def understand(self, tokens: Sequence[str]) -> tuple[list[str], str, float]:
        """Tags and intent of a sentence, and the network's probability that all of it is right.

        Nothing can be read in an empty sentence: the first intent, with confidence 0. What a sentence
        has beyond 200 tokens is not read and tagged O.
        """
        ((tags, intent, confidence),) = self.understand_all([tokens])
        return tags, intent, confidence

    def understand_all(
        self, sentences: Sequence[Sequence[str]]
    ) -> list[tuple[list[str], str, float]]:
        """`understand` for many sentences, those of one length together."""
        by_length: dict[int, list[int]] = {}
        for number, tokens in enumerate(sentences):
            by_length.setdefault(min(len(tokens), _LONGEST_SENTENCE), []).append(number)
        results: list[tuple[list[str], str, float]] = [([], self.intents[0], 0.0)] * len(sentences)
        self.network.eval()
        for length, numbers in by_length.items():
            for first in range(0, len(numbers) if length else 0, 256):
                chosen = numbers[first : first + 256]
                read = [sentences[number][:length] for number in chosen]
                for number, result in zip(chosen, self._batch(read), strict=True):
                    tags, intent, confidence = result
                    beyond = [OUTSIDE] * (len(sentences[number]) - length)
                    results[number] = ([*tags, *beyond], intent, confidence)
        return results

    @torch.no_grad()
    def _batch(self, sentences: list[Sequence[str]]) -> list[tuple[list[str], str, float]]:
        device = self.network.tag.weight.device
        words = torch.tensor([self.words(tokens) for tokens in sentences], device=device)
        bags = torch.tensor([self.word_parts(tokens) for tokens in sentences], device=device)
        scores, intent_scores = self.network(words, bags)
        best, log_chance = self.network.chain.best(scores)
        chance, intents = intent_scores.softmax(dim=1).max(dim=1)
        confidences = (log_chance.exp() * chance).clamp(0, 1)
        return [
            ([self.tags[number] for number in numbers], self.intents[intent], confidence)
            for numbers, intent, confidence in zip(
                best.tolist(), intents.tolist(), confidences.tolist(), strict=True
            )
        ]
