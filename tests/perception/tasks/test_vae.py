"""The variational autoencoder: its bound, and that it learns to draw digits."""

from collections.abc import Callable

import torch

from perception.tasks.task import DataSource
from perception.tasks.vae import VAE, VAEConfig


def test_a_few_passes_raise_the_bound_and_bring_samples_nearer(train: Callable[..., int]) -> None:
    config = VAEConfig(epochs=10, width=8, code_size=8, learning_rate=4e-3)
    data = VAE.load_data(config, DataSource("digits"))
    torch.manual_seed(0)
    task = VAE(config, data.metadata)
    task.load_state_dict(data.weights, strict=False)

    def measured() -> tuple[float, float]:
        metrics = task.eval().evaluate(task.batches(data.test, training=False))
        return metrics["ELBO"].mean, metrics["Fréchet distance"].mean

    (bound, distance), first = measured(), task.snapshot([])
    train(task, data, config.epochs)
    (later_bound, later_distance), last = measured(), task.snapshot([])
    assert later_bound > bound + 8
    assert later_distance < distance * 0.8
    assert first.shape == last.shape
    assert (first != last).any()
    assert (task.snapshot([]) == last).all(), "the codes are always the same"


def test_the_bound_is_the_likelihood_less_the_divergence_worked_out_by_hand() -> None:
    config = VAEConfig(code_size=2, width=4)
    metadata = {"shape": [1, 8, 8], "images": 10, "ink_box": None, "comparison": {}}
    task = VAE(config, metadata).eval()
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        means, log_variances = task.encode(images)
        likelihoods, divergences = task.bounds(images, torch.zeros(3, 2))
        p = task.decoder(means).sigmoid().double()
        x = images.double() / 255
        by_hand = (x * p.log() + (1 - x) * (1 - p).log()).sum(dim=(1, 2, 3))
        codes = torch.distributions.Normal(means, (log_variances / 2).exp())
        prior = torch.distributions.Normal(0.0, 1.0)
        expected = torch.distributions.kl_divergence(codes, prior).sum(1)
    assert torch.allclose(likelihoods.double(), by_hand, rtol=1e-4)
    assert torch.allclose(divergences, expected, atol=1e-5)


def test_all_rows_of_the_tables_have_as_many_cells() -> None:
    config = VAEConfig(epochs=1, width=4, code_size=2)
    data = VAE.load_data(config, DataSource("digits"))
    task = VAE(config, data.metadata).eval()
    metrics = task.evaluate(task.batches(data.test, training=False))
    rows = [row for metric in metrics.values() for row in metric.table]
    assert {len(row) for row in rows} == {4}


def test_one_test_image_has_no_way_to_another() -> None:
    config = VAEConfig(code_size=2, width=4)
    metadata = {"shape": [1, 8, 8], "images": 10, "ink_box": None, "comparison": {}}
    task = VAE(config, metadata).eval()
    for count in (1, 6):
        images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
        assert ("interpolation" in task.pictures([(images,)])) == (count > 1)
