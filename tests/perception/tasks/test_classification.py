"""What tasks that classify images share."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from perception.tasks.classification import (
    Predictions,
    answers,
    confusion,
    hardest_examples,
    logistic_regression,
)


def _predictions(classes: int = 3, count: int = 40) -> Predictions:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), count)
    images = torch.zeros(count, 1, 4, 4, dtype=torch.uint8)
    return Predictions(images, rng.integers(classes, size=count), probabilities)


def test_accuracy_and_loss_are_scikit_learn_s() -> None:
    predictions = _predictions()
    labels, probabilities = predictions.labels, predictions.probabilities
    assert predictions.correct.mean() == accuracy_score(labels, probabilities.argmax(1))
    assert predictions.losses.mean() == pytest.approx(log_loss(labels, probabilities))


def test_pictures_show_the_least_likely_labels_and_all_counts() -> None:
    predictions = _predictions()
    figure = hardest_examples(predictions, ["a", "b", "c"])
    worst = predictions.likelihoods.argmin()
    title = f"(is {'abc'[predictions.labels[worst]]})"
    assert figure.axes[0].get_title().endswith(title)
    texts = [int(text.get_text()) for text in confusion(predictions, list("abc")).axes[0].texts]
    counts = confusion_matrix(predictions.labels, predictions.classes)
    assert texts == counts[counts > 0].tolist()


def test_the_baseline_takes_images_of_every_class_from_sorted_ones() -> None:
    rng = np.random.default_rng(0)
    labels = torch.arange(4).repeat_interleave(1000)
    images = torch.from_numpy(rng.integers(0, 99, (4000, 1, 64, 64), dtype=np.uint8))
    images[:, 0, 0, 0] = labels.byte() * 60
    images[:, 0, 0, 1:] = images[:, 0, 0, :1]
    name, accuracy = logistic_regression((images, labels), (images[::40], labels[::40]))
    assert name == "logistic regression, 1,914 training images"
    assert accuracy > 0.9


def test_answers_name_the_class_and_every_probability() -> None:
    (answer,) = answers(["x.png"], torch.tensor([[0.25, 0.75]]), ["cat", "dog"])
    assert answer == {
        "input": "x.png",
        "class": "dog",
        "probabilities": {"cat": 0.25, "dog": 0.75},
    }
