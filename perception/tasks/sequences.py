"""What tasks that learn from pairs of texts share: batches, the learning rate, writing, a baseline, pictures."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from perception.data.datasets import Tensors, rows_of
from perception.data.pairs import Pair
from perception.data.symbols import Symbols
from perception.networks.seq2seq import PADDING, SPECIAL, Hypothesis, Seq2Seq, beam_search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 100
"""Symbols after which a text is cut."""
_POOL = 50
_WRITTEN_AT_ONCE, _TESTED_AT_ONCE = 512, 256
"""Beginnings of sequences that are written in one batch, and pairs in a batch of the test."""
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "SimHei",
    "PingFang SC",
)


class Attention(NamedTuple):
    """How much each written symbol looked at each one that was read."""

    sources: list[str]
    words: list[str]
    weights: np.ndarray
    """(words, sources)."""


def batches_of(
    dataset: Dataset[Any], size: int, device: torch.device, training: bool
) -> Iterator[Any]:
    """For training pairs of padded sources and words, int64, shuffled; for the test lists of pairs of texts.

    The sequences of a training batch are about as long as each other, so little is padded.
    """
    if not (training and isinstance(dataset, Tensors)):
        rows = rows_of(dataset)
        yield from (rows[at : at + _TESTED_AT_ONCE] for at in range(0, len(rows), _TESTED_AT_ONCE))
        return
    sources, words = dataset.tensors
    read, write = ((part != PADDING).sum(dim=1) for part in (sources, words))
    keys = write * 10_000 + read
    parts: list[Tensor] = []
    for pool in torch.randperm(len(keys)).split(_POOL * size):
        parts += pool[keys[pool].argsort(stable=True)].split(size)
    for number in torch.randperm(len(parts)).tolist():
        chosen = parts[number]
        yield tuple(
            part[chosen, : int(lengths[chosen].max())].long().to(device)
            for part, lengths in ((sources, read), (words, write))
        )


def update(
    network: Seq2Seq,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    label_smoothing: float = 0.0,
) -> Tensor:
    """Do one update, with gradients clipped to the length 1; gives the loss."""
    loss = network.loss(*batch, label_smoothing=label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def set_learning_rate(
    optimizer: torch.optim.Optimizer, peak: float, step: int, updates: int
) -> None:
    """The rate of an update: it rises to its peak in the first twentieth of all updates, then falls to 0, linearly."""
    rising = max(1, updates // 20)
    share = min((step + 1) / rising, (updates - step) / max(1, updates - rising))
    for group in optimizer.param_groups:
        group["lr"] = peak * max(0.0, share)


def written(
    network: Seq2Seq, sources: Symbols, texts: Sequence[str], beam: int, longest: int
) -> list[Hypothesis]:
    """What the network writes for texts, by beam search; texts of about one length are read together.

    Args:
        longest: words after which a sequence is cut, if not at `LONGEST` words already.
    """
    if not texts:
        return []
    numbers = sources(texts, LONGEST)
    lengths = (numbers != PADDING).sum(dim=1)
    result: list[Hypothesis] = [Hypothesis([], 0.0)] * len(texts)
    for chosen in lengths.argsort(stable=True).split(min(128, max(1, _WRITTEN_AT_ONCE // beam))):
        batch = numbers[chosen, : int(lengths[chosen].max())].long()
        hypotheses = beam_search(
            network, batch.to(network.word_bias.device), beam, min(longest, LONGEST + 1)
        )
        for place, hypothesis in zip(chosen.tolist(), hypotheses, strict=True):
            result[place] = hypothesis
    return result


@torch.no_grad()
def attention_of(
    network: Seq2Seq, sources: Symbols, words: Symbols, text: str, numbers: Sequence[int]
) -> Attention | None:
    """The attention with which numbers of words were written for a text; None if there is none."""
    if not numbers:
        return None
    device = network.word_bias.device
    source = sources([text], LONGEST).long()
    _, weights = network.decode(source.to(device), torch.tensor([numbers], device=device))
    if weights is None:
        return None
    names = [sources.symbols[n - SPECIAL] if n >= SPECIAL else "?" for n in source[0, :-1].tolist()]
    return Attention([*names, "end"], words.names(numbers), weights[0].cpu().numpy())


def terms_of(text: str) -> list[str]:
    """Words in small letters; Chinese characters are words of their own."""
    return re.findall(
        r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\u3040-\u30ff\u4e00-\u9fff]+", text.lower()
    )


def nearest_answers(
    pairs: Sequence[Pair], questions: Sequence[str], terms: Callable[[str], list[str]]
) -> list[str]:
    """The answers of the training questions that are most alike: the baseline of these tasks.

    Alike is the cosine of TF-IDF vectors (scikit-learn); of equally near ones the first is taken.

    Args:
        terms: of a text, such as its words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(terms(question) for question, _ in pairs):
        return [pairs[0][1]] * len(questions)
    vectorizer = TfidfVectorizer(analyzer=terms)
    known = vectorizer.fit_transform([question for question, _ in pairs]).T.tocsc()
    asked = vectorizer.transform(questions)
    answers = []
    size = max(1, min(100, 10_000_000 // len(pairs)))
    for at in range(0, len(questions), size):
        nearest = np.asarray((asked[at : at + size] @ known).argmax(axis=1)).ravel()
        answers += [pairs[place][1] for place in nearest]
    return answers


# -- pictures --------------------------------------------------------------------------------------------


def attention_picture(rows: Sequence[Attention]) -> Figure:
    """What was looked at for each written symbol: read ones below, written ones at the left, dark where much."""
    from matplotlib.figure import Figure

    columns = min(2, len(rows))
    lines = math.ceil(len(rows) / columns)
    wide, high = max(len(row.sources) for row in rows), max(len(row.words) for row in rows)
    size = (columns * (0.9 + 0.22 * wide), lines * (0.9 + 0.2 * high))
    figure = Figure(size, layout="constrained")
    fonts = _fonts()
    for place, row in enumerate(rows, 1):
        axes = figure.add_subplot(lines, columns, place)
        axes.imshow(row.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        sources, words = ([_drawn(name, fonts) for name in names] for names in row[:2])
        axes.set_xticks(range(len(sources)), sources, rotation=90, fontsize=8, fontfamily=fonts)
        axes.set_yticks(range(len(words)), words, fontsize=8, fontfamily=fonts)
    return figure


def shares_picture(groups: Sequence[str], shares: Sequence[float], label: str, over: str) -> Figure:
    """A bar for each group of test examples."""
    from matplotlib.figure import Figure

    figure = Figure((5, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(groups, shares, color="steelblue")
    axes.set_ylabel(label)
    axes.set_xlabel(over)
    return figure


def text_picture(lines: Sequence[tuple[str, bool]]) -> Figure:
    """Lines of text, black if right and red if wrong."""
    from matplotlib.figure import Figure

    figure = Figure((8, 0.3 + 0.24 * len(lines)))
    fonts = _fonts()
    for place, (text, right) in enumerate(lines):
        shown = _drawn(text if len(text) <= 110 else f"{text[:109]}…", fonts)
        height = 1 - (place + 0.9) / (len(lines) + 1)
        colour = "black" if right else "crimson"
        figure.text(0.01, height, shown, color=colour, fontsize=8, fontfamily=fonts)
    return figure


@functools.cache
def _fonts() -> list[str]:
    """matplotlib's own font, and what is installed of fonts with Chinese characters."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CHINESE_FONTS if name in installed)]


def _drawn(text: str, fonts: Sequence[str]) -> str:
    """A text as it can be drawn: Chinese characters as boxes, where no font has them."""
    return text if len(fonts) > 1 else re.sub(r"[\u2e80-\uffef]", "□", text)
