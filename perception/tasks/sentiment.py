"""Sentiment of sentences: a recurrent network reads many words and gives one answer.

The words go through a simple recurrent network (Elman 1990), an LSTM or a GRU, in one direction or both, in one layer or
several; each unit's maximum over the sentence is classified. Simple networks have gradients that explode over many
words: `--clip` bounds their norm (Pascanu et al. 2013). No vectors come from elsewhere, as in CNN-rand of Kim 2014. The
model is an exponential average of the weights. Without `--data` it learns sentence polarity (Pang & Lee 2005), of
which one of ten folds is the test; logistic regression on TF-IDF weights is beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from perception.data.texts import (
    TextRows,
    WordNumbers,
    length_batches,
    load_texts,
    network_inputs,
)
from perception.networks.classifiers import weights_of
from perception.networks.text import TextRNN
from perception.tasks.task import (
    STRICT,
    DataSource,
    Epochs,
    Metric,
    Task,
    TaskData,
    warm_average,
)
from perception.tasks.text_classification import (
    baseline,
    hardest_texts,
    text_answers,
    text_predictions,
    text_probabilities,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Width = Annotated[int, Field(ge=1, le=10_000)]
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class SentimentConfig:
    """Network and training."""

    network: Literal["rnn", "lstm", "gru"] = "gru"
    """Recurrent cell."""
    bidirectional: bool = False
    """Whether the words are read backwards, too."""
    layers: Annotated[int, Field(ge=1, le=10)] = 1
    """Layers; each reads the states of the one before."""
    hidden_size: _Width = 32
    """Units in each direction."""
    embedding: _Width = 32
    """Size of the word vectors."""
    dropout: _Share = 0.5
    """Dropout probability."""
    forget: _Share = 0.2
    """Probability of reading a word of a training sentence as the unknown one."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient; 0: any."""
    average: _Share = 0.99
    """Decay of the exponential average of the weights, which the model uses."""
    longest: PositiveInt = 100
    """Words of a sentence that are read."""
    epochs: Epochs = 4
    """Passes over the training sentences."""
    learning_rate: PositiveFloat = 8e-3
    """Learning rate of Adam."""
    batch_size: PositiveInt = 256
    """Sentences per update."""
    fold: Annotated[int, Field(ge=0, le=9)] = 0
    """Which of ten folds is the test, where the data do not say."""
    split_seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Decides which sentences are in which fold."""


class Sentiment(Task):
    """Classes of sentences; a batch is as `TextRows` gives it."""

    Config = SentimentConfig
    default_data = "movie-sentiment"

    def __init__(self, config: SentimentConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.encode = WordNumbers(**metadata["encoder"])
        self.network = TextRNN(
            self.encode.size,
            len(self.classes),
            config.embedding,
            config.hidden_size,
            config.dropout,
            config.network,
            config.layers,
            config.bidirectional,
        )
        self.average = AveragedModel(self.network, multi_avg_fn=warm_average(config.average))
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}

    @classmethod
    def load_data(cls, config: SentimentConfig, source: DataSource) -> TaskData:
        texts = load_texts(source, split_seed=config.split_seed, fold=config.fold)
        encoder = WordNumbers.fit(texts.train, config.longest)
        metadata = {"classes": texts.classes, "encoder": encoder, "baseline": baseline(texts)}
        encode = WordNumbers(**encoder)
        return TaskData(
            TextRows(texts.train, texts.train_labels, encode),
            TextRows(texts.test, texts.test_labels, encode),
            metadata,
            texts.origin,
        )

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterable[Any]:
        """Training batches are of sentences of about the same length."""
        if not training:
            yield from super().batches(dataset, training=False)
            return
        every: Any = dataset
        labels, texts, (words,) = every.__getitems__(list(range(len(every))))
        for chosen in length_batches(words, self.config.batch_size):
            (inputs,) = network_inputs(words[chosen])
            some = [texts[number] for number in chosen]
            yield labels[chosen].to(self.device), some, (inputs.to(self.device),)

    def forward(self, words: Tensor) -> Tensor:
        """Scores of the classes (n, classes) by the averaged network."""
        return self.average(words)

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        labels, _, (words,) = batch
        forgotten = (torch.rand(words.shape, device=words.device) < self.config.forget) & (
            words > 0
        )
        words = words.masked_fill(forgotten, WordNumbers.UNKNOWN)
        loss = F.cross_entropy(self.network(words), labels)
        self.optimizers["main"].zero_grad()
        loss.backward()
        largest = self.config.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), largest)
        self.optimizers["main"].step()
        self.average.update_parameters(self.network)
        return {"loss": loss.detach(), "gradient_norm": norm.detach()}

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        predictions = text_predictions(self, batches)
        weights = weights_of(self.network)
        name = f"{self.config.layers}-layer {self.config.network}"
        name = f"bidirectional {name}" if self.config.bidirectional else name
        accuracy = round(float(predictions.correct.mean()), 4)
        table = [
            ["model", "accuracy"],
            [f"{name}, {weights:,} weights", accuracy],
            self.metadata["baseline"],
        ]
        true = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]
        loss = Metric(-np.log(true.clip(1e-12)))
        return {"accuracy": Metric(predictions.correct, table=table), "loss": loss}

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities (n, classes) of sentences."""
        return text_probabilities(self, self.encode, texts)

    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure]:
        """Which words of the test sentences that are hardest speak for their class."""
        predictions = text_predictions(self, batches)
        return {"words": hardest_texts(predictions, self.classes, self.probabilities)}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes of sentences."""
        return text_answers(inputs, self.classes, self.probabilities, "sentiment")
