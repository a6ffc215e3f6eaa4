"""Images drawn pixel by pixel: PixelCNN and PixelRNN with row LSTMs (van den Oord et al. 2016).

The network gives the probability that a pixel is white, from all pixels before it, so that the likelihood of an image is a
product, and exact. Unlike in the paper each place of the image has a bias of its own, and PixelCNN's convolutions are
dilated. Images are made black and white: a pixel is white with its grey level as the probability, drawn anew for every
update, and once, always the same, for the test images. The score is the mean negative log-likelihood (NLL) of a test
image in nats; smaller is better. Beside it stand pixels that know nothing of each other, and a mixture of such images
around scikit-learn's k-means clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import Images, ink_box, input_name, like_training_images, shape_of
from perception.data.unlabelled import load_unlabelled
from perception.networks.classifiers import weights_of
from perception.networks.generative import bytes_of
from perception.networks.pixels import draw_pixels, pixel_network
from perception.tasks.generation import grid
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

_CLUSTERS = 100
_CLUSTERED_IMAGES = 10_000


@dataclass(frozen=True, config=STRICT)
class PixelsConfig:
    """Network and training."""

    network: Literal["pixelcnn", "row-lstm"] = "pixelcnn"
    """Convolutions, or LSTMs that go down the rows."""
    depth: Annotated[int, Field(ge=1, le=1000)] = 4
    """Residual blocks, or layers of the row LSTM."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Inner channels; twice as many between the blocks."""
    epochs: Epochs = 40
    """Passes over the training images."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 64
    """Images per update."""


class Pixels(Task):
    """Probabilities of pixels; a batch is a tuple of images uint8 (n, 1, height, width)."""

    Config = PixelsConfig
    default_data = "digits"

    def __init__(self, config: PixelsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.shape = shape_of(metadata)
        self.network = pixel_network(
            config.network, (self.shape[1], self.shape[2]), config.depth, config.width
        )
        self.optimizers = {
            "main": torch.optim.Adam(self.parameters(), config.learning_rate, fused=True)
        }
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    @classmethod
    def load_data(cls, config: PixelsConfig, source: DataSource) -> TaskData:
        images = load_unlabelled(source)
        if images.shape[0] != 1:
            raise DataError(
                f"the images of {source.reference} have {images.shape[0]} channels; pixels draws grey ones"
            )
        metadata = {
            "shape": list(images.shape),
            "images": len(images.train),
            "ink_box": ink_box(images.train),
            "baselines": baselines(images),
        }
        origin = images.origin | {"binarised": "white with the grey level as probability, seed 0"}
        return TaskData(Tensors(images.train), Tensors(drawn(images.test, 0)), metadata, origin)

    def losses(self, images: Tensor) -> Tensor:
        """(n,) negative log-likelihoods in nats of images (n, 1, height, width) of 0 and 1."""
        logits = self.network(images - 0.5)
        losses = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
        return losses.flatten(1).sum(dim=1)

    def train_step(self, batch: tuple[Tensor], step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        loss = self.losses(torch.bernoulli(batch[0].float() / 255)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor]]) -> dict[str, Metric]:
        losses = torch.cat([self.losses(images.float() / 255) for (images,) in batches])
        values = losses.double().cpu().numpy()
        name = f"{self.config.network}, {weights_of(self.network):,} weights"
        table: list[list[Any]] = [["model", "NLL"], [name, round(float(values.mean()), 2)]]
        return {"NLL": Metric(values, table=[*table, *self.metadata["baselines"]])}

    def draw(self, images: Tensor, first: int) -> Tensor:
        """Images uint8 whose rows from the first on are drawn, always with the same random numbers."""

        def network(images: Tensor) -> Tensor:
            return self.network(images - 0.5)

        generator = torch.Generator().manual_seed(0)
        return bytes_of(draw_pixels(network, images.float() / 255, first, generator))

    def snapshot(self, batches: Iterable[tuple[Tensor]]) -> np.ndarray:
        """Sixteen drawn images."""
        return grid(self.draw(torch.zeros(16, *self.shape, device=self.device), 0))

    def pictures(self, batches: Iterable[tuple[Tensor]]) -> dict[str, np.ndarray]:
        """Drawn images; and test images, their upper halves, and these completed."""
        images = next(iter(batches))[0][:8]
        half = self.shape[1] // 2
        upper = images.clone()
        upper[:, :, half:] = 0
        rows = [images, upper, self.draw(images, half)]
        return {
            "samples": self.snapshot(batches),
            "completions": grid(torch.cat(rows), len(images)),
        }

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Negative log-likelihoods of image files (or Pillow images, or arrays) of any size, made black and white."""
        box = self.metadata["ink_box"]
        images = [like_training_images(item, self.shape, box) for item in inputs]
        if not images:
            return []
        losses = self.losses((torch.stack(images).to(self.device) > 127).float())
        return [
            {"input": input_name(item), "nll": round(loss, 2)}
            for item, loss in zip(inputs, losses.tolist(), strict=True)
        ]


def drawn(images: Tensor, seed: int) -> Tensor:
    """Grey images uint8 as black (0) and white (255), white with the grey level as the probability."""
    generator = torch.Generator().manual_seed(seed)
    return torch.bernoulli(images.float() / 255, generator=generator).byte() * 255


def baselines(images: Images) -> list[list[Any]]:
    """Names and NLL of independent pixels, and of a mixture of them for k-means clusters."""
    from sklearn.cluster import MiniBatchKMeans

    train = (drawn(images.train[:_CLUSTERED_IMAGES], 1).flatten(1).numpy() > 0).astype(np.float32)
    test = images.test.flatten(1)
    whites = (drawn(test, 0).numpy() > 0).astype(np.float64)
    result = []
    for count in (1, min(_CLUSTERS, len(train) // 10)):
        model = MiniBatchKMeans(count, random_state=0, n_init=1).fit(train)
        sizes = np.bincount(model.labels_, minlength=count)
        sums = np.zeros((count, train.shape[1]))
        np.add.at(sums, model.labels_, train)
        white = (sums + train.mean(axis=0) + 0.01) / (
            sizes[:, None] + 1.02
        )  # as if by one image more
        share = np.log((sizes + 1) / (sizes.sum() + count))
        scores = share + whites @ np.log(white).T + (1 - whites) @ np.log1p(-white).T
        most = scores.max(axis=1, keepdims=True)
        losses = -(most[:, 0] + np.log(np.exp(scores - most).sum(axis=1)))
        name = "independent pixels" if count == 1 else f"{count} clusters of independent pixels"
        result.append([name, round(float(losses.mean()), 2)])
    return result
