"""Connectionist temporal classification, against brute force over all paths and against PyTorch's loss."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from perception.networks.ctc import align, greedy, log_likelihood, prefix_beam_search, read_path


def _log_probs(frames: int, symbols: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, symbols, generator=generator).double()).log_softmax(dim=1)


def _paths(log_probs: torch.Tensor) -> dict[tuple[int, ...], list[tuple[float, tuple[int, ...]]]]:
    """All paths with their log-probabilities, by what they read as."""
    frames, symbols = log_probs.shape
    result = defaultdict(list)
    for path in itertools.product(range(symbols), repeat=frames):
        total = sum(float(log_probs[at, symbol]) for at, symbol in enumerate(path))
        result[tuple(read_path(path))].append((total, path))
    return result


def _log_sum(values: list[float]) -> float:
    return math.log(sum(math.exp(value) for value in values))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([0, 0, 3, 3, 0, 3, 0, 0, 5], [3, 3, 5]),
        ([3, 3, 3], [3]),
        ([0, 0], []),
        ([], []),
        ([1, 2, 1], [1, 2, 1]),
    ],
)
def test_a_path_reads_as_its_symbols_without_repeats_and_blanks(
    path: list[int], expected: list[int]
) -> None:
    assert read_path(path) == expected


@pytest.mark.parametrize(("frames", "symbols"), [(1, 3), (2, 2), (4, 3), (5, 3)])
def test_likelihood_alignment_and_beam_search_are_those_of_all_paths(
    frames: int, symbols: int
) -> None:
    for seed in range(3):
        log_probs = _log_probs(frames, symbols, seed)
        paths = _paths(log_probs)
        exact = {labels: _log_sum([total for total, _ in one]) for labels, one in paths.items()}
        assert _log_sum(list(exact.values())) == pytest.approx(0), "probabilities sum to 1"
        for labels, one in paths.items():
            assert float(log_likelihood(log_probs, labels)) == pytest.approx(exact[labels])
            assert tuple(align(log_probs.numpy(), labels)) == max(one)[1]
        found = prefix_beam_search(log_probs.numpy(), 10_000)
        assert {tuple(labels): total for labels, total in found} == pytest.approx(exact)
        totals = [total for _, total in found]
        assert totals == sorted(totals, reverse=True)
        best = max((total, path) for one in paths.values() for total, path in one)[1]
        assert greedy(log_probs.numpy()) == read_path(best)


def test_beam_search_finds_a_sequence_that_greedy_decoding_misses() -> None:
    """Two frames of blank 0.6 and "1" 0.4: the best path is two blanks, 0.36, but "1" has 0.64 on three paths."""
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy(log_probs) == []
    (best, total), *_ = prefix_beam_search(log_probs, 2)
    assert best == [1]
    assert math.exp(total) == pytest.approx(0.64)


def test_a_narrow_beam_gives_lower_bounds_of_the_probabilities() -> None:
    log_probs = _log_probs(30, 6, 0)
    for width in (1, 3, 8):
        found = prefix_beam_search(log_probs.numpy(), width)
        assert len(found) == width
        for labels, total in found:
            assert total <= float(log_likelihood(log_probs, labels)) + 1e-9


def test_the_loss_and_its_gradient_are_those_of_pytorch() -> None:
    for seed, labels in enumerate([[1], [2, 2, 2], [4, 1, 1, 3], [], [5, 4, 3, 2, 1, 1]]):
        scores = _log_probs(9, 6, seed)
        ours, theirs = (scores.clone().requires_grad_() for _ in range(2))
        loss = -log_likelihood(ours.log_softmax(dim=1), labels)
        wanted = F.ctc_loss(
            theirs.log_softmax(dim=1).unsqueeze(1),
            torch.tensor([labels], dtype=torch.int64),
            torch.tensor([9]),
            torch.tensor([len(labels)]),
            reduction="sum",
        )
        assert loss.item() == pytest.approx(wanted.item())
        loss.backward()
        wanted.backward()
        assert torch.allclose(ours.grad, theirs.grad)  # type: ignore[arg-type]


def test_a_sequence_longer_than_its_frames_is_impossible() -> None:
    log_probs = _log_probs(3, 3, 0)
    assert float(log_likelihood(log_probs, [1, 1, 1])) < -1e20, "repeats need blanks between them"
    with pytest.raises(ValueError, match="3 frames are too few for 3 labels"):
        align(log_probs.numpy(), [1, 1, 1])
