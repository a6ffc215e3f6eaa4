"""Linear regression by gradient descent, on polynomials of the inputs.

The model is y = w·φ(x) + b, where φ are the standardised products of inputs up to a degree. The loss is the
squared error; all examples make one update, so this is gradient descent in the strict sense, with momentum
(Polyak 1964). At degree 1 it reaches the closed-form solution; at higher degrees over-fitting can be seen: the
training error falls and the test error grows. Without `--data` it learns scikit-learn's diabetes data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import comb
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.tables import load_numbers, numbers_of
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FEATURES = 5_000


@dataclass(frozen=True, config=STRICT)
class RegressionConfig:
    """Model and training."""

    degree: Annotated[int, Field(ge=1, le=20)] = 1
    """Degree of the polynomials; 1 is linear regression."""
    columns: tuple[str, ...] = ()
    """Input columns; all if none are named."""
    epochs: Epochs = 20
    """Rounds of `passes` passes over the training examples, with an evaluation after each."""
    passes: Epochs = 100
    """Passes over the training examples in an epoch."""
    batch_size: PositiveInt = 100_000
    """Examples per update; with fewer than there are it is stochastic gradient descent."""
    learning_rate: PositiveFloat = 0.03
    """Learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Share of the update before that each update repeats (Polyak 1964)."""
    split_seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 42
    """Decides which fifth of the rows is the test, where the data do not say."""


class Regression(Task):
    """A polynomial; a batch is standardised features (n, features) and targets (n,), in float64."""

    Config = RegressionConfig
    default_data = "diabetes"
    training_mse: Tensor
    """Squared error of the last training batch: of all training examples, if they are one batch."""

    def __init__(self, config: RegressionConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.features = Features(**metadata["features"])
        self.register_buffer("training_mse", torch.zeros((), dtype=torch.float64))
        self.linear = nn.Linear(len(self.features.powers), 1, dtype=torch.float64)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        sgd = torch.optim.SGD(self.parameters(), config.learning_rate, momentum=config.momentum)
        self.optimizers = {"main": sgd}

    @classmethod
    def load_data(cls, config: RegressionConfig, source: DataSource) -> TaskData:
        from sklearn.linear_model import LinearRegression

        data = load_numbers(source, config.columns, config.split_seed)
        features = Features.of(data.train, config.degree)
        train, test = features(data.train), features(data.test)
        closed = LinearRegression().fit(train, data.train_targets)
        errors = [
            float(np.square(closed.predict(x) - y).mean())
            for x, y in ((train, data.train_targets), (test, data.test_targets))
        ]
        metadata = {
            "columns": data.columns,
            "target": data.target,
            "features": {name: value.tolist() for name, value in vars(features).items()},
            "mean_target": float(data.train_targets.mean()),
            "closed_form": {
                "weights": closed.coef_.tolist(),
                "bias": float(closed.intercept_),
                "mse": errors,
            },
            # What a curve is drawn through, where there is one input.
            "points": np.column_stack([data.train, data.train_targets])[:500].tolist()
            if len(data.columns) == 1
            else [],
        }
        return TaskData(
            Tensors(torch.from_numpy(train), torch.tensor(data.train_targets)),
            Tensors(torch.from_numpy(test), torch.tensor(data.test_targets)),
            metadata,
            data.origin,
            passes=config.passes,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Predictions (n,)."""
        return self.linear(features).squeeze(1)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.optimizers["main"].zero_grad()
        loss.backward()
        self.optimizers["main"].step()
        self.training_mse.copy_(loss.detach())
        return {"loss": loss.detach()}

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        predicted, targets = self._test(batches)
        closed = self.metadata["closed_form"]
        spread = float(targets.var())
        off = float(np.abs(self.linear.weight[0].detach().cpu().numpy() - closed["weights"]).max())
        mean = self.metadata["mean_target"]
        table: list[list[Any]] = [["model", "training MSE", "test MSE", "R²", "weights off by"]]
        for name, training, test, distance in (
            ("gradient descent", float(self.training_mse), _mse(predicted, targets), f"{off:.1e}"),
            ("closed form (scikit-learn)", *closed["mse"], ""),
            ("mean of the training targets", "", _mse(mean, targets), ""),
        ):
            r2 = round(1 - test / spread, 4) if spread else 0.0
            training = training if training == "" else round(training, 1)
            table.append([name, training, round(test, 1), r2, distance])
        return {
            "MSE": Metric(np.square(predicted - targets), table=table),
            "R²": Metric(np.column_stack([predicted, targets]), r2_score),
        }

    @torch.no_grad()
    def _test(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and targets of test batches."""
        rows = [torch.stack([self(x), y]).cpu() for x, y in batches]
        predicted, targets = torch.cat(rows, dim=1).numpy()
        return predicted, targets

    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """Predictions against targets and the weights; where there is one input, the curve."""
        from matplotlib.figure import Figure

        if self.metadata["points"]:
            return {"curve": self._curve()}
        predicted, targets = self._test(batches)
        figure = Figure((10, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        ends = [min(predicted.min(), targets.min()), max(predicted.max(), targets.max())]
        left.plot(ends, ends, color="gray", linewidth=1)
        left.scatter(targets, predicted, s=14, alpha=0.7)
        left.set(xlabel=self.metadata["target"], ylabel="predicted", title="test examples")
        weights = self.linear.weight[0].detach().cpu().numpy()
        closed = np.array(self.metadata["closed_form"]["weights"])
        largest = np.argsort(-np.abs(weights), kind="stable")[:20][::-1]
        names = self.features.names(self.metadata["columns"])
        right.barh(range(len(largest)), weights[largest], label="gradient descent")
        if self.config.degree == 1:
            places = range(len(largest))
            right.scatter(closed[largest], places, c="black", s=18, zorder=3, label="closed form")
            right.legend()
        right.set_yticks(range(len(largest)), [names[number] for number in largest])
        right.axvline(0, color="black", linewidth=0.8)
        right.set(title="weights of standardised features")
        return {"regression": figure}

    @torch.no_grad()
    def _curve(self) -> Figure:
        """The polynomial in one input, with the training examples and the closed form."""
        from matplotlib.figure import Figure

        x, y = np.array(self.metadata["points"]).T
        line = np.linspace(x.min(), x.max(), 400)
        features = self.features(line[:, None])
        closed = self.metadata["closed_form"]
        figure = Figure((7, 4.5), layout="constrained")
        axes = figure.subplots()
        axes.scatter(x, y, s=12, alpha=0.4, color="gray", label="training examples")
        exact = features @ np.array(closed["weights"]) + closed["bias"]
        axes.plot(line, exact, "--", color="crimson", label="closed form")
        ours = self(torch.from_numpy(features).to(self.device)).cpu()
        axes.plot(line, ours, color="tab:blue", linewidth=2, label="gradient descent")
        margin = 0.1 * (y.max() - y.min())
        axes.set_ylim(y.min() - margin, y.max() + margin)
        axes.set(xlabel=self.metadata["columns"][0], ylabel=self.metadata["target"])
        axes.set_title(f"polynomial of degree {self.config.degree}")
        axes.legend()
        return figure

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Predictions for rows, each a text of numbers such as "59,2,32.1"."""
        rows = [numbers_of(text, self.metadata["columns"]) for text in inputs]
        if not rows:
            return []
        features = torch.from_numpy(self.features(np.array(rows))).to(self.device)
        target = self.metadata["target"]
        return [
            {"input": text, target: value}
            for text, value in zip(inputs, self(features).tolist(), strict=True)
        ]


class Features:
    """Standardised products of standardised inputs.

    Args:
        powers: (features, columns) exponents of the inputs in each feature.
        input_mean, input_std: (columns,) of the training inputs.
        mean, std: (features,) of their products.
    """

    def __init__(self, powers: Any, input_mean: Any, input_std: Any, mean: Any, std: Any) -> None:
        self.powers = np.asarray(powers)
        self.input_mean, self.input_std = np.asarray(input_mean), np.asarray(input_std)
        self.mean, self.std = np.asarray(mean), np.asarray(std)

    @classmethod
    def of(cls, inputs: np.ndarray, degree: int) -> Features:
        """For training inputs (n, columns), all products up to a degree but the constant.

        Raises:
            DataError: there are too many.
        """
        from sklearn.preprocessing import PolynomialFeatures

        columns = inputs.shape[1]
        count = comb(columns + degree, degree) - 1
        if count > _MOST_FEATURES:
            raise DataError(
                f"polynomials of degree {degree} in {columns} columns have {count:,} terms, more than"
                f" {_MOST_FEATURES:,}: choose a smaller --degree or fewer --columns"
            )
        polynomial = PolynomialFeatures(degree, include_bias=False).fit(inputs)
        powers = polynomial.powers_
        plain = cls(powers, inputs.mean(axis=0), inputs.std(axis=0), 0.0, 1.0)
        products = plain(inputs)
        std = products.std(axis=0)
        std[std < 1e-9] = 1.0  # of the square of a column with two values
        return cls(powers, plain.input_mean, plain.input_std, products.mean(axis=0), std)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Features (n, features) of inputs (n, columns)."""
        x = (inputs - self.input_mean) / self.input_std
        products = np.column_stack([(x**power).prod(axis=1) for power in self.powers])
        return (products - self.mean) / self.std

    def names(self, columns: Sequence[str]) -> list[str]:
        """Names such as "bmi²" and "age·bmi"."""
        return [
            "·".join(
                name + (f"^{power}" if power > 1 else "")
                for name, power in zip(columns, row, strict=True)
                if power
            )
            for row in self.powers
        ]


def _mse(predicted: Any, targets: np.ndarray) -> float:
    return float(np.square(predicted - targets).mean())


def r2_score(pairs: np.ndarray) -> float:
    """The coefficient of determination of predictions and targets (n, 2); 0 where all targets are equal."""
    predicted, targets = pairs.T
    spread = np.square(targets - targets.mean()).sum()
    return float(1 - np.square(predicted - targets).sum() / spread) if spread else 0.0
