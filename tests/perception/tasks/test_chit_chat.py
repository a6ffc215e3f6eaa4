"""A chat bot from questions with answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perception.data.source import DataSource
from perception.tasks.chit_chat import ChitChat, ChitChatConfig, share_with_interval


def test_a_bot_learns_its_answers_and_how_they_are_asked_for(
    fit: Callable[..., ChitChat], tmp_path: Path
) -> None:
    answers = {"name": "I have no name.", "age": "Too old to say!", "home": "In a computer."}
    rows = [
        f"{' '.join(words)} {topic} {end}\t{answer}\n"
        for words in (("what", "is"), ("tell", "me"), ("say",), ("i", "want"), ("the",))
        for end in ("please", "now", "again")
        for topic, answer in answers.items()
    ]
    path = tmp_path / "talk.tsv"
    path.write_text("".join(rows))
    config = ChitChatConfig(hidden_size=24, batch_size=8, epochs=15, learning_rate=0.01)
    data = ChitChat.load_data(config, DataSource(str(path)))
    assert (len(data.train), len(data.test)) == (36, 9)
    task = fit(ChitChat, config, data, 15)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert metrics["right scenario"].mean >= 0.8
    head, ours, nearest = metrics["right scenario"].table
    assert head == ["model", "right scenario", "95 % interval"]
    assert metrics["above TF-IDF"].mean == pytest.approx(ours[1] - nearest[1], abs=1e-3)
    (answer,) = task.predict(["Tell me NAME please"])
    assert answer["answer"] == "I have no name."
    assert 0.5 < answer["probability"] <= 1


def test_the_interval_of_a_share_is_wilson_s() -> None:
    share, interval = share_with_interval(np.array([1.0] * 7 + [0.0] * 3))
    assert (share, interval) == (0.7, "0.3968 to 0.8922")
