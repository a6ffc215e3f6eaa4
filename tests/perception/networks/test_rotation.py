"""Networks that are equivariant to rotations by 90°."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.rotation import P4Convolution, P4Lifting, pool_rotations, turn


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("size", [(6, 6), (5, 8)])
def test_features_turn_with_the_image(times: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size, dtype=torch.double)
    lifting, convolution = P4Lifting(3, 4).double(), P4Convolution(4, 5, 4, 2).double()
    nn.init.normal_(lifting.bias)
    nn.init.normal_(convolution.bias)
    turned = images.rot90(times, (-2, -1))
    features = lifting(images)
    assert features.shape == (2, 4, 4, *size)
    assert close(lifting(turned), turn(features, times))
    second = convolution(features)
    assert second.shape == (2, 5, 4, size[0] + 1, size[1] + 1)
    assert close(convolution(turn(features, times)), turn(second, times))
    assert not close(convolution(features.rot90(times, (-2, -1))), turn(second, times))
    pooled = pool_rotations(second)
    assert close(pool_rotations(convolution(lifting(turned))), pooled.rot90(times, (-2, -1)))


def test_the_first_plane_is_a_usual_convolution() -> None:
    images = torch.randn(2, 3, 6, 6, dtype=torch.double)
    lifting = P4Lifting(3, 4).double()
    assert close(lifting(images)[:, :, 0], F.conv2d(images, lifting.weight, padding=1))


def test_a_network_gives_the_same_scores_for_turned_images_and_learns() -> None:
    network = nn.Sequential(
        *(P4Lifting(1, 4), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d((1, 2, 2))),
        *(P4Convolution(4, 6), nn.BatchNorm3d(6), nn.ReLU()),
    ).double()
    images = torch.randn(8, 1, 8, 8, dtype=torch.double)

    def scores(of: torch.Tensor) -> torch.Tensor:
        return pool_rotations(network(of)).mean(dim=(-2, -1))

    scores(images).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
    network.eval()
    assert not close(scores(images), scores(images.flip(-1))), "mirrored images are others"
    for times in range(4):
        assert close(scores(images.rot90(times, (-2, -1))), scores(images))
