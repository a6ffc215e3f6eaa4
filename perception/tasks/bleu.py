"""BLEU of a corpus (Papineni et al. 2002) by sacrebleu, from what each sentence adds to it.

Rows that can be resampled: the interval of the corpus' BLEU is then that of its sentences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics.bleu import BLEU


def bleu_counts(
    sentences: Sequence[str], references: Sequence[Sequence[str]], tokenize: str = "none"
) -> np.ndarray:
    """Rows (n, 10): n-gram matches and n-grams of 1 to 4 words, length of the sentence and of its reference.

    Args:
        references: of each sentence, one or several.
        tokenize: sacrebleu's name of how texts are cut into words: "none" (at spaces), "13a", "zh".
    """
    # Effective order is for the score of a single sentence only, which is not used.
    metric = BLEU(tokenize=tokenize, force=True, effective_order=True)
    rows = []
    for sentence, others in zip(sentences, references, strict=True):
        one = metric.sentence_score(sentence, list(others))
        rows.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
    return np.array(rows, np.int64).reshape(-1, 10)


def bleu(counts: np.ndarray) -> float:
    """BLEU-4 of a corpus, 0…1, from rows of `bleu_counts`, with sacrebleu's exponential smoothing."""
    total = counts.sum(axis=0).tolist()
    result = BLEU.compute_bleu(total[:4], total[4:8], total[8], total[9], smooth_method="exp")
    return float(result.score) / 100
