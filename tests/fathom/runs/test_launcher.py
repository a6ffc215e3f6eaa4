"""What is printed before a training, and what is refused leaves nothing."""

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.dqn import DQN, DQNConfig
from agents.ppo import PPO, PPOConfig
from fathom.cli import main
from fathom.runs.launcher import _readers


class Sees(gymnasium.Env):
    """Has an observation space, and is never stepped."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space) -> None:
        self.observation_space = space


PARTS = spaces.Dict(
    camera=spaces.Box(0, 255, (84, 84, 3), np.uint8),
    direction=spaces.Discrete(4),
    map=spaces.Box(0, 1, (7, 7, 2)),
    robot=spaces.Dict(arm=spaces.Box(-1, 1, (6,)), load=spaces.Box(-1, 1, ())),
    way=spaces.Sequence(spaces.Box(-1, 1, (2,))),
)


@pytest.mark.parametrize("kind", [PPO, DQN])
@pytest.mark.parametrize(
    ("space", "line"),
    [
        (spaces.Box(0, 255, (4, 40, 40, 3), np.uint8), "4×40×40×3 uint8 → CNN"),
        (spaces.Box(-1, 1, (3,)), "3 → MLP"),
        (spaces.Discrete(1_000_000), "1,000,000 values → embedding"),
        (spaces.MultiBinary(8), "8 bits → MLP"),
        (
            PARTS,
            "camera 84×84×3 uint8 → CNN, direction 4 values → embedding, map 7×7×2 → planner,"
            " robot.arm 6 → MLP, robot.load 1 number → MLP, way sequence → GRU",
        ),
    ],
)
def test_each_part_of_an_observation_is_listed_with_its_network(
    kind: Any, space: spaces.Space, line: str
) -> None:
    envs = SyncVectorEnv([partial(Sees, space)], autoreset_mode=AutoresetMode.NEXT_STEP)
    config = PPOConfig(hidden_size=8) if kind is PPO else DQNConfig(hidden_size=8)
    assert _readers(kind.for_env(envs, config)) == f"observation: {line}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["muzero", "CartPole-v1", "--players", "2"], "has no argument `opponent`"),
        (["value-iteration", "Blackjack-v1"], "it has no table P of its transitions"),
    ],
)
def test_an_agent_that_cannot_learn_there_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["train", *words, "--runs-dir", str(tmp_path / "runs")]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*"))
