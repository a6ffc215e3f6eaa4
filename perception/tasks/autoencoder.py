"""Deep autoencoder: images to a few numbers and back (Hinton & Salakhutdinov 2006).

An encoder maps an image to its code, a mirrored decoder maps the code back. Loss and score are the squared error, summed
over the numbers (0…1) of an image; beside it stands PCA with a code of the same size, the best linear autoencoder. Codes
find similar images: precision@10 is the share of the ten nearest other test images that are of the query's class, by code,
by PCA and by pixels.

The encoder is dense layers, or the CNN of an agent that sees images, which can then be the initial encoder of one (`fathom train
--encoder`). A denoising autoencoder (Vincent et al. 2008) gets images some of whose pixels are 0, and learns the whole ones.
Unlike in the paper, all layers are trained together, by Adam on the squared error: with today's activations and
initialisation no layer-wise pre-training is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from perception.data.datasets import Tensors
from perception.data.images import (
    Images,
    ink_box,
    input_name,
    like_training_images,
    shape_of,
)
from perception.data.unlabelled import load_unlabelled
from perception.networks.cnn import CNNS, MirroredCNN
from perception.networks.encoders import IMAGE_SIDE, ImageEncoder
from perception.networks.generative import bytes_of
from perception.tasks.generation import grid
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

NEIGHBOURS = 10
MOST_COMPARED = 2_000
"""Test images that are searched for similar ones, at most."""
_MOST_COVARIANCES = 2_000
"""Numbers of an image up to which PCA is exact; of larger images it is found from so many of them, by random projection."""


@dataclass(frozen=True, config=STRICT)
class AutoencoderConfig:
    """Network and training."""

    network: Literal["dense", "convolutional"] = "dense"
    """Encoder: dense layers only, or an agent's CNN before them, for images of at least 36×36."""
    cnn: Literal["nature", "nips"] = "nips"
    """Convolutions of the convolutional encoder: of Mnih et al. 2015 or 2013."""
    layer_norm: bool = True
    """Convolutional: layer normalisation before the rectifiers of the first dense layer."""
    subtract_mean_image: bool = True
    """Convolutional: subtract the mean training image from the encoder's input."""
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the pixels that are set to 0 in the encoder's input in training."""
    epochs: Epochs = 40
    """Passes over the training images."""
    code_size: PositiveInt = 8
    """Numbers of the code; the paper's is 30, for MNIST."""
    hidden_sizes: tuple[PositiveInt, ...] = (512, 256, 128)
    """Units of the encoder's dense layers, the decoder's in reverse; the paper's are 1000, 500, 250."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
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
    """Images and their codes; a batch is images uint8 (n, channels, height, width) and their classes (n,)."""

    Config = AutoencoderConfig
    default_data = "digits"
    image_shape: tuple[int, int, int]
    mean_image: Tensor
    """(1, channels, height, width) in 0…1, to which the decoder adds."""

    def __init__(self, config: AutoencoderConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.image_shape = shape_of(metadata)
        sizes = [*config.hidden_sizes, config.code_size]
        if config.network == "dense":
            self.eyes: nn.Module = nn.Flatten()
            mirror: nn.Module = nn.Unflatten(1, self.image_shape)
            sizes = [int(np.prod(self.image_shape)), *sizes]
            self.decoder = nn.Sequential(layers(sizes[::-1]), mirror)
        else:
            if not config.hidden_sizes:
                raise ValueError("the convolutional network needs at least one of hidden_sizes")
            self.eyes = ImageEncoder(
                spaces.Box(0, 255, self.image_shape, np.uint8),
                config.hidden_sizes[0],
                config.cnn,
                config.layer_norm,
                config.subtract_mean_image,
            )
            mirror = MirroredCNN(self.image_shape, CNNS[config.cnn])
            self.decoder = nn.Sequential(layers([*sizes[::-1], mirror.features]), mirror)
        self.encoder = layers(sizes)
        self.register_buffer("mean_image", torch.zeros(1, *self.image_shape))
        kinds = nn.Linear, nn.ConvTranspose2d
        *_, last = (part for part in self.decoder.modules() if isinstance(part, kinds))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # learning begins with the mean image
        learning = list(self.parameters())
        self.optimizers = {"main": torch.optim.Adam(learning, config.learning_rate, fused=True)}
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)

    @classmethod
    def load_data(cls, config: AutoencoderConfig, source: DataSource) -> TaskData:
        images = load_unlabelled(source)
        most = min(len(images.train), int(np.prod(images.shape)))
        if config.code_size > most:
            raise DataError(
                f"{len(images.train)} images of {np.prod(images.shape)} numbers have at most {most} "
                f"components, fewer than the code_size {config.code_size}"
            )
        if config.network == "convolutional" and min(images.shape[1:]) < IMAGE_SIDE:
            raise DataError(
                f"the convolutional network needs images of at least {IMAGE_SIDE}×{IMAGE_SIDE}, and those of "
                f"{source.reference} are {images.shape[1]}×{images.shape[2]}"
            )
        metadata = {
            "shape": list(images.shape),
            "images": len(images.train),
            "ink_box": ink_box(images.train),
            "baselines": baselines(images, config.code_size),
        }
        weights = {"mean_image": mean_image(images.train)}
        if config.network == "convolutional" and config.subtract_mean_image:
            weights["eyes.mean_picture"] = weights["mean_image"]
        return TaskData(
            Tensors(images.train, images.train_labels),
            Tensors(images.test, images.test_labels),
            metadata,
            images.origin,
            weights=weights,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, code_size) of images uint8."""
        if self.config.network == "dense":
            images = images.float() / 255
        return self.encoder(self.eyes(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Images (n, channels, height, width) of codes."""
        return self.mean_image + self.decoder(codes)

    def errors(self, images: Tensor, inputs: Tensor) -> Tensor:
        """(n,) squared errors, summed over each of the images uint8, of the reconstructions from other inputs uint8."""
        return (self.decode(self(inputs)) - images / 255).square().flatten(1).sum(dim=1)

    def noisy(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images uint8 with the share `noise` of their pixels set to 0."""
        shape = (len(images), 1, *images.shape[2:])
        if generator is None:
            return images * (torch.rand(shape, device=images.device) >= self.config.noise)
        kept = torch.rand(shape, generator=generator) >= self.config.noise
        return images * kept.to(images.device)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        inputs = self.noisy(batch[0]) if self.config.noise else batch[0]
        loss = self.errors(batch[0], inputs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        generator = torch.Generator().manual_seed(0)
        errors, noisy, codes, labels = [], [], [], []
        for images, classes in batches:
            errors.append(self.errors(images, images))
            if self.config.noise:
                noisy.append(self.errors(images, self.noisy(images, generator)))
            codes.append(self(images))
            labels.append(classes)
        measured = {"squared error": torch.cat(errors).cpu().numpy()}
        name, baselines = f"{self.config.code_size} numbers", self.metadata["baselines"]
        table: list[list[Any]] = [["model", "squared error"], [f"autoencoder, {name}"]]
        table[1].append(_mean(measured["squared error"]))
        table.append([f"PCA, {name}", baselines["PCA"][0]])
        if baselines["pixels"]:
            found = precisions(torch.cat(codes), torch.cat(labels))
            table[0].append(f"precision@{NEIGHBOURS}")
            table[1].append(_mean(found))
            table[2].append(baselines["PCA"][1])
            table.append(["pixels", 0.0, baselines["pixels"]])
            measured[f"precision@{NEIGHBOURS}"] = found
        if noisy:
            measured["squared error of noisy images"] = values = torch.cat(noisy).cpu().numpy()
            row = [f"autoencoder, {self.config.noise:.0%} of the pixels 0", _mean(values), None]
            table.append(row[: len(table[0])])
        return {
            name: Metric(values, table=table if name == "squared error" else ())
            for name, values in measured.items()
        }

    @torch.no_grad()
    def snapshot(self, batches: Iterable[tuple[Tensor, Tensor]]) -> np.ndarray:
        """Rows of test images, of what the encoder gets where there is noise, and of reconstructions."""
        images = next(iter(batches))[0][:16]
        inputs = self.noisy(images, torch.Generator().manual_seed(0))
        again = bytes_of(self.decode(self(inputs)))
        groups = [images, inputs, again] if self.config.noise else [images, again]
        columns = min(8, len(images))
        rows = zip(*(group.split(columns) for group in groups), strict=True)
        shown = [part for row in rows for part in row if len(part) == columns]
        return grid(torch.cat(shown), columns)

    @torch.no_grad()
    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, np.ndarray]:
        """Reconstructions; and in each row a test image, then those with the nearest codes, the nearest first."""
        images = torch.cat([images for images, _ in batches])[:MOST_COMPARED]
        codes = torch.cat([self(part) for part in images.split(500)])
        queries = torch.arange(min(8, len(images)), device=codes.device)
        nearest = _distances(codes)[queries].topk(min(7, len(images) - 1), largest=False).indices
        found = torch.cat([queries[:, None], nearest], dim=1)
        return {
            "reconstructions": self.snapshot([(images, queries)]),
            "similar": grid(images[found.flatten()], found.shape[1]),
        }

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
                inputs, self(batch).tolist(), self.errors(batch, batch).tolist(), strict=True
            )
        ]


def mean_image(images: Tensor) -> Tensor:
    """(1, channels, height, width) in 0…1, of images uint8."""
    total = sum(part.double().sum(dim=0, keepdim=True) for part in images.split(1000))
    return (total / (255 * len(images))).float()  # type: ignore[union-attr]


def baselines(images: Images, components: int) -> dict[str, Any]:
    """Squared error and precision of PCA, fitted to the training images, and the precision of pixels.

    Precisions are None where there are no classes, or too few test images.
    """
    from sklearn.decomposition import PCA

    large = np.prod(images.shape) > _MOST_COVARIANCES
    solver = "randomized" if large else "covariance_eigh"
    train = _rows(
        images.train[:: max(1, len(images.train) // _MOST_COVARIANCES)] if large else images.train
    )
    pca = PCA(min(components, len(train)), svd_solver=solver, random_state=0).fit(train)
    errors, codes = [], []
    for part in images.test.split(500):
        rows = _rows(part)
        codes.append(pca.transform(rows))
        errors.append(((rows - pca.inverse_transform(codes[-1])) ** 2).sum(axis=1))
    result: dict[str, Any] = {"PCA": [_mean(np.concatenate(errors)), None], "pixels": None}
    if len(images.classes) > 1 and len(images.test) > NEIGHBOURS:
        found = precisions(torch.from_numpy(np.concatenate(codes)), images.test_labels)
        result["PCA"][1] = _mean(found)
        pixels = torch.from_numpy(_rows(images.test[:MOST_COMPARED]))
        result["pixels"] = _mean(precisions(pixels, images.test_labels))
    return result


def precisions(codes: Tensor, labels: Tensor) -> np.ndarray:
    """(n,) shares of the ten nearest other images that are of an image's class, among the first `MOST_COMPARED`."""
    codes, labels = codes[:MOST_COMPARED], labels[:MOST_COMPARED]
    nearest = _distances(codes).topk(NEIGHBOURS, largest=False).indices
    return (labels[nearest] == labels[:, None]).float().mean(dim=1).cpu().numpy()


def _distances(codes: Tensor) -> Tensor:
    """(n, n) Euclidean distances, infinite between a code and itself."""
    return torch.cdist(codes.float(), codes.float()).fill_diagonal_(torch.inf)


def _rows(images: Tensor) -> np.ndarray:
    """(n, numbers) in 0…1."""
    return images.flatten(1).numpy() / np.float32(255)


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 4)
