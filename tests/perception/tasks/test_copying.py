"""Copying bits from memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from perception.tasks.copying import Copy, CopyConfig, problem
from perception.tasks.task import DataError, DataSource


def test_bits_are_to_be_repeated_after_a_delimiter() -> None:
    bits = torch.tensor([[[1, 0], [0, 1]]], dtype=torch.uint8)
    inputs, targets = problem(bits, 1, 1)
    assert inputs[:, 0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert targets[:, 0].tolist() == [[1, 0], [0, 1]]
    inputs, targets = problem(bits, 2, 4)
    assert inputs.shape == (8, 1, 4)
    assert inputs[2, 0].tolist() == [0, 0, 1, 0.5]
    assert targets[:, 0].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("network", ["ntm", "lstm"])
def test_one_step_is_learnt_to_be_copied(fit: Callable[..., Any], network: Any) -> None:
    config = CopyConfig(
        network=network, longest=1, bits=2, sequences=320, hidden_size=16, places=6, width=6,
        learning_rate=1e-2, epochs=3,
    )  # fmt: skip
    data = Copy.load_data(config, DataSource("random-bits"))
    task = fit(Copy, config, data, config.epochs)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert metrics["wrong bits at length 1"].mean < 0.05
    assert set(metrics) == {"wrong bits at length 1", "at length 2", "at length 4"}
    assert [one["copy"] for one in task.predict(["10", "01"])] == ["10", "01"]


def test_batches_are_of_one_length_and_bits_are_drawn_anew() -> None:
    config = CopyConfig(longest=3, repeats=2, sequences=50, batch_size=8)
    data = Copy.load_data(config, DataSource("random-bits"))
    task = Copy(config, data.metadata)
    batches = list(task.batches(data.train, training=True))
    assert sum(len(bits) for bits, _ in batches) == 50
    for bits, repeats in batches:
        assert len(bits) <= 8
        assert len(set(repeats.tolist())) == 1
    tests = [(b.shape[1], int(r[0])) for b, r in task.batches(data.test, training=False)]
    assert set(tests) == {(3, 2), (6, 2), (12, 2), (3, 4)}
    again = list(task.batches(data.test, training=False))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(again, task.batches(data.test, training=False), strict=True))  # fmt: skip


@pytest.mark.parametrize("text", ["", "10", "1020", "10110100 x2", "1" * 8 * 10_001])
def test_what_is_no_sequence_of_bits_is_refused(text: str) -> None:
    task = Copy(CopyConfig(network="lstm"), {"updates": 1})
    with pytest.raises(DataError):
        task.predict([text])


def test_there_are_no_other_data() -> None:
    with pytest.raises(DataError):
        Copy.load_data(CopyConfig(), DataSource("/tmp"))


def test_sequences_that_take_too_long_for_the_size_are_refused() -> None:
    Copy(CopyConfig(longest=1_000, hidden_size=8, network="lstm"), {"updates": 1})
    for config in (CopyConfig(longest=1_000, repeats=100), CopyConfig(longest=100, places=10_000)):
        with pytest.raises(ValueError, match="are too long for a network of this size"):
            Copy(config, {"updates": 1})
