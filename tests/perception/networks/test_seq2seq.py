"""Networks from sequence to sequence, and beam search against exhaustive search."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from perception.networks.seq2seq import (
    BEGIN,
    END,
    NEVER_WRITTEN,
    PADDING,
    SPECIAL,
    Hypothesis,
    RecurrentSeq2Seq,
    Seq2Seq,
    beam_search,
)
from perception.networks.transformer import Transformer, sinusoids

WORDS = SPECIAL + 3
SOURCES = torch.tensor([[5, 6, 7, END, PADDING], [4, 4, 8, 5, END]])
MAKE: dict[str, Callable[[], Seq2Seq]] = {
    "attention": lambda: RecurrentSeq2Seq(9, WORDS, 16, 12, 0.2),
    "rnn": lambda: RecurrentSeq2Seq(9, WORDS, 16, 12, 0.2, attention=False),
    "transformer": lambda: Transformer(9, WORDS, 16, layers=2, heads=2, dropout=0.2),
}


@pytest.fixture(params=MAKE)
def network(request: pytest.FixtureRequest) -> Seq2Seq:
    """A network with random weights, of some size, so that its distributions are not flat."""
    torch.manual_seed(0)
    made = MAKE[request.param]().eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.mul_(2)
    return made


def test_steps_give_the_scores_of_whole_sequences_and_padding_changes_nothing(
    network: Seq2Seq,
) -> None:
    words = torch.tensor([[5, 6, END], [4, 4, 5]])
    scores = network.scores(network(SOURCES, words))
    assert scores.shape == (2, 3, WORDS)
    memory, state = network.encode(SOURCES)
    before = torch.full((2,), BEGIN)
    for place in range(3):
        one, state = network.step(before, memory, state)
        torch.testing.assert_close(one, scores[:, place], rtol=1e-4, atol=1e-4)
        before = words[:, place]
    alone = network.scores(network(SOURCES[:1, :4], words[:1]))
    torch.testing.assert_close(alone, scores[:1], rtol=1e-4, atol=1e-4)
    outputs, weights = network.decode(SOURCES, words)
    torch.testing.assert_close(outputs, network(SOURCES, words))
    if weights is not None:
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 3))
        assert not weights[0, :, 4].any()


def test_the_loss_is_the_cross_entropy_without_padding(network: Seq2Seq) -> None:
    words = torch.tensor([[5, 6, END], [4, END, PADDING]])
    logs = network.scores(network(SOURCES, words)).log_softmax(dim=2)
    chosen = logs.gather(2, words.unsqueeze(2)).squeeze(2)
    assert network.loss(SOURCES, words) == pytest.approx(float(-chosen[words != PADDING].mean()))


def _exhaustive(network: Seq2Seq, source: Tensor, longest: int) -> Hypothesis:
    """The best of all sequences: shorter ones ended, the longest ended or cut."""
    best = Hypothesis([], -torch.inf)
    for length in range(longest + 1):
        for words in itertools.product(range(SPECIAL, WORDS), repeat=length):
            row = [*words, END][:longest]
            scores = network.scores(network(source, torch.tensor([row])))[0]
            scores[:, NEVER_WRITTEN] = -torch.inf
            logs = scores.log_softmax(dim=1)[torch.arange(len(row)), row]
            if (score := float(logs.mean())) > best.score + 1e-6:
                best = Hypothesis(list(words), score)
    return best


def test_beam_search_with_a_large_beam_finds_what_exhaustive_search_finds(
    network: Seq2Seq,
) -> None:
    longest = 3
    found = beam_search(network, SOURCES, beam=64, longest=longest)
    narrow = [beam_search(network, SOURCES, beam, longest) for beam in (1, 2)]
    for row in range(2):
        source = SOURCES[row : row + 1]
        wanted = _exhaustive(network, source, longest)
        assert found[row].words == wanted.words
        assert found[row].score == pytest.approx(wanted.score, abs=1e-4)
        assert all(result[row].score <= wanted.score + 1e-4 for result in narrow)


def test_a_beam_of_one_is_greedy_and_sources_do_not_disturb_each_other(network: Seq2Seq) -> None:
    found = beam_search(network, SOURCES, beam=1, longest=6)
    for row in range(2):
        memory, state = network.encode(SOURCES[row : row + 1])
        words, before = [], torch.tensor([BEGIN])
        while len(words) < 6:
            scores, state = network.step(before, memory, state)
            scores[:, NEVER_WRITTEN] = -torch.inf
            before = scores.argmax(dim=1)
            if int(before) == END:
                break
            words.append(int(before))
        assert found[row].words == words
        both = beam_search(network, SOURCES, beam=3, longest=6)[row]
        alone = beam_search(network, SOURCES[row : row + 1], beam=3, longest=6)[0]
        assert both.words == alone.words


def test_positions_are_sines_and_cosines() -> None:
    values = sinusoids(3, 2, 4)
    wanted = [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]
    assert values[0].tolist() == pytest.approx(wanted, abs=1e-6)
    torch.testing.assert_close(values[1:], sinusoids(4, 1, 4))
    with pytest.raises(ValueError, match="multiple of 8"):
        Transformer(9, 9, 20, 1, 4, 0.0)
