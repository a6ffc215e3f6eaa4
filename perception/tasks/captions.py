"""Captions of images: a CNN, and a GRU that attends to a place of the image before each word.

With `--network attention` every word is chosen by the words before it and what is attended to (Xu et al. 2015, with soft
attention); with `plain` by the words and one vector of the whole image (Vinyals et al. 2015). The loss is the cross-entropy of each
word, the score the share of captions without any mistake. Where data say what is where, so does a metric
how much of the attention is on an object when it is named. Without `--data` the images are scenes with combinations of
colour, object and place in the test that training never had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import input_name, like_training_images, shape_of
from perception.data.scenes import (
    caption_numbers,
    caption_text,
    load_captioned,
    longest_of,
    object_masks,
    pixels,
    vocabulary,
)
from perception.networks.captioner import Captioner, Places
from perception.networks.classifiers import weights_of
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 4


@dataclass(frozen=True, config=STRICT)
class CaptionsConfig:
    """Network and training."""

    network: Literal["attention", "plain"] = "attention"
    """With or without attention."""
    features: Annotated[int, Field(ge=8, le=10_000)] = 64
    """Numbers of each place of the image."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Size of word vectors, state and attention."""
    scenes: Annotated[int, Field(ge=1, le=100_000)] = 3_000
    """Scenes to learn from, where the data are scenes; a sixth as many are the test."""
    epochs: Epochs = 12
    """Passes over the training images."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 64
    """Images per update."""


class Captions(Task):
    """Captions of images; a batch is images uint8 (n, 3, height, width), captions as `caption_numbers` has them, and
    `object_masks`."""

    Config = CaptionsConfig
    default_data = "scenes"

    def __init__(self, config: CaptionsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.words: list[str] = metadata["words"]
        self.longest = longest_of(metadata)
        attention = config.network == "attention"
        _, height, width = shape_of(metadata)
        self.places = Places(height, width, config.features, not attention)
        self.captioner = Captioner(3 + len(self.words), config.features, config.width, attention)
        adam = torch.optim.Adam(self.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    @classmethod
    def load_data(cls, config: CaptionsConfig, source: DataSource) -> TaskData:
        data = load_captioned(source, config.scenes)
        words, longest = vocabulary([row.caption for row in data.train])
        height, width, _ = data.train[0].image.shape
        grid = Places(height, width, config.features, False).grid
        train, test = (
            Tensors(
                pixels([row.image for row in rows]),
                caption_numbers([row.caption for row in rows], words, longest),
                object_masks(rows, longest, grid),
            )
            for rows in (data.train, data.test)
        )
        metadata = {
            "shape": [3, height, width],
            "words": words,
            "longest": longest,
            "images": len(train),
            "baseline": ["nearest training image", *nearest_caption(train, test)],
        }
        return TaskData(train, test, metadata, data.origin)

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        images, captions, _ = batch
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        scores, _ = self.captioner(self.places(images), captions)
        loss = F.cross_entropy(scores.flatten(0, 1), captions.flatten(), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 5)
        optimizer.step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        rows, looks = [], []
        for images, captions, masks in batches:
            places = self.places(images)
            made, _, _ = self.captioner.generate(places, self.longest)
            rows.append(agreement(made.cpu(), captions.cpu()))
            _, weights = self.captioner(places, captions)
            if weights is not None:
                looks.append(looked_at(weights, masks.flatten(2)).cpu().numpy())
        values = np.concatenate(rows)
        exact, overlap = values.mean(axis=0)
        name = f"{self.config.network}, {weights_of(self):,} weights"
        table = [
            ["model", "exact match", "word F1"],
            [name, round(float(exact), 4), round(float(overlap), 4)],
            self.metadata["baseline"],
        ]
        result = {"exact match": Metric(values[:, 0], table=table)}
        result["word F1"] = Metric(values[:, 1])
        if looks and (seen := np.concatenate(looks))[:, 0].any():
            for column, title in enumerate(("attention on the object", "uniform", "IoU"), 1):
                title = "uniform attention" if title == "uniform" else title
                result[title] = Metric(seen[:, [0, column]], _ratio)
        return result

    @torch.no_grad()
    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure]:
        """Test images with their captions, and where each word looks."""
        images = next(iter(batches))[0][:_SHOWN]
        made, _, weights = self.captioner.generate(self.places(images), self.longest)
        texts = [caption_text(row, self.words) for row in made]
        if weights is None:
            return {"captions": attention_picture(images.cpu().numpy(), texts, None)}
        light = weights.flatten(0, 1).view(-1, 1, *self.places.grid)
        light = F.interpolate(light, tuple(images.shape[2:]), mode="bilinear")
        light = light.view(*weights.shape[:2], *images.shape[2:])
        return {"captions": attention_picture(images.cpu().numpy(), texts, light.cpu().numpy())}

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Captions of image files (or Pillow images, or arrays) of any size."""
        shape = shape_of(self.metadata)
        images = [like_training_images(item, shape, None) for item in inputs]
        if not images:
            return []
        places = self.places(torch.stack(images).to(self.device))
        made, logs, _ = self.captioner.generate(places, self.longest)
        return [
            {
                "input": input_name(item),
                "caption": caption_text(row, self.words),
                "probability": round(p, 4),
            }
            for item, row, p in zip(inputs, made, logs.exp().tolist(), strict=True)
        ]


def agreement(made: Tensor, truth: Tensor) -> np.ndarray:
    """(n, 2) whether captions (n, length) of numbers are equal, and the F1 of their words, in whichever order."""
    rows = []
    for one, other in zip(made.tolist(), truth.tolist(), strict=True):
        a, b = (Counter(word for word in words if word and word != 2) for words in (one, other))
        total = a.total() + b.total()
        # A word that is not known, 1, is never right.
        exact = one == other and 1 not in other
        rows.append([exact, 2 * ((a & b).total() - min(a[1], b[1])) / total if total else 0.0])
    return np.array(rows, np.float64)


def looked_at(weights: Tensor, masks: Tensor) -> Tensor:
    """Of each example the number of named objects, and sums over them.

    Args:
        weights: (n, words, places), the attention before each word.
        masks: bool (n, words, places), cells of the object that the word names.

    Returns:
        (n, 4): objects; attention within their cells; share of cells that are theirs, which uniform attention would have
        within; intersection over union of their cells and those with half of the largest attention or more.
    """
    named = masks.any(dim=2)
    strong = weights >= weights.amax(dim=2, keepdim=True) / 2
    union = (strong | masks).sum(dim=2).clamp(min=1)
    columns = (
        *(torch.ones_like(weights[..., 0]), (weights * masks).sum(dim=2)),
        *(masks.float().mean(dim=2), (strong & masks).sum(dim=2) / union),
    )
    return torch.stack([(column * named).sum(dim=1) for column in columns], dim=1)


def _ratio(rows: np.ndarray) -> float:
    return float(rows[:, 1].sum() / max(rows[:, 0].sum(), 1e-9))


def nearest_caption(train: Tensors, test: Tensors) -> list[float]:
    """Exact match and word F1 of the caption of the training image that is most alike, by squared difference of every fourth pixel."""
    images, other = (data.tensors[0][..., ::2, ::2].flatten(1).float() for data in (train, test))
    squares = images.square().sum(dim=1)
    nearest = [(squares - 2 * part @ images.T).argmin(dim=1) for part in other.split(1000)]
    rows = agreement(train.tensors[1][torch.cat(nearest)], test.tensors[1])
    return [round(float(value), 4) for value in rows.mean(axis=0)]


def attention_picture(
    images: np.ndarray, texts: Sequence[str], attention: np.ndarray | None
) -> Figure:
    """Images, each beside itself as lit by the attention before each word of its caption.

    Args:
        images: uint8 (n, 3, height, width).
        texts: captions.
        attention: (n, words, height, width); None: only the images and captions.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    _, _, height, width = images.shape
    words = [text.split() for text in texts]
    columns = 1 if attention is None else 1 + max(len(row) for row in words)
    high = 0.8 * min(4.0, max(0.25, height / width))
    figure = Figure((max(4, 0.62 * columns), high * len(images)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, columns if attention is not None else 5), ylim=(len(images), 0))
    axes.axis("off")
    for i, image in enumerate(np.moveaxis(images, 1, -1)):
        pixels = image / 255
        tiles = [pixels]
        if attention is None:
            axes.text(1.1, i + 0.55, texts[i], fontsize=7, va="center", parse_math=False)
        else:
            for light in attention[i, : len(words[i])]:
                glow = colormaps["inferno"](light / light.max())[..., :3]
                tiles.append(0.35 * pixels + 0.65 * glow)
            for place, word in enumerate(words[i], 1):
                axes.text(place + 0.48, i + 0.1, word, fontsize=6.5, ha="center", parse_math=False)
        for place, tile in enumerate(tiles):
            extent = (place + 0.03, place + 0.97, i + 0.98, i + 0.14)
            axes.imshow(tile.clip(0, 1), extent=extent, aspect="auto", interpolation="nearest")
    return figure
