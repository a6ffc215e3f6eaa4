"""What an environment may add to Gymnasium's contract, and what Fathom makes of it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fathom.environments import resolve
from fathom.errors import FathomError

TICTACTOE = Path(__file__).parents[3] / "examples" / "tictactoe.py"

PASSES = """
import sys
for line in sys.stdin:
    print("= pass\\n" if line.startswith("genmove") else "= \\n", flush=True)
"""

HOOKED = """
import gymnasium

class Hooked(gymnasium.Env):
    metadata = {"render_modes": []}
    path_arguments = {"level": (".txt",)}

    def __init__(self, level: str = "", split: str = "train"):
        self.observation_space = gymnasium.spaces.Box(0, 1, (2,))
        self.action_space = gymnasium.spaces.Discrete(2)
        self.level, self.split = level, split
"""


@dataclass
class StandIn:
    """A trained run that only passes."""

    folder: Path

    def model(self) -> Any:
        return None

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-c", PASSES, name]


def test_a_run_is_given_to_the_environment_in_place_of_its_name(tmp_path: Path) -> None:
    run = StandIn(tmp_path)
    asked = []

    def open_run(text: str) -> StandIn | None:
        asked.append(text)
        return run if text == "mine" else None

    spec = resolve("Fathom/Go-v0", {"size": "5", "opponent": "mine"}, open_run)
    assert spec.env_args["opponent"] == str(tmp_path), "what the run's settings hold is a text"
    assert spec.describe()["opponent"] == str(tmp_path)
    env = spec.make_single(None)
    env.reset(seed=1)
    assert env.unwrapped.config.opponent is run  # type: ignore[attr-defined]
    _, reward, over, *_ = env.step(25)
    assert over, "both have passed"
    assert reward == -1.0
    env.close()
    assert asked == ["mine"]


def test_other_texts_are_left_as_they_are() -> None:
    asked = []

    def open_run(text: str) -> None:
        asked.append(text)

    for opponent in ("random", "gnugo --mode gtp"):
        spec = resolve("Fathom/Go-v0", {"opponent": opponent}, open_run)
        assert spec.env_args["opponent"] == opponent
        assert spec.runs == {}
    assert asked == ["gnugo --mode gtp"], "a built-in opponent is never looked up"


def test_paths_hold_in_any_folder_and_the_split_is_fathom_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooked.py").write_text(HOOKED)
    (tmp_path / "one.txt").touch()
    (tmp_path / "one").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve("hooked.py:Hooked", {"level": "one.txt"}).env_args == {
        "level": str(tmp_path / "one.txt")
    }
    assert resolve("hooked.py:Hooked", {"level": "one"}).env_args == {"level": "one"}
    assert resolve("hooked.py:Hooked", {"level": "two.txt"}).env_args == {"level": "two.txt"}
    spec = resolve("hooked.py:Hooked")
    assert spec.make_single(None).unwrapped.split == "test"  # type: ignore[attr-defined]
    assert spec.make_single(None, training=True).unwrapped.split == "train"  # type: ignore[attr-defined]
    assert spec.describe()["env.split"] == "test"
    with pytest.raises(FathomError, match=r"--env.split cannot be set"):
        resolve("hooked.py:Hooked", {"split": "train"})


def test_an_opponent_can_be_the_learner_itself() -> None:
    game = resolve(f"{TICTACTOE}:TicTacToe", {"opponent": "perfect"}).for_self_play()
    env = game.make_single(None)
    first, _ = env.reset(seed=0)
    seen = [env.step(move) for move in (0, 3, 1, 4, 2)]
    env.close()
    assert not first.any()
    assert [reward for _, reward, *_ in seen] == [0, 0, 0, 0, 1], "who moves last wins"
    assert seen[0][0].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0], "the other player is to move"
    assert seen[-1][2]
    with pytest.raises(FathomError, match="no argument `opponent`"):
        resolve("CartPole-v1").for_self_play()
