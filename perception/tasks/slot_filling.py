"""Learning to fill slots and to find the intent from tagged sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from perception.networks.slot_filling import UNKNOWN, IntentSlotModel, Sentence, Shape, spans
from perception.tasks.task import Learner, Task


@dataclass(frozen=True)
class SlotFillingConfig:
    """What the network is like and how it learns."""

    words: Literal["learnt", "one-hot"] = "learnt"
    """How a known word goes in: as a vector that is learnt, or 1-of-N."""
    vocabulary: int = 5_000
    """Words that are known, the most frequent ones."""
    embedding: int = 96
    """Numbers of a learnt vector, for words and for their parts."""
    buckets: int = 4096
    """Vectors that the parts of words (letters, affixes, shape) are hashed to; 0: parts are unseen."""
    hidden_size: int = 128
    """Units of the LSTM in each direction."""
    layers: int = 1
    """Layers of the LSTM."""
    dropout: float = 0.4
    """Share of numbers left out between layers while learning."""
    forget: float = 0.5
    """How readily a word is taken for an unknown one while learning: f / (f + its count)."""
    learning_rate: float = 2e-3
    """Adam's."""
    batch_size: int = 32
    """Sentences an update, all of one length: nothing is padded."""
    average: float = 0.999
    """Decay an update of the averaged weights, which are the ones that are used."""

    def __post_init__(self) -> None:
        for name in ("vocabulary", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate:g}")
        if not self.forget >= 0:
            raise ValueError(f"forget must be at least 0, not {self.forget:g}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be from 0 to below 1, not {self.average:g}")
        self.shape()

    def shape(self) -> Shape:
        """The network's."""
        return Shape(
            self.words, self.embedding, self.buckets, self.hidden_size, self.layers, self.dropout
        )


class SlotFilling(Task):
    """Tags and intents of sentences: maximum likelihood, tags and intent weighing the same."""

    Config = SlotFillingConfig
    epochs = 8
    data = "snips"

    def __init__(
        self, config: SlotFillingConfig, model: IntentSlotModel, examples: Sequence[Sentence]
    ) -> None:
        self.config, self.model = config, model
        self.learner = Learner(model.network, config.learning_rate, config.average)
        self.device = model.network.tag.weight.device
        counts = Counter(token.lower() for sentence in examples for token in sentence.tokens)
        forgotten = [config.forget / (config.forget + counts[word]) for word in model.vocabulary]
        self._forgotten = torch.tensor([0.0, *forgotten], device=self.device)
        by_length: dict[int, list[Sentence]] = {}
        for sentence in examples:
            by_length.setdefault(len(sentence.tokens), []).append(sentence)
        self._groups = [self._numbers(by_length[length]) for length in sorted(by_length)]

    def _numbers(self, sentences: list[Sentence]) -> tuple[torch.Tensor, ...]:
        """Words, parts of words, tags and intents of sentences of one length."""
        model = self.model
        return tuple(
            torch.tensor(rows, device=self.device)
            for rows in (
                [model.words(sentence.tokens) for sentence in sentences],
                [model.word_parts(sentence.tokens) for sentence in sentences],
                [model.tag_numbers(sentence.tags) for sentence in sentences],
                [model.intent_number(sentence.intent) for sentence in sentences],
            )
        )

    @staticmethod
    def new_model(config: SlotFillingConfig, examples: Sequence[Sentence]) -> IntentSlotModel:
        return IntentSlotModel.of(examples, config.shape(), config.vocabulary)

    @staticmethod
    def described(description: Any) -> IntentSlotModel:
        return IntentSlotModel.described(description)

    def epoch(self) -> Iterator[dict[str, float]]:
        network, done, losses = self.learner.network, 0, [0.0, 0.0]
        batches = [
            (group, chosen)
            for group in self._groups
            for chosen in torch.randperm(len(group[0])).split(self.config.batch_size)
        ]
        for count, number in enumerate(torch.randperm(len(batches)).tolist(), 1):
            group, chosen = batches[number]
            words, parts, tags, intents = (rows[chosen.to(self.device)] for rows in group)
            forgotten = torch.rand(words.shape, device=self.device) < self._forgotten[words]
            scores, intent_scores = network(words.masked_fill(forgotten, UNKNOWN), parts)
            tag_loss = -network.chain.log_likelihood(scores, tags).mean()
            intent_loss = F.cross_entropy(intent_scores, intents)
            self.learner.update(tag_loss + intent_loss)
            done += len(chosen)
            losses = [losses[0] + tag_loss.item(), losses[1] + intent_loss.item()]
            if count % 50 == 0 or count == len(batches):
                since = (count - 1) % 50 + 1
                yield {
                    "steps": done,
                    "tag_loss": losses[0] / since,
                    "intent_loss": losses[1] / since,
                }
                losses = [0.0, 0.0]

    @staticmethod
    def test(model: IntentSlotModel, examples: Sequence[Sentence]) -> dict[str, Any]:
        return score(examples, model.understand_all([sentence.tokens for sentence in examples]))


def score(
    sentences: Sequence[Sentence], results: Sequence[tuple[list[str], str, float]]
) -> dict[str, Any]:
    """Slot F1 by conlleval's definition (micro-average over whole spans) and intent accuracy.

    A span counts as right where slot, beginning and end are. Where there are no slots at all, neither in
    the sentences nor in the results, F1 is 1.
    """
    counts = np.zeros((len(sentences), 3), np.int64)  # right, found, there
    by_slot: dict[str, np.ndarray] = {}
    intents, frames = 0, 0
    for number, (sentence, (tags, intent, _)) in enumerate(zip(sentences, results, strict=True)):
        there, result = set(spans(sentence.tags)), set(spans(tags))
        for column, group in enumerate((there & result, result, there)):
            counts[number, column] = len(group)
            for slot, _, _ in group:
                by_slot.setdefault(slot, np.zeros(3, np.int64))[column] += 1
        intents += intent == sentence.intent
        frames += intent == sentence.intent and there == result
    # 1,000 sets of sentences, drawn with replacement, always the same ones.
    rng = np.random.default_rng(0)
    chance = np.full(len(sentences), 1 / len(sentences))
    resampled = rng.multinomial(len(sentences), chance, 1000) @ counts
    low, high = np.percentile([f1(*row) for row in resampled], [2.5, 97.5])
    rows = [
        [
            slot,
            *(round(value, 4) for value in (_share(right, result), _share(right, there))),
            round(f1(right, result, there), 4),
            int(there),
        ]
        for slot, (right, result, there) in sorted(by_slot.items())
    ]
    return {
        "score": "slot F1",
        "mean": f1(*counts.sum(axis=0)),
        "interval": [float(low), float(high)],
        "sentences": len(sentences),
        "measures": {
            "intent_accuracy": intents / len(sentences),
            "whole_sentence_accuracy": frames / len(sentences),
        },
        "table": [["slot", "precision", "recall", "F1", "values"], *rows],
    }


def f1(right: int, found: int, there: int) -> float:
    """Harmonic mean of right / found and right / there."""
    return 2 * float(right) / float(found + there) if found + there else 1.0


def _share(part: int, whole: int) -> float:
    return float(part) / float(whole) if whole else 0.0
