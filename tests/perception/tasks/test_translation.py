"""Translation with three networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

from perception.data.source import DataError, DataSource
from perception.tasks.translation import Translation, TranslationConfig

WORDS = {
    "der": "the",
    "hund": "dog",
    "mann": "man",
    "sieht": "sees",
    "kleine": "small",
    "und": "and",
}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of six words, each with one translation; the last two words change places."""
    folder = tmp_path_factory.mktemp("sentences")
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("test", 40)):
        lines = []
        for _ in range(count):
            words = rng.choice(list(WORDS), rng.integers(2, 5)).tolist()
            other = [WORDS[word] for word in words]
            other[-2:] = other[:-3:-1]
            lines.append(f"{' '.join(words)}.\t{' '.join(other)}.\n")
        (folder / f"{part}.tsv").write_text("".join(lines))
    return folder


@pytest.mark.parametrize(
    ("network", "epochs", "least"),
    [("attention", 12, 60), ("rnn", 12, 40), ("transformer", 25, 40)],
)
def test_the_networks_learn_to_translate(
    network: Any,
    epochs: int,
    least: float,
    sentences: Path,
    fit: Callable[..., Translation],
) -> None:
    config = TranslationConfig(
        network=network, hidden_size=32, layers=1, dropout=0.0, batch_size=16, epochs=epochs,
        learning_rate=0.01, vocabulary=40, beam=2,
    )  # fmt: skip
    data = Translation.load_data(config, DataSource(str(sentences)))
    task = fit(Translation, config, data, epochs)
    metric = task.evaluate(task.batches(data.test, training=False))["BLEU"]
    head, ours, baseline = metric.table
    assert head == ["model", "BLEU"]
    assert ours[1] == pytest.approx(metric.mean, abs=0.01)
    assert metric.mean > least > baseline[1] > 5
    pairs = [pair for batch in task.batches(data.test, training=False) for pair in batch]
    answers = task.predict([text for text, _ in pairs])
    texts = [answer["translation"] for answer in answers]
    wanted = sacrebleu.corpus_bleu(texts, [[other for _, other in pairs]])
    assert metric.mean == pytest.approx(wanted.score, abs=0.01)
    pictures = task.pictures(task.batches(data.test, training=False))
    assert set(pictures) == {"by-length"} | ({"attention"} if network != "rnn" else set())


def test_languages_can_be_swapped_and_chinese_is_scored_by_characters() -> None:
    one, other = (
        Translation.load_data(TranslationConfig(reverse=reverse), DataSource("tatoeba"))
        for reverse in (False, True)
    )
    assert (one.metadata["tokenize"], other.metadata["tokenize"]) == ("zh", "13a")
    assert one.metadata["read"] == other.metadata["write"]
    assert one.test[0] == other.test[0][::-1]


def test_a_transformer_whose_heads_do_not_fit_and_no_sentence_are_refused(sentences: Path) -> None:
    config = TranslationConfig(network="transformer", hidden_size=12)
    data = Translation.load_data(config, DataSource(str(sentences)))
    with pytest.raises(ValueError, match="must be a multiple of 8"):
        Translation(config, data.metadata)
    task = Translation(TranslationConfig(hidden_size=8), data.metadata)
    with pytest.raises(DataError, match="translation reads a sentence, not ' '"):
        task.predict([" "])
