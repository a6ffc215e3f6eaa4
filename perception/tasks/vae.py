"""Variational autoencoder: a code with a known distribution, from which images are drawn (Kingma & Welling 2013).

The encoder gives a normal distribution of codes for an image, the decoder a probability for each pixel. The score is
the evidence lower bound (ELBO) in nats per image: the expected log-likelihood of the pixels less the divergence of the
codes from a standard normal distribution. A grey level counts as the probability that a pixel is white, so that the
bound is one on the log-likelihood of images whose pixels are drawn black or white, anew each time, as in Burda et al. 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import ink_box, input_name, like_training_images, shape_of
from perception.networks.generative import ImageOfCode, bytes_of, code_of_image
from perception.tasks.generation import (
    classifier_for,
    comparison,
    distances,
    grid,
    load_images_to_draw,
    table_of,
)
from perception.tasks.pretrained import rebuilt
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData


@dataclass(frozen=True, config=STRICT)
class VAEConfig:
    """Network and training."""

    features: str = ""
    """A fit of digits, objects or semi-supervised, by its folder or name: the distance of generated images from
    real ones is measured in its features. Without one it is measured for the default data only."""
    code_size: PositiveInt = 20
    """Numbers of the code."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Filters next to the image; the inner convolutions have twice as many."""
    epochs: Epochs = 60
    """Passes over the training images."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 64
    """Images per update."""


class VAE(Task):
    """Images and distributions of their codes; a batch is a tuple of images uint8 (n, channels, height, width)."""

    Config = VAEConfig
    default_data = "digits"
    path_hyperparameters = ("features",)

    def __init__(self, config: VAEConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.shape = shape_of(metadata)
        self.encoder = code_of_image(self.shape, 2 * config.code_size, config.width)
        self.decoder = ImageOfCode(self.shape, config.code_size, config.width)
        learning = list(self.parameters())
        self.optimizers = {"main": torch.optim.Adam(learning, config.learning_rate, fused=True)}
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)
        self.comparison = metadata["comparison"]
        if self.comparison:
            self.classifier = rebuilt(self.comparison["classifier"]).requires_grad_(False)

    @classmethod
    def load_data(cls, config: VAEConfig, source: DataSource) -> TaskData:
        images = load_images_to_draw(source)
        classifier = classifier_for(config.features, source, images, cls.default_data)
        measured, weights = comparison(classifier, images) if classifier else ({}, {})
        metadata = {
            "shape": list(images.shape),
            "images": len(images.train),
            "ink_box": ink_box(images.train),
            "comparison": measured,
        }
        origin = images.origin | ({"features": config.features or "digits"} if classifier else {})
        return TaskData(
            Tensors(images.train), Tensors(images.test), metadata, origin, weights=weights
        )

    def train(self, mode: bool = True) -> Self:
        """The classifier stays in evaluation mode."""
        super().train(mode)
        if self.comparison:
            self.classifier.eval()
        return self

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances (n, code_size) of the codes of images uint8."""
        means, log_variances = self.encoder(images.float() / 255 - 0.5).chunk(2, dim=1)
        return means, log_variances.clamp(-10, 10)

    def bounds(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) log-likelihoods of the pixels and divergences of the codes, in nats; their difference is the ELBO."""
        means, log_variances = self.encode(images)
        logits = self.decoder(means + noise * (log_variances / 2).exp())
        pixels = F.binary_cross_entropy_with_logits(logits, images / 255, reduction="none")
        divergences = (means.square() + log_variances.exp() - 1 - log_variances).sum(dim=1) / 2
        return -pixels.flatten(1).sum(dim=1), divergences

    def train_step(self, batch: tuple[Tensor], step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        noise = torch.randn(len(batch[0]), self.config.code_size, device=self.device)
        likelihoods, divergences = self.bounds(batch[0], noise)
        loss = (divergences - likelihoods).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "divergence": divergences.detach().mean()}

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Images uint8 (count, *shape) of codes drawn from the standard normal distribution."""
        codes = torch.randn(count, self.config.code_size, generator=generator).to(self.device)
        return torch.cat([bytes_of(self.decoder(part).sigmoid()) for part in codes.split(500)])

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor]]) -> dict[str, Metric]:
        generator = torch.Generator().manual_seed(0)
        rows, tests = [], []
        for (images,) in batches:
            noise = torch.randn(len(images), self.config.code_size, generator=generator)
            rows.append(torch.stack(self.bounds(images, noise.to(self.device)), dim=1).cpu())
            tests.append(images.cpu())
        likelihoods, divergences = torch.cat(rows).double().numpy().T
        bound = likelihoods - divergences
        head: list[Any] = ["model", "ELBO", "divergence"]
        ours: list[Any] = [f"vae, {self.config.code_size} numbers"]
        ours += [round(float(bound.mean()), 2), round(float(divergences.mean()), 2)]
        table = [head, ours]
        metrics = {"ELBO": Metric(bound, table=table), "divergence": Metric(divergences)}
        if self.comparison:
            values = distances(self.classifier, torch.cat(tests), self.sample)
            metrics["Fréchet distance"] = Metric(values)
            (_, distance), (_, ours_there), *others = table_of("vae", values, self.comparison)
            head.append(distance)
            ours.append(ours_there)
            table += [[name, None, None, value] for name, value in others]
        return metrics

    @torch.no_grad()
    def snapshot(self, batches: Iterable[tuple[Tensor]]) -> np.ndarray:
        """Images of 64 codes, always the same."""
        return grid(self.sample(64, torch.Generator().manual_seed(0)))

    @torch.no_grad()
    def pictures(self, batches: Iterable[tuple[Tensor]]) -> dict[str, np.ndarray]:
        """Drawn images; reconstructions of test images; and the way from one test image to another, in equal steps."""
        images = next(iter(batches))[0][:16]
        means, _ = self.encode(images)
        again = bytes_of(self.decoder(means).sigmoid())
        pairs = [
            part for both in zip(images.split(8), again.split(8), strict=True) for part in both
        ]
        steps = torch.linspace(0, 1, 8, device=self.device)[:, None]
        count = len(images) // 2
        ways = [torch.lerp(means[n], means[n + count], steps) for n in range(count)]
        pictures = {
            "samples": self.snapshot(batches),
            "reconstructions": grid(torch.cat(pairs), min(8, len(images))),
        }
        if ways:
            between = bytes_of(self.decoder(torch.cat(ways)).sigmoid())
            pictures["interpolation"] = grid(between)
        return pictures

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Mean codes of image files (or Pillow images, or arrays) of any size, with the bound at that code."""
        box = self.metadata["ink_box"]
        images = [like_training_images(item, self.shape, box) for item in inputs]
        if not images:
            return []
        batch = torch.stack(images).to(self.device)
        noise = torch.zeros(len(batch), self.config.code_size, device=self.device)
        likelihoods, divergences = self.bounds(batch, noise)
        return [
            {
                "input": input_name(item),
                "code": [round(number, 4) for number in code],
                "elbo": round(bound, 2),
            }
            for item, code, bound in zip(
                inputs,
                self.encode(batch)[0].tolist(),
                (likelihoods - divergences).tolist(),
                strict=True,
            )
        ]
