"""Topics of texts."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from perception.data.source import DataSource
from perception.tasks.topics import Topics, TopicsConfig, macro_f1

REUTERS = Path(os.environ.get("FATHOM_DATA", "nowhere")) / "r8"


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that only the order of two words tells apart, and a third word."""
    folder = tmp_path_factory.mktemp("moods")
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("test", 60)):
        lines = []
        for number in range(count):
            words = [f"w{n}" for n in rng.integers(0, 9, rng.integers(1, 6))]
            kind = ("up", "down", "none")[number % 3]
            pair = {"up": "good not", "down": "not good", "none": "fine"}[kind].split()
            at = rng.integers(0, len(words) + 1)
            lines.append(f"{kind}\t{' '.join([*words[:at], *pair, *words[at:]])}\n")
        (folder / f"{part}.tsv").write_text("".join(lines))
    return folder


@pytest.mark.parametrize(("network", "least"), [("bag", 0.6), ("cnn", 0.95), ("rnn", 0.95)])
def test_the_networks_learn_and_those_of_sequences_see_the_order(
    network: Any, least: float, moods: Path, fit: Callable[..., Topics]
) -> None:
    config = TopicsConfig(
        network=network, learning_rate=0.01, hidden_size=16, embedding=16, filters=16, dropout=0.2
    )
    data = Topics.load_data(config, DataSource(str(moods)))
    task = fit(Topics, config, data, 8)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["accuracy", "macro F1"]
    accuracy = metrics["accuracy"].mean
    assert accuracy >= least
    if network == "bag":
        assert accuracy < 0.9, "the order of words is lost"
    head, ours, baseline = metrics["accuracy"].table
    assert head == ["model", "accuracy"]
    assert ours[1] == pytest.approx(accuracy, abs=1e-4)
    assert 0.4 < baseline[1] < 0.9
    answer = task.predict(["w1 fine w2"])[0]
    assert answer["class"] == "none"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    pictures = task.pictures(task.batches(data.test, training=False))
    assert set(pictures) == {"words", "confusion"}


def test_macro_f1_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 5, 9):
        labels, predicted = rng.integers(0, classes, (2, 30))
        wanted = f1_score(labels, predicted, average="macro", zero_division=0)
        assert macro_f1(np.column_stack([labels, predicted])) == pytest.approx(wanted)


def test_a_gru_without_units_is_refused() -> None:
    metadata = {"classes": ["a", "b"], "encoder": {"words": ["x"], "longest": 5}}
    with pytest.raises(ValueError, match="--hidden-size of 1 or more"):
        Topics(TopicsConfig(network="rnn", hidden_size=0), metadata)


@pytest.mark.skipif(not REUTERS.is_dir(), reason="Reuters-8 is not in FATHOM_DATA")
def test_reuters_is_classified_better_than_published(fit: Callable[..., Topics]) -> None:
    config = TopicsConfig()
    data = Topics.load_data(config, DataSource(str(REUTERS)))
    assert (len(data.train), len(data.test)) == (5485, 2189)
    task = fit(Topics, config, data, 3)
    assert task.evaluate(task.batches(data.test, training=False))["accuracy"].mean > 0.955
