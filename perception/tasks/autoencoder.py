"""Deep autoencoder: images to a few numbers and back (Hinton & Salakhutdinov 2006).

An encoder of fully connected layers maps an image to its code, a mirrored decoder maps the code back. Loss
and score are the squared error, summed over the pixels (0…1) of an image; beside it stands PCA with a code
of the same size, the best linear autoencoder. Unlike in the paper, all layers are trained together, by
Adam on the squared error: with today's activations and initialisation no layer-wise pre-training is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from perception.data.datasets import Tensors
from perception.data.images import (
    ink_box,
    input_name,
    like_training_images,
    load_images,
    shape_of,
    show_image,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, config=STRICT)
class AutoencoderConfig:
    """Network and training."""

    epochs: Epochs = 40
    """Passes over the training images."""
    code_size: PositiveInt = 8
    """Numbers of the code; the paper's is 30, for MNIST."""
    hidden_sizes: tuple[PositiveInt, ...] = (512, 256, 128)
    """Units of the encoder's hidden layers, the decoder's in reverse; the paper's are 1000, 500, 250."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of Adam."""
    batch_size: PositiveInt = 64
    """Images per update."""


def layers(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes with GELU (Hendrycks & Gimpel 2016) between, initialised as by He et al. 2015."""
    result: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        linear = nn.Linear(before, after)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        result += [linear, nn.GELU()]
    return nn.Sequential(*result[:-1])


class Autoencoder(Task):
    """Images and their codes; a batch is a tuple of images uint8 (n, channels, height, width)."""

    Config = AutoencoderConfig
    default_data = "digits"
    image_shape: tuple[int, int, int]

    def __init__(self, config: AutoencoderConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.image_shape = shape_of(metadata)
        sizes = [int(np.prod(self.image_shape)), *config.hidden_sizes, config.code_size]
        self.encoder, self.decoder = layers(sizes), layers(sizes[::-1])
        self.optimizers = {
            "main": torch.optim.Adam(self.parameters(), config.learning_rate, fused=True)
        }

    @classmethod
    def load_data(cls, config: AutoencoderConfig, source: DataSource) -> TaskData:
        images = load_images(source)
        most = min(len(images.train), int(np.prod(images.shape)))
        if config.code_size > most:
            raise DataError(
                f"{len(images.train)} images of {np.prod(images.shape)} numbers have at most {most} "
                f"components, fewer than the code_size {config.code_size}"
            )
        metadata = {
            "shape": list(images.shape),
            "ink_box": ink_box(images.train),
            "pca_error": pca_error(images.train, images.test, config.code_size),
        }
        return TaskData(Tensors(images.train), Tensors(images.test), metadata, images.origin)

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, code_size) of images uint8."""
        return self.encoder(images.flatten(1).float() / 255)

    def errors(self, images: Tensor) -> Tensor:
        """(n,) squared errors, summed over each image."""
        return (self.decoder(self(images)) - images.flatten(1) / 255).square().sum(dim=1)

    def train_step(self, batch: tuple[Tensor], step: int) -> dict[str, Tensor]:
        loss = self.errors(batch[0]).mean()
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor]]) -> dict[str, Metric]:
        errors = torch.cat([self.errors(images) for (images,) in batches]).cpu().numpy()
        size = self.config.code_size
        table: list[list[Any]] = [
            ["model", "squared error"],
            [f"autoencoder, {size} numbers", round(float(errors.mean()), 4)],
            [f"PCA, {size} numbers", self.metadata["pca_error"]],
        ]
        return {"squared error": Metric(errors, table=table)}

    @torch.no_grad()
    def pictures(self, batches: Iterable[tuple[Tensor]]) -> dict[str, Figure]:
        """Test images above their reconstructions."""
        from matplotlib.figure import Figure

        images = torch.cat([images for (images,) in batches])[:12]
        results = self.decoder(self(images)).clamp(0, 1).view(len(images), *self.image_shape)
        figure = Figure((9, 1.8), layout="constrained")
        rows = figure.subplots(2, len(images), squeeze=False)
        for row, group in zip(rows, (images / 255, results), strict=True):
            for axes, image in zip(row, group.cpu(), strict=True):
                show_image(axes, image)
        return {"reconstructions": figure}

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Codes of image files (or Pillow images, or arrays) of any size, with their squared errors."""
        box = self.metadata["ink_box"]
        images = [like_training_images(item, self.image_shape, box) for item in inputs]
        if not images:
            return []
        batch = torch.stack(images).to(self.device)
        return [
            {
                "input": input_name(item),
                "code": [round(number, 4) for number in code],
                "squared_error": round(error, 4),
            }
            for item, code, error in zip(
                inputs, self(batch).tolist(), self.errors(batch).tolist(), strict=True
            )
        ]


def pca_error(train: Tensor, test: Tensor, components: int) -> float:
    """Mean squared error per test image of scikit-learn's PCA fitted to the training images."""
    from sklearn.decomposition import PCA

    rows, test_rows = (images.flatten(1).numpy() / np.float32(255) for images in (train, test))
    pca = PCA(components, svd_solver="covariance_eigh").fit(rows)
    residuals = test_rows - pca.inverse_transform(pca.transform(test_rows))
    return round(float((residuals**2).sum(axis=1).mean()), 4)
