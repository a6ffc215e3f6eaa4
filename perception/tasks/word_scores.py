"""What word vectors are judged by: held-out words against noise words, WordSim-353, and vectors from counts beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perception.data.corpus import contexts, similarity_judgements

NOISE_WORDS = 20
"""Against which a held-out word is tested."""
LEAST_PAIRS = 100
"""Known pairs of WordSim-353 below which its correlation is left out."""


def fits(vectors: Tensor, outputs: Tensor, context: Tensor, words: Tensor) -> Tensor:
    """Products (n, k) of the mean vectors of contexts (n, 2 · window) and output vectors of words (n, k)."""
    there = (context >= 0).unsqueeze(2)
    sums = (vectors[context.clamp(min=0)] * there).sum(dim=1)
    return torch.einsum("nd,nkd->nk", sums / there.sum(dim=1), outputs[words])


def told_from_noise(
    rows: Tensor, noise: Tensor, window: int, fits: Callable[[Tensor, Tensor], Tensor]
) -> np.ndarray:
    """For each row the sum of the shares of noise words that fit less well than the word there, and the count; (n, 2).

    Args:
        noise: (n, length, k), numbers of words.
        fits: contexts (n, 2 · window), words (n, k) → scores (n, k).
    """
    places, context = contexts(rows, window, window)
    there = (context >= 0).any(dim=1)
    row = places.nonzero()[there, 0]
    words = torch.cat([rows.unsqueeze(2), noise], dim=2)[places][there]
    scores = fits(context[there], words)
    true, other = scores[:, :1], scores[:, 1:]
    shares = ((true > other).float() + 0.5 * (true == other)).mean(dim=1)
    sums = shares.new_zeros(len(rows)).index_add_(0, row, shares)
    return np.column_stack([sums.cpu().numpy(), row.bincount(minlength=len(rows)).cpu().numpy()])


def share(values: np.ndarray) -> float:
    """The mean of the sums and counts of `told_from_noise`."""
    return float(values[:, 0].sum() / max(1, values[:, 1].sum()))


def perplexity(losses: np.ndarray) -> float:
    """exp of the mean loss."""
    return float(np.exp(losses.mean()))


def similarities(vectors: Tensor, numbers: Mapping[str, int]) -> np.ndarray:
    """People's judgement and the cosine of the pairs of WordSim-353 that are known; (pairs, 2)."""
    known = [
        (numbers[one], numbers[other], mean)
        for one, other, mean in similarity_judgements()
        if one in numbers and other in numbers
    ]
    one, other = (vectors[[row[side] for row in known]] for side in (0, 1))
    return np.column_stack(
        [[row[2] for row in known], F.cosine_similarity(one, other).cpu().numpy()]
    )


def correlation(pairs: np.ndarray) -> float:
    """Spearman's rank correlation of the columns (n, 2)."""
    from scipy.stats import spearmanr

    return float(spearmanr(*pairs.T).statistic)


def correlation_cell(pairs: np.ndarray) -> list[Any]:
    """Correlation and number of pairs, as in the table."""
    if len(pairs) < LEAST_PAIRS:
        return ["–", len(pairs)]
    return [round(correlation(pairs), 4), len(pairs)]


def ppmi_vectors(rows: Tensor, counts: np.ndarray, window: int, size: int) -> tuple[Tensor, Tensor]:
    """Vectors and output vectors by truncated singular values of positive pointwise mutual information.

    As in Levy et al. 2015: a neighbour at distance d counts 1 - (d - 1) / window, contexts are smoothed by count^0.75,
    and both sides get the root of the singular values.
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    words = len(counts)
    near = 1 - (torch.arange(1, window + 1) - 1) / window
    weights = torch.cat([near.flip(0), near])
    total = sparse.csr_matrix((words, words))
    for part in rows.split(1024):
        places, context = contexts(part, window, window)
        there = context >= 0
        word = part[places].unsqueeze(1).expand_as(context)[there]
        entries = weights.expand(context.shape)[there].double(), (word, context[there])
        total += sparse.coo_matrix(entries, (words, words)).tocsr()
    pairs = total.tocoo()
    by_word, by_context = np.asarray(total.sum(axis=1)).ravel(), counts.astype(float) ** 0.75
    expected = by_word[pairs.row] * by_context[pairs.col] / by_context.sum()
    data = np.log(pairs.data / expected).clip(min=0)
    ppmi = sparse.csr_matrix((data, (pairs.row, pairs.col)), (words, words))
    svd = TruncatedSVD(min(size, words - 1), random_state=0).fit(ppmi)
    roots = np.sqrt(svd.singular_values_).clip(min=1e-9)
    left, right = ppmi @ svd.components_.T / roots, svd.components_.T * roots
    return torch.from_numpy(left).float(), torch.from_numpy(right).float()
