"""Sums, the fast test of sequence to sequence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perception.data.source import DataError, DataSource
from perception.tasks.arithmetic import Arithmetic, ArithmeticConfig, sums


def test_sums_of_single_digits_are_learnt_and_read_backwards_where_wanted(
    fit: Callable[..., Arithmetic],
) -> None:
    config = ArithmeticConfig(
        digits=1, epochs=120, hidden_size=32, batch_size=40, learning_rate=0.02, reverse=True
    )
    data = Arithmetic.load_data(config, DataSource("addition"))
    pairs = sums(1, config.examples)
    assert (len(data.train), len(data.test)) == (80, 20)
    assert data.train.tensors[0][0, :3].tolist() == [  # type: ignore[attr-defined]
        4 + data.metadata["read"].index(sign) for sign in reversed(pairs.train[0][0])
    ]
    task = fit(Arithmetic, config, data, 120)
    metric = task.evaluate([pairs.train])["exact"]
    assert metric.mean >= 0.99
    assert metric.table[1][1] == pytest.approx(metric.mean, abs=1e-4)
    answers = task.predict(["3+4", "9+8"])
    assert [answer["question"] for answer in answers] == ["3+4", "9+8"]


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
    rows = [f"{a}{b}{c}" for a in "abc" for b in "abc" for c in "abc"] * 2
    path.write_text("".join(f"{row}\t{row.upper()}\n" for row in rows))
    config = ArithmeticConfig(network="attention", epochs=40, hidden_size=16, batch_size=16)
    data = Arithmetic.load_data(config, DataSource(str(path)))
    task = fit(Arithmetic, config, data, 40)
    assert task.predict(["bac", "cab"]) == [
        {"question": "bac", "answer": "BAC"},
        {"question": "cab", "answer": "CAB"},
    ]
    with pytest.raises(DataError, match="'bee' has the character 'e', which was never learnt from"):
        task.predict(["bee"])


def test_made_sums_take_no_options_of_data() -> None:
    with pytest.raises(DataError, match=r"take no option \(digits given\)"):
        Arithmetic.load_data(ArithmeticConfig(), DataSource("addition", {"digits": 3}))
