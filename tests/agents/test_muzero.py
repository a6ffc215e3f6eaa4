"""MuZero: its targets, its memory of searches, and that it learns."""

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.agent import RunContext
from agents.muzero import MuZero, MuZeroConfig, Targets, targets_of
from agents.parts.replay import Stretches
from agents.parts.search_results import SearchResults


def stretch(rewards: list[float], terminated: int = -1, truncated: int = -1) -> Stretches:
    n = len(rewards)
    ends = np.zeros((2, 1, n), bool)
    for flags, place in zip(ends, (terminated, truncated), strict=True):
        if place >= 0:
            flags[0, place] = True
    return Stretches(np.zeros((1, n), np.int64), np.array([rewards], np.float32), *ends)


def targets_after(given: Stretches, k: int, discount: float, *explored: int) -> Targets:
    """Targets where the actions of these rows were drawn at random."""
    drawn = np.zeros(given.rewards.shape, bool)
    drawn[0, list(explored)] = True
    return targets_of(given, drawn, k, discount)


def test_returns_are_of_n_steps() -> None:
    targets = targets_after(stretch([1, 2, 3, 4, 5]), 2, 0.5)
    assert targets.returns.tolist() == [[1 + 1 + 0.75, 2 + 1.5 + 1, 3 + 2 + 1.25]]
    assert targets.factors.tolist() == [[1 / 8] * 3]
    assert targets.places.tolist() == [[3, 4, 5]]
    assert targets.rewards.tolist() == [[1, 2]]
    assert targets.value_weights.all()
    assert targets.policy_weights.all()


def test_nothing_follows_a_termination() -> None:
    targets = targets_after(stretch([1, 2, 3, 4, 5], terminated=1), 3, 0.5)
    assert targets.returns.tolist() == [[1 + 1, 2, 0, 0]]
    assert targets.factors.tolist() == [[0, 0, 0, 0]]
    assert targets.value_weights.tolist() == [[1, 1, 1, 1]]
    assert targets.rewards.tolist() == [[1, 2, 0]]
    assert targets.policy_weights.tolist() == [[1, 1, 0, 0]]
    assert targets.state_weights.tolist() == [[1, 1, 1, 0]], "the last observation is known"


def test_a_truncation_bootstraps_and_then_nothing_is_known() -> None:
    targets = targets_after(stretch([1, 2, 3, 4, 5], truncated=1), 3, 0.5)
    assert targets.returns.tolist() == [[1 + 1, 2, 0, 0]]
    assert targets.factors.tolist() == [[0.25, 0.5, 0, 0]]
    assert targets.places[0, :2].tolist() == [2, 2], "from the last observation"
    assert targets.value_weights.tolist() == [[1, 1, 0, 0]]


def test_in_a_game_of_two_rewards_alternate_in_sign() -> None:
    targets = targets_after(stretch([0, 0, 1, 9, 9], terminated=2), 2, -1.0)
    assert targets.returns.tolist() == [[1, -1, 1]]


def test_returns_end_before_an_action_drawn_at_random() -> None:
    targets = targets_after(stretch([1, 2, 3, 4, 5]), 2, 0.5, 2)
    assert targets.returns.tolist() == [[1 + 1, 2, 0]]
    assert targets.factors.tolist() == [[0.25, 0.5, 1]]
    assert targets.places.tolist() == [[2, 2, 2]]
    assert targets.value_weights.tolist() == [[1, 1, 0]], "its own position has no target"
    assert targets.rewards.tolist() == [[1, 2]]
    assert targets.reward_weights.all(), "what it led to is known all the same"
    assert targets.policy_weights.all()


def test_what_follows_an_end_was_not_drawn() -> None:
    targets = targets_after(stretch([1, 2, 3, 4, 5], terminated=1), 3, 0.5, 2)
    assert targets.returns.tolist() == [[1 + 1, 2, 0, 0]]
    assert targets.value_weights.all()


def test_positions_are_drawn_by_priority() -> None:
    results = SearchResults(rows=4, num_envs=2, num_actions=2)
    for row in range(6):
        results.write(row, np.full((2, 2), float(row)), np.array([row == 4, False]))
    assert results.policies_at(np.array([3]), np.array([1]), 3)[0, :, 0].tolist() == [3, 4, 5]
    assert results.explored_at(np.array([3]), np.array([0]), 3).tolist() == [[False, True, False]]
    rows, envs = np.repeat(np.arange(2, 6), 2), np.tile([0, 1], 4)
    results.set_priorities(rows, envs, np.full(8, 0.01))
    results.set_priorities(np.array([4, 5]), np.array([1, 0]), np.array([3.0, 50.0]))
    valid = np.ones((4, 2), bool)
    valid[3, 0] = False  # row 5 of environment 0
    rng = np.random.default_rng(0)
    rows, envs, weights = results.sample(2, valid, 1000, 1.0, 0.5, rng)
    often = (rows == 4) & (envs == 1)
    assert 0.95 < often.mean() < 0.995
    assert not ((rows == 5) & (envs == 0)).any(), "what is not valid is never drawn"
    assert weights.max() == 1
    assert weights[often].max() == pytest.approx(math.sqrt(0.01 / 3))


class Corridor(gym.Env):
    """Five squares; the goal is at the right end. A step to the left goes back to the start."""

    observation_space = spaces.Box(0, 1, (5,), np.float32)
    action_space: gym.Space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.at = self.taken = 0
        return np.eye(5, dtype=np.float32)[0], {}

    def step(self, action: int) -> Any:
        self.at, self.taken = (self.at + 1 if action else 0), self.taken + 1
        over = self.at == 4
        return np.eye(5, dtype=np.float32)[self.at], float(over), over, self.taken == 15, {}


def corridors(n: int = 8) -> SyncVectorEnv:
    return SyncVectorEnv([Corridor] * n, autoreset_mode=AutoresetMode.NEXT_STEP)


CONFIG = MuZeroConfig(
    simulations=8, learning_starts=160, replay_ratio=8, batch_size=64, n_step=4, unroll_steps=3,
    discount=0.9, value_limit=1.0, hidden_size=32, learning_rate=5e-3,
)  # fmt: skip


def test_it_learns_a_corridor_and_what_it_will_observe_there() -> None:
    torch.manual_seed(0)
    envs = corridors()
    agent = MuZero.for_env(envs, CONFIG)
    returns = [metrics.get("episode_length") for metrics in agent.learn(envs, steps=1_200)]
    assert returns[-1] is not None
    assert agent.predict(np.eye(5, dtype=np.float32)).tolist()[:4] == [1] * 4
    eye = np.eye(5, dtype=np.float32)
    actions = np.ones((1, 3), np.int64)
    imagined = agent.imagine(eye[:1], actions)[0]
    errors = np.square(imagined - agent.scaled(eye[:4])).mean(axis=1)
    unchanged = np.square(agent.scaled(eye[:1]) - agent.scaled(eye[:4])).mean(axis=1)
    assert errors[1:].mean() < 0.4 * unchanged[1:].mean()


def test_the_decoder_changes_nothing_in_the_model(tmp_path: Path) -> None:
    weights = []
    for name in ("with", "without"):
        torch.manual_seed(0)
        context = RunContext(8, 240, 240, storage=tmp_path / name)
        agent = MuZero(Corridor.observation_space, Corridor.action_space, CONFIG, context)
        if name == "without":
            agent.decoder = None
        list(agent.train(corridors(), 240, seed=0))
        weights.append(deepcopy(agent.adam.weights))
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_continuous_actions_are_refused() -> None:
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    with pytest.raises(ValueError, match="muzero needs a discrete action space"):
        MuZero(Corridor.observation_space, action_space, MuZeroConfig(), RunContext(8, 10, 10))


def test_a_memory_too_small_for_a_target_is_refused() -> None:
    config = MuZeroConfig(learning_starts=50)
    with pytest.raises(ValueError, match="learning_starts must be at least 144, not 50"):
        MuZero(Corridor.observation_space, Corridor.action_space, config, RunContext(8, 10, 10))


def test_what_cannot_be_decoded_is_planned_with_all_the_same() -> None:
    space = spaces.Tuple([Corridor.observation_space, spaces.MultiDiscrete([3, 4])])
    agent = MuZero(space, Corridor.action_space, MuZeroConfig(), RunContext(8, 10, 10))
    observations = (np.zeros((2, 5), np.float32), np.zeros((2, 2), np.int16))
    rng = np.random.default_rng(0)
    assert agent.act(observations, None, np.ones(2, bool), rng).shape == (2,)
    with pytest.raises(ValueError, match="can be decoded"):
        agent.imagine(observations, np.zeros((2, 1), np.int64))
