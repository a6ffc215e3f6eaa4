"""What tasks share that learn from pairs of texts."""

import numpy as np
import pytest
import torch

from perception.data.datasets import Rows, Tensors
from perception.networks.seq2seq import PADDING
from perception.tasks.sequences import (
    Attention,
    attention_picture,
    batches_of,
    nearest_answers,
    set_learning_rate,
    terms_of,
)


def _pairs(count: int) -> Tensors:
    """Sources of random length, numbered by their first symbol, with words twice as long."""
    rng = np.random.default_rng(0)
    sources, words = (torch.full((count, size), PADDING, dtype=torch.int32) for size in (20, 40))
    for row, length in enumerate(rng.integers(1, 21, count)):
        sources[row, :length], words[row, : 2 * length] = 9, 9
        sources[row, 0] = 100 + row
    return Tensors(sources, words)


def test_batches_have_every_pair_once_and_little_padding() -> None:
    data, cpu = _pairs(300), torch.device("cpu")

    def batches(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        torch.manual_seed(seed)
        return list(batches_of(data, 16, cpu, training=True))

    found = batches(1)
    assert len(found) == 19
    assert sorted(int(n) for sources, _ in found for n in sources[:, 0]) == [*range(100, 400)]
    padded = sum(int((words == PADDING).sum()) for _, words in found)
    assert padded < 0.1 * sum(words.numel() for _, words in found)
    for sources, words in found:
        assert words.dtype == torch.int64
        assert torch.equal((words > 0).sum(1), 2 * (sources > 0).sum(1)), "pairs stay together"
    orders = [[int(sources[0, 0]) for sources, _ in batches(seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    tests = list(batches_of(Rows([("a", "b")] * 300), 16, cpu, training=False))
    assert [len(rows) for rows in tests] == [256, 44]


def test_the_learning_rate_rises_and_falls() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    rates = []
    for step in range(100):
        set_learning_rate(optimizer, 1.0, step, 100)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 95)
    set_learning_rate(optimizer, 1.0, 200, 100)  # a fit that was extended past its end
    assert optimizer.param_groups[0]["lr"] == 0


def test_the_nearest_answer_is_that_of_the_most_similar_question() -> None:
    pairs = [("how old are you", "old"), ("what is your name", "none"), ("你 叫什么", "无")]
    questions = ["Your NAME, please?", "how old is it", "什么", "xyz"]
    assert nearest_answers(pairs, questions, terms_of) == ["none", "old", "无", "old"]
    assert terms_of("It's 我们, café") == ["it", "s", "我", "们", "café"]


def test_attention_to_signs_that_no_font_has_is_drawn(tmp_path: object) -> None:
    row = Attention(["$", "我", "end"], ["a_b", "{x}"], np.full((2, 3), 1 / 3))
    attention_picture([row] * 3).savefig(f"{tmp_path}/attention.png")


def test_without_any_term_the_first_answer_is_the_nearest() -> None:
    assert nearest_answers([("!", "a"), ("?", "b")], ["?", "word"], terms_of) == ["a", "a"]
