"""BLEU from counts that can be resampled."""

import numpy as np
import pytest
import sacrebleu

from perception.tasks.bleu import bleu, bleu_counts


def test_bleu_of_known_sentences() -> None:
    reference = "the cat is on the mat"
    assert bleu(bleu_counts([reference], [["no", reference]])) == pytest.approx(1.0)
    longer = (6 * 5 * 4 * 3 / (7 * 6 * 5 * 4)) ** 0.25
    assert bleu(bleu_counts([f"so {reference}"], [[reference]])) == pytest.approx(longer)
    shorter = np.exp(1 - 6 / 5)
    assert bleu(bleu_counts(["cat is on the mat"], [[reference]])) == pytest.approx(shorter)
    assert bleu(bleu_counts([""], [[reference]])) == 0


@pytest.mark.parametrize(
    ("tokenize", "signs"),
    [
        ("none", ["a", "b", "c", ".", "{city}"]),
        ("13a", ["a", "b!", "c", "(d)", "e."]),
        ("zh", [*"我你好吗。"]),
    ],
)
def test_bleu_from_counts_is_sacrebleu_s_of_the_corpus(tokenize: str, signs: list[str]) -> None:
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(signs, 12)) for _ in range(30)]
    references = [[" ".join(rng.choice(signs, 11)), sentence[:19]] for sentence in sentences]
    counts = bleu_counts(sentences, references, tokenize)
    assert counts.shape == (30, 10)
    for rows in (slice(None), slice(None, None, 2)):
        parts = [list(part) for part in zip(*references[rows], strict=True)]
        expected = sacrebleu.corpus_bleu(sentences[rows], parts, tokenize=tokenize, force=True)
        assert bleu(counts[rows]) == pytest.approx(expected.score / 100)
