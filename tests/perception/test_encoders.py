import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from perception.cnn import CNN, CNNS
from perception.encoders import ImageEncoder, VectorEncoder, encoder


@pytest.mark.parametrize("shape", [(4, 84, 84), (3, 64, 96), (84, 84, 3), (48, 48)])
def test_an_image_gets_the_nature_cnn(shape: tuple[int, ...]) -> None:
    space = gym.spaces.Box(0, 255, shape, np.uint8)
    network = encoder(space, 32)
    assert isinstance(network, ImageEncoder)
    batch = torch.from_numpy(np.stack([space.sample(), space.sample()]))
    assert network(batch).shape == (2, 32)


def test_the_nature_cnn_has_the_papers_size() -> None:
    network = encoder(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 512)
    assert sum(p.numel() for p in network.parameters()) == 1_684_128


def test_a_vector_gets_an_mlp() -> None:
    network = encoder(gym.spaces.Box(-1, 1, (2, 3)), 16)
    assert isinstance(network, VectorEncoder)
    assert network(torch.zeros(5, 2, 3)).shape == (5, 16)


def test_a_space_that_no_encoder_fits_is_named() -> None:
    with pytest.raises(ValueError, match="Graph"):
        encoder(gym.spaces.Graph(gym.spaces.Box(0, 1, (1,)), None), 16)


@pytest.mark.parametrize("name", CNNS)
@pytest.mark.parametrize("width", [36, 84, 85])
def test_columns_seen_as_channels_are_the_same_convolution(name: str, width: int) -> None:
    cnn = CNN((3, 84, width), CNNS[name])
    images = x = torch.rand(2, 3, 84, width)
    for convolution in cnn.convolutions:
        x = F.relu(convolution(x))
    torch.testing.assert_close(cnn(images), x.permute(0, 2, 3, 1).flatten(1))
