"""Pictures of classified texts: which words speak for a class, and which against it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS, _LINES = 110, 3
"""Characters in a line, and lines of a text; longer texts are cut."""


def word_effects(
    words: Sequence[str], number: int, probabilities: Callable[[Sequence[str]], np.ndarray]
) -> np.ndarray:
    """How much the log-probability of a class falls without each of the words (occlusion); (words,).

    Args:
        number: of the class.
        probabilities: from texts to probabilities (texts, classes).
    """
    texts = [" ".join(words), *(" ".join([*words[:i], *words[i + 1 :]]) for i in range(len(words)))]
    logs = np.log(probabilities(texts)[:, number].clip(1e-6))
    return logs[0] - logs[1:]


def coloured_words(
    texts: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
    probabilities: Callable[[Sequence[str]], np.ndarray],
) -> Figure:
    """Texts whose words are blue where they speak for the predicted class, and red where against it."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure((8.5, 1))
    axes = figure.add_axes((0, 0, 1, 1))
    line = 0.0
    for text, label, row in zip(texts, labels, probabilities(texts), strict=True):
        predicted = int(row.argmax())
        head = f"{classes[predicted]}  {row[predicted]:.0%}"
        head += "" if predicted == label else f"  (is {classes[label]})"
        colour = "black" if predicted == label else "crimson"
        axes.text(0, line, head, color=colour, weight="bold", fontsize=9, parse_math=False)
        # A text is a row of words of a fixed width each, so that places are known without drawing.
        lines = [one.split() for one in textwrap.wrap(text, _COLUMNS)[:_LINES]]
        effects = word_effects([word for one in lines for word in one], predicted, probabilities)
        shades = iter(colormaps["RdBu"](0.5 + 0.35 * effects / max(np.abs(effects).max(), 1e-9)))
        for words in lines:
            line, column = line + 1, 0
            for word in words:
                box = {"facecolor": (*next(shades)[:3], 0.7), "edgecolor": "none", "pad": 1.2}
                axes.text(
                    *(column, line, word),
                    family="monospace",
                    fontsize=8,
                    bbox=box,
                    parse_math=False,
                )
                column += len(word) + 1
        line += 1.6
    figure.set_figheight(0.2 * (line + 1))
    axes.set(xlim=(-1, _COLUMNS + 6), ylim=(line, -1))
    axes.axis("off")
    return figure
