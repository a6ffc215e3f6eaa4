import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from hypothesis import given
from hypothesis import strategies as st

from agents.parts.actions import Gaussian, action_distribution
from envs.actions import first_of, mask_size


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


NUMBERED = [
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 4]),
    spaces.MultiDiscrete([[2, 3], [4, 1]], start=[[0, 5], [0, 1]]),
    spaces.MultiBinary(3),
    spaces.MultiBinary((2, 2)),
    spaces.Box(-2, 3, (2, 1), np.int32),
    spaces.Box(0, 4, (), np.uint8),
]
ANY = st.recursive(
    st.sampled_from([*NUMBERED, *BOXES, spaces.Box(-1, 1, ())]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(spaces.Dict)
    ),
    max_leaves=4,
)


@given(ANY, st.integers(0, 1000))
def test_actions_of_any_space_lie_in_it_one_for_each_environment(
    space: gym.Space, seed: int
) -> None:
    family = action_distribution(space)
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(3, family.num_distribution_params)).astype(np.float32)
    for actions in (family.sample(params, None, rng), family.mode(params, None)):
        batch = family.to_env_actions(actions)
        each = list(iterate(batch_space(space, 3), batch))
        assert len(each) == 3
        assert all(space.contains(action) for action in (*each, first_of(batch)))


@given(ANY, st.integers(0, 1000))
def test_the_parts_of_an_action_are_independent(space: gym.Space, seed: int) -> None:
    whole = action_distribution(spaces.Tuple([space, spaces.Discrete(2), space]))
    part, coin = action_distribution(space), action_distribution(spaces.Discrete(2))
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(4, part.num_outputs)).astype(np.float32)
    flips = rng.normal(size=(4, 2)).astype(np.float32)
    log_stds = rng.normal(size=(4, part.num_log_stds)).astype(np.float32)
    of_part = np.concatenate([outputs, log_stds], axis=1)
    params = np.concatenate([outputs, flips, outputs, log_stds, log_stds], axis=1)
    actions = whole.sample(params, None, rng)
    width = (actions.shape[1] - 1) // 2
    first, middle, last = np.split(actions, [width, width + 1], axis=1)
    plain = isinstance(space, spaces.Discrete)

    def log_prob(columns: np.ndarray) -> torch.Tensor:
        chosen = torch.from_numpy(columns[:, 0] if plain else columns).to(part.action_dtype)
        return part.log_prob(torch.from_numpy(of_part), chosen, None)

    torch.testing.assert_close(
        whole.log_prob(torch.from_numpy(params), torch.from_numpy(actions), None),
        log_prob(first)
        + log_prob(last)
        + coin.log_prob(torch.from_numpy(flips), torch.from_numpy(middle[:, 0]).long(), None),
    )
    torch.testing.assert_close(
        whole.entropy(torch.from_numpy(params), None),
        2 * part.entropy(torch.from_numpy(of_part), None)
        + coin.entropy(torch.from_numpy(flips), None),
    )


@given(ANY, st.integers(0, 1000))
def test_the_mask_of_an_action_has_an_entry_for_each_number_in_order(
    space: gym.Space, seed: int
) -> None:
    family = action_distribution(
        spaces.Dict(a=space, b=spaces.Discrete(4), c=spaces.Box(-1, 1, (2,)))
    )
    size = mask_size(space)
    assert family.mask_size == size + 4
    rng = np.random.default_rng(seed)
    masks = np.ones((5, size + 4), bool)
    masks[:, size:] = np.eye(4, dtype=bool)[rng.integers(4, size=5)]
    params = rng.normal(size=(5, family.num_distribution_params)).astype(np.float32)
    actions = family.sample(params, masks, rng)
    chosen = family.to_env_actions(actions)["b"]
    np.testing.assert_array_equal(chosen, masks[:, size:].argmax(axis=1))
    tensors = torch.from_numpy(params), torch.from_numpy(actions), torch.from_numpy(masks)
    assert torch.isfinite(family.log_prob(*tensors)).all()


@pytest.mark.parametrize("space", NUMBERED)
def test_one_legal_number_of_each_part_is_the_one_taken(space: gym.Space) -> None:
    family = action_distribution(space)
    wanted = space.sample()
    sizes = family.sizes  # type: ignore[attr-defined]
    numbers = np.ravel(wanted).astype(np.int64) - np.ravel(family.first)  # type: ignore[attr-defined]
    columns = [np.eye(n, dtype=bool)[i] for n, i in zip(sizes, numbers, strict=True)]
    masks = np.concatenate(columns)[None]
    assert masks.shape == (1, mask_size(space))
    params = np.zeros((1, sum(sizes)), np.float32)
    taken = family.to_env_actions(family.sample(params, masks, np.random.default_rng(0)))
    np.testing.assert_array_equal(taken[0], wanted)
    assert taken.dtype == space.dtype


def test_integers_without_bounds_worth_the_name_are_refused() -> None:
    with pytest.raises(ValueError, match="100,000 at most"):
        action_distribution(spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32))


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Dict(a=spaces.Text(3)), spaces.Tuple([])])
def test_actions_that_no_policy_fits_are_named(space: gym.Space) -> None:
    with pytest.raises(ValueError, match=r"Text|Tuple\(\)"):
        action_distribution(space)


@given(ANY, st.integers(0, 1000))
def test_actions_of_the_environment_come_back_as_what_they_were_made_from(
    space: gym.Space, seed: int
) -> None:
    family = action_distribution(space)
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(5, family.num_distribution_params)).astype(np.float32)
    batch = family.to_env_actions(family.sample(params, None, rng))
    actions = family.from_env_actions(batch)
    again = family.to_env_actions(actions)
    for one, other in zip(
        iterate(batch_space(space, 5), batch), iterate(batch_space(space, 5), again), strict=True
    ):
        for left, right in zip(_leaves(one), _leaves(other), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)
    features = family.features(torch.from_numpy(actions).to(family.action_dtype))
    assert features.shape == (5, family.num_features)


def _leaves(action: object) -> list[object]:
    parts = list(action.values()) if isinstance(action, dict) else action
    if not isinstance(action, (dict, tuple)):
        return [action]
    return [leaf for part in parts for leaf in _leaves(part)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("space", "actions", "complaint"),
    [
        (spaces.Discrete(3, start=1), np.array([1, 4]), "outside"),
        (spaces.Discrete(3), np.array([0.0, 1.0]), "float64"),
        (spaces.Box(-1, 1, (2,)), np.zeros((4, 3)), "not of"),
        (spaces.Box(-1, 1, (2,)), np.full((4, 2), np.nan), "not finite"),
        (spaces.Dict(a=spaces.Discrete(2)), {"b": np.zeros(1, int)}, "no part 'a'"),
        (spaces.Tuple([spaces.Discrete(2)]), np.zeros(1, int), "other parts"),
    ],
)
def test_actions_of_another_space_are_refused(
    space: gym.Space, actions: object, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        action_distribution(space).from_env_actions(actions)


def test_features_show_what_the_environment_gets() -> None:
    """A sampled action beyond the bounds looks like the bound, as an expert's recorded action does."""
    family = action_distribution(spaces.Box(np.float32([0, -np.inf]), np.float32([10, np.inf])))
    features = family.features(torch.tensor([[1.5, 1.5], [-0.5, -9.0]]))
    assert features.tolist() == [[1.0, 1.5], [-0.5, -9.0]]
    family = action_distribution(spaces.MultiDiscrete([2, 3]))
    assert family.features(torch.tensor([[1, 2]])).tolist() == [[0, 1, 0, 0, 1]]
