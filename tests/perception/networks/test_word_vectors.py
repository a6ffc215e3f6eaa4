"""The compiled updates of word vectors, and the neural language model."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from perception.networks.word_vectors import (
    NOISE_TABLE,
    NextWord,
    cbow,
    noise_table,
    sampling,
    skip_gram,
)


def _weights(words: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, words, size, generator=generator) / size**0.5
    return one.contiguous(), other.contiguous()


def _only(noise: int, words: int, window: int, seed: int = 1) -> Any:
    """Sampling whose noise is always the same word."""
    result = sampling(np.ones(words, np.int64), window, 1, 0)
    result.noise[:] = noise
    result.state[0] = seed
    return result


@pytest.mark.parametrize("size", [3, 16, 100])
def test_a_word_predicted_from_another_is_moved_along_the_gradient(size: int) -> None:
    vectors, outputs = _weights(4, size)
    rate = 0.1
    wanted, wanted_outputs = (tensor.clone().requires_grad_() for tensor in (vectors, outputs))
    losses = []
    for target, source in (
        (1, 2),
        (2, 1),
    ):  # one after the other, with the weights as they are then
        logits = wanted_outputs[[target, 3]] @ wanted[source]
        loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0]), reduction="sum")
        gradients = torch.autograd.grad(loss, (wanted, wanted_outputs))
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for tensor, gradient in zip((wanted, wanted_outputs), gradients, strict=True):
                tensor -= rate * gradient
    rows = torch.tensor([[1, 2, -1]], dtype=torch.int32)
    mean = skip_gram(rows, vectors, outputs, _only(3, 4, 1), rate)
    assert mean == pytest.approx(np.mean(losses), rel=1e-4)
    torch.testing.assert_close(vectors, wanted.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs, wanted_outputs.detach(), rtol=1e-4, atol=1e-5)


def test_a_word_predicted_from_the_mean_of_its_context_is_moved_along_the_gradient() -> None:
    vectors, outputs = _weights(6, 20)
    rate = 0.1
    wanted, wanted_outputs = (tensor.clone().requires_grad_() for tensor in (vectors, outputs))
    row = [0, 1, 2]
    for at, target in enumerate(row):
        context = [word for other, word in enumerate(row) if abs(other - at) == 1]
        logits = wanted_outputs[[target, 5]] @ wanted[context].mean(dim=0)
        loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0]), reduction="sum")
        gradients = torch.autograd.grad(loss, (wanted, wanted_outputs))
        with torch.no_grad():
            for tensor, gradient in zip((wanted, wanted_outputs), gradients, strict=True):
                tensor -= rate * gradient
    cbow(torch.tensor([row], dtype=torch.int32), vectors, outputs, _only(5, 6, 1), rate)
    torch.testing.assert_close(vectors, wanted.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs, wanted_outputs.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("update", [skip_gram, cbow])
def test_texts_do_not_mix_and_a_word_alone_changes_nothing(update: Any) -> None:
    vectors, outputs = _weights(4, 8)
    before = vectors.clone(), outputs.clone()
    rows = torch.tensor([[0, -1, 1, -1, 2], [-1, -1, -1, -1, 3]], dtype=torch.int32)
    assert update(rows, vectors, outputs, _only(3, 4, 4), 0.5) == 0
    assert torch.equal(vectors, before[0])
    assert torch.equal(outputs, before[1])


@pytest.mark.parametrize("update", [skip_gram, cbow])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(update: Any) -> None:
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, 30, (4, 50)).astype(np.int32))
    results = []
    for seed in (5, 5, 6):
        vectors, outputs = _weights(30, 10)
        chosen = sampling(np.arange(1, 31), 5, 5, 1e-2)
        chosen.state[0] = seed
        update(rows, vectors, outputs, chosen, 0.05)
        results.append(vectors)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_vectors_stay_finite_at_extreme_scores() -> None:
    vectors, outputs = _weights(4, 8)
    vectors *= 1_000
    loss = skip_gram(
        torch.tensor([[1, 2, 1, 2]], dtype=torch.int32), vectors, outputs, _only(3, 4, 2), 0.1
    )
    assert np.isfinite(loss)
    assert vectors.isfinite().all()
    assert outputs.isfinite().all()


def test_noise_follows_the_counts_to_the_power_of_three_quarters() -> None:
    counts = np.array([10_000, 100, 1, 1])
    table = noise_table(counts)
    wanted = counts**0.75 / (counts**0.75).sum()
    shares = np.bincount(table, minlength=4) / NOISE_TABLE
    np.testing.assert_allclose(shares, wanted, atol=2 / NOISE_TABLE)


def test_frequent_words_are_left_out_as_often_as_word2vec_does() -> None:
    counts = np.array([9_000, 900, 100])
    keep = sampling(counts, 5, 5, 1e-2).keep / 0xFFFFFFFF
    frequency = counts / counts.sum()
    wanted = np.minimum(1, (np.sqrt(frequency / 1e-2) + 1) * 1e-2 / frequency)
    np.testing.assert_allclose(keep, wanted, rtol=1e-6)
    assert (sampling(counts, 5, 5, 0).keep == 0xFFFFFFFF).all()


def test_the_language_model_tells_the_start_of_a_text_from_every_word() -> None:
    torch.manual_seed(0)
    model = NextWord(words=5, size=4, previous=2, hidden_size=8)
    contexts = torch.tensor([[-1, 0], [4, 0], [0, -1]], dtype=torch.int32)
    scores = model(contexts)
    assert scores.shape == (3, 5)
    assert not torch.allclose(scores[0], scores[1])
