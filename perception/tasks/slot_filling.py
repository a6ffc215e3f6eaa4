"""Slot filling and intent detection from tagged sentences.

The network and its paper are in `perception.networks.slot_filling`. The loss is the negative log-likelihood
of the tags under a conditional random field plus that of the intent. The score is conlleval's slot F1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from perception.data.datasets import Rows, rows_of
from perception.data.sentences import SHIPPED, folder_of, load, origin
from perception.networks.slot_filling import (
    LONGEST_SENTENCE,
    OUTSIDE,
    UNKNOWN,
    IntentSlotModel,
    Sentence,
    Shape,
    SlotFiller,
    most_sentences,
    spans,
    tokenize,
)
from perception.tasks.task import (
    STRICT,
    DataError,
    DataSource,
    Epochs,
    Metric,
    Task,
    TaskData,
    warm_average,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Width = Annotated[int, Field(ge=1, le=1_000_000)]
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class SlotFillingConfig:
    """Network and training."""

    epochs: Epochs = 8
    """Passes over the training sentences."""
    words: Literal["learnt", "one-hot"] = "learnt"
    """Input of a known word: a learnt vector, or 1-of-N."""
    vocabulary: PositiveInt = 5_000
    """Known words: the most frequent ones."""
    embedding: _Width = 96
    """Size of the learnt vectors of words and of their parts."""
    buckets: Annotated[int, Field(ge=0, le=1_000_000)] = 4096
    """Vectors that the parts of words (letter triples, affixes, shape) are hashed to; 0: no parts."""
    hidden_size: _Width = 128
    """Units of the LSTM in each direction."""
    layers: Annotated[int, Field(ge=1, le=100)] = 1
    """Layers of the LSTM."""
    dropout: _Share = 0.4
    """Dropout probability."""
    forget: Annotated[float, Field(ge=0)] = 0.5
    """Word dropout f: in training a word is replaced by the unknown one with probability f / (f + its count)."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Learning rate of Adam."""
    batch_size: PositiveInt = 32
    """Sentences per update, all of one length; fewer of more than 79 words."""
    average: _Share = 0.999
    """Decay of the exponential average of the weights, which the model uses."""

    def shape(self) -> Shape:
        """Sizes of the network."""
        return Shape(
            self.words, self.embedding, self.buckets, self.hidden_size, self.layers, self.dropout
        )


class SlotFilling(Task):
    """Tags and intents of sentences.

    A training batch is a tuple of tensors (words, parts of words, tags, intents); a test batch is a list of
    sentences.
    """

    Config = SlotFillingConfig
    default_data = "domain:movie"

    def __init__(self, config: SlotFillingConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        vocabulary, tags, intents = (metadata[key] for key in ("vocabulary", "tags", "intents"))
        self.network = SlotFiller(config.shape(), 1 + len(vocabulary), tags, len(intents))
        self.average = AveragedModel(self.network, multi_avg_fn=warm_average(config.average))
        averaged = cast(SlotFiller, self.average.module)
        self.model = IntentSlotModel(averaged, vocabulary, tags, intents)
        """The averaged network with its vocabulary: what to use."""
        counts = torch.tensor([np.inf, *metadata["word_counts"]])  # the unknown word stays
        self.forget_probability: Tensor
        self.register_buffer(
            "forget_probability", config.forget / (config.forget + counts), persistent=False
        )
        self.optimizers = {
            "main": torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        }
        self._encoded: tuple[Dataset[Any] | None, list[tuple[Tensor, ...]]] = (None, [])

    @classmethod
    def load_data(cls, config: SlotFillingConfig, source: DataSource) -> TaskData:
        if source.scheme is not None:
            train, test = (
                [Sentence(*row) for row in rows] for rows in source.provide("tagged-sentences")
            )
            found = f"made from {source.reference}"
        else:
            location = source.locate(SHIPPED)
            train, test = load(folder_of(location))
            found = location.found
        counts = Counter(token.lower() for sentence in train for token in sentence.tokens)
        known = sorted(counts, key=lambda word: (-counts[word], word))[: config.vocabulary]
        slots = sorted({slot for sentence in train for slot, _, _ in spans(sentence.tags)})
        metadata = {
            "vocabulary": known,
            "word_counts": [counts[word] for word in known],
            "tags": [OUTSIDE, *(f"{kind}-{slot}" for slot in slots for kind in "BI")],
            "intents": sorted({sentence.intent for sentence in train}),
        }
        about = origin(source.reference, found, train, test)
        if source.scheme is not None:
            about["licence"] = "none: generated"
        if not any(spans(sentence.tags) for sentence in test):
            about["slots"] = "none to test with: slot F1 is not defined"
        return TaskData(Rows(train), Rows(test), metadata, about)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        """Training sentences of one length make a batch, so that nothing is padded."""
        if not training:
            sentences = rows_of(dataset)
            yield from (sentences[at : at + 256] for at in range(0, len(sentences), 256))
            return
        if self._encoded[0] is not dataset:
            self._encoded = (dataset, self._encode(rows_of(dataset)))
        batches = [
            (group, chosen)
            for group in self._encoded[1]
            for chosen in torch.randperm(len(group[0])).split(
                min(self.config.batch_size, most_sentences(group[0].shape[1]))
            )
        ]
        for number in torch.randperm(len(batches)).tolist():
            group, chosen = batches[number]
            yield tuple(rows[chosen].to(self.device) for rows in group)

    def _encode(self, sentences: Sequence[Sentence]) -> list[tuple[Tensor, ...]]:
        """Words, parts of words, tags and intents of the sentences of each length; longer ones are cut."""
        by_length: dict[int, list[Sentence]] = {}
        for tokens, tags, intent in sentences:
            cut = Sentence(tokens[:LONGEST_SENTENCE], tags[:LONGEST_SENTENCE], intent)
            by_length.setdefault(len(cut.tokens), []).append(cut)
        model = self.model
        return [
            (
                torch.tensor([model.words(sentence.tokens) for sentence in group]),
                torch.tensor([model.word_parts(sentence.tokens) for sentence in group]),
                torch.tensor([model.tag_numbers(sentence.tags) for sentence in group]),
                torch.tensor([model.intent_number(sentence.intent) for sentence in group]),
            )
            for _, group in sorted(by_length.items())
        ]

    def train_step(self, batch: tuple[Tensor, ...], step: int) -> dict[str, Tensor]:
        words, parts, tags, intents = batch
        forgotten = torch.rand(words.shape, device=words.device) < self.forget_probability[words]
        scores, intent_scores = self.network(words.masked_fill(forgotten, UNKNOWN), parts)
        tag_loss = -self.network.chain.log_likelihood(scores, tags).mean()
        intent_loss = F.cross_entropy(intent_scores, intents)
        adam = self.optimizers["main"]
        adam.zero_grad()
        (tag_loss + intent_loss).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        adam.step()
        self.average.update_parameters(self.network)
        return {"tag_loss": tag_loss.detach(), "intent_loss": intent_loss.detach()}

    def evaluate(self, batches: Iterable[list[Sentence]]) -> dict[str, Metric]:
        sentences = [sentence for batch in batches for sentence in batch]
        return score(sentences, self.model.understand_all([row.tokens for row in sentences]))

    def pictures(self, batches: Iterable[list[Sentence]]) -> dict[str, Figure]:
        """Attention between the words of two sentences, the axes labelled with words and predicted tags."""
        from matplotlib.figure import Figure

        sentences = [sentence for batch in batches for sentence in batch]
        chosen = sorted(sentences, key=lambda row: -len(spans(row.tags)))[:200:100]
        figure = Figure((5 * len(chosen), 4.5), layout="constrained")
        for place, sentence in enumerate(chosen, 1):
            tokens = sentence.tokens[:20]
            tags, intent, _ = self.model.understand(tokens)
            with torch.no_grad():
                _, weights = self.model.network.read(*self.model.inputs([tokens]))
            axes = figure.add_subplot(1, len(chosen), place)
            axes.imshow(weights[0].cpu().numpy(), cmap="Blues", vmin=0)
            axes.set_title(f"intent: {intent}", fontsize=9)
            axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=8)
            rows = [f"{token}  [{tag}]" for token, tag in zip(tokens, tags, strict=True)]
            axes.set_yticks(range(len(tokens)), rows, fontsize=8)
        return {"attention": figure}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Tags, slots and intent of texts."""
        sentences = []
        for text in inputs:
            if not isinstance(text, str) or not (tokens := tokenize(text)):
                raise DataError(f"slot filling reads a text with at least one word, not {text!r}")
            sentences.append(tokens)
        results = []
        for text, tokens, (tags, intent, probability) in zip(
            inputs, sentences, self.model.understand_all(sentences), strict=True
        ):
            slots = [
                {"slot": slot, "value": " ".join(tokens[start:end])}
                for slot, start, end in spans(tags)
            ]
            results.append(
                {
                    "text": text,
                    "intent": intent,
                    "slots": slots,
                    "probability": round(probability, 4),
                    "tokens": tokens,
                    "tags": tags,
                }
            )
        return results


def score(
    sentences: Sequence[Sentence], results: Sequence[tuple[list[str], str, float]]
) -> dict[str, Metric]:
    """Slot F1 (conlleval: micro-average over whole spans), accuracy of intents and of whole sentences.

    A span counts as correct where slot, start and end agree. Without slots in the sentences there is no F1.
    """
    counts = np.zeros((len(sentences), 3), np.int64)  # correct, predicted, in the sentence
    by_slot: dict[str, np.ndarray] = {}
    intents, frames = np.zeros(len(sentences)), np.zeros(len(sentences))
    for number, (sentence, (tags, intent, _)) in enumerate(zip(sentences, results, strict=True)):
        there, result = set(spans(sentence.tags)), set(spans(tags))
        for column, group in enumerate((there & result, result, there)):
            counts[number, column] = len(group)
            for slot, _, _ in group:
                by_slot.setdefault(slot, np.zeros(3, np.int64))[column] += 1
        intents[number] = intent == sentence.intent
        frames[number] = intents[number] and there == result
    table = [
        [slot, *(round(value, 4) for value in precision_recall_f1(row)), int(row[2])]
        for slot, row in sorted(by_slot.items())
    ]
    head = ["slot", "precision", "recall", "F1", "values"]
    f1 = Metric(counts, slot_f1, table=[head, *table])
    scores = {"slot F1": f1} if counts[:, 2].any() else {}
    return scores | {
        "intent accuracy": Metric(intents),
        "whole-sentence accuracy": Metric(frames),
    }


def slot_f1(counts: np.ndarray) -> float:
    """F1 of rows (n, 3) of correct, predicted and existing spans."""
    return precision_recall_f1(counts.sum(axis=0))[2]


def precision_recall_f1(counts: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 from the numbers of correct, predicted and existing spans."""
    correct, predicted, there = (float(count) for count in counts)
    return (
        correct / predicted if predicted else 0.0,
        correct / there if there else 0.0,
        2 * correct / (predicted + there) if predicted + there else 0.0,
    )
