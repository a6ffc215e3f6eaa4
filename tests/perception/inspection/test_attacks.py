"""Attacks stay within ε, lower the accuracy, and are those of foolbox."""

from collections.abc import Callable

import pytest
import torch

from perception.inspection.attacks import (
    ATTACKS,
    SURE,
    attacked,
    curve_figure,
    examples_figure,
    fgsm,
    iterative_fgsm,
    noise_figure,
    sure_noise,
)
from perception.inspection.network import Network

Fitted = tuple[Network, torch.Tensor, torch.Tensor]


@pytest.mark.parametrize("epsilon", [0.03, 0.2])
def test_attacks_are_those_of_foolbox(fitted: Fitted, epsilon: float) -> None:
    foolbox = pytest.importorskip("foolbox")
    network, images, labels = fitted
    model = foolbox.PyTorchModel(network.root, bounds=(0, 1), preprocessing=None, device="cpu")
    model._model = Scaled(network)
    theirs, _, _ = foolbox.attacks.LinfFastGradientAttack(random_start=False)(
        model, images, labels, epsilons=epsilon
    )
    torch.testing.assert_close(fgsm(network.scores, images, labels, epsilon), theirs)
    attack = foolbox.attacks.LinfBasicIterativeAttack(
        rel_stepsize=0.2, steps=10, random_start=False
    )
    theirs, _, _ = attack(model, images, labels, epsilons=epsilon)
    torch.testing.assert_close(iterative_fgsm(network.scores, images, labels, epsilon), theirs)


class Scaled(torch.nn.Module):
    """The scores as a module, as foolbox takes them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.scores(images)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacked_images_are_near_and_fool(fitted: Fitted, name: str) -> None:
    network, images, labels = fitted
    plain = attacked(network.scores, images, labels, name, 0)
    assert torch.equal(plain.images, images)
    result = attacked(network.scores, images, labels, name, 0.2)
    assert (result.images - images).abs().max() <= 0.2 + 1e-6
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    right = [(one.classes == labels).float().mean() for one in (plain, result)]
    assert right[0] > 0.85
    assert right[1] < right[0] - 0.3


def test_several_steps_fool_more(fitted: Fitted) -> None:
    network, images, labels = fitted
    one, ten = (attacked(network.scores, images, labels, name, 0.15).classes for name in ATTACKS)
    assert (ten == labels).sum() <= (one == labels).sum()


def test_noise_is_found_that_the_network_is_sure_of(
    fitted: Fitted,
) -> None:
    network, images, _ = fitted
    noise, sure = sure_noise(network.scores, (1, 8, 8), 10, 0, torch.device("cpu"))
    assert (sure >= SURE).sum() >= 5, "of some classes this small network is never so sure"
    assert sure.min() > 0.5
    kinds = network.scores(noise).argmax(dim=1)
    assert (kinds == torch.arange(10))[sure >= SURE].all()
    distance = (noise[:, None] - images[None]).abs().mean(dim=(2, 3, 4)).min()
    assert distance > 0.1, "it is no digit"


def test_figures(convolutional: Callable[..., Network]) -> None:
    network = convolutional()
    images, labels = torch.rand(3, 1, 16, 16), torch.tensor([0, 1, 2])
    result = attacked(network.scores, images, labels, "FGSM", 0.1)
    figure = examples_figure(images, [("a", result), ("b", result)], labels, network.names)
    assert sum(bool(axes.images) for axes in figure.axes) == 6
    figure = noise_figure(images, torch.ones(3), network.names)
    assert sum(bool(axes.images) for axes in figure.axes) == 3
    assert len(curve_figure([0, 0.1], {"FGSM": [1.0, 0.5]}, "accuracy", 0.1).axes[0].lines) == 2
