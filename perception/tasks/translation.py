"""Translation: a network reads a sentence of one language and writes it in another.

Three networks: GRUs without attention (Cho et al. 2014), GRUs with attention (Bahdanau, Cho & Bengio 2015), and a
Transformer (Vaswani et al. 2017). Sentences are cut into subwords by byte-pair encoding (Sennrich et al. 2016), Chinese into
characters. The loss is the cross-entropy of each subword with label smoothing, translations are found by beam search, the
score is the BLEU of the test as sacrebleu has it (Post 2018), for texts as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils.data import Dataset

from perception.data.datasets import Rows, Tensors
from perception.data.pairs import Pair, Pairs, load_pairs
from perception.data.symbols import Subwords
from perception.networks.classifiers import weights_of
from perception.networks.seq2seq import RecurrentSeq2Seq, Seq2Seq
from perception.networks.transformer import Transformer
from perception.tasks.bleu import bleu, bleu_counts
from perception.tasks.sequences import (
    LONGEST,
    attention_of,
    attention_picture,
    batches_of,
    nearest_answers,
    set_learning_rate,
    shares_picture,
    terms_of,
    update,
    written,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADS = 4
_LABEL_SMOOTHING = 0.1


@dataclass(frozen=True, config=STRICT)
class TranslationConfig:
    """Data, network and training."""

    network: Literal["rnn", "attention", "transformer"] = "attention"
    """GRUs without attention, GRUs with attention, or a Transformer."""
    reverse: bool = False
    """Translate from the second language of the data into the first."""
    vocabulary: Annotated[int, Field(ge=10, le=100_000)] = 4000
    """Most subwords of each language."""
    hidden_size: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Size of the vectors of subwords, and of all layers; of the encoder's GRU in each direction."""
    layers: Annotated[int, Field(ge=1, le=100)] = 3
    """Layers of the encoder, and of the decoder (transformer)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout probability."""
    beam: Annotated[int, Field(ge=1, le=100)] = 4
    """Beginnings of a translation that are kept in beam search; 1 is greedy."""
    epochs: Epochs = 15
    """Passes over the training pairs."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    """Learning rate of Adam at its peak; it rises in the first twentieth of training, then falls to 0."""
    batch_size: PositiveInt = 32
    """Pairs per update."""


class Translation(Task):
    """Translations; a training batch is subwords read (n, m) and written (n, k), a test batch a list of pairs of texts."""

    Config = TranslationConfig
    default_data = "tatoeba"

    def __init__(self, config: TranslationConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.read, self.write = Subwords(**metadata["read"]), Subwords(**metadata["write"])
        self.network = make_network(config, self.read.size, self.write.size)
        adam = torch.optim.Adam(
            self.network.parameters(), config.learning_rate, betas=(0.9, 0.98), fused=True
        )
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["pairs"] // config.batch_size)

    @classmethod
    def load_data(cls, config: TranslationConfig, source: DataSource) -> TaskData:
        pairs = load_pairs(source)
        pairs = pairs.swapped() if config.reverse else pairs
        read, write = (list(part) for part in zip(*pairs.train, strict=True))
        fitted = [Subwords.fit(texts, config.vocabulary) for texts in (read, write)]
        data = Tensors(
            *(
                Subwords(**one)(texts, LONGEST)
                for one, texts in zip(fitted, (read, write), strict=True)
            )
        )
        tokenize = "zh" if re.search(r"[\u4e00-\u9fff]", "".join(write[:100])) else "13a"
        metadata = {
            "read": fitted[0],
            "write": fitted[1],
            "pairs": len(data),
            "longest": data.tensors[1].shape[1],
            "tokenize": tokenize,
            "baseline": _baseline(pairs, tokenize),
        }
        return TaskData(data, Rows(pairs.test), metadata, pairs.origin)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        return batches_of(dataset, self.config.batch_size, self.device, training)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        adam = self.optimizers["main"]
        set_learning_rate(adam, self.config.learning_rate, step, self.updates)
        return {"loss": update(self.network, adam, batch, _LABEL_SMOOTHING)}

    def translations(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of the subwords of translations, by beam search."""
        found = written(self.network, self.read, texts, self.config.beam, self.metadata["longest"])
        return [one.words for one in found]

    def evaluate(self, batches: Iterable[list[Pair]]) -> dict[str, Metric]:
        counts = np.concatenate([self._counts(batch) for batch in batches])
        weights = weights_of(self)
        table = [
            ["model", "BLEU"],
            [f"{self.config.network}, {weights:,} weights", round(percent_bleu(counts), 2)],
            self.metadata["baseline"],
        ]
        return {"BLEU": Metric(counts, percent_bleu, table=table)}

    def _counts(self, pairs: Sequence[Pair]) -> np.ndarray:
        texts = [self.write.join(row) for row in self.translations([text for text, _ in pairs])]
        return bleu_counts(texts, [[wanted] for _, wanted in pairs], self.metadata["tokenize"])

    def pictures(self, batches: Iterable[list[Pair]]) -> dict[str, Figure]:
        """BLEU by the length of what is read, and which subwords were looked at in four translations."""
        pairs = [pair for batch in batches for pair in batch][:1000]
        lengths = np.array([len(row) for row in self.read.split([text for text, _ in pairs])])
        counts = self._counts(pairs)
        groups = [rows for rows in np.array_split(lengths.argsort(kind="stable"), 4) if len(rows)]
        names = [f"{lengths[rows].min()}–{lengths[rows].max()}" for rows in groups]
        shares = [percent_bleu(counts[rows]) for rows in groups]
        pictures = {"by-length": shares_picture(names, shares, "BLEU", "subwords read")}
        middle = [
            pairs[row][0]
            for row in (lengths - np.median(lengths)).argsort(kind="stable")
            if lengths[row] >= np.median(lengths)
        ][:4]
        rows = [
            attention_of(self.network, self.read, self.write, text, numbers)
            for text, numbers in zip(middle, self.translations(middle), strict=True)
        ]
        if shown := [row for row in rows if row is not None]:
            pictures["attention"] = attention_picture(shown)
        return pictures

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Translations of sentences."""
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"translation reads a sentence, not {text!r}")
        return [
            {"text": text, "translation": self.write.join(numbers)}
            for text, numbers in zip(inputs, self.translations(inputs), strict=True)
        ]


def make_network(config: TranslationConfig, read: int, write: int) -> Seq2Seq:
    """A network from `read` to `write` subwords.

    Raises:
        ValueError: the size cannot be divided by the Transformer's heads.
    """
    size = config.hidden_size
    if config.network == "transformer":
        return Transformer(read, write, size, config.layers, _HEADS, config.dropout)
    return RecurrentSeq2Seq(
        read, write, size, size, config.dropout, attention=config.network == "attention"
    )


def percent_bleu(counts: np.ndarray) -> float:
    """BLEU 0…100, as it is published, of rows of `bleu_counts`."""
    return 100 * bleu(counts)


def _baseline(pairs: Pairs, tokenize: str) -> list[Any]:
    """The translation of the training sentence that has most words in common."""
    found = nearest_answers(pairs.train, [text for text, _ in pairs.test], terms_of)
    counts = bleu_counts(found, [[wanted] for _, wanted in pairs.test], tokenize)
    return ["translation of the nearest training sentence", round(percent_bleu(counts), 2)]
