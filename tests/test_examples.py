"""The environments under examples/ keep Gymnasium's contract, can be recorded, and are learnt; so is the task."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from fathom.cli import main
from fathom.environments import resolve
from fathom.environments.check import check

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = {
    "corridor.py:Corridor": ("--steps 6_000 --learning-rate 5e-3", 0.8),
    "thermostat.py:Thermostat": ("--steps 16_000 --learning-rate 1e-2 --discount 0.95", 30.0),
    "tictactoe.py:TicTacToe": ("--steps 12_000 --learning-rate 1e-2", 0.3),
}
"""Flags for a short training of PPO, and a score that no agent reaches without learning."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_checker_has_nothing_to_say(name: str) -> None:
    world = resolve(f"{FOLDER / name}", {})
    assert check(world) == []
    env = world.make_single("rgb_array").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        env.reset(seed=0)
        picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


@pytest.mark.parametrize("name", EXAMPLES)
def test_ppo_learns_it_and_it_is_recorded(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, enough = EXAMPLES[name]
    where = ["--runs-dir", str(tmp_path), "--json"]
    words = ["train", "ppo", f"{FOLDER / name}", "--name", "short", "--threads", "1"]
    assert main([*words, *flags.split(), "--evaluation-episodes", "64", *where]) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["mean"] > enough
    assert main(["record", "short", *where]) == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert Path(video).stat().st_size > 1_000


def test_dqn_learns_what_has_a_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (
        "--steps 6_000 --learning-rate 1e-3 --hidden-size 64 --learning-starts 500 --epsilon-steps 3_000"
        " --replay-capacity 10_000 --evaluation-episodes 64 --threads 1 --json"
    )
    words = ["train", "dqn", f"{FOLDER / 'tictactoe.py'}:TicTacToe", "--runs-dir", str(tmp_path)]
    assert main([*words, *flags.split()]) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["mean"] > 0.3


def test_dqn_learns_the_corridor_by_its_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "dqn", f"{FOLDER / 'corridor.py'}:Corridor", "--runs-dir", str(tmp_path)]
    flags = "--steps 12_000 --evaluation-episodes 64 --threads 1 --json"
    assert main([*words, *flags.split()]) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["mean"] > 0.8


def test_an_illegal_move_in_tictactoe_loses_and_the_mask_tells_of_it() -> None:
    env = resolve(f"{FOLDER / 'tictactoe.py'}:TicTacToe", {}).make_single(None)
    board, info = env.reset(seed=1)
    while 2 not in board:  # until the opponent begins
        board, info = env.reset()
    taken = np.flatnonzero(board)[0]
    assert not info["action_mask"][taken]
    _, reward, terminated, _, _ = env.step(taken)
    assert (reward, terminated) == (-1, True)


def test_against_the_perfect_player_of_tictactoe_nobody_wins() -> None:
    env = resolve(f"{FOLDER / 'tictactoe.py'}:TicTacToe", {"opponent": "perfect"}).make_single(None)
    rng, rewards = np.random.default_rng(0), []
    for seed in range(40):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            move = rng.choice(np.flatnonzero(info["action_mask"]))
            _, reward, over, _, info = env.step(move)
        rewards.append(reward)
    assert set(rewards) == {-1, 0}, "it draws sometimes, and wins what can be won"


def test_the_task_paints_the_pixels_that_it_was_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--runs-dir", str(tmp_path)]
    words = ["fit", str(FOLDER / "my_task.py"), "--epochs", "1", "--threads", "1", "--json"]
    assert main([*words, *where]) == 0
    evaluation = json.loads(capsys.readouterr().out)["evaluation"]
    assert (evaluation["score"], evaluation["table"][2][1]) == ("PSNR", 22.97)
    assert evaluation["mean"] > 18, "the mean colour of the photograph gives 11"
    assert (tmp_path / "china-photograph" / "pictures" / "photograph.png").is_file()
    assert main(["predict", "china-photograph", "0.05,0.9", *where, "--json"]) == 0
    (sky,) = json.loads(capsys.readouterr().out)["predictions"]
    assert sky["blue"] > 180
    for wrong in ("0.05", "nan,0.5", "5,0.5"):
        assert main(["predict", "china-photograph", wrong, *where]) == 2
        assert "two numbers" in capsys.readouterr().err
