"""Spam or ham: binary classification of texts, by default of text messages (Almeida et al. 2011).

A text is a vector of TF-IDF weights of the letter sequences in its words (two to five letters), which see through
"fr33" and "£1000"; the model is linear; the loss is the cross-entropy. A filter must not block what is wanted, so
besides the accuracy it is scored by the spam it catches where at most 0.18 % of the ham is blocked. What is to be
caught is the rarer of the two classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from perception.data.texts import TextRows, Texts, Tfidf, load_texts, network_inputs
from perception.networks.text import BagOfTerms
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData
from perception.tasks.text_pictures import coloured_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BLOCKED = 0.0018
"""Share of the ham that may be blocked: that of the best filter of Almeida et al. 2011."""
_TERMS = {"analyzer": "char_wb", "ngram_range": [2, 5], "min_df": 2}
_Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class SpamConfig:
    """Data and training."""

    epochs: Epochs = 10
    """Passes over the training texts."""
    learning_rate: PositiveFloat = 10.0
    """Learning rate of stochastic gradient descent with momentum 0.9."""
    batch_size: PositiveInt = 64
    """Texts per update."""
    test_share: _Share = 0.3
    """Share of the texts that is the test, where the data do not say."""
    split_seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Decides which texts these are."""


class Spam(Task):
    """Two classes of texts; a batch is as `TextRows` gives it."""

    Config = SpamConfig
    default_data = "sms-spam"

    def __init__(self, config: SpamConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.classes: list[str] = metadata["classes"]  # what is let through, and what is caught
        self.encode = Tfidf(**metadata["encoder"])
        self.network = BagOfTerms(self.encode.size, 1)
        # Not Adam: it moves the weights of rare terms as far as those of frequent ones, and over-fits.
        sgd = torch.optim.SGD(self.network.parameters(), config.learning_rate, momentum=0.9)
        self.optimizers = {"main": sgd}

    @classmethod
    def load_data(cls, config: SpamConfig, source: DataSource) -> TaskData:
        texts = load_texts(source, test_share=config.test_share, split_seed=config.split_seed)
        if len(texts.classes) != 2:
            raise DataError(
                f"spam tells two classes apart, and {source.reference} has {len(texts.classes)}:"
                " use `fathom fit topics`"
            )
        caught = int(texts.train_labels.bincount().argmin())
        train_labels, test_labels = (
            (labels == caught).long() for labels in (texts.train_labels, texts.test_labels)
        )
        encoder = Tfidf.fit(texts.train, _TERMS)
        metadata = {
            "classes": [texts.classes[1 - caught], texts.classes[caught]],
            "encoder": encoder,
            "baseline": naive_bayes(texts, train_labels.numpy(), test_labels.numpy()),
        }
        encode = Tfidf(**encoder)
        train = TextRows(texts.train, train_labels, encode)
        return TaskData(train, TextRows(texts.test, test_labels, encode), metadata, texts.origin)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The logit of spam (n,)."""
        return self.network(*inputs).squeeze(1)

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        labels, _, inputs = batch
        loss = F.binary_cross_entropy_with_logits(self(*inputs), labels.float())
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        return {"loss": loss.detach()}

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        logits, labels, _ = self._test(batches)
        ham, spam = self.classes
        table: list[list[Any]] = [
            ["model", "accuracy", f"{spam} caught", f"{ham} blocked", f"{spam} caught at 0.18 %"],
            [f"linear, {self.encode.size:,} terms", *row_of(logits, labels)],
            ["naive Bayes on words (scikit-learn)", *self.metadata["baseline"]],
        ]
        correct = ((logits > 0) == labels).astype(float)
        return {
            "accuracy": Metric(correct, table=table),
            f"{spam} caught at 0.18 % of {ham} blocked": Metric(
                np.column_stack([logits, labels]), caught
            ),
        }

    @torch.no_grad()
    def _test(self, batches: Iterable[Any]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Logits (n,), labels (n,) and texts of test batches."""
        rows = [(self(*inputs).cpu(), labels.cpu(), texts) for labels, texts, inputs in batches]
        logits, labels, texts = zip(*rows, strict=True)
        every = [text for batch in texts for text in batch]
        return torch.cat(logits).numpy(), torch.cat(labels).numpy(), every

    @torch.no_grad()
    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities (n, 2) of ham and spam."""
        inputs = network_inputs(self.encode(texts))
        spam = self(*(tensor.to(self.device) for tensor in inputs)).sigmoid().cpu().numpy()
        return np.column_stack([1 - spam, spam])

    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure]:
        """Spam caught against ham blocked, and the words of the test texts that are hardest."""
        from matplotlib.figure import Figure
        from sklearn.metrics import roc_curve

        logits, labels, texts = self._test(batches)
        hardest = np.argsort(np.where(labels == 1, logits, -logits), kind="stable")[:8]
        words = coloured_words(
            [texts[i] for i in hardest], labels[hardest], self.classes, self.probabilities
        )
        ham, spam = self.classes
        figure = Figure((6, 4), layout="constrained")
        axes = figure.subplots()
        blocked, found, _ = roc_curve(labels, logits, drop_intermediate=False)
        axes.step(100 * blocked.clip(1e-4), 100 * found, where="post")
        _, share, at, _ = row_of(logits, labels)
        axes.plot(100 * max(at, 1e-4), 100 * share, "o", label="probability 0.5")
        axes.axvline(100 * MOST_BLOCKED, color="gray", linestyle="--", label="0.18 % blocked")
        axes.set(xscale="log", xlim=(0.01, 100), ylim=(50, 100.5))
        axes.set(xlabel=f"% of {ham} blocked", ylabel=f"% of {spam} caught")
        axes.legend(loc="lower right")
        axes.grid(alpha=0.3)
        return {"words": words, "caught": figure}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes of texts."""
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"spam reads a text, not {text!r}")
        results = self.probabilities(inputs).tolist() if inputs else []
        return [
            {
                "text": text,
                "class": self.classes[spam > ham],
                f"probability of {self.classes[1]}": round(spam, 4),
            }
            for text, (ham, spam) in zip(inputs, results, strict=True)
        ]


def caught(rows: np.ndarray) -> float:
    """Share of the spam above the lowest threshold that at most 0.18 % of the ham is above.

    Args:
        rows: (n, 2) scores and labels, 1 for spam. Without any spam the share is 0.
    """
    scores, labels = rows.T
    spam, ham = scores[labels == 1], scores[labels == 0]
    if not len(spam):
        return 0.0
    allowed = int(MOST_BLOCKED * len(ham))
    threshold = np.sort(ham)[-1 - allowed] if len(ham) else -np.inf
    return float((spam > threshold).mean())


def row_of(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """Accuracy, spam caught and ham blocked at the threshold 0, and `caught`."""
    above, is_spam = logits > 0, labels == 1
    shares = [
        (above == is_spam).mean(),
        above[is_spam].mean() if is_spam.any() else 0.0,
        above[~is_spam].mean() if not is_spam.all() else 0.0,
        caught(np.column_stack([logits, labels])),
    ]
    return [round(float(share), 4) for share in shares]


def naive_bayes(texts: Texts, train_labels: np.ndarray, test_labels: np.ndarray) -> list[float]:
    """The `row_of` of scikit-learn's naive Bayes on counts of words, the classical spam filter."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    counts = CountVectorizer(token_pattern=r"\w+").fit(texts.train)
    model = MultinomialNB().fit(counts.transform(texts.train), train_labels)
    ham, spam = model.predict_log_proba(counts.transform(texts.test)).T
    return row_of(spam - ham, test_labels)
