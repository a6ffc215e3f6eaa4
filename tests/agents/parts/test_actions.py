import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from agents.parts.actions import Gaussian, action_distribution


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_an_illegal_action_is_never_drawn_and_has_no_probability(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((20, size)) < 0.5
    masks[np.arange(20), rng.integers(size, size=20)] = True
    family = action_distribution(spaces.Discrete(size))
    params = rng.normal(scale=20, size=(20, size)).astype(np.float32)
    for actions in (family.sample(params, masks, rng), family.mode(params, masks)):
        assert masks[np.arange(20), actions].all()
    tensors = torch.from_numpy(params), torch.from_numpy(masks)
    total = torch.zeros(20)
    for action in range(size):
        chosen = torch.full((20,), action)
        p = family.log_prob(tensors[0], chosen, tensors[1]).exp()
        assert not p[~tensors[1][:, action]].any()
        total += p
    torch.testing.assert_close(total, torch.ones(20))
    assert (family.entropy(*tensors) <= tensors[1].sum(dim=1).log() + 1e-5).all()


def test_drawn_actions_have_the_probabilities_of_the_softmax() -> None:
    family = action_distribution(spaces.Discrete(3))
    params = np.log(np.float32([[0.2, 0.3, 0.5]])).repeat(20_000, axis=0)
    drawn = family.sample(params, None, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.2, 0.3, 0.5], atol=0.015)


def test_several_actions_multiply_their_probabilities() -> None:
    family = action_distribution(spaces.MultiDiscrete([2, 3], start=[0, 5]))
    params = torch.log(torch.tensor([[0.25, 0.75, 0.2, 0.3, 0.5]]))
    p = family.log_prob(params, torch.tensor([[1, 2]]), None).exp()
    assert p.item() == pytest.approx(0.75 * 0.5)
    mode = family.mode(params.numpy(), None)
    assert family.to_env_actions(mode).tolist() == [[1, 7]]
    both = [-sum(q * math.log(q) for q in part) for part in ([0.25, 0.75], [0.2, 0.3, 0.5])]
    assert family.entropy(params, None).item() == pytest.approx(sum(both))


def test_numbers_with_one_bound_are_cut_off_there_and_no_more() -> None:
    space = spaces.Box(np.float32([0, -np.inf, 0]), np.float32([200, np.inf, np.inf]))
    actions = action_distribution(space).to_env_actions(
        np.float32([[0.0, 5.0, 5.0], [-9.0, -5.0, -5.0]])
    )
    np.testing.assert_allclose(actions[0], [100, 5, 5])
    np.testing.assert_allclose(actions[1], [0, -5, 0], atol=1e-4)
    assert actions.dtype == space.dtype


def test_the_gaussian_is_torch_s_own() -> None:
    family = action_distribution(spaces.Box(-np.inf, np.inf, (2,)))
    params, actions = torch.randn(5, 4), torch.randn(5, 2)
    normal = torch.distributions.Normal(params[:, :2], params[:, 2:].exp())
    torch.testing.assert_close(
        family.log_prob(params, actions, None), normal.log_prob(actions).sum(1)
    )
    torch.testing.assert_close(family.entropy(params, None), normal.entropy().sum(1))


BOXES = [
    spaces.Box(-2, 2, (1,)),
    spaces.Box(np.float32([0, -5]), np.float32([1, 5])),
    spaces.Box(0, np.inf, (2, 2)),
    spaces.Box(-np.inf, np.inf, (3,), np.float64),
]


@given(st.sampled_from(BOXES), st.integers(0, 1000))
def test_continuous_actions_lie_within_their_bounds(space: gym.Space, seed: int) -> None:
    family = action_distribution(space)
    rng = np.random.default_rng(seed)
    params = rng.normal(scale=3, size=(6, family.num_distribution_params)).astype(np.float32)
    actions = family.to_env_actions(family.sample(params, None, rng))
    assert all(space.contains(action) for action in actions)


def test_the_bounds_are_reached_and_the_middle_is_the_middle() -> None:
    family = Gaussian(spaces.Box(0, 10, (1,)))
    actions = family.to_env_actions(np.float32([[-30], [0], [30]]))
    np.testing.assert_allclose(actions[:, 0], [0, 5, 10], atol=1e-4)


def test_actions_that_no_policy_fits_are_named() -> None:
    with pytest.raises(ValueError, match="Text"):
        action_distribution(spaces.Text(3))
