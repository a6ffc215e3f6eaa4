"""Topics of texts: classification into several classes by a bag of words, a CNN, or an RNN.

The bag of words is a linear model, or one with a hidden layer, on TF-IDF weights of words (Joachims 1998 has the
linear one); the CNN is that of Kim 2014 without pretrained vectors; the RNN is a bidirectional GRU with the maximum
over time. The loss is the cross-entropy, the score the accuracy, beside scikit-learn's logistic regression. Without
`--data` it learns the intents of SNIPS; `--data r8` is Reuters-8.
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

from perception.data.texts import TextRows, Tfidf, WordNumbers, load_texts
from perception.networks.classifiers import weights_of
from perception.networks.text import BagOfTerms, TextCNN, TextRNN
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData
from perception.tasks.text_classification import (
    baseline,
    hardest_texts,
    text_answers,
    text_predictions,
    text_probabilities,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {"token_pattern": r"\w+", "min_df": 2}
_Width = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True, config=STRICT)
class TopicsConfig:
    """Network and training."""

    network: Literal["bag", "cnn", "rnn"] = "bag"
    """Bag of words, convolutions over words, or a bidirectional GRU."""
    hidden_size: Annotated[int, Field(ge=0, le=10_000)] = 128
    """Units of the hidden layer (bag; 0: none) or of the GRU in each direction."""
    embedding: _Width = 128
    """Size of the word vectors (cnn, rnn)."""
    filters: _Width = 100
    """Filters of each width (cnn)."""
    longest: PositiveInt = 200
    """Words of a text that are read (cnn, rnn)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout probability."""
    epochs: Epochs = 5
    """Passes over the training texts."""
    learning_rate: PositiveFloat = 2e-3
    """Learning rate of Adam."""
    batch_size: PositiveInt = 32
    """Texts per update."""
    split_seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Decides which texts are the test, where the data do not say."""


class Topics(Task):
    """Classes of texts; a batch is as `TextRows` gives it."""

    Config = TopicsConfig
    default_data = "snips"

    def __init__(self, config: TopicsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]
        self.encode = encoder_of(metadata)
        self.network = make_network(config, self.encode.size, len(self.classes))
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}

    @classmethod
    def load_data(cls, config: TopicsConfig, source: DataSource) -> TaskData:
        texts = load_texts(source, split_seed=config.split_seed)
        fitted = (
            Tfidf.fit(texts.train, _WORDS)
            if config.network == "bag"
            else WordNumbers.fit(texts.train, config.longest)
        )
        metadata = {
            "classes": texts.classes,
            "encoder": fitted,
            "baseline": baseline(texts),
        }
        encode = encoder_of(metadata)
        return TaskData(
            TextRows(texts.train, texts.train_labels, encode),
            TextRows(texts.test, texts.test_labels, encode),
            metadata,
            texts.origin,
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        """Scores of the classes (n, classes)."""
        return self.network(*inputs)

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        labels, _, inputs = batch
        scores = self(*inputs)
        loss = F.cross_entropy(scores, labels)
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        accuracy = (scores.argmax(dim=1) == labels).float().mean()
        return {"loss": loss.detach(), "training_accuracy": accuracy}

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        predictions = text_predictions(self, batches)
        weights = weights_of(self)
        accuracy = round(float(predictions.correct.mean()), 4)
        models = [
            ["model", "accuracy"],
            [f"{self.config.network}, {weights:,} weights", accuracy],
            self.metadata["baseline"],
        ]
        f1 = Metric(np.column_stack([predictions.labels, predictions.classes]), macro_f1)
        return {"accuracy": Metric(predictions.correct, table=models), "macro F1": f1}

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities (n, classes) of texts."""
        return text_probabilities(self, self.encode, texts)

    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure]:
        """The words of the test texts that are hardest, and the confusion matrix."""
        from matplotlib.figure import Figure
        from sklearn.metrics import ConfusionMatrixDisplay

        predictions = text_predictions(self, batches)
        words = hardest_texts(predictions, self.classes, self.probabilities)
        side = max(4.0, 0.5 * len(self.classes) + 1.5)
        confusion = Figure((side, side), layout="constrained")
        ConfusionMatrixDisplay.from_predictions(
            *(predictions.labels, predictions.classes),
            labels=range(len(self.classes)),
            display_labels=self.classes,
            include_values=len(self.classes) <= 20,
            xticks_rotation="vertical",
            cmap="Blues",
            colorbar=False,
            im_kw={"norm": "symlog"},
            ax=confusion.subplots(),
        )
        return {"words": words, "confusion": confusion}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes of texts."""
        return text_answers(inputs, self.classes, self.probabilities, "topics")


def encoder_of(metadata: Mapping[str, Any]) -> Tfidf | WordNumbers:
    """What turns texts into what the network reads."""
    encoder = metadata["encoder"]
    return Tfidf(**encoder) if "terms" in encoder else WordNumbers(**encoder)


def make_network(config: TopicsConfig, words: int, classes: int) -> nn.Module:
    """A network from encoded texts to scores (n, classes).

    Raises:
        ValueError: the GRU has no units.
    """
    if config.network == "bag":
        return BagOfTerms(words, classes, config.hidden_size, config.dropout)
    if config.network == "cnn":
        return TextCNN(words, classes, config.embedding, config.filters, config.dropout)
    if not config.hidden_size:
        raise ValueError("a GRU needs a --hidden-size of 1 or more")
    return TextRNN(words, classes, config.embedding, config.hidden_size, config.dropout)


def macro_f1(pairs: np.ndarray) -> float:
    """F1 averaged over the classes that occur in labels and predictions (n, 2)."""
    labels, predicted = pairs.T
    size = int(pairs.max()) + 1
    right, true, said = (
        np.bincount(numbers, minlength=size)
        for numbers in (labels[labels == predicted], labels, predicted)
    )
    there = true + said > 0
    return float((2 * right[there] / (true + said)[there]).mean())
