"""Sums, the fast test of sequence to sequence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perception.data.source import DataError, DataSource
from perception.tasks.arithmetic import Arithmetic, ArithmeticConfig, sums


@pytest.mark.parametrize("reverse", [False, True])
def test_sums_of_single_digits_are_learnt_and_those_held_out_are_mostly_right(
    reverse: bool, fit: Callable[..., Arithmetic]
) -> None:
    config = ArithmeticConfig(digits=1, epochs=60, hidden_size=32, batch_size=16, reverse=reverse)
    data = Arithmetic.load_data(config, DataSource("addition"))
    assert (len(data.train), len(data.test)) == (80, 20)
    task = fit(Arithmetic, config, data, 60)
    known = [task.write.join(row) for row in task.answers(["3+4", "9+9"])]
    assert known == ["7", "18"]
    metric = task.evaluate(task.batches(data.test, training=False))["exact"]
    assert metric.mean >= 0.5
    assert metric.table[1][1] == pytest.approx(metric.mean, abs=1e-4)
    assert metric.table[2][1] < metric.mean


def test_sums_are_different_right_and_held_out() -> None:
    pairs = sums(3, 5000)
    assert (len(pairs.train), len(pairs.test)) == (5000, 2000)
    every = pairs.train + pairs.test
    assert len({question for question, _ in every}) == 7000
    for question, answer in every[:100]:
        first, second = question.split("+")
        assert int(first) + int(second) == int(answer)
    assert {len(question) for question, _ in every} == {3, 4, 5, 6, 7}
    assert sums(3, 5000).test == pairs.test


def test_pairs_of_one_s_own_are_learnt(fit: Callable[..., Arithmetic], tmp_path: Path) -> None:
    path = tmp_path / "capitals.tsv"
    rows = [f"{a}{b}{c}" for a in "abcd" for b in "abcd" for c in "abcd"]
    path.write_text("".join(f"{row}\t{row.upper()}\n" for row in rows))
    config = ArithmeticConfig(network="attention", epochs=40, hidden_size=16, batch_size=16)
    data = Arithmetic.load_data(config, DataSource(str(path)))
    task = fit(Arithmetic, config, data, 40)
    assert task.predict(["bad", "dab"]) == [
        {"question": "bad", "answer": "BAD"},
        {"question": "dab", "answer": "DAB"},
    ]
    with pytest.raises(DataError, match="'bed' has the character 'e', which was never learnt from"):
        task.predict(["bed"])
