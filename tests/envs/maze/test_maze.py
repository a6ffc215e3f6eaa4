"""The rules of the mazes, and that the compiled vector environment keeps the same."""

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.maze.generation import ALGORITHMS, MOVES
from envs.maze.layout import AGENT, WALL, distances
from envs.maze.maze import Maze, MemoryMaze
from envs.maze.vector import MazeVector, MemoryMazeVector

assert envs  # registers the ids


def _same(single: Any, vector: Any, seed: int, steps: int) -> None:
    """Play both and compare everything they give."""
    n = vector.num_envs
    ours, theirs = vector.reset(seed=seed), single.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        np.testing.assert_array_equal(ours[0], theirs[0])
        for a, b in zip(ours[1:-1], theirs[1:-1], strict=True):
            np.testing.assert_array_equal(a, b)
        for name in ("shortest_path", "success", "maze_seed"):
            np.testing.assert_array_equal(ours[-1][name], theirs[-1][name])
        reached = theirs[-1].get("_path_ratio", np.zeros(n, bool))
        np.testing.assert_array_equal(ours[-1]["_path_ratio"], reached)
        if reached.any():
            ratio = theirs[-1]["path_ratio"]
            np.testing.assert_array_equal(ours[-1]["path_ratio"][reached], ratio[reached])
        actions = rng.integers(0, 4, n)
        ours, theirs = vector.step(actions), single.step(actions)


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "width": st.integers(2, 8).map(lambda n: 2 * n + 1),
            "height": st.integers(2, 8).map(lambda n: 2 * n + 1),
            "algorithm": st.sampled_from(ALGORITHMS),
            "braid": st.sampled_from([0.0, 0.5, 1.0]),
            "view": st.sampled_from(["full", "local", "position"]),
            "doors": st.integers(0, 1),
            "reward": st.sampled_from(["sparse", "step_cost"]),
            "max_steps": st.sampled_from([0, 7]),
            "split": st.sampled_from(["train", "test"]),
        }
    ),
    st.integers(0, 2**31),
)
def test_the_vector_environment_is_many_single_ones(arguments: dict, seed: int) -> None:
    single = SyncVectorEnv([lambda: Maze(**arguments)] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    _same(single, MazeVector(3, **arguments), seed, 150)


def test_the_vector_environment_of_memory_mazes_is_many_single_ones() -> None:
    single = SyncVectorEnv(
        [lambda: MemoryMaze(3, "step_cost")] * 4, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    _same(single, MemoryMazeVector(4, 3, "step_cost"), 5, 300)


def _walk(
    env: Any, to: tuple[int, int], closed: np.ndarray, actions: list[int] | None = None
) -> tuple:
    """Step along a shortest path round what is closed; gives the last step, and fills in the actions."""
    width = env.config.width
    away = distances(closed, to[0] * width + to[1]).reshape(closed.shape)
    result: tuple = ()
    while env.agent != to:
        here = away[env.agent]
        for action, (dy, dx) in enumerate(MOVES):
            if away[env.agent[0] + dy, env.agent[1] + dx] == here - 1:
                result = env.step(action)
                if actions is not None:
                    actions.append(action)
                break
    return result


@pytest.mark.parametrize("view", ["full", "local", "position"])
def test_the_shortest_path_leads_to_the_goal_and_pays(view: str) -> None:
    env = Maze(11, 9, view=view, reward="step_cost")
    for seed in range(20):
        env.reset(seed=seed)
        *_, reward, terminated, truncated, info = _walk(env, env.goal, env.planes[WALL])
        assert reward == pytest.approx(1 - 1 / 99)
        assert terminated
        assert not truncated
        assert info["success"]
        assert info["path_ratio"] == 1
        assert env.steps == info["shortest_path"]


def test_a_door_opens_for_the_key_alone() -> None:
    env = Maze(9, 9, doors=1, max_steps=10_000)
    for seed in range(20):
        env.reset(seed=seed)
        key, door = (tuple(np.argwhere(env.planes[i])[0]) for i in (3, 4))
        shut = env.planes[WALL] | env.planes[4]
        start = env.agent
        _walk(env, key, shut)
        assert env.held == {0}
        assert env.planes[3][env.agent] == 1
        _walk(env, start, shut)
        assert env.planes[3][env.agent] == 1  # carried along
        _walk(env, door, env.planes[WALL])
        assert env.held == set()
        assert env.planes[3:].sum() == 0
        _walk(env, env.goal, env.planes[WALL])
        assert env.agent == env.goal


def test_without_the_key_a_door_stops() -> None:
    met = 0
    for seed in range(150):
        env, vector = Maze(9, 9, doors=1, max_steps=10_000), MazeVector(1, 9, 9, doors=1)
        env.reset(seed=seed)
        vector.reset(seed=seed)
        key, door = (tuple(np.argwhere(env.planes[i])[0]) for i in (3, 4))
        closed = env.planes[WALL] | env.planes[4]
        closed[key] = 1  # not to be picked up on the way
        away = distances(closed, env.agent[0] * 9 + env.agent[1]).reshape(9, 9)
        for action, (dy, dx) in enumerate(MOVES):
            beside = door[0] - dy, door[1] - dx
            if away[beside] < 0:
                continue
            actions: list[int] = []
            _walk(env, beside, closed, actions)
            for taken in (*actions, action):
                observations, *_ = vector.step(np.array([taken]))
            observation, *_ = env.step(action)
            for seen in (observation, observations[0]):
                assert seen[AGENT][beside] == 1
                assert seen[4][door] == 1
            met += 1
            break
    assert met >= 10


def test_a_wall_stops() -> None:
    env = Maze(9, 9, doors=1)
    env.reset(seed=1)
    for action, (dy, dx) in enumerate(MOVES):
        before = env.agent
        blocked = env.planes[WALL, before[0] + dy, before[1] + dx] == 1
        observation, *_ = env.step(action)
        assert (env.agent == before) == blocked
        assert observation[AGENT].sum() == 1
        assert observation[AGENT][env.agent] == 1


def test_the_sign_is_out_of_sight_at_the_fork() -> None:
    env = MemoryMaze(length=10)
    first, _ = env.reset(seed=0)
    assert first[3:].sum() == 1
    for _ in range(10):
        later, *_ = env.step(1)
        assert later[3:].sum() == 0 or env.steps <= 2
    up = bool(first[3].sum())
    for _ in range(2):
        _, reward, terminated, _, info = env.step(0 if up else 2)
    assert terminated
    assert reward == 1
    assert info["path_ratio"] == 1
    env.reset(seed=0)
    for action in [1] * 10 + [2 if up else 0] * 2:
        _, reward, terminated, _, info = env.step(action)
    assert terminated
    assert reward == 0
    assert not info["success"]


@pytest.mark.parametrize("world", ["Fathom/Maze-v0", "Fathom/MemoryMaze-v0"])
def test_gymnasium_finds_nothing_to_say(world: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(world, render_mode="rgb_array").unwrapped)
        try:
            from stable_baselines3.common.env_checker import check_env as their_check
        except ImportError:
            return
        their_check(gym.make(world))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"width": 4}, "width\n  Input should be greater than or equal to 5"),
        ({"height": 65}, "height\n  Input should be less than or equal to 63"),
        ({"width": 10}, "9 or 11 instead of 10"),
        (
            {"algorithm": "dfs"},
            "algorithm\n  Input should be 'depth_first', 'prim', 'kruskal' or 'wilson'",
        ),
        ({"goal": "2,1"}, "no path leads to goal 2,1, which is no room"),
        ({"goal": "9,9"}, "no path leads to goal 9,9"),
        ({"goal": "there"}, 'goal must be "random" or a room such as 1,7'),
        ({"start": "1,1", "goal": "1,1"}, "same square"),
        ({"doors": 4}, "doors\n  Input should be less than or equal to 3"),
        ({"doors": 3, "width": 7}, "doors must be at most 2 in a maze of 7×9, not 3"),
        ({"braid": 1.5}, "braid\n  Input should be less than or equal to 1"),
        ({"view": "top"}, "view\n  Input should be 'full', 'local', 'position' or 'square'"),
    ],
)
def test_what_makes_no_maze_is_said(arguments: dict, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Maze(**arguments)


def test_numpy_numbers_are_arguments_too() -> None:
    config = Maze(width=np.int64(7), doors=np.int32(1), braid=np.float32(0.5)).config  # type: ignore[arg-type]
    assert (config.width, config.doors, config.braid) == (7, 1, 0.5)


@pytest.mark.parametrize("arguments", [{}, {"view": "local"}, {"doors": 2, "width": 13}])
def test_mazes_can_be_drawn(arguments: dict) -> None:
    env = Maze(**arguments, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[0] % 2 == first.shape[1] % 2 == 0
    for action in range(4):
        env.step(action)
    assert (env.render() != first).any()
    text = Maze(**arguments, render_mode="ansi")
    text.reset(seed=0)
    lines = text.render().splitlines()
    assert len(lines) == text.config.height
    assert {len(line) for line in lines} == {text.config.width}
    assert "@" in text.render()
    assert "*" in text.render()
