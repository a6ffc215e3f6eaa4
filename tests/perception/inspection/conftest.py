"""Small networks whose insides are known."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from perception.data.datasets import Tensors
from perception.data.source import DataSource
from perception.inspection.network import Network
from perception.networks.precision import full_precision
from perception.tasks.digits import Digits, DigitsConfig


def wrap(root: nn.Module, shape: tuple[int, int, int], names: list[str]) -> Network:
    return Network(root, shape, names, root.eval().requires_grad_(False), root)


@pytest.fixture
def convolutional() -> Callable[..., Network]:
    """An untrained CNN of two convolutions for images 16×16, the same each time."""

    def make(channels: int = 1, classes: int = 4) -> Network:
        torch.manual_seed(0)
        root = nn.Sequential(
            *(nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
            nn.MaxPool2d(2),
            *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout()),
            nn.Linear(8 * 64, classes),
        )
        return wrap(root, (channels, 16, 16), [f"class {n}" for n in range(classes)])

    return make


class OnePixel(nn.Module):
    """Scores of two classes from a single pixel: for the first, and as much against the second."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column
        self.weight = nn.Parameter(torch.tensor([3.0, -3.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, self.row, self.column, None] * self.weight


@pytest.fixture
def one_pixel() -> Network:
    """Reads the pixel in row 5 and column 9 of images 12×16."""
    return wrap(OnePixel(5, 9), (1, 12, 16), ["bright", "dark"])


@pytest.fixture(scope="session")
def fitted() -> tuple[Network, torch.Tensor, torch.Tensor]:
    """A CNN that was fitted to scikit-learn's digits for some seconds, with 60 test images and labels."""
    torch.manual_seed(0)
    config = DigitsConfig(epochs=6, filters=12, hidden_size=32, dropout=0.0)
    data = Digits.load_data(config, DataSource("digits", {}))
    task = Digits(config, data.metadata)
    for epoch in range(config.epochs):
        batches = list(task.batches(data.train, training=True))
        for step, batch in enumerate(batches, epoch * len(batches)):
            task.train_step(batch, step)
    task.eval().requires_grad_(False)

    def scores(images: torch.Tensor) -> torch.Tensor:
        with full_precision():
            return task(images * 255)

    assert isinstance(data.test, Tensors)
    images, labels = (tensor[:60] for tensor in data.test.tensors)
    return Network(scores, (1, 8, 8), task.classes, task, scores), images.float() / 255, labels
