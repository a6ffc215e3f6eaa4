"""Go as PettingZoo knows it."""

import warnings

import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from pettingzoo.test import api_test, seed_test

from envs.go.aec import GoGame
from envs.go.board import BLACK, Board, Rules


def test_pettingzoo_finds_nothing_to_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # An observation with a mask is a dictionary, which PettingZoo allows its own games only.
        warnings.filterwarnings("ignore", message="Observation space for each agent probably")
        warnings.filterwarnings("ignore", message="Observation is not a NumPy array")
        warnings.filterwarnings("ignore", message="Action mask numpy array is all zeros")
        api_test(GoGame(5), num_cycles=1000)
        seed_test(lambda: GoGame(5), num_cycles=100)


def test_both_see_the_board_from_their_side_and_one_may_move() -> None:
    env = GoGame(5)
    env.reset()
    env.step(12)
    assert env.agent_selection == "white_0"
    white, black = env.observe("white_0"), env.observe("black_0")
    np.testing.assert_array_equal(white["observation"][:2], black["observation"][1::-1])
    assert white["action_mask"].sum() == 25
    assert black["action_mask"].sum() == 0


@pytest.mark.parametrize(("komi", "black"), [(0.5, 1), (25.5, -1), (25, 0)])
def test_the_area_decides(komi: float, black: int) -> None:
    env = GoGame(5, komi)
    env.reset()
    for action in (12, 25, 25):
        env.step(action)
    assert env.rewards == {"black_0": black, "white_0": -black}
    assert all(env.terminations.values())
    for agent in env.agent_iter():
        _, reward, terminated, _, _ = env.last()
        assert terminated
        assert reward == (black if agent == "black_0" else -black)
        env.step(None)
    assert env.agents == []


def test_an_illegal_move_loses() -> None:
    env = GoGame(5)
    env.reset()
    env.step(12)
    env.step(12)
    assert env.rewards == {"black_0": 1, "white_0": -1}


def test_what_is_no_action_is_said() -> None:
    env = GoGame(5)
    env.reset()
    with pytest.raises(ValueError, match="a number from 0 to 25, not 26"):
        env.step(26)


def test_white_begins_a_handicap_game() -> None:
    env = GoGame(9, handicap=2)
    env.reset()
    assert env.agent_selection == "white_0"
    assert (env.board.stones == BLACK).sum() == 2


def test_it_is_the_same_game_as_the_boards() -> None:
    env, board = GoGame(5, render_mode="ansi"), Board(Rules(5))
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(30):
        seen = env.observe(env.agent_selection)
        np.testing.assert_array_equal(seen["observation"], board.planes())
        np.testing.assert_array_equal(seen["action_mask"], board.legal())
        action = int(rng.choice(np.flatnonzero(board.legal()[:-1])))
        env.step(action)
        board.play(action)
    assert "X" in env.render()
