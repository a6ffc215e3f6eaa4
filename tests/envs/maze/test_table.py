"""One maze as numbered states: its table says what its steps do."""

import copy

import numpy as np
import pytest

from envs.maze.maze import Maze
from envs.maze.vector import MazeVector

ARGUMENTS = {
    "width": 7,
    "height": 7,
    "view": "square",
    "maze_seed": 7,
    "doors": 1,
    "max_steps": 100_000,
}


@pytest.mark.parametrize("reward", ["sparse", "step_cost"])
def test_the_table_says_what_steps_do(reward: str) -> None:
    env, rng = Maze(**ARGUMENTS, reward=reward), np.random.default_rng(0)
    vector = MazeVector(1, **ARGUMENTS, reward=reward)
    state, _ = env.reset(seed=0)
    assert vector.reset(seed=0)[0].tolist() == [state]
    seen = {state}
    for _ in range(3_000):
        action = int(rng.integers(4))
        [(probability, *outcome)] = env.P[state][action]
        state, earned, terminated, _, _ = env.step(action)
        assert (probability, *outcome) == (1.0, state, pytest.approx(earned), terminated)
        assert vector.step(np.array([action]))[0].tolist() == [state]
        seen.add(state)
        if terminated:
            state, _ = env.reset()
            vector.step(np.array([0]))
    assert {s // 49 for s in seen} >= {0, 1, 2}  # the key was fetched, and the door opened
    assert env.desc[divmod(min(seen) % 49, 7)] != b"#"


def test_every_episode_and_test_is_in_the_maze_of_its_seed() -> None:
    mazes = [
        Maze(maze_seed=maze_seed, split=split)
        for maze_seed, split in ((7, "train"), (7, "test"), (8, "train"))
    ]
    for seed, maze in enumerate(mazes):
        maze.reset(seed=seed)
        _, info = maze.reset()
        assert info["maze_seed"] == maze.config.maze_seed
    assert (mazes[0].planes == mazes[1].planes).all()
    assert (mazes[0].planes != mazes[2].planes).any()


def test_squares_of_many_mazes_are_refused() -> None:
    with pytest.raises(ValueError, match="maze_seed, such as 7"):
        Maze(view="square")
    assert not hasattr(Maze(maze_seed=7), "P")


@pytest.mark.parametrize("view", ["full", "local", "position"])
def test_a_copy_goes_on_by_itself(view: str) -> None:
    maze = Maze(view=view, doors=1)
    maze.reset(seed=3)
    other = copy.deepcopy(maze)
    rng = np.random.default_rng(0)
    before = maze._observation().copy()
    actions = rng.integers(4, size=200).tolist()
    ends = [other.step(action)[0] for action in actions]
    assert (maze._observation() == before).all()
    for action, end in zip(actions, ends, strict=True):
        assert (maze.step(action)[0] == end).all()
    assert (maze.reset()[0] == other.reset()[0]).all()
