"""Word vectors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.data.source import DataError, DataSource
from perception.tasks.task import load_optimizer_tensors, optimizer_tensors
from perception.tasks.word_vectors import WordVectors, WordVectorsConfig

METHODS = ("skip-gram", "cbow", "next-word")
LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def clans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of the words of one of two clans, around words that both share."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(600):
        clan = ("red", "blue")[number % 2]
        words = [f"{clan}{LETTERS[n]}" for n in rng.integers(0, len(LETTERS), 8)]
        words[3] = f"both{LETTERS[rng.integers(0, 4)]}"
        lines.append(" ".join(words))
    path = tmp_path_factory.mktemp("clans") / "clans.txt"
    path.write_text("\n".join(lines))
    return path


def _config(method: Any, **changes: Any) -> WordVectorsConfig:
    return WordVectorsConfig(
        method=method, size=12, window=3, subsample=0.0, batch_size=1, hidden_size=16, **changes
    )


@pytest.mark.parametrize("method", METHODS)
def test_words_of_similar_contexts_become_neighbours(
    method: str, clans: Path, fit: Callable[..., WordVectors], train: Callable[..., int]
) -> None:
    rate = 0.01 if method == "next-word" else None
    config = _config(method, epochs=8, learning_rate=rate)
    data = WordVectors.load_data(config, DataSource(str(clans)))
    task = fit(WordVectors, config, data, 0)
    before = task.evaluate(task.batches(data.test, training=False))["told from noise"].mean
    train(task, data, 8)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["told from noise", *(["perplexity"] if method == "next-word" else [])]
    score = metrics["told from noise"]
    assert score.mean > before + 0.1
    assert before == pytest.approx(0.5, abs=0.15)
    head, ours, baseline = score.table
    assert len(head) == len(ours) == len(baseline)
    assert ours[1] == pytest.approx(score.mean, abs=1e-4)
    assert baseline[1] > 0.6
    for word in ("reda", "bluec"):
        (answer,) = task.predict([word])
        near = list(answer["nearest"])
        assert len(near) == 8
        assert word not in near
        assert sum(one[:3] == word[:3] for one in near[:7]) >= 6
    if method == "next-word":
        assert metrics["perplexity"].mean < len(task.words)
    assert set(task.pictures([])) == {"neighbours", "map"}


def test_sums_of_words_are_answered_without_the_words_given(
    clans: Path, fit: Callable[..., WordVectors]
) -> None:
    config = _config("skip-gram", epochs=8)
    task = fit(WordVectors, config, WordVectors.load_data(config, DataSource(str(clans))), 4)
    one, other = task.predict(["Reda - redb + blueb", "reda"])
    assert not {"reda", "redb", "blueb"} & one["nearest"].keys()
    assert one["nearest"] != other["nearest"]
    assert list(one["nearest"].values()) == sorted(one["nearest"].values(), reverse=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("redaa", "no word 'redaa', or too rarely; did you mean 'reda' or"),
        ("reda - ☃", "no word '☃', or too rarely$"),
        ("reda -", "no word 'reda -', or too rarely; did you mean 'reda'"),
    ],
)
def test_unknown_words_get_a_suggestion(
    text: str, sentence: str, clans: Path, fit: Callable[..., WordVectors]
) -> None:
    config = _config("skip-gram")
    task = fit(WordVectors, config, WordVectors.load_data(config, DataSource(str(clans))), 0)
    with pytest.raises(DataError, match=sentence):
        task.predict([text])


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_state_loaded_into_another_instance_trains_to_the_same_bits(
    method: str, clans: Path, fit: Callable[..., WordVectors], train: Callable[..., int]
) -> None:
    config = _config(method, epochs=3)
    data = WordVectors.load_data(config, DataSource(str(clans)))
    one, other = (fit(WordVectors, config, data, epochs) for epochs in (1, 0))
    other.load_state_dict(one.state_dict())
    load_optimizer_tensors(other, optimizer_tensors(one))
    for task in (one, other):
        train(task, data, 1, first=1)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_the_learning_rate_falls_to_nothing(
    clans: Path, fit: Callable[..., WordVectors], train: Callable[..., int]
) -> None:
    config = _config("skip-gram", epochs=4)
    data = WordVectors.load_data(config, DataSource(str(clans)))
    task = fit(WordVectors, config, data, 1)
    steps = 4 * len(data.train)  # type: ignore[arg-type]
    change = []
    for step in (0, steps - 1):
        before = task.vectors.clone()
        task.train_step((data.train[:1][0],), step)  # type: ignore[index]
        change.append(float((task.vectors - before).abs().max()))
    assert 0 < change[1] < change[0] / 10


def test_people_and_cosines_agree_for_gensim_pairs(
    tmp_path: Path, fit: Callable[..., WordVectors]
) -> None:
    pytest.importorskip("gensim")
    from perception.data.corpus import similarity_judgements

    judged = similarity_judgements()
    assert len(judged) == 353
    assert ("tiger", "cat", 7.35) in judged
    # Each pair as often beside each other as people find it similar.
    lines = [f"{one} {other}" for one, other, mean in judged for _ in range(1 + round(mean))]
    (tmp_path / "pairs.txt").write_text("\n".join(lines * 3))
    config = _config("skip-gram", min_count=1, epochs=3)
    data = WordVectors.load_data(config, DataSource(str(tmp_path / "pairs.txt")))
    task = fit(WordVectors, config, data, 2)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert -1 <= metrics["WordSim-353"].mean <= 1
    assert metrics["WordSim-353"].values.shape == (353, 2)
    assert metrics["told from noise"].table[1][3] == 353
