"""Search in a model: it finds what pays later, knows whose turn it is, and takes legal actions only."""

import numpy as np
import pytest
import torch

from agents.search.latent_search import Searched, Step, search


def corridor(states: torch.Tensor, actions: torch.Tensor) -> tuple:
    """Action 1 goes right and pays 1 at square 3; action 0 pays 0.1 at square 0, and leads to a square without anything."""
    at = states[:, 0]
    right = actions == 1
    following = torch.where(right & (at >= 0), at + 1, -10.0)
    rewards = torch.where(following == 3, 1.0, torch.where(~right & (at == 0), 0.1, 0.0))
    n = len(states)
    return (
        following[:, None],
        rewards.numpy(),
        np.zeros((n, 2), np.float32),
        np.zeros(n, np.float32),
    )


def sticks(states: torch.Tensor, actions: torch.Tensor) -> tuple:
    """Nim: take one or two sticks; who takes the last wins. Nothing is paid afterwards."""
    left = states[:, 0]
    taken = torch.minimum(actions + 1.0, left)
    rewards = ((left > 0) & (left - taken == 0)).float()
    n = len(states)
    following = (left - taken)[:, None]
    return following, rewards.numpy(), np.zeros((n, 2), np.float32), np.zeros(n, np.float32)


def run(model: Step, starts: list[float], simulations: int, discount: float, **others) -> Searched:  # type: ignore[no-untyped-def]
    n = len(starts)
    states = torch.tensor(starts)[:, None]
    arguments = {
        "logits": np.zeros((n, 2), np.float32),
        "values": np.zeros(n, np.float32),
        "masks": None,
        "noise": np.zeros((n, 2)),
    } | others
    return search(model, states, simulations=simulations, discount=discount, **arguments)


def test_it_gives_up_a_small_reward_for_a_later_large_one() -> None:
    near_sighted = run(corridor, [0.0], 2, 0.9)
    assert near_sighted.actions.tolist() == [0]
    result = run(corridor, [0.0, 2.0], 40, 0.9)
    assert result.actions.tolist() == [1, 1]
    assert (result.policies[:, 1] > 0.9).all()
    np.testing.assert_allclose(result.policies.sum(axis=1), 1, rtol=1e-5)
    assert result.values[1] == pytest.approx(1, abs=0.1)


def test_in_a_game_of_two_the_next_value_is_the_opponents() -> None:
    result = run(sticks, [4.0, 5.0, 3.0], 60, -1.0)
    assert result.actions[:2].tolist() == [0, 1], "three sticks left lose"
    assert result.values[2] < -0.5 < 0.5 < result.values[0]


def test_illegal_actions_are_never_taken_at_a_root() -> None:
    masks = np.array([[True, False], [False, True]])
    rng = np.random.default_rng(0)
    result = run(corridor, [0.0, 0.0], 8, 0.9, masks=masks, noise=rng.gumbel(size=(2, 2)))
    assert result.actions.tolist() == [0, 1]
    assert result.policies.tolist() == [[1, 0], [0, 1]]


def test_a_root_s_result_does_not_depend_on_the_others() -> None:
    noise = np.random.default_rng(1).gumbel(size=(3, 2))
    starts = [0.0, 1.0, 2.0]
    together = run(corridor, starts, 16, 0.9, noise=noise)
    for i, start in enumerate(starts):
        alone = run(corridor, [start], 16, 0.9, noise=noise[i : i + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[i])
