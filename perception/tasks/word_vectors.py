"""Word vectors: words that stand in similar contexts get similar vectors.

Three ways to learn them: skip-gram and CBOW with negative sampling (Mikolov et al. 2013), with a context of random
width, frequent words left out at random, and noise words by count^0.75; and the embedding of a neural language model that
predicts the next word (Bengio et al. 2003). The score is that of a word in held-out text against noise words: the share
of them that fit its context less well. Singular vectors of co-occurrence counts (PPMI) are beside it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.corpus import contexts, load_corpus
from perception.data.datasets import Tensors
from perception.networks.word_vectors import NextWord, cbow, noise_table, sampling, skip_gram
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData
from perception.tasks.word_scores import (
    LEAST_PAIRS,
    NOISE_WORDS,
    correlation,
    correlation_cell,
    fits,
    perplexity,
    ppmi_vectors,
    share,
    similarities,
    told_from_noise,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATES = {"skip-gram": 0.025, "cbow": 0.075, "next-word": 0.002}
_UPDATES = {"skip-gram": skip_gram, "cbow": cbow}
_SKIPPED = 40
"""The most frequent words ("the", "of"), which pictures leave out."""


@dataclass(frozen=True, config=STRICT)
class WordVectorsConfig:
    """Vectors and training."""

    method: Literal["skip-gram", "cbow", "next-word"] = "skip-gram"
    """Predict a word from each word around it, from their mean, or from the words before it."""
    size: Annotated[int, Field(ge=2, le=2_000)] = 100
    """Numbers of a vector."""
    window: Annotated[int, Field(ge=1, le=50)] = 5
    """Most words of the context on each side; next-word reads as many before the word."""
    negatives: Annotated[int, Field(ge=1, le=100)] = 5
    """Noise words for each word (skip-gram, cbow)."""
    subsample: Annotated[float, Field(ge=0, le=1)] = 1e-3
    """Share of the text above which a word is left out at random (skip-gram, cbow); 0: none is."""
    min_count: PositiveInt = 5
    """Rarer words are left out of the text."""
    vocabulary: Annotated[int, Field(ge=10, le=500_000)] = 30_000
    """Most words that are known."""
    hidden_size: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Units of the hidden layer (next-word)."""
    epochs: Epochs = 20
    """Passes over the text."""
    learning_rate: PositiveFloat | None = None
    """At the start; it falls to zero. Without it: 0.025 (skip-gram), 0.075 (cbow), 0.002 (next-word, Adam)."""
    batch_size: PositiveInt = 8
    """Rows of 256 words in a step: one update of next-word, one for each word of the others."""


class WordVectors(Task):
    """Vectors of words; a batch is rows of word numbers int32 (n, 256), in a test with noise words (n, 256, 20)."""

    Config = WordVectorsConfig
    default_data = "snips"

    def __init__(self, config: WordVectorsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.words: list[str] = metadata["words"]
        self.numbers = {word: number for number, word in enumerate(self.words)}
        self.counts = np.array(metadata["counts"])
        self.rate = config.learning_rate or _RATES[config.method]
        if config.method == "next-word":
            self.model = NextWord(len(self.words), config.size, config.window, config.hidden_size)
            self.optimizers = {"main": torch.optim.Adam(self.parameters(), self.rate, fused=True)}
            return
        start = (torch.rand(len(self.words), config.size) - 0.5) / config.size
        self.vectors = nn.Parameter(start, requires_grad=False)
        self.outputs = nn.Parameter(torch.zeros_like(start), requires_grad=False)
        self.sampling = sampling(self.counts, config.window, config.negatives, config.subsample)

    @classmethod
    def load_data(cls, config: WordVectorsConfig, source: DataSource) -> TaskData:
        corpus = load_corpus(source, min_count=config.min_count, vocabulary=config.vocabulary)
        table, shape = noise_table(corpus.counts), (*corpus.test.shape, NOISE_WORDS)
        noise = torch.from_numpy(table[np.random.default_rng(0).integers(0, len(table), shape)])
        vectors, outputs = ppmi_vectors(corpus.train, corpus.counts, config.window, config.size)
        told = told_from_noise(
            *(corpus.test, noise, config.window),
            lambda context, words: fits(vectors, outputs, context, words),
        )
        pairs = similarities(vectors, {word: n for n, word in enumerate(corpus.words)})
        metadata = {
            "words": corpus.words,
            "counts": corpus.counts.tolist(),
            "rows": len(corpus.train),
            "baseline": [round(share(told), 4), *correlation_cell(pairs)],
        }
        return TaskData(Tensors(corpus.train), Tensors(corpus.test, noise), metadata, corpus.origin)

    def train_step(self, batch: tuple[Tensor], step: int) -> dict[str, Tensor]:
        (rows,), method = batch, self.config.method
        steps = self.config.epochs * math.ceil(self.metadata["rows"] / self.config.batch_size)
        rate = self.rate * max(1 - step / steps, 1e-4)
        if method == "next-word":
            return {"loss": self._language_model_step(rows, rate)}
        # The generator of the compiled function is seeded by PyTorch's, and kept for this step only.
        self.sampling.state[0] = int(torch.randint(1, 1 << 62, ()))
        weights = self.vectors.data.cpu(), self.outputs.data.cpu()  # the same memory on a CPU
        loss = _UPDATES[method](rows, *weights, self.sampling, rate)
        if self.device.type != "cpu":
            for parameter, tensor in zip((self.vectors, self.outputs), weights, strict=True):
                parameter.data.copy_(tensor)
        return {"loss": torch.tensor(loss)}

    def _language_model_step(self, rows: Tensor, rate: float) -> Tensor:
        places, context = contexts(rows, self.config.window, 0)
        loss = F.cross_entropy(self.model(context), rows[places].long())
        adam = self.optimizers["main"]
        adam.param_groups[0]["lr"] = rate
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach()

    @property
    def embedding(self) -> Tensor:
        """The vectors (words, size)."""
        is_model = self.config.method == "next-word"
        return self.model.vectors.weight[:-1] if is_model else self.vectors

    def fits(self, context: Tensor, words: Tensor) -> Tensor:
        """How well words (n, k) fit their contexts (n, 2 · window), beyond their frequency as noise; (n, k)."""
        if self.config.method != "next-word":
            return fits(self.vectors, self.outputs, context, words)
        features = self.model.features(context[:, : self.config.window])
        layer = self.model.outputs
        noise = 0.75 * torch.from_numpy(self.counts).to(features).log()
        scores = torch.einsum("nh,nkh->nk", features, layer.weight[words]) + layer.bias[words]
        return scores - noise[words]

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        told, losses = [], []
        for rows, noise in batches:
            told.append(told_from_noise(rows, noise, self.config.window, self.fits))
            if self.config.method == "next-word":
                places, context = contexts(rows, self.config.window, 0)
                losses.append(
                    F.cross_entropy(self.model(context), rows[places].long(), reduction="none")
                )
        pairs = similarities(self.embedding, self.numbers)
        values = np.concatenate(told)
        table = [
            ["vectors", "told from noise", "WordSim-353", "pairs"],
            [
                f"{self.config.method}, {self.config.size} numbers",
                round(share(values), 4),
                *correlation_cell(pairs),
            ],
            ["singular vectors of PPMI (scikit-learn)", *self.metadata["baseline"]],
        ]
        metrics = {"told from noise": Metric(values, share, table)}
        if losses:
            metrics["perplexity"] = Metric(torch.cat(losses).cpu().numpy(), perplexity)
        if len(pairs) >= LEAST_PAIRS:
            metrics["WordSim-353"] = Metric(pairs, correlation)
        return metrics

    def nearest(self, vector: Tensor, without: Sequence[int], count: int) -> dict[str, float]:
        """The words whose vectors have the largest cosine with a vector."""
        cosines = F.normalize(self.embedding) @ F.normalize(vector, dim=0)
        cosines[list(without)] = -2
        values, numbers = cosines.topk(min(count, len(self.words) - len(set(without))))
        return {
            self.words[n]: round(value, 4)
            for n, value in zip(numbers.tolist(), values.tolist(), strict=True)
        }

    @torch.no_grad()
    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure]:
        """The neighbours of some words, and a map of frequent words."""
        from matplotlib.figure import Figure
        from sklearn.manifold import TSNE

        few = len(self.words) < 5 * _SKIPPED
        chosen = range(len(self.words))[0 if few else _SKIPPED :][:180]
        table = Figure((8.5, 4))
        axes = table.add_axes((0.02, 0, 0.98, 1))
        axes.axis("off")
        for line, number in enumerate(chosen[:: max(1, len(chosen) // 14)][:14]):
            near = self.nearest(self.embedding[number], [number], 7)
            style: dict[str, Any] = {"fontsize": 9, "parse_math": False}
            axes.text(0, -line, self.words[number], weight="bold", **style)
            for column, (word, cosine) in enumerate(near.items()):
                shade = 0.75 * (1 - max(cosine, 0))
                axes.text(1.2 + column, -line, word[:16], color=(shade,) * 3, **style)
        axes.set(xlim=(0, 8.2), ylim=(-14, 1))
        tsne = TSNE(
            perplexity=min(15, (len(chosen) - 1) / 3),
            metric="cosine",
            init="random",
            random_state=0,
        )
        places = tsne.fit_transform(self.embedding[chosen.start : chosen.stop].cpu().numpy())
        plane = Figure((9, 7))
        axes = plane.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.scatter(places[:, 0], places[:, 1], s=0)
        for number, (x, y) in zip(chosen, places, strict=True):
            axes.text(x, y, self.words[number], fontsize=7, ha="center", parse_math=False)
        return {"neighbours": table, "map": plane}

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """The nearest words of a word, or of a sum such as "king - man + woman"."""
        results = []
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"word-vectors reads a word, or a sum of words, not {text!r}")
            first, *rest = re.split(r"\s+([+-])\s+", text.strip().lower())
            signs = [1.0, *(1.0 if sign == "+" else -1.0 for sign in rest[::2])]
            numbers = [self._number(word) for word in (first, *rest[1::2])]
            vectors = F.normalize(self.embedding[numbers])
            near = self.nearest(torch.tensor(signs).to(vectors) @ vectors, numbers, 8)
            results.append({"input": text, "nearest": near})
        return results

    def _number(self, word: str) -> int:
        if word in self.numbers:
            return self.numbers[word]
        close = difflib.get_close_matches(word, self.words, 3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise DataError(f"the text that was learned from has no word {word!r}, or too rarely{hint}")
