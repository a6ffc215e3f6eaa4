"""Spam or ham."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from perception.data.source import DataError, DataSource
from perception.tasks.spam import MOST_BLOCKED, Spam, SpamConfig, caught, row_of


def test_text_messages_are_told_apart_as_well_as_published(fit: Callable[..., Spam]) -> None:
    config = SpamConfig()
    data = Spam.load_data(config, DataSource("sms-spam"))
    task = fit(Spam, config, data, 3)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["accuracy", "spam caught at 0.18 % of ham blocked"]
    assert metrics["accuracy"].mean > 0.985, "Almeida et al. 2011: 0.9764"
    assert metrics["spam caught at 0.18 % of ham blocked"].mean > 0.88, "0.831"
    head, ours, baseline = metrics["accuracy"].table
    assert head[1:4] == ["accuracy", "spam caught", "ham blocked"]
    assert ours[1] == pytest.approx(metrics["accuracy"].mean, abs=1e-4)
    assert 0.97 < baseline[1] < ours[1]
    answers = task.predict(["WINNER! Claim your £1000 prize, call 09061701461", "see you at 8"])
    assert [answer["class"] for answer in answers] == ["spam", "ham"]
    assert answers[0]["probability of spam"] > 0.9
    assert set(task.pictures(task.batches(data.test, training=False))) == {"words", "caught"}


def test_the_rarer_class_is_what_is_caught(tmp_path: Path, fit: Callable[..., Spam]) -> None:
    path = tmp_path / "a.csv"
    lines = [f"fine weather number {n},a usual" for n in range(30)]
    lines += [f"strange thing number {n},odd" for n in range(12)]
    path.write_text("\n".join(["text,label", *lines]))
    config = SpamConfig(batch_size=8)
    data = Spam.load_data(config, DataSource(str(path)))
    task = fit(Spam, config, data, 8)
    assert task.classes == ["a usual", "odd"]
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert metrics["odd caught at 0.18 % of a usual blocked"].mean == 1.0
    assert task.predict(["a strange thing"])[0]["class"] == "odd"


def test_three_classes_are_sent_to_topics(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("".join(f"{n % 3}\ttext {n}\n" for n in range(30)))
    with pytest.raises(DataError, match=r"has 3: use `fathom fit topics`"):
        Spam.load_data(SpamConfig(), DataSource(str(tmp_path / "a.tsv")))


def test_shares_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 2, 3000)
        scores = rng.normal(labels * 3, 1).round(2)  # with ties
        blocked, found, _ = roc_curve(labels, scores, drop_intermediate=False)
        wanted = found[blocked <= MOST_BLOCKED].max()
        assert caught(np.column_stack([scores, labels])) == pytest.approx(wanted)
    accuracy, share, at, _ = row_of(np.array([1.0, -1, 2, -2]), np.array([1, 1, 0, 0]))
    assert (accuracy, share, at) == (0.5, 0.5, 0.5)
    for label in (0, 1):
        rows = np.array([[1.0, label], [2.0, label]])
        assert caught(rows) == label
        assert np.isfinite(row_of(*rows.T)).all()
