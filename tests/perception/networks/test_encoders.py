import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from envs.maze.generation import MOVES
from envs.maze.layout import distances
from envs.maze.vector import MazeVector
from perception.networks.cnn import CNN, CNNS
from perception.networks.encoders import (
    ImageEncoder,
    IndexEncoder,
    VectorEncoder,
    as_tensor,
    encoder,
)
from perception.networks.planning import GridPlanner, spread
from perception.networks.rnn import SequenceEncoder


@pytest.mark.parametrize("shape", [(4, 84, 84), (3, 64, 96), (84, 84, 3), (1, 48, 48)])
def test_an_image_gets_the_nature_cnn(shape: tuple[int, ...]) -> None:
    space = gym.spaces.Box(0, 255, shape, np.uint8)
    network = encoder(space, 32)
    assert isinstance(network, ImageEncoder)
    batch = torch.from_numpy(np.stack([space.sample(), space.sample()]))
    assert network(batch).shape == (2, 32)


@pytest.mark.parametrize("shape", [(4, 84, 84), (3, 64, 96), (84, 84, 3), (6, 5, 5), (7,)])
def test_a_network_sees_the_same_whatever_order_the_channels_lie_in(shape: tuple[int, ...]) -> None:
    space = gym.spaces.Box(0, 255, shape, np.uint8)
    network, batch = encoder(space, 32), np.stack([space.sample() for _ in range(3)])
    assert torch.equal(network(as_tensor(batch)), network(torch.from_numpy(batch)))


def test_the_nature_cnn_has_the_papers_size() -> None:
    network = encoder(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 512)
    assert sum(p.numel() for p in network.parameters()) == 1_684_128


def test_a_normalised_image_encoder_is_blind_to_the_scale_of_its_dense_layer() -> None:
    space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    torch.manual_seed(0)
    plain, normal = encoder(space, 32), encoder(space, 32, layer_norm=True)
    batch = torch.from_numpy(np.stack([space.sample(), space.sample()]))
    for network in (plain, normal):
        assert isinstance(network, ImageEncoder)
        before = network(batch)
        with torch.no_grad():
            network.dense.weight *= 10
            network.dense.bias *= 10
        after = network(batch)
        if network is normal:  # but for the ε in the root
            torch.testing.assert_close(after, before, rtol=0.02, atol=0.02)
            assert 0.2 < after.mean() < 0.6  # rectified normal numbers have a mean of 0.4
        else:
            torch.testing.assert_close(after, 10 * before)


@pytest.mark.parametrize("shape", [(4, 84, 84), (84, 84, 3)])
@pytest.mark.parametrize("cnn", CNNS)
def test_what_never_changes_excites_no_centred_encoder(shape: tuple[int, ...], cnn: str) -> None:
    scene = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    pictures = np.stack([scene] * 20)
    for i, picture in enumerate(pictures):
        rows = picture[:, 4 * i : 4 * i + 3] if shape[0] == 4 else picture[4 * i : 4 * i + 3]
        rows += 80  # a bar that falls
    space = gym.spaces.Box(0, 255, shape, np.uint8)

    def told_apart(features: torch.Tensor) -> float:
        """The share of what the dense layer says that differs between pictures."""
        return float(features.var(dim=0).sum() / features.square().mean(dim=0).sum())

    shares = []
    for centred in (False, True):
        torch.manual_seed(0)
        network = encoder(space, 64, cnn, centred=centred)
        assert isinstance(network, ImageEncoder)
        if centred:
            network.centre(as_tensor(pictures))
            still = (network.mean_picture * 255).round().to(torch.uint8)
            assert network(still).abs().max() < 0.01
        with torch.no_grad():
            shares.append(told_apart(network(as_tensor(pictures))))
    assert shares[0] < 0.1
    assert shares[1] > 0.5


def test_a_vector_gets_an_mlp() -> None:
    network = encoder(gym.spaces.Box(-1, 1, (6,)), 16)
    assert isinstance(network, VectorEncoder)
    assert network(torch.zeros(5, 6)).shape == (5, 16)


def test_a_sequence_gets_an_rnn_that_reads_to_its_end() -> None:
    network = encoder(gym.spaces.Box(-1, 1, (8, 4)), 16)
    assert isinstance(network, SequenceEncoder)
    short = torch.zeros(1, 8, 4)
    short[0, :3] = torch.cat([torch.rand(3, 3), torch.ones(3, 1)], dim=1)
    padded = short.clone()
    padded[0, 3:, :3] = 7.0  # what lies after the end is not read
    torch.testing.assert_close(network(short), network(padded))
    assert not torch.equal(network(short), network(short.roll(1, 2)))
    assert not network(torch.zeros(1, 8, 4)).any()


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 1, np.float32), (-1, 1, np.float64), (0, 255, np.float32), (0, 65535, np.uint16), (0, 255, np.int64)],
)  # fmt: skip
def test_an_image_is_the_same_in_any_type(
    low: float, high: float, dtype: type[np.generic], centred: bool
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 3, 40, 48), dtype=np.uint8)
    features = []
    for space in (
        gym.spaces.Box(0, 255, (3, 40, 48), np.uint8),
        gym.spaces.Box(low, high, (3, 40, 48), dtype),
    ):
        torch.manual_seed(0)
        network = encoder(space, 16, "nips", centred=centred)
        assert isinstance(network, ImageEncoder)
        assert space.dtype is not None
        scaled = pictures * (float(space.high.max() - space.low.min()) / 255) + space.low.min()
        batch = as_tensor(scaled.round(9).astype(space.dtype))
        if centred:
            network.centre(batch)
        features.append(network(batch))
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-5)


def test_each_channel_is_scaled_by_its_own_bounds_if_it_has_some() -> None:
    high = np.ones((40, 40, 3), np.float32) * np.float32([1, 80, np.inf])
    network = encoder(gym.spaces.Box(0, high, dtype=np.float32), 16)
    assert isinstance(network, ImageEncoder)
    pictures = torch.ones(1, 3, 40, 40) * torch.tensor([0.5, 40.0, 7.0]).view(3, 1, 1)
    torch.testing.assert_close(network._scaled(pictures)[0, :, 0, 0], torch.tensor([0.5, 0.5, 7]))


@pytest.mark.parametrize("shape", [(40, 40, 48), (48, 40, 40), (210, 160, 3), (3, 210, 160)])
def test_channels_may_be_many(shape: tuple[int, ...]) -> None:
    network = encoder(gym.spaces.Box(0, 255, shape, np.uint8), 16)
    assert isinstance(network, ImageEncoder)
    channels = {48, 3} & set(shape)
    assert {network.cnn.convolutions[0].in_channels} == channels


def test_indices_are_read_as_one_hot_vectors_are() -> None:
    sizes = [3, 1, 4]
    network = encoder(gym.spaces.MultiDiscrete(sizes), 16)
    assert isinstance(network, IndexEncoder)
    like = VectorEncoder(8, 16, F.relu)
    with torch.no_grad():
        like.first.weight.copy_(network.table.weight.T)
        like.first.bias.zero_()
        like.second.load_state_dict(network.second.state_dict())
    indices = torch.tensor([[0, 0, 0], [2, 0, 3], [1, 0, 2]], dtype=torch.int16)
    one_hot = [F.one_hot(x.long(), n) for x, n in zip(indices.T, sizes, strict=True)]
    torch.testing.assert_close(network(indices), like(torch.cat(one_hot, dim=1).float()))


def test_a_tuple_gets_one_encoder_each() -> None:
    space = gym.spaces.Tuple(
        [gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), gym.spaces.Box(-1, 1, (5,))]
    )
    network = encoder(space, 16)
    pictures = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    assert network((pictures, torch.zeros(2, 5))).shape == (2, network.features) == (2, 16)


@pytest.mark.parametrize("shape", [(3, 7, 9), (7, 9, 3)])
def test_a_grid_gets_a_planner(shape: tuple[int, ...]) -> None:
    network = encoder(gym.spaces.Box(0, 1, shape, np.uint8), 16)
    assert isinstance(network, GridPlanner)
    assert network(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, 16)


@pytest.mark.parametrize(
    ("shape", "last"),
    [((19, 9, 9), False), ((9, 9, 19), True), ((7, 7, 3), True), ((4, 9, 15), False)],
)
def test_of_three_sides_the_one_unlike_two_equal_ones_is_the_channels(
    shape: tuple[int, ...], last: bool
) -> None:
    assert GridPlanner(shape, 16).channels_last == last


def test_values_spread_along_the_cheapest_way() -> None:
    rewards = torch.full((1, 1, 3, 3), -100.0)
    rewards[0, 0, 0, 0] = 0.0
    costs = torch.ones(1, 1, 3, 3)
    costs[0, 0, 1, 1] = 50.0  # the middle is dear: the far corner is four steps around it
    costs[0, 0, 0, 1] = 50.0  # and so is one of the two ways
    expected = torch.tensor([[0.0, -50.0, -6.0], [-1.0, -51.0, -5.0], [-2.0, -3.0, -4.0]])
    expected[0, 2] = max(-50.0 - 1.0, -5.0 - 1.0)
    torch.testing.assert_close(spread(rewards, costs, 9)[0, 0], expected)


def test_the_kernels_values_and_gradients_are_those_of_value_iteration() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(5, 2, 4, 6, requires_grad=True), torch.rand(5, 2, 4, 6, requires_grad=True)
    rewards, costs = inputs
    values = rewards
    for _ in range(4 * 6):  # the definition, with a border that is never the best
        padded = F.pad(values, (1, 1, 1, 1), value=-1e9)
        sides = (
            padded[..., :-2, 1:-1],
            padded[..., 2:, 1:-1],
            padded[..., 1:-1, :-2],
            padded[..., 1:-1, 2:],
        )
        values = torch.maximum(rewards, torch.stack(sides).amax(dim=0) - costs)
    planned = spread(rewards, costs, 4 * 6)
    torch.testing.assert_close(planned, values)
    downstream = torch.randn_like(values)
    expected = torch.autograd.grad((values * downstream).sum(), inputs)
    result = torch.autograd.grad((planned * downstream).sum(), inputs)
    torch.testing.assert_close(result, expected)


def test_a_planner_learns_shortest_paths_from_examples() -> None:
    torch.manual_seed(0)
    mazes = MazeVector(256, width=7, height=7, split="train")
    planner = GridPlanner((3, 7, 7), 32)
    head = torch.nn.Linear(32, 4)
    parameters = [*planner.parameters(), *head.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-2)
    shares = []
    for update in range(40):
        observations, _ = mazes.reset(seed=1000 * update)
        grids, best = torch.from_numpy(observations), torch.from_numpy(_best_moves(observations))
        logits = head(planner(grids))
        shares.append(float((logits.argmax(dim=1) == best).float().mean()))
        adam.zero_grad()
        F.cross_entropy(logits, best).backward()
        adam.step()
    assert np.mean(shares[-5:]) > 0.97  # mazes that it sees for the first time


def _best_moves(observations: np.ndarray) -> np.ndarray:
    """The first move of the shortest path in each of some perfect mazes."""
    moves = []
    for walls, agent, goal in observations[:, :3]:
        way = distances(walls, int(goal.argmax()))
        row, column = np.argwhere(agent)[0]
        near = [way[(row + y) * walls.shape[1] + column + x] for y, x in MOVES]
        moves.append(near.index(way[row * walls.shape[1] + column] - 1))
    return np.array(moves)


def test_a_space_that_no_encoder_fits_is_named() -> None:
    with pytest.raises(ValueError, match="Graph"):
        encoder(gym.spaces.Graph(gym.spaces.Box(0, 1, (1,)), None), 16)


@pytest.mark.parametrize("name", CNNS)
@pytest.mark.parametrize("width", [36, 84, 85])
def test_columns_seen_as_channels_are_the_same_convolution(name: str, width: int) -> None:
    cnn = CNN((3, 84, width), CNNS[name])
    images = x = torch.rand(2, 3, 84, width)
    for convolution in cnn.convolutions:
        x = F.relu(torch.nn.Conv2d.forward(convolution, x))
    torch.testing.assert_close(cnn(images), x.permute(0, 2, 3, 1).flatten(1))
