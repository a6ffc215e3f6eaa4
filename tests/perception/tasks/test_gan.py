"""The generative adversarial network: it learns to draw digits, and, told a class, those of the class."""

from collections.abc import Callable

import pytest
import torch

from perception.data.images import load_images
from perception.tasks.gan import GAN, Discriminator, GANConfig
from perception.tasks.task import DataError, DataSource

Train = Callable[..., int]


def test_images_of_a_class_come_nearer_to_real_ones_and_are_of_the_class(train: Train) -> None:
    config = GANConfig(epochs=12, width=12, code_size=16, conditional=True, learning_rate=3e-3)
    data = GAN.load_data(config, DataSource("digits"))
    torch.manual_seed(0)
    task = GAN(config, data.metadata)
    task.load_state_dict(data.weights, strict=False)
    before = task.eval().evaluate(task.batches(data.test, training=False))
    train(task, data, config.epochs)
    after = task.evaluate(task.batches(data.test, training=False))
    assert after["Fréchet distance"].mean < before["Fréchet distance"].mean / 3
    labels = torch.arange(200) % 10
    images = task.sample(200, torch.Generator().manual_seed(1), labels)
    assert (task.classifier(images).argmax(dim=1) == labels).float().mean() > 0.5
    pictures = task.training_pictures(task.batches(data.train, training=False))
    assert pictures["nearest"].axes


def test_the_classifier_and_the_average_do_not_learn(train: Train) -> None:
    config = GANConfig(epochs=1, width=4, code_size=4)
    data = GAN.load_data(config, DataSource("digits"))
    task = GAN(config, data.metadata)
    task.load_state_dict(data.weights, strict=False)
    before = {name: value.clone() for name, value in task.classifier.state_dict().items()}
    train(task, data, 1)
    for name, value in task.classifier.state_dict().items():
        assert torch.equal(value, before[name]), name
    learning = {
        id(p) for one in task.optimizers.values() for g in one.param_groups for p in g["params"]
    }
    assert not learning & {
        id(p) for p in [*task.classifier.parameters(), *task.average.parameters()]
    }


def test_a_discriminator_of_classes_starts_without_a_preference() -> None:
    torch.manual_seed(0)
    network = Discriminator((1, 8, 8), 4, 3)
    images = torch.rand(2, 1, 8, 8)
    one, other = (network(images, torch.tensor(labels)) for labels in ([0, 1], [2, 0]))
    assert torch.equal(one, other)


def test_images_without_classes_cannot_be_conditional(tmp_path: object) -> None:
    from pathlib import Path

    from PIL import Image

    folder = Path(str(tmp_path))
    for number, image in enumerate(load_images(DataSource("digits")).train[:12, 0].numpy()):
        Image.fromarray(image).save(folder / f"{number}.png")
    with pytest.raises(DataError, match="have no classes"):
        GAN.load_data(GANConfig(conditional=True), DataSource(str(folder)))
    with pytest.raises(DataError, match="--features RUN"):
        GAN.load_data(GANConfig(), DataSource(str(folder)))
