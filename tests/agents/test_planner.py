"""The planner searches in copies of the true environment."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import fathom
from agents.agent import UnsuitableEnvironmentError
from agents.planner import Copies, Planner, PlannerConfig, Situation, copy_of
from agents.search.mcts import uct
from envs import atari
from fathom.environments import resolve
from fathom.environments.environment_spec import EnvironmentSpec
from fathom.errors import FathomError
from fathom.evaluation import evaluate

TICTACTOE = f"{Path(__file__).parents[2] / 'examples' / 'tictactoe.py'}:TicTacToe"


def planner(world: EnvironmentSpec, **options: Any) -> Planner:
    env = world.make_vector(1, training=True)
    return Planner.for_env(env, PlannerConfig(**options))


def copyable(name: str, **arguments: Any) -> EnvironmentSpec:
    return dataclasses.replace(resolve(name, arguments), copyable=True)


def test_it_does_not_lose_against_a_perfect_player() -> None:
    world = copyable(TICTACTOE, opponent="perfect")
    agent = planner(world, simulations=100, exploration=1.0, discount=1.0)
    assert min(evaluate(agent, world, 3, seed=0, num_envs=1).returns) == 0


def test_it_walks_the_shortest_way_that_simulations_see() -> None:
    world = copyable("CliffWalking-v1")
    env = world.make_single(None)
    env.reset(seed=0)
    env.unwrapped.s = 3 * 12  # the start; the goal is 13 steps away, and the cliff between them
    agent = planner(world, simulations=60, rollout_length=5, exploration=10.0)
    agent.attach(env)
    rng = np.random.default_rng(0)
    for _ in range(5):  # an unlucky simulation must not push it over the edge
        [action] = agent.act(np.array([[env.unwrapped.s]], np.int16), None, np.zeros(1, bool), rng)
        _, reward, *_ = env.step(action)
        assert reward == -1


class Coin(gym.Env):
    """Action 0 pays 0.4; action 1 pays 1 where a coin shows heads, and else nothing."""

    observation_space, action_space = spaces.Discrete(3), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: int) -> Any:
        heads = int(self.np_random.random() < 0.25)
        return 1 + heads, float(heads) if action else 0.4, True, False, {}


def test_chance_is_tried_and_not_foreseen() -> None:
    env = Coin()
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    config = PlannerConfig(discount=1.0)
    model = Copies(config, env.observation_space, env.action_space, None, rng)
    root = uct(
        model, Situation(env, np.zeros((1, 1), np.int16), np.arange(2)), 400, outcome=model.outcome
    )
    assert root.totals[1] / root.visits[1] == pytest.approx(0.25, abs=0.1)
    assert len(root.children[1]) == 2
    assert root.most_visited() == 0


def first_legal(info: dict[str, Any]) -> int:
    return int(np.flatnonzero(info.get("action_mask", [False, True]))[0])


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1", "Fathom/Maze-v0", "Fathom/Go-v0"])
def test_a_copy_leaves_the_environment_as_it_was(name: str) -> None:
    env, twin = (resolve(name).make_single("rgb_array") for _ in range(2))
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=1)
    twin.reset(seed=1)
    env.render()  # a window is no part of a copy
    for _ in range(3):
        copied, copied_info, over = copy_of(env, rng), info, False
        for _ in range(5):
            if not over:
                _, _, terminated, truncated, copied_info = copied.step(first_legal(copied_info))
                over = terminated or truncated
        one, two = env.step(first_legal(info)), twin.step(first_legal(info))
        np.testing.assert_equal(one[0], two[0])
        assert one[1:4] == two[1:4]
        info = one[4]


def test_atari_games_and_their_copies_share_an_emulator() -> None:
    config = atari.AtariConfig()
    env = atari.AtariCopyable("ALE/Pong-v5", config)
    twin = atari.AtariCopyable("ALE/Pong-v5", config)
    rng = np.random.default_rng(0)
    for one in (env, twin):
        one.reset(seed=3)
    for step in range(12):
        copied = copy_of(env, rng)
        for _ in range(3):
            copied.step(2)
        one, two = env.step(step % 6), twin.step(step % 6)
        assert (one[0] == two[0]).all()
        assert one[1:] == two[1:]
    reference = atari.make_single("ALE/Pong-v5", config, None)
    own = atari.AtariCopyable("ALE/Pong-v5", config)
    shown, seen = reference.reset(seed=0)[0], own.reset(seed=0)[0]
    assert seen.shape == shown.shape
    assert np.abs(seen[-1].astype(int) - shown[-1]).mean() < 1


class Stuck(Coin):
    """It holds what cannot be copied."""

    def __init__(self) -> None:
        self.file = open(__file__)  # noqa: SIM115


def test_what_cannot_be_copied_is_refused_in_a_sentence() -> None:
    with pytest.raises(UnsuitableEnvironmentError, match="cannot be copied in the midst of an ep"):
        copy_of(Stuck(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="tries numbered actions"):
        planner(copyable("Pendulum-v1"))
    with pytest.raises(ValueError, match="uct follows no prior"):
        planner(copyable("FrozenLake-v1"), prior="somewhere")
    agent = planner(copyable("FrozenLake-v1"))
    with pytest.raises(ValueError, match="where it can copy the environment"):
        agent.predict(3)


def test_a_trained_run_is_the_prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quiet: dict[str, Any] = {"progress": False, "env_args": {"max_episode_steps": 6}}
    fathom.train("ppo", "FrozenLake-v1", **quiet, steps=256, evaluation_episodes=0, name="weak")
    run = fathom.train(
        "planner", "FrozenLake-v1", **quiet, prior="weak", search="gumbel", simulations=8,
        evaluation_episodes=2, record=True, name="plan",
    )  # fmt: skip
    assert run.evaluations()[-1]["mean"] >= 0
    assert list(Path("runs/plan/videos").glob("*.mp4"))
    assert run.evaluate(episodes=1).count == 1
    for prior, world, sentence in (
        ("plan", "FrozenLake-v1", "has learnt nothing"),
        ("nobody", "FrozenLake-v1", "there is no run 'nobody'"),
        ("weak", "FrozenLake8x8-v1", "the prior was trained on observations"),
    ):
        with pytest.raises(FathomError, match=sentence):
            fathom.train("planner", world, **quiet, prior=prior, search="puct")
