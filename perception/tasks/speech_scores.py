"""What speech recognition is judged by: errors per character, a baseline without a network, and alignments as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from perception.data.speech import RATE, Recording
from perception.networks.speech import LogMel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def error_rows(true: Sequence[str], predicted: Sequence[str]) -> np.ndarray:
    """For each text the fewest deletions, insertions and substitutions (by jiwer), and its length; (n, 2)."""
    import jiwer

    rows = []
    for text, other in zip(true, predicted, strict=True):
        result = jiwer.process_characters(text, other)
        rows.append([result.substitutions + result.deletions + result.insertions, len(text)])
    return np.array(rows).reshape(-1, 2)


def error_rate(rows: np.ndarray) -> float:
    """Errors per character of `error_rows`."""
    return float(rows[:, 0].sum() / max(1, rows[:, 1].sum()))


# -- baseline --------------------------------------------------------------------------------------------

_FEATURES = LogMel(RATE, 24)
_GAP, _SHORTEST = 8, 6
"""Frames of silence that separate two digits, and frames of a digit, at least."""


def split_at_pauses(train: Sequence[Recording], test: Sequence[Recording]) -> list[str]:
    """Texts of test strings without a network: cut where it is quiet, and classify each piece.

    The pieces, all stretched to 16 frames, are classified by scikit-learn's logistic regression.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learnt = [pieces(row) for row in train]
    known = [(max(parts, key=len), row.text) for parts, row in zip(learnt, train, strict=True)]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=100))
    model.fit(np.stack([_same_size(piece) for piece, _ in known]), [text for _, text in known])
    found = [pieces(row) for row in test]
    inputs = np.stack([_same_size(piece) for parts in found for piece in parts])
    digits = iter(model.predict(inputs).tolist())
    return ["".join(next(digits) for _ in parts) for parts in found]


def pieces(recording: Recording) -> list[np.ndarray]:
    """Spectrograms (bands, frames) of what is between the pauses of a recording; at least one."""
    samples = torch.from_numpy(recording.samples)[None]
    spectrogram = _FEATURES(samples, torch.tensor([samples.shape[1]]))[0][0].numpy()
    power = spectrogram.max(axis=0)
    loud = np.flatnonzero(power > power.min() + 0.35 * (power.max() - power.min()))
    breaks = np.flatnonzero(np.diff(loud) > _GAP) + 1
    parts = [part for part in np.split(loud, breaks) if len(part) >= _SHORTEST]
    return [spectrogram[:, part[0] : part[-1] + 1] for part in parts] or [spectrogram]


def _same_size(piece: np.ndarray) -> np.ndarray:
    return F.interpolate(torch.from_numpy(piece)[None], 16, mode="linear")[0].numpy().ravel()


# -- picture ---------------------------------------------------------------------------------------------


def alignment_picture(
    rows: Sequence[Recording],
    spectrograms: Sequence[np.ndarray],
    results: Sequence[Mapping[str, Any]],
    symbols: Sequence[str],
) -> Figure:
    """Spectrograms above what the network says about each moment.

    Args:
        spectrograms: (bands, frames) of each recording.
        results: of `Speech.transcribe`.
        symbols: names of the blank and the characters.
    """
    from matplotlib.figure import Figure

    figure = Figure((9, 4.6), layout="constrained", dpi=80)
    axes = figure.subplots(2, len(rows), squeeze=False, height_ratios=[2, 3])
    for column, (row, image, result) in enumerate(zip(rows, spectrograms, results, strict=True)):
        top, bottom = axes[:, column]
        seconds = image.shape[1] / 100
        top.imshow(
            image, origin="lower", aspect="auto", extent=(0, seconds, 0, len(image)), cmap="magma"
        )
        wrong = "" if result["text"] == row.text else f"  (is {row.text})"
        top.set_title(
            f"{result['text']}{wrong}", color="crimson" if wrong else "black", parse_math=False
        )
        weights = result["weights"]
        if result["path"] is not None:
            there = sorted({0, *result["path"]})
            weights, names = weights[there], [symbols[number] for number in there]
            at = 0.04 * (np.arange(len(result["path"])) + 0.5)
            bottom.plot(
                at, [there.index(number) for number in result["path"]], ".", color="C1", ms=4
            )
        else:
            names = list(result["text"])
        bottom.imshow(
            weights,
            aspect="auto",
            extent=(0, 0.04 * weights.shape[1], len(names) - 0.5, -0.5),
            **{"cmap": "Blues", "vmin": 0, "interpolation": "nearest"},
        )
        bottom.set_yticks(range(len(names)), names, parse_math=False)
        bottom.set(xlim=(0, seconds), xlabel="seconds")
        top.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("frequency (mel)")
    axes[1, 0].set_ylabel(
        "symbol (–: blank)" if results[0]["path"] is not None else "looks for each character"
    )
    return figure
