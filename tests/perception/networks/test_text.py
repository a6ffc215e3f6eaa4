"""Networks for texts."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from perception.networks.text import BagOfTerms, TextCNN, TextRNN


def test_a_bag_is_a_linear_map_of_the_sparse_vector() -> None:
    bag = BagOfTerms(5, 3)
    nn.init.normal_(bag.weights.weight)
    nn.init.normal_(bag.bias)
    vectors = torch.tensor([[0, 0.5, 0, 2, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 3.0]])
    scores = bag(torch.tensor([1, 3, 0, 4]), torch.tensor([0, 2, 2]), torch.tensor([0.5, 2, 1, 3]))
    torch.testing.assert_close(scores, vectors @ bag.weights.weight + bag.bias)
    assert BagOfTerms(5, 3, hidden_size=7)(
        torch.tensor([1]), torch.tensor([0]), torch.tensor([1.0])
    ).shape == (1, 3)


@pytest.mark.parametrize(
    "kind",
    [TextCNN, TextRNN, partial(TextRNN, kind="lstm", layers=2, bidirectional=False)],
)
def test_padding_and_neighbours_in_the_batch_change_nothing(kind: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    network = kind(20, 4, 6, 8, 0.5).eval()
    alone = network(torch.tensor([[3, 4, 5]]))
    together = network(torch.tensor([[3, 4, 5, 0, 0, 0, 0], [9, 8, 7, 6, 5, 4, 3]]))
    torch.testing.assert_close(together[:1], alone)
    for words in ([[7]], [[0]]):
        assert network(torch.tensor(words)).isfinite().all(), "a text of one word, or of none known"
    other = network(torch.tensor([[5, 4, 3]]))
    assert not torch.allclose(other, alone), "the order of words counts"
