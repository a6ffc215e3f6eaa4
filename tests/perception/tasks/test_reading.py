"""Questions about stories."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perception.tasks.reading import Reading, ReadingConfig
from perception.tasks.task import DataError, DataSource

STORIES = str(Path(__file__).parent / "few-stories.txt")


def _fitted(fit: Callable[..., Any], **options: Any) -> tuple[Reading, Any]:
    config = ReadingConfig(
        epochs=40, linear_start=4, learning_rate=2e-2, batch_size=32, memory=10, **options
    )
    data = Reading.load_data(config, DataSource(STORIES))
    return fit(Reading, config, data, config.epochs), data


@pytest.mark.parametrize("tying", ["adjacent", "layer-wise"])
def test_it_learns_where_someone_is_and_looks_at_the_statement_that_says_so(
    fit: Callable[..., Any], tying: str
) -> None:
    task, data = _fitted(fit, hops=2, tying=tying)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert 100 * metrics["error"].mean < min(data.metadata["baselines"]["all"]) - 20
    assert metrics["finds a supporting statement"].mean > 0.6
    (answer,) = task.predict(["Ann went to the attic. Bob went to the cellar. Where is Bob?"])
    assert answer["answer"] == "cellar"
    assert "Bob went to the cellar." in answer["hops"]
    (answer,) = task.predict(["Zoe slept. Ann went to the attic. Where is Zoe?"])
    assert answer["unknown words"] == ["slept", "zoe"]


def test_the_table_has_an_error_for_every_kind_of_question() -> None:
    data = Reading.load_data(ReadingConfig(), DataSource(STORIES))
    data.metadata["kinds"] = ["one", "two"]
    data.test.tensors[4][::2] = 1  # type: ignore[attr-defined]
    task = Reading(ReadingConfig(), data.metadata)
    error = task.evaluate(task.batches(data.test, training=False))["error"]
    assert [row[0] for row in error.table] == ["task", "all", "one", "two"]
    assert error.table[1][1] == pytest.approx(100 * error.mean, abs=0.1)


@pytest.mark.parametrize("text", ["Where is Bob?", "Bob went to the attic.", "?"])
def test_a_text_without_story_or_question_is_refused(text: str) -> None:
    data = Reading.load_data(ReadingConfig(), DataSource(STORIES))
    with pytest.raises(DataError):
        Reading(ReadingConfig(), data.metadata).predict([text])
