"""Value iteration and Q-learning, against linear programs and exact returns."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from scipy import sparse
from scipy.optimize import linprog

from agents.parts.grids import grid_of, picture
from agents.q_learning import QLearning, QLearningConfig, best_values, taken_values, update
from agents.value_iteration import TransitionTable, ValueIteration, read_transitions
from envs.maze.vector import MazeVector
from fathom.environments import resolve
from fathom.environments.presets import preset
from fathom.runs.config import build_config

DISCOUNT = 0.99
WORLDS = ("FrozenLake8x8-v1", "Taxi-v4", "CliffWalking-v1")


def world(name: str, n: int = 1) -> VectorEnv:
    return resolve(name).make_vector(n, training=True)


def model(env: VectorEnv) -> TransitionTable:
    return read_transitions(
        env, int(env.single_observation_space.n), int(env.single_action_space.n)
    )


def linear_program(model: TransitionTable) -> np.ndarray:
    """The least values (states,) that are at least r + γ·V(s′) for every action."""
    states, actions, k = model.probabilities.shape
    pairs = np.repeat(np.arange(states * actions), k)
    weights = (model.probabilities * model.continues).ravel()
    following = sparse.csr_array(
        (weights, (pairs, model.next_states.ravel())), (states * actions, states)
    )
    own = sparse.csr_array(
        (np.ones(states * actions), (np.arange(states * actions), np.repeat(np.arange(states), actions))),
        (states * actions, states),
    )  # fmt: skip
    rewards = (model.probabilities * model.rewards).sum(axis=2).ravel()
    result = linprog(
        np.ones(states), DISCOUNT * following - own, -rewards, bounds=(None, None), method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    assert result.success
    return result.x


def exact_return(
    model: TransitionTable, start: np.ndarray, policy: np.ndarray, limit: int
) -> float:
    """The expected undiscounted return of a policy (states,) within a time limit."""
    i = np.arange(len(policy))
    probabilities, next_states, rewards, continues = (part[i, policy] for part in model)
    values = np.zeros(len(policy))
    for _ in range(limit):
        values = (probabilities * (rewards + continues * values[next_states])).sum(axis=1)
    return float(start @ values)


@pytest.mark.parametrize("name", WORLDS)
def test_value_iteration_finds_the_values_of_the_linear_program(name: str) -> None:
    env = world(name)
    agent = ValueIteration.for_env(env)
    changes = [metrics["value_change"] for metrics in agent.learn(env, 2_000)]
    assert changes[-1] < 1e-8 < changes[0]
    np.testing.assert_allclose(
        agent.table.values.max(axis=1), linear_program(model(env)), rtol=0, atol=1e-6
    )


class Tabled(VectorEnv):
    """A world played from its table, many at once, in next-step mode."""

    def __init__(self, name: str, n: int) -> None:
        one = gym.make(name)
        self.limit = one.spec.max_episode_steps or 500
        self.num_envs, self.start = n, one.unwrapped.initial_state_distrib
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = spaces.Discrete(int(one.observation_space.n))
        self.single_action_space = spaces.Discrete(int(one.action_space.n))
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = batch_space(self.single_action_space, n)
        self.P = one.unwrapped.P
        self.model = model(self)
        self.cumulated = self.model.probabilities.cumsum(axis=2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.rng = np.random.default_rng(seed)
        self.states = self.begin()
        self.lengths, self.over = np.zeros(self.num_envs, int), np.zeros(self.num_envs, bool)
        return self.states.copy(), {}

    def begin(self) -> np.ndarray:
        return np.searchsorted(self.start.cumsum(), self.rng.random(self.num_envs))

    def step(self, actions: np.ndarray) -> Any:
        s, a, m = self.states, actions, self.model
        k = (self.rng.random(self.num_envs)[:, None] > self.cumulated[s, a]).sum(axis=1)
        k = np.minimum(k, m.rewards.shape[2] - 1)
        before = self.over
        self.states = np.where(before, self.begin(), m.next_states[s, a, k])
        self.lengths = np.where(before, 0, self.lengths + 1)
        ended = ~before & (m.continues[s, a, k] == 0)
        cut = ~before & ~ended & (self.lengths >= self.limit)
        self.over = ended | cut
        return self.states.copy(), np.where(before, 0, m.rewards[s, a, k]), ended, cut, {}


@pytest.mark.parametrize("name", WORLDS)
def test_q_learning_with_its_preset_finds_a_policy_as_good_as_the_optimal_one(name: str) -> None:
    chosen = preset("q-learning", name)
    assert chosen is not None
    table = chosen[1]
    n = 8 * table["agent"].get("num_envs", 16)  # more are quicker
    config = build_config(QLearningConfig, table["agent"] | {"num_envs": n})
    env = Tabled(name, n)
    agent = QLearning.for_env(env, config)
    for _ in agent.learn(env, table["run"]["steps"]):
        pass
    optimal = linear_program(env.model)
    following = (env.model.continues * optimal[env.model.next_states]) * DISCOUNT
    best = (env.model.probabilities * (env.model.rewards + following)).sum(axis=2).argmax(axis=1)
    learnt = agent.table.values.argmax(axis=1)
    returns = [exact_return(env.model, env.start, one, env.limit) for one in (learnt, best)]
    assert returns[0] >= returns[1] - 0.02


def test_sarsa_keeps_away_from_the_cliff_while_it_explores() -> None:
    """Sutton & Barto 2018, example 6.6: −17 by the safe path, −13 along the edge."""
    env = Tabled("CliffWalking-v1", 64)
    returns = {}
    for target in ("q-learning", "sarsa"):
        config = QLearningConfig(
            target=target, learning_rate=0.1, epsilon_start=0.1, discount=1.0
        )  # fmt: skip
        agent = QLearning.for_env(env, config)
        for _ in agent.learn(env, 100_000):
            pass
        policy = agent.table.values.argmax(axis=1)
        returns[target] = exact_return(env.model, env.start, policy, env.limit)
    assert returns["sarsa"] < returns["q-learning"] == -13


def test_an_update_moves_entries_towards_the_mean_of_their_targets() -> None:
    values, visits = np.zeros(4), np.array([0.0, 3, 0, 0])
    error = update(values, visits, np.array([1, 1, 2]), np.array([2.0, 4, 8]), 0.5, 0.0)
    assert error == pytest.approx(14 / 3)
    assert values.tolist() == [0, 0.75 * 3, 4, 0]
    assert visits.tolist() == [0, 5, 1, 0]
    update(values, visits, np.array([1]), np.array([9.25]), 1.0, 0.5)
    assert values[1] == pytest.approx(2.25 + 7 / 6**0.5)


def test_what_follows_is_the_best_action_or_the_one_taken() -> None:
    values = np.array([[1.0, 5], [4, 2]])
    assert best_values(values).tolist() == [5, 4]
    assert taken_values(values, np.array([0, 1])).tolist() == [1, 2]


@pytest.mark.parametrize("name", [*WORLDS, "maze"])
def test_the_picture_has_an_arrow_of_every_move(name: str) -> None:
    env = MazeVector(1, view="square", maze_seed=7, doors=1) if name == "maze" else world(name)
    grid = grid_of(env)
    assert grid is not None
    moves = {
        "FrozenLake8x8-v1": "←↓→↑",
        "Taxi-v4": "↓↑→←··",
        "CliffWalking-v1": "↑→↓←",
        "maze": "↑→↓←",
    }
    arrows = {(-1, 0): "↑", (0, 1): "→", (1, 0): "↓", (0, -1): "←", None: "·"}
    assert "".join(arrows[arrow] for arrow in grid.arrows) == moves[name]
    values = np.random.default_rng(0).random((len(grid.ends), len(grid.arrows)))
    one, other = picture(grid, values, "1 sweep"), picture(grid, -values, "1 sweep")
    assert one.dtype == np.uint8
    assert one.shape == other.shape
    assert (one != other).any()


def test_what_has_no_table_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"needs numbered actions \(Discrete\), not Box"):
        ValueIteration.for_env(world("Pendulum-v1"))
    with pytest.raises(ValueError, match=r"--env\.view square"):
        QLearning.for_env(world("Fathom/Maze-v0"))
    env = world("Blackjack-v1")
    agent = ValueIteration.for_env(env)
    with pytest.raises(ValueError, match="it has no table P of its transitions"):
        list(agent.learn(env, 1))
    env.single_observation_space = spaces.MultiDiscrete([1_000, 1_000, 10])
    with pytest.raises(ValueError, match="10,000,000 states and 2 actions, and 10,000,000 entries"):
        QLearning.for_env(env)


def test_a_table_of_another_world_is_refused() -> None:
    env = world("CliffWalking-v1")
    env.unwrapped.envs[0].unwrapped.P = {0: {0: [(0.5, 0, 1.0, False)]}}
    agent = ValueIteration.for_env(env)
    with pytest.raises(ValueError, match="its table P is not one of 48 states and 4 actions"):
        list(agent.learn(env, 1))
    with pytest.raises(ValueError, match="is of another environment"):
        agent.load(ValueIteration.for_env(world("Taxi-v4")).state())
