"""The end-to-end memory network."""

from typing import Any

import pytest
import torch

from perception.networks.memory import MemoryNetwork


@pytest.mark.parametrize("tying", ["adjacent", "layer-wise"])
def test_a_batch_answers_as_each_story_alone(tying: Any) -> None:
    torch.manual_seed(0)
    network = MemoryNetwork(9, 4, 6, 2, 5, tying)
    stories = torch.randint(1, 9, (3, 5, 4))
    stories[0, 2:] = 0  # a story of two statements, one of them shorter
    stories[0, 1, 2:] = 0
    questions = torch.randint(1, 9, (3, 4))
    scores, attention = network(stories, questions)
    assert torch.allclose(attention.sum(dim=2), torch.ones(3, 2))
    assert not attention[0, :, 2:].any()
    alone, seen = network(stories[:1, :2], questions[:1])
    assert torch.allclose(scores[:1], alone, atol=1e-5)
    assert torch.allclose(attention[:1, :, :2], seen, atol=1e-5)


def test_statements_without_words_hide_no_older_ones() -> None:
    torch.manual_seed(0)
    network = MemoryNetwork(9, 4, 6, 2, 5, "adjacent")
    stories = torch.randint(1, 9, (1, 3, 4))
    stories[0, :2] = 0
    _, attention = network(stories, torch.randint(1, 9, (1, 4)))
    assert attention.tolist() == [[[0, 0, 1], [0, 0, 1]]]


def test_one_hop_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    width = 3
    network = MemoryNetwork(5, 2, width, 1, 2, "adjacent")
    with torch.no_grad():
        network.times.zero_()
    a, c = network.embedding.weight.detach().view(5, 2, width).unbind(dim=1)

    def encoded(matrix: torch.Tensor, words: list[int]) -> torch.Tensor:
        total = torch.zeros(width)
        for j, word in enumerate(words, 1):
            for k in range(1, width + 1):
                part = j / len(words)
                total[k - 1] += ((1 - part) - (k / width) * (1 - 2 * part)) * matrix[word, k - 1]
        return total

    state, told = encoded(a, [4, 2]), [[1, 2], [3, 1]]
    weights = torch.stack([encoded(a, one) @ state for one in told]).softmax(dim=0)
    output = sum(w * encoded(c, one) for w, one in zip(weights, told, strict=True))
    scores, attention = network(torch.tensor([told]), torch.tensor([[4, 2]]))
    assert torch.allclose(attention[0, 0], weights, atol=1e-6)
    state = output + state
    state[2:] = state[2:].relu()
    assert torch.allclose(scores[0], network.answer(state), atol=1e-6)


def test_the_order_of_words_and_of_statements_matters() -> None:
    torch.manual_seed(0)
    network = MemoryNetwork(5, 2, 8, 1, 2, "adjacent")
    question = torch.tensor([[4, 3]])
    told = torch.tensor([[[1, 2], [3, 1]]])
    scores = network(told, question)[0]
    assert not torch.allclose(scores, network(told.flip(2), question)[0])
    assert not torch.allclose(scores, network(told.flip(1), question)[0])
