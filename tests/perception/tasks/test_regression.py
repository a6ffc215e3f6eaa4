"""Linear regression by gradient descent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score as sklearn_r2
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from perception.data.source import DataError, DataSource
from perception.tasks.regression import Features, Regression, RegressionConfig, r2_score


def _fit(config: RegressionConfig, reference: str, rounds: int) -> tuple[Regression, Any]:
    """A task after so many full batches, with its data."""
    data = Regression.load_data(config, DataSource(reference))
    torch.manual_seed(0)
    task = Regression(config, data.metadata)
    for step in range(rounds):
        for batch in task.batches(data.train, training=True):
            task.train_step(batch, step)
    return task, data


def test_it_reaches_the_closed_form_on_diabetes_and_its_published_error() -> None:
    task, data = _fit(RegressionConfig(), "diabetes", 1000)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert next(iter(metrics)) == "MSE"
    assert metrics["MSE"].mean == pytest.approx(2900.2, abs=0.05)
    assert metrics["R²"].mean == pytest.approx(0.4526, abs=5e-5)
    # Independently, on scikit-learn's own scaling of the columns, with the same split.
    x, y = load_diabetes(return_X_y=True)
    train, test, targets, truth = train_test_split(x, y, test_size=0.2, random_state=42)
    closed = LinearRegression().fit(train, targets)
    assert metrics["R²"].mean == pytest.approx(closed.score(test, truth), abs=1e-6)
    weights = task.linear.weight[0].detach().numpy() / train.std(axis=0)
    np.testing.assert_allclose(weights, closed.coef_, atol=1e-3)
    table = metrics["MSE"].table
    assert [row[0] for row in table] == [
        "model",
        "gradient descent",
        "closed form (scikit-learn)",
        "mean of the training targets",
    ]
    assert table[1][1:4] == table[2][1:4]
    assert float(table[1][4]) < 1e-4


def test_a_higher_degree_fits_the_training_examples_better_and_the_test_examples_worse() -> None:
    errors = []
    for degree in (1, 3):
        task, data = _fit(RegressionConfig(degree=degree), "diabetes", 300)
        test = task.evaluate(task.batches(data.test, training=False))["MSE"].mean
        errors.append((float(task.training_mse), test))
    (train_1, test_1), (train_3, test_3) = errors
    assert train_3 < 0.7 * train_1
    assert test_3 > 1.3 * test_1


def test_features_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(3, 2, (50, 3)), rng.normal(3, 2, (5, 3))
    features = Features.of(train, 3)
    scaler = StandardScaler().fit(train)
    polynomial = PolynomialFeatures(3, include_bias=False)
    products = polynomial.fit_transform(scaler.transform(train))
    expected = StandardScaler().fit(products)
    for part in (train, test):
        wanted = expected.transform(polynomial.transform(scaler.transform(part)))
        np.testing.assert_allclose(features(part), wanted, atol=1e-9)
    assert features.names(["a", "b", "c"])[:4] == ["a", "b", "c", "a^2"]
    assert "a·b^2" in features.names(["a", "b", "c"])
    with pytest.raises(DataError, match="smaller --degree"):
        Features.of(rng.normal(size=(5, 30)), 6)


def test_r2_is_that_of_scikit_learn_and_0_where_all_targets_are_equal() -> None:
    rng = np.random.default_rng(0)
    predicted, targets = rng.normal(size=(2, 40))
    pairs = np.column_stack([predicted, targets])
    assert r2_score(pairs) == pytest.approx(sklearn_r2(targets, predicted))
    assert r2_score(np.array([[1.0, 2.0], [3.0, 2.0]])) == 0.0


def test_a_table_of_one_s_own_is_learnt_and_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 10, (60, 2))
    path = tmp_path / "own.csv"
    lines = [f"{a},{b},{3 * a - 2 * b + 7}" for a, b in rows]
    path.write_text("\n".join(["a,b,result", *lines]))
    task, data = _fit(RegressionConfig(), str(path), 400)
    assert (len(data.train), len(data.test)) == (48, 12)
    answer = task.predict(["1,2", " 10 , 0 "])
    assert answer[0] == {"input": "1,2", "result": pytest.approx(6, abs=1e-3)}
    assert answer[1]["result"] == pytest.approx(37, abs=1e-3)
    assert list(task.pictures(task.batches(data.test, training=False))) == ["regression"]

    one, data = _fit(RegressionConfig(columns=("b",), degree=2), str(path), 5)
    assert list(one.pictures(one.batches(data.test, training=False))) == ["curve"]
    with pytest.raises(DataError, match="1 numbers with commas between them"):
        one.predict(["1,2"])


def test_small_batches_learn_too(fit: Callable[..., Regression]) -> None:
    config = RegressionConfig(batch_size=32, momentum=0.5, learning_rate=0.01)
    data = Regression.load_data(config, DataSource("diabetes"))
    task = fit(Regression, config, data, 30)
    assert task.evaluate(task.batches(data.test, training=False))["R²"].mean > 0.42
