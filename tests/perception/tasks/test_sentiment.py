"""Sentiment of sentences."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from perception.data.source import DataSource
from perception.tasks.sentiment import Sentiment, SentimentConfig

SMALL = SentimentConfig(
    hidden_size=12, embedding=12, dropout=0.0, forget=0.0, learning_rate=0.02, batch_size=32
)


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that only the order of two words tells apart."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(500):
        words = [f"w{n}" for n in rng.integers(0, 9, rng.integers(1, 6))]
        kind = ("good", "bad")[number % 2]
        pair = {"good": ["great", "not"], "bad": ["not", "great"]}[kind]
        at = rng.integers(0, len(words) + 1)
        lines.append(f"{kind}\t{' '.join([*words[:at], *pair, *words[at:]])}\n")
    path = tmp_path_factory.mktemp("moods") / "moods.tsv"
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("network", "bidirectional", "layers"),
    [("rnn", False, 1), ("lstm", False, 2), ("gru", True, 1)],
)
def test_every_network_learns_the_order_of_words_which_a_bag_of_words_cannot(
    network: Any, bidirectional: bool, layers: int, moods: Path, fit: Callable[..., Sentiment]
) -> None:
    config = replace(SMALL, network=network, bidirectional=bidirectional, layers=layers)
    data = Sentiment.load_data(config, DataSource(str(moods)))
    assert (len(data.train), len(data.test)) == (450, 50)  # type: ignore[arg-type]
    task = fit(Sentiment, config, data, 8)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["accuracy", "loss"]
    assert metrics["accuracy"].mean > 0.9
    head, ours, baseline = metrics["accuracy"].table
    assert head == ["model", "accuracy"]
    assert f"{layers}-layer {network}" in ours[0]
    assert ("bidirectional" in ours[0]) == bidirectional
    assert baseline[1] < 0.7
    (answer,) = task.predict(["w1 w2 not great w3"])
    assert answer["class"] == "bad"
    assert "words" in task.pictures(task.batches(data.test, training=False))


def test_clipping_bounds_the_gradient_of_an_update(moods: Path) -> None:
    data = Sentiment.load_data(SMALL, DataSource(str(moods)))
    norms = {}
    for clip in (0.0, 0.01):
        torch.manual_seed(0)
        task = Sentiment(replace(SMALL, clip=clip), data.metadata)
        batch = next(iter(task.batches(data.train, training=True)))
        reported = float(task.train_step(batch, 0)["gradient_norm"])
        used = nn.utils.get_total_norm([one.grad for one in task.network.parameters()])  # type: ignore[misc]
        norms[clip] = reported, float(used)
    assert norms[0.0][0] == pytest.approx(norms[0.01][0]), "the norm before clipping is reported"
    assert norms[0.0][1] == pytest.approx(norms[0.0][0])
    assert norms[0.01][1] == pytest.approx(0.01, rel=1e-3)


def test_folds_are_other_texts(moods: Path) -> None:
    tests = [
        Sentiment.load_data(replace(SMALL, fold=fold), DataSource(str(moods))).test.texts  # type: ignore[attr-defined]
        for fold in (0, 9)
    ]
    assert tests[0] != tests[1]
