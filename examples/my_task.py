r"""A photograph from a quarter of its pixels: a network from a place to its colour.

    fathom fit examples/my_task.py:Photograph --name photo
    fathom predict runs/photo 0.5,0.25

Sines and cosines of the place let the network draw edges (Tancik et al. 2020); with `--frequencies 0` it paints
a blur. `--data my.jpg` takes a photograph of your own.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image
from sklearn.neighbors import KNeighborsRegressor
from torch import nn

from perception.data.datasets import Tensors
from perception.tasks.task import DataError, Metric, Task, TaskData

HEIGHT, WIDTH = 120, 160
PLACES = torch.cartesian_prod(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH))


@dataclass(frozen=True)
class PhotographConfig:  # each field is an option
    epochs: int = 8
    batch_size: int = 256
    learning_rate: float = 0.003
    frequencies: int = 64
    """Sines and cosines of the place; 0 gives the network the place itself."""


def psnr(errors: np.ndarray) -> float:
    """Peak signal-to-noise ratio of squared errors, in dB."""
    return round(float(-10 * np.log10(errors.mean())), 2)


class Photograph(Task):
    Config, default_data = PhotographConfig, "china"

    def __init__(self, config, metadata):
        super().__init__(config, metadata)
        self.register_buffer("waves", 5 * torch.randn(2, config.frequencies))
        first, *others = nn.Linear(2 * config.frequencies or 2, 128), nn.ReLU(), nn.Linear(128, 128)
        self.network = nn.Sequential(first, *others, nn.ReLU(), nn.Linear(128, 3), nn.Sigmoid())
        self.optimizers = {"main": torch.optim.Adam(self.parameters(), config.learning_rate)}

    @classmethod
    def load_data(cls, config, source):
        at = source.locate(shipped={"china": "scikit-learn", "flower": "scikit-learn"})
        try:
            if at.kind == "shipped":
                photo = Image.fromarray(load_sample_image(f"{at.value}.jpg"))
            else:
                photo = Image.open(at.path)
            colours = np.asarray(photo.convert("RGB").resize((WIDTH, HEIGHT)), np.float32) / 255
        except OSError as error:
            raise DataError(f"{at.value} is no image: {error}") from error
        known = torch.rand(len(PLACES), generator=torch.Generator().manual_seed(0)) < 0.25
        pixels = torch.from_numpy(colours).reshape(-1, 3)
        train, test = (Tensors(PLACES[part], pixels[part]) for part in (known, ~known))
        x, y, test_x, test_y = (part.numpy() for part in (*train.tensors, *test.tensors))
        neighbours = KNeighborsRegressor(4, weights="distance").fit(x, y)
        baseline = psnr((neighbours.predict(test_x) - test_y) ** 2)
        origin = {"name": source.reference, "found": at.found}
        return TaskData(train, test, {"baseline": baseline}, origin, passes=5)

    def forward(self, places):
        waves = 2 * torch.pi * places @ self.waves
        return self.network(torch.cat([waves.sin(), waves.cos()], 1) if waves.numel() else places)

    def train_step(self, batch, step):
        places, colours = batch
        loss = nn.functional.mse_loss(self(places), colours)
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        return {"loss": loss.detach()}

    def evaluate(self, batches):
        errors = torch.cat([((self(x) - y) ** 2).mean(dim=1) for x, y in batches]).cpu().numpy()
        rows = (
            ["network", psnr(errors)],
            ["4 nearest pixels (scikit-learn)", self.metadata["baseline"]],
        )
        return {"PSNR": Metric(errors, psnr, [["unseen pixels", "PSNR"], *rows])}

    @torch.no_grad()
    def pictures(self, batches):
        painted, figure = self(PLACES.to(self.device)).cpu(), Figure()
        figure.add_subplot().imshow(painted.reshape(HEIGHT, WIDTH, 3).numpy())
        return {"photograph": figure}

    @torch.no_grad()
    def predict(self, inputs):  # each a text such as "0.5,0.25": down, across
        try:
            places = torch.tensor([[float(word) for word in text.split(",")] for text in inputs])
            if not ((places >= 0) & (places <= 1)).all():  # not nan either
                raise ValueError
            colours = (255 * self(places.reshape(len(inputs), 2).to(self.device))).int().tolist()
        except (ValueError, RuntimeError) as error:
            raise DataError("a place is two numbers from 0 to 1, such as 0.5,0.25") from error
        return [dict(zip(("red", "green", "blue"), colour, strict=True)) for colour in colours]
