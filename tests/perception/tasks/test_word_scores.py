"""What word vectors are judged by."""

import numpy as np
import torch

from perception.tasks.word_scores import fits, ppmi_vectors, told_from_noise


def test_told_from_noise_is_the_share_of_noise_words_that_fit_less_well() -> None:
    rows = torch.tensor([[0, 1, -1, 2]], dtype=torch.int32)
    vectors = outputs = torch.eye(3)
    # In the place of 0, next to 1: 1 itself fits better, 0 and 2 just as well; in that of 1: 0 fits better.
    noise = torch.tensor([[[1, 2], [0, 2], [0, 0], [0, 0]]], dtype=torch.int32)
    values = told_from_noise(
        rows, noise, 2, lambda context, words: fits(vectors, outputs, context, words)
    )
    assert values.tolist() == [[0.5, 2.0]]


def test_ppmi_vectors_multiply_to_positive_pointwise_mutual_information() -> None:
    rows = torch.tensor([[0, 1, -1, 0, 1, -1, 2, 0, -1, 2, 3, -1]], dtype=torch.int32)
    counts = np.array([3, 2, 2, 1])
    left, right = ppmi_vectors(rows, counts, 1, 3)
    together = np.array([[0, 2, 1, 0], [2, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])
    smoothed = counts**0.75 / (counts**0.75).sum()
    with np.errstate(divide="ignore"):
        pmi = np.log(together / together.sum(axis=1, keepdims=True) / smoothed)
    wanted = pmi.clip(min=0)
    best = np.linalg.svd(wanted)
    closest = (best.U[:, :3] * best.S[:3]) @ best.Vh[:3]
    np.testing.assert_allclose(left @ right.T, closest, atol=1e-5)
