"""What tasks that classify texts share: predictions of test batches, pictures of them, answers, the baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from perception.data.texts import Texts, network_inputs
from perception.tasks.task import DataError, Task
from perception.tasks.text_pictures import coloured_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Probabilities = Callable[[Sequence[str]], np.ndarray]
"""From texts to probabilities (n, classes)."""


@dataclass
class TextPredictions:
    """What a network says about test texts."""

    texts: list[str]
    labels: np.ndarray
    """(n,) the true classes."""
    probabilities: np.ndarray
    """(n, classes)."""

    @property
    def classes(self) -> np.ndarray:
        """(n,) the classes of the largest probabilities."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """(n,) 1.0 where the class is the true one, else 0.0."""
        return (self.classes == self.labels).astype(float)


@torch.no_grad()
def text_predictions(network: nn.Module, batches: Iterable[Any]) -> TextPredictions:
    """Predictions for batches as `TextRows` gives them, by a network that gives scores."""
    rows = [
        (texts, labels.cpu(), network(*inputs).softmax(dim=1).cpu())
        for labels, texts, inputs in batches
    ]
    texts, labels, probabilities = zip(*rows, strict=True)
    every = [text for batch in texts for text in batch]
    return TextPredictions(every, torch.cat(labels).numpy(), torch.cat(probabilities).numpy())


@torch.no_grad()
def text_probabilities(task: Task, encode: Any, texts: Sequence[str]) -> np.ndarray:
    """Probabilities (n, classes) of texts, by a task that gives scores and the encoder of its texts."""
    inputs = network_inputs(encode(texts))
    return task(*(one.to(task.device) for one in inputs)).softmax(dim=1).cpu().numpy()


def hardest_texts(
    predictions: TextPredictions, classes: Sequence[str], probabilities: Probabilities
) -> Figure:
    """The test texts whose true class has the smallest probability, their words coloured."""
    labels = predictions.labels
    likelihoods = predictions.probabilities[np.arange(len(labels)), labels]
    chosen = np.argsort(likelihoods, kind="stable")[:8]
    texts = [predictions.texts[number] for number in chosen]
    return coloured_words(texts, labels[chosen], classes, probabilities)


def text_answers(
    inputs: Sequence[Any], classes: Sequence[str], probabilities: Probabilities, task: str
) -> list[dict[str, Any]]:
    """JSON objects for a user's texts: the class and all probabilities.

    Raises:
        DataError: one is no text, or an empty one; the sentence begins with the name of the task.
    """
    for text in inputs:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{task} reads a text, not {text!r}")
    results = probabilities(inputs).tolist() if inputs else []
    return [
        {
            "text": text,
            "class": classes[int(np.argmax(row))],
            "probabilities": {
                name: round(value, 4) for name, value in zip(classes, row, strict=True)
            },
        }
        for text, row in zip(inputs, results, strict=True)
    ]


def baseline(texts: Texts) -> list[Any]:
    """Name and test accuracy of scikit-learn's logistic regression on TF-IDF weights, both with their defaults."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(token_pattern=r"\w+")
    model = LogisticRegression(max_iter=1000)
    model.fit(vectorizer.fit_transform(texts.train), texts.train_labels.numpy())
    score = model.score(vectorizer.transform(texts.test), texts.test_labels.numpy())
    return ["TF-IDF, logistic regression (scikit-learn)", round(float(score), 4)]
