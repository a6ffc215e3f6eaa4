"""Generative adversarial network: a generator learns to make images that a discriminator takes for real.

The networks are DCGAN's (Radford et al. 2015) without normalisation in the discriminator. The loss is the relativistic
pairing of Huang et al. 2024 ("The GAN is dead; long live the GAN!"): the discriminator judges whether a real image
looks more real than a generated one, which keeps the generator from leaving out kinds of images; the squared
gradients of its judgement at real and at generated images are penalised (R1 and R2, Mescheder et al. 2018), every few
updates (Karras et al. 2020). Images are drawn from an average of the generator's weights. `--conditional` draws
images of a wanted class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from perception.data.datasets import Tensors
from perception.data.images import ink_box, input_name, like_training_images, shape_of
from perception.networks.generative import ImageOfCode, bytes_of, code_of_image
from perception.tasks.generation import (
    class_counts,
    classifier_for,
    comparison,
    distances,
    grid,
    load_images_to_draw,
    nearest_images,
    needed,
    table_of,
)
from perception.tasks.pretrained import rebuilt
from perception.tasks.task import (
    STRICT,
    DataError,
    DataSource,
    Epochs,
    Metric,
    Task,
    TaskData,
    warm_average,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PENALTY_INTERVAL = 4
"""Updates from one penalty of the gradients to the next; it is as many times stronger."""
_NEAREST_AMONG = 10_000
"""Nearest neighbours are looked for among so many training images, at most."""


@dataclass(frozen=True, config=STRICT)
class GANConfig:
    """Networks and training."""

    features: str = ""
    """A fit of digits, objects or semi-supervised, by its folder or name: the distance of generated images from
    real ones is measured in its features. The default data need none."""
    conditional: bool = False
    """Generate images of a class: both networks are told it."""
    code_size: PositiveInt = 64
    """Numbers of the noise that an image is made of."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Filters next to the image; the inner convolutions have twice as many."""
    gradient_penalty: Annotated[float, Field(ge=0)] = 1.0
    """Weight γ of the penalties R1 and R2."""
    epochs: Epochs = 60
    """Passes over the training images."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of both Adams, whose β₁ is 0, at the start; it falls linearly to 0."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay, each update, of the average of the generator's weights."""
    batch_size: PositiveInt = 64
    """Real images, and generated ones, per update."""


class Discriminator(nn.Module):
    """How real images look, (n,); with classes, how real for images of their class (Miyato & Koyama 2018)."""

    def __init__(self, shape: tuple[int, int, int], width: int, classes: int) -> None:
        super().__init__()
        layers = code_of_image(shape, 1, width)
        self.features, self.score = layers[:-1], layers[-1]
        self.classes = classes
        if classes:
            self.of_class = nn.Linear(classes, layers[-1].in_features, bias=False)  # type: ignore[arg-type]
            nn.init.zeros_(self.of_class.weight)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.features(images)
        scores = self.score(features).squeeze(1)
        if self.classes:
            scores = scores + (
                self.of_class(F.one_hot(labels, self.classes).float()) * features
            ).sum(1)
        return scores


class Generator(nn.Module):
    """Images 0…1 (n, *shape) of noise (n, code_size) and, with classes, of labels (n,)."""

    def __init__(self, shape: tuple[int, int, int], config: GANConfig, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.network = ImageOfCode(shape, config.code_size + classes, config.width)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        if self.classes:
            noise = torch.cat([noise, F.one_hot(labels, self.classes).float()], dim=1)
        return self.network(noise).sigmoid()


class GAN(Task):
    """Generated images; a batch is images uint8 (n, channels, height, width) and labels (n,)."""

    Config = GANConfig
    default_data = "digits"
    path_hyperparameters = ("features",)

    def __init__(self, config: GANConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.shape = shape_of(metadata)
        self.classes: list[str] = metadata["classes"]
        conditions = len(self.classes) if config.conditional else 0
        self.generator = Generator(self.shape, config, conditions)
        self.discriminator = Discriminator(self.shape, config.width, conditions)
        self.average = AveragedModel(
            self.generator, multi_avg_fn=warm_average(config.average_decay)
        )
        self.optimizers = {
            name: torch.optim.Adam(
                network.parameters(), config.learning_rate, betas=(0.0, 0.99), fused=True
            )
            for name, network in (
                ("generator", self.generator),
                ("discriminator", self.discriminator),
            )
        }
        self.updates = config.epochs * -(-metadata["images"] // config.batch_size)
        self.comparison = metadata["comparison"]
        self.classifier = rebuilt(self.comparison["classifier"]).requires_grad_(False)

    @classmethod
    def load_data(cls, config: GANConfig, source: DataSource) -> TaskData:
        images = load_images_to_draw(source)
        if config.conditional and len(images.classes) < 2:
            raise DataError(
                f"the images of {source.reference} have no classes: leave --conditional out"
            )
        classifier = classifier_for(config.features, source, images, cls.default_data)
        measured, weights = comparison(needed(classifier, source), images)
        metadata = {
            "shape": list(images.shape),
            "classes": images.classes,
            "images": len(images.train),
            "ink_box": ink_box(images.train),
            "comparison": measured,
        }
        return TaskData(
            Tensors(images.train, images.train_labels),
            Tensors(images.test, images.test_labels),
            metadata,
            images.origin | {"features": config.features or "digits"},
            weights=weights,
        )

    def train(self, mode: bool = True) -> Self:
        """The classifier and the average stay in evaluation mode."""
        super().train(mode)
        self.classifier.eval()
        self.average.eval()
        return self

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        images, labels = batch
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        real = images.float() / 255
        noise = torch.randn(2, len(real), self.config.code_size, device=self.device)

        with torch.no_grad():
            generated = self.generator(noise[0], labels)
        penalised = step % _PENALTY_INTERVAL == 0
        both = torch.cat([real, generated]).requires_grad_(penalised)
        scores = self.discriminator(both, labels.repeat(2))
        of_real, of_generated = scores.chunk(2)
        loss = F.softplus(of_generated - of_real).mean()
        total = loss
        if penalised:
            (gradients,) = torch.autograd.grad(scores.sum(), both, create_graph=True)
            penalty = gradients.square().sum() / len(real)
            total = loss + _PENALTY_INTERVAL * self.config.gradient_penalty / 2 * penalty
        self._update("discriminator", total)

        self.discriminator.requires_grad_(False)
        of_generated = self.discriminator(self.generator(noise[1], labels), labels)
        generator_loss = F.softplus(of_real.detach() - of_generated).mean()
        self._update("generator", generator_loss)
        self.discriminator.requires_grad_(True)
        self.average.update_parameters(self.generator)
        return {"loss": loss.detach(), "generator_loss": generator_loss.detach()}

    def _update(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator, labels: Tensor | None = None
    ) -> Tensor:
        """Images uint8 (count, *shape); of classes in turn if no labels are given."""
        noise = torch.randn(count, self.config.code_size, generator=generator).to(self.device)
        if labels is None:
            labels = torch.arange(count, device=self.device) % len(self.classes)
        parts = zip(noise.split(500), labels.split(500), strict=True)
        return torch.cat([bytes_of(self.average(*part)) for part in parts])

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        tests = torch.cat([images for images, _ in batches])
        values = distances(self.classifier, tests, self.sample)
        table = table_of("gan", values, self.comparison)
        metrics = {"Fréchet distance": Metric(values, table=table)}
        if self.classifier.classes == self.classes:
            samples = self.sample(1000, torch.Generator().manual_seed(0))
            rarest = class_counts(self.classifier, samples).min() / 10
            metrics["rarest class, %"] = Metric(np.array([rarest]))
        return metrics

    @torch.no_grad()
    def snapshot(self, batches: Iterable[tuple[Tensor, Tensor]]) -> np.ndarray:
        """Images of 64 noises, always the same."""
        return grid(self.sample(64, torch.Generator().manual_seed(0)))

    @torch.no_grad()
    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure | np.ndarray]:
        """Generated images, and how often each class is generated, where the classifier knows the classes."""
        samples = self.sample(1000, torch.Generator().manual_seed(0))
        tests = torch.cat([images for images, _ in batches])
        pictures: dict[str, Figure | np.ndarray] = {"samples": grid(samples[:64])}
        if self.classifier.classes == self.classes:
            pictures["classes"] = self._histogram(samples, tests)
        return pictures

    @torch.no_grad()
    def training_pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """Generated images and the training images nearest to them, so that copying would be seen."""
        train, count = [], 0
        for images, _ in batches:
            train.append(images.cpu())
            count += len(images)
            if count >= _NEAREST_AMONG:
                break
        samples = self.sample(8, torch.Generator().manual_seed(0)).cpu()
        return {"nearest": nearest_images(samples, torch.cat(train))}

    def _histogram(self, samples: Tensor, tests: Tensor) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure((6, 3), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(self.classifier.classes))
        for offset, name, images in ((-0.2, "generated", samples), (0.2, "real", tests)):
            counts = class_counts(self.classifier, images)
            axes.bar(places + offset, 100 * counts / counts.sum(), 0.4, label=name)
        axes.set_xticks(places, self.classifier.classes)
        axes.set_ylabel("images taken for the class, %")
        axes.legend(frameon=False)
        return figure

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """How real image files (or Pillow images, or arrays) of any size look to the discriminator."""
        box = self.metadata["ink_box"]
        images = [like_training_images(item, self.shape, box) for item in inputs]
        if not images:
            return []
        batch = torch.stack(images).to(self.device).float() / 255
        labels = torch.arange(len(self.classes), device=self.device)
        scores = [
            self.discriminator(image.expand(len(labels), -1, -1, -1), labels).max()
            for image in batch
        ]
        return [
            {"input": input_name(item), "realness": round(float(score), 4)}
            for item, score in zip(inputs, scores, strict=True)
        ]
