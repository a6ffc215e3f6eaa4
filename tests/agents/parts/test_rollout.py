from typing import Literal

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from agents.agent import RunContext
from agents.parts.policy import Policy, PolicyConfig
from agents.parts.rollout import Collector, advantages, estimates


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_advantages_worked_out_by_hand() -> None:
    rewards, values = column(1, 2, 3), column(10, 20, 30, 40)
    no = column(0, 0, 0).astype(bool)
    # δ = r + 0.5·V' − V:  1 + 10 − 10 = 1,  2 + 15 − 20 = −3,  3 + 20 − 30 = −7
    result = advantages(rewards, values, no, no, discount=0.5, decay=0.5)
    np.testing.assert_allclose(result, column(1 + 0.25 * (-3 + 0.25 * -7), -3 + 0.25 * -7, -7))


def test_an_end_is_worth_nothing_and_a_cut_what_was_expected() -> None:
    rewards, values = column(1, 1, 1), column(5, 5, 5, 5)
    no, last = column(0, 0, 0).astype(bool), column(0, 1, 0).astype(bool)
    ended = advantages(rewards, values, last, last, discount=1.0, decay=1.0)
    np.testing.assert_allclose(ended, column(2 - 5, 1 - 5, 1 + 5 - 5))
    cut = advantages(rewards, values, no, last, discount=1.0, decay=1.0)
    np.testing.assert_allclose(cut, column(2 + 5 - 5, 1 + 5 - 5, 1 + 5 - 5))


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.0))
def test_with_decay_1_they_are_returns_less_values(seed: int, discount: float) -> None:
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(7, 3)), rng.normal(size=(8, 3))
    done = rng.random((7, 3)) < 0.3
    terminated = done & (rng.random((7, 3)) < 0.5)
    result = advantages(rewards, values, terminated, done, discount, 1.0)
    for i in range(3):
        for t in range(7):
            total, factor = 0.0, 1.0
            for k in range(t, 7):
                total += factor * rewards[k, i]
                factor *= discount
                if done[k, i] or k == 6:
                    total += factor * values[k + 1, i] * (not terminated[k, i])
                    break
            np.testing.assert_allclose(result[t, i], total - values[t, i], atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_with_decay_0_they_are_errors_of_one_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(5, 2)), rng.normal(size=(6, 2))
    done = rng.random((5, 2)) < 0.3
    result = advantages(rewards, values, done, done, 0.9, 0.0)
    np.testing.assert_allclose(result, rewards + 0.9 * ~done * values[1:] - values[:-1])


class _Lasting(gym.Env):
    """An episode of so many steps, each worth 1."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.left = self.length
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple:
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


def test_episodes_that_go_on_beside_a_long_one_are_not_reported() -> None:
    env = SyncVectorEnv(
        [lambda: _Lasting(2), lambda: _Lasting(11)], autoreset_mode=AutoresetMode.NEXT_STEP
    )
    space = env.single_observation_space
    policy = Policy(space, env.single_action_space, PolicyConfig(), RunContext(2, 100, 100), 0.99)
    collector = Collector(policy, env, 0, np.random.default_rng(0))
    collector.collect(100, stop=lambda ended: bool((ended > 0).all()))
    assert collector.report(22)["episode_length"] == (2 + 11) / 2
    collector.restart(0)
    collector.collect(12)
    assert collector.finished == [(2, 2)] * 4 + [(11, 11)]


@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_a_rollout_holds_what_the_policy_made_of_it(memory: Literal["none", "lstm"]) -> None:
    env = SyncVectorEnv(
        [lambda: _Lasting(2), lambda: _Lasting(5)], autoreset_mode=AutoresetMode.NEXT_STEP
    )
    space, config = env.single_observation_space, PolicyConfig(memory=memory)
    policy = Policy(space, env.single_action_space, config, RunContext(2, 100, 100), 0.99)
    collector = Collector(policy, env, 0, np.random.default_rng(0))
    for length in (3, 7):  # the second begins within episodes
        rollout = collector.collect(length)
        with torch.no_grad():
            params, values, _ = policy.apply(
                policy.adam.compute_params,
                rollout.observations,
                rollout.episode_starts,
                rollout.memory,
            )
        torch.testing.assert_close(rollout.distribution_params.flatten(0, 1), params[: length * 2])
        np.testing.assert_allclose(rollout.values.ravel(), values, rtol=1e-5, atol=1e-6)
        estimated = estimates(policy, rollout, 0.9, 1.0)
        log_probs = params[: length * 2].log_softmax(dim=1)
        expected = log_probs.gather(1, rollout.actions.flatten().long()[:, None])
        torch.testing.assert_close(estimated.log_probs.flatten(), expected.squeeze(1))


class _Paying(_Lasting):
    """Pays 100 in one step of four."""

    def step(self, action: int) -> tuple:
        observation, _, *rest = super().step(action)
        return observation, 100.0 * (self.left % 4 == 0), *rest


def test_rewards_are_clipped_first_and_then_normalised() -> None:
    env = SyncVectorEnv([lambda: _Paying(8)] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    space, actions = env.single_observation_space, env.single_action_space
    rewards = {}
    for clip in (0.0, 1.0):
        config = PolicyConfig(normalize_rewards=True, reward_clip=clip)
        policy = Policy(space, actions, config, RunContext(2, 100, 100), 0.99)
        rollout = Collector(policy, env, 0, np.random.default_rng(0)).collect(17)
        assert policy.return_moments is not None
        rewards[clip] = rollout.rewards.max() * np.sqrt(policy.return_moments.var + 1e-8)
    assert rewards[0.0] == pytest.approx(100, rel=1e-5)
    assert rewards[1.0] == pytest.approx(
        1, rel=1e-5
    )  # normalised by the deviation of clipped returns
