"""Word vectors: compiled skip-gram and CBOW with negative sampling, and a neural language model.

Skip-gram and CBOW (Mikolov et al. 2013) have a vector and an output vector for each word. Their updates are stochastic
gradient descent, one word at a time, in place on the weights: an update changes a few rows of the two matrices only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor, nn

_COMPILED: dict[str, Any] = {
    "cache": True, "fastmath": True, "nogil": True, "error_model": "numpy", "_nrt": False,
}  # fmt: skip
"""Options of the functions. Without numba's reference counts (`_nrt`) a row of a matrix costs nothing; such
functions cannot create arrays."""
NOISE_TABLE = 1 << 20
"""Entries of the table that noise words are drawn from; a power of two."""
_UNDERFLOW = 1e-200


class Sampling(NamedTuple):
    """How words are drawn; made by `sampling`."""

    keep: np.ndarray
    """uint64 (words,): an occurrence is kept where 32 random bits are at most this."""
    noise: np.ndarray
    """int32 (NOISE_TABLE,): noise words as often as they are to be drawn."""
    window: int
    """Most words of the context on each side; for each word a number from 1 to this is drawn."""
    negatives: int
    """Noise words for each word."""
    state: np.ndarray
    """uint64 (1,), of the random generator, not zero; changed in place."""


class _Scratch(NamedTuple):
    words: np.ndarray
    """int32 (length of a row,): what is kept of a row."""
    hidden: np.ndarray
    """float32 (size,): what a word is predicted from."""
    gradient: np.ndarray
    """float32 (size,): of the log-likelihood in `hidden`, times the learning rate."""
    drawn: np.ndarray
    """int32 (1 + negatives,): a word and the noise words."""
    steps: np.ndarray
    """float32 (1 + negatives,): of the log-likelihood in their scores, times the learning rate."""


def noise_table(counts: np.ndarray) -> np.ndarray:
    """Words by their probability as noise, in proportion to count^0.75; int32 (NOISE_TABLE,)."""
    shares = np.cumsum(counts.astype(float) ** 0.75)
    places = (np.arange(NOISE_TABLE) + 0.5) / NOISE_TABLE * shares[-1]
    return np.searchsorted(shares, places).astype(np.int32)


def sampling(counts: np.ndarray, window: int, negatives: int, subsample: float) -> Sampling:
    """How words of these counts are drawn.

    Args:
        counts: int64 (words,).
        subsample: frequency above which occurrences are left out; 0 keeps all.
    """
    ratio = subsample * counts.sum() / counts if subsample else np.ones(len(counts))
    keep = np.minimum(1, np.sqrt(ratio) + ratio) * 0xFFFFFFFF
    state = np.ones(1, np.uint64)
    return Sampling(keep.astype(np.uint64), noise_table(counts), window, negatives, state)


@numba.njit(forceinline=True, **_COMPILED)
def _random(state: np.ndarray) -> Any:
    """The next 32 random bits of xorshift64* (Vigna 2016), as uint64."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return (x * np.uint64(2685821657736338717)) >> np.uint64(32)


@numba.njit(forceinline=True, **_COMPILED)
def _subsample(row: np.ndarray, sampling: Sampling, words: np.ndarray) -> int:
    """Copy the occurrences of a row that are kept to `words`; their number."""
    count = 0
    for word in row:
        if word < 0 or _random(sampling.state) <= sampling.keep[word]:
            words[count] = word
            count += 1
    return count


@numba.njit(forceinline=True, **_COMPILED)
def _context(words: np.ndarray, count: int, at: int, sampling: Sampling) -> tuple[int, int]:
    """First and last place, inclusive, of the context of a place; it ends where the text does."""
    reach = 1 + int(_random(sampling.state) % np.uint64(sampling.window))
    first = last = at
    while first > max(at - reach, 0) and words[first - 1] >= 0:
        first -= 1
    while last < min(at + reach, count - 1) and words[last + 1] >= 0:
        last += 1
    return first, last


@numba.njit(forceinline=True, **_COMPILED)
def _predict(
    hidden: np.ndarray,
    target: int,
    outputs: np.ndarray,
    sampling: Sampling,
    scratch: _Scratch,
    rate: float,
) -> float:
    """Tell a word from noise words by `hidden`: move their output vectors, and set `scratch.gradient`.

    Returns:
        The likelihood, before the update.
    """
    likelihood = 1.0
    count = 1
    scratch.drawn[0] = target
    for _ in range(sampling.negatives):
        word = sampling.noise[_random(sampling.state) & np.uint64(NOISE_TABLE - 1)]
        if word != target:
            scratch.drawn[count] = word
            count += 1
    # All scores before all changes: the processor then waits for several rows of memory at a time.
    for number in range(count):
        output = outputs[scratch.drawn[number]]
        score = np.float32(0)
        for d in range(len(hidden)):
            score += hidden[d] * output[d]
        probability = np.float32(1) / (np.float32(1) + math.exp(-score))
        scratch.steps[number] = rate * ((number == 0) - probability)
        right = float(probability if number == 0 else 1 - probability)
        likelihood *= max(right, 1e-30)
    scratch.gradient[:] = 0
    for number in range(count):
        output, step = outputs[scratch.drawn[number]], scratch.steps[number]
        for d in range(len(hidden)):
            scratch.gradient[d] += step * output[d]
            output[d] += step * hidden[d]
    return likelihood


@numba.njit(**_COMPILED)
def _skip_gram(
    rows: np.ndarray,
    vectors: np.ndarray,
    outputs: np.ndarray,
    sampling: Sampling,
    scratch: _Scratch,
    rate: float,
) -> tuple[float, int]:
    loss, count, likelihood, words = 0.0, 0, 1.0, scratch.words
    for row in rows:
        length = _subsample(row, sampling, words)
        for at in range(length):
            if words[at] < 0:
                continue
            first, last = _context(words, length, at, sampling)
            for other in range(first, last + 1):
                if other == at:
                    continue
                vector = vectors[words[other]]
                likelihood *= _predict(vector, words[at], outputs, sampling, scratch, rate)
                count += 1
                for d in range(len(vector)):
                    vector[d] += scratch.gradient[d]
                if likelihood < _UNDERFLOW:
                    loss -= math.log(likelihood)
                    likelihood = 1.0
    return loss - math.log(likelihood), count


@numba.njit(**_COMPILED)
def _cbow(
    rows: np.ndarray,
    vectors: np.ndarray,
    outputs: np.ndarray,
    sampling: Sampling,
    scratch: _Scratch,
    rate: float,
) -> tuple[float, int]:
    loss, count, likelihood = 0.0, 0, 1.0
    words, hidden = scratch.words, scratch.hidden
    for row in rows:
        length = _subsample(row, sampling, words)
        for at in range(length):
            if words[at] < 0:
                continue
            first, last = _context(words, length, at, sampling)
            if first == last:
                continue
            share = np.float32(1 / (last - first))
            hidden[:] = 0
            for other in range(first, last + 1):
                if other != at:
                    vector = vectors[words[other]]
                    for d in range(len(hidden)):
                        hidden[d] += share * vector[d]
            likelihood *= _predict(hidden, words[at], outputs, sampling, scratch, rate)
            count += 1
            for other in range(first, last + 1):
                if other != at:
                    vector = vectors[words[other]]
                    for d in range(len(hidden)):
                        vector[d] += share * scratch.gradient[d]
            if likelihood < _UNDERFLOW:
                loss -= math.log(likelihood)
                likelihood = 1.0
    return loss - math.log(likelihood), count


def _train(
    kernel: Callable[..., tuple[float, int]],
    rows: Tensor,
    vectors: Tensor,
    outputs: Tensor,
    sampling: Sampling,
    rate: float,
) -> float:
    size, drawn = vectors.shape[1], 1 + sampling.negatives
    scratch = _Scratch(
        np.empty(rows.shape[1], np.int32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(drawn, np.int32),
        np.empty(drawn, np.float32),
    )
    arrays = (tensor.detach().cpu().numpy() for tensor in (rows, vectors, outputs))
    loss, count = kernel(*arrays, sampling, scratch, rate)
    return loss / max(1, count)


def skip_gram(
    rows: Tensor, vectors: Tensor, outputs: Tensor, sampling: Sampling, rate: float
) -> float:
    """Predict each word from each word of its context, in turn; the mean loss.

    Args:
        rows: int32 (n, length), numbers of words; -1 is between texts.
        vectors, outputs: float32 (words, size), on the CPU; changed in place.
        rate: learning rate.
    """
    return _train(_skip_gram, rows, vectors, outputs, sampling, rate)


def cbow(rows: Tensor, vectors: Tensor, outputs: Tensor, sampling: Sampling, rate: float) -> float:
    """Predict each word from the mean vector of its context; arguments and result are those of `skip_gram`.

    The gradient of a context vector is divided by the size of the context, as calculus has it; word2vec and gensim
    leave that out (İrsoy et al. 2021).
    """
    return _train(_cbow, rows, vectors, outputs, sampling, rate)


class NextWord(nn.Module):
    """A neural language model (Bengio et al. 2003): words before a word → scores of all words.

    Args:
        words: known words; one more vector stands for what is before a text.
        size: numbers of a word vector.
        previous: words that are read.
        hidden_size: units of the hidden layer.
    """

    def __init__(self, words: int, size: int, previous: int, hidden_size: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words + 1, size)
        nn.init.normal_(self.vectors.weight, std=0.1)  # small: neighbours are what was learned
        self.hidden = nn.Linear(previous * size, hidden_size)
        self.outputs = nn.Linear(hidden_size, words)

    def features(self, context: Tensor) -> Tensor:
        """Hidden units (n, hidden_size) of contexts int (n, previous); -1 is before the text."""
        context = torch.where(context < 0, self.vectors.num_embeddings - 1, context)
        return self.hidden(self.vectors(context).flatten(1)).tanh()

    def forward(self, context: Tensor) -> Tensor:
        """Scores (n, words) of contexts int (n, previous)."""
        return self.outputs(self.features(context))
