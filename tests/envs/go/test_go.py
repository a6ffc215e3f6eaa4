"""Go as a world to learn in, and that the compiled vector environment plays the same."""

import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.go.board import BLACK, WHITE, Board, Rules
from envs.go.go import Go
from envs.go.opponents import RANDOM, move_of, new_work
from envs.go.program import ProgramError
from envs.go.vector import GoVector

assert envs  # registers the ids

GNUGO = Path("/usr/games/gnugo")


def _same(single: Any, vector: Any, seed: int, steps: int, wild: float = 0.02) -> None:
    """Play both and compare everything they give; a share of the actions is not looked at first."""
    ours, theirs = vector.reset(seed=seed), single.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for a, b in zip(ours[:-1], theirs[:-1], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        assert ours[-1].keys() == theirs[-1].keys()
        for name, value in theirs[-1].items():
            np.testing.assert_array_equal(ours[-1][name], value)
        masks = ours[-1]["action_mask"]
        legal = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        any_action = rng.integers(0, masks.shape[1], len(masks))
        actions = np.where(rng.random(len(masks)) < wild, any_action, legal)
        ours, theirs = vector.step(actions), single.step(actions)


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "size": st.integers(5, 9),
            "komi": st.sampled_from([0.0, 7.0, -3.5]),
            "ko": st.sampled_from(["simple", "positional", "situational"]),
            "suicide": st.booleans(),
            "handicap": st.just(0),
            "opponent": st.sampled_from(["random", "self"]),
            "colour": st.sampled_from(["black", "white", "both"]),
            "max_moves": st.sampled_from([0, 11]),
        }
    ),
    st.integers(0, 2**31),
)
def test_the_vector_environment_is_many_single_ones(arguments: dict, seed: int) -> None:
    single = SyncVectorEnv([lambda: Go(**arguments)] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    _same(single, GoVector(3, **arguments), seed, 120)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 9, "handicap": 4, "colour": "white"},
        {"size": 9, "handicap": 2, "ko": "situational"},
        {"size": 19, "opponent": "self", "suicide": True},
        {"size": 5, "opponent": "playout", "colour": "both", "max_moves": 20},
    ],
)
def test_so_it_is_on_large_boards_with_handicap_and_a_stronger_opponent(arguments: dict) -> None:
    single = SyncVectorEnv([lambda: Go(**arguments)] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    _same(single, GoVector(2, **arguments), 3, 40)


def test_many_boards_go_on_in_threads_as_few_do_in_one() -> None:
    few, many = GoVector(2, 5), GoVector(200, 5)
    _, info = few.reset(seed=7)
    _, infos = many.reset(seed=7)
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = np.zeros(200, np.int64)
        actions[:2] = [rng.choice(np.flatnonzero(mask)) for mask in info["action_mask"]]
        observations, rewards, *_, info = few.step(actions[:2])
        observations_of_many, rewards_of_many, *_, infos = many.step(actions)
        np.testing.assert_array_equal(observations, observations_of_many[:2])
        np.testing.assert_array_equal(rewards, rewards_of_many[:2])
        np.testing.assert_array_equal(info["action_mask"], infos["action_mask"][:2])


def test_observation_and_mask_are_those_of_the_board() -> None:
    env = Go(5, opponent="self")
    observation, info = env.reset(seed=0)
    board = Board(Rules(5))
    for action in (12, 7, 11, 25, 13):
        np.testing.assert_array_equal(observation, board.planes())
        np.testing.assert_array_equal(info["action_mask"], board.legal())
        observation, reward, terminated, truncated, info = env.step(action)
        board.play(action)
        assert (reward, terminated, truncated) == (0.0, False, False)
    np.testing.assert_array_equal(env.board.stones, board.stones)


@pytest.mark.parametrize(("komi", "reward"), [(0.5, 1.0), (25.5, -1.0), (25.0, 0.0)])
def test_two_passes_end_the_game_and_the_area_decides(komi: float, reward: float) -> None:
    env = Go(5, komi, opponent="self")
    env.reset(seed=0)
    for action in (12, 25, 11):  # black, pass, black
        env.step(action)
    *_, terminated, _, _ = env.step(25)
    assert not terminated
    _, last, terminated, truncated, info = env.step(25)
    assert terminated
    assert not truncated
    # Black alone is on the board and owns all of it; black passed last.
    assert last == reward
    assert info["margin"] == 25 - komi
    assert info["win"] == (reward + 1) / 2
    assert info["action_mask"].sum() == 1


def test_playing_both_sides_the_reward_is_for_who_moved_last() -> None:
    env = Go(5, 0.5, opponent="self")
    env.reset(seed=0)
    env.step(12)
    env.step(25)
    env.step(25)
    env.reset(seed=0)
    env.step(12)
    env.step(25)
    env.step(6)
    env.step(25)
    _, reward, *_ = env.step(25)
    assert reward == 1  # black
    env.reset(seed=0)
    env.step(25)
    _, reward, *_ = env.step(25)
    assert reward == 1  # white, by komi


def test_an_illegal_move_loses_at_once() -> None:
    env = Go(5, opponent="self")
    env.reset(seed=0)
    env.step(12)
    before = env.board.stones
    _, reward, terminated, truncated, info = env.step(12)
    assert (reward, terminated, truncated, info["win"]) == (-1.0, True, False, 0.0)
    assert "margin" not in info
    np.testing.assert_array_equal(env.board.stones, before)


@pytest.mark.parametrize("action", [-1, 26, 1.5])
def test_what_is_no_action_is_said(action: Any) -> None:
    env = Go(5)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"a number from 0 to 25, not {action}"):
        env.step(action)


def test_after_the_last_move_the_game_is_counted_as_it_stands() -> None:
    env = Go(5, 0.5, opponent="self", max_moves=3)
    env.reset(seed=0)
    env.step(12)
    env.step(0)
    _, reward, terminated, truncated, info = env.step(13)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["margin"] == 0.5  # two stones to one, and all the rest is between the two


def test_the_learner_plays_the_colour_it_asked_for() -> None:
    for colour in (BLACK, WHITE):
        env = Go(5, colour=("black", "white")[colour - 1])
        for seed in range(5):
            env.reset(seed=seed)
            assert env.board.to_play == env.colour == colour
            assert len(env.board.moves) == colour - 1
    env = Go(5, colour="both")
    seen = set()
    for seed in range(20):
        env.reset(seed=seed)
        assert env.board.to_play == env.colour
        seen.add(env.colour)
    assert seen == {BLACK, WHITE}


def test_white_begins_a_handicap_game() -> None:
    env = Go(9, handicap=3)
    env.reset(seed=0)
    assert (env.board.stones == BLACK).sum() == 3
    assert (env.board.stones == WHITE).sum() == 1
    assert env.board.to_play == env.colour == BLACK


def test_the_same_seed_gives_the_same_games() -> None:
    env = Go(5, colour="both")
    games = []
    for _ in range(2):
        env.reset(seed=4)
        moves = []
        for _ in range(3):
            for _ in range(6):
                env.step(int(np.flatnonzero(env.board.legal())[0]))
            moves.append(list(env.board.moves))
            env.reset()
        games.append(moves)
    assert games[0] == games[1]
    assert games[0][0] != games[0][1]


def test_the_opponent_playout_is_much_stronger_than_random() -> None:
    scores = {}
    for opponent in ("random", "playout"):
        env, won = Go(5, 0.5, opponent=opponent, colour="both"), []
        work, random = new_work(1, env.rules), np.array([1], np.uint64)
        for seed in range(40):
            env.reset(seed=seed)
            terminated = False
            while not terminated:
                action = move_of(RANDOM, env.board.boards, 0, *work, 0.5, random)
                *_, terminated, _, info = env.step(action)
            won.append(info["win"])
        scores[opponent] = np.mean(won)
    assert 0.25 < scores["random"] < 0.75
    assert scores["playout"] < 0.1


def test_the_opponent_playout_passes_to_win() -> None:
    env = Go(5, 25.5, opponent="playout")  # white has won by its first stone
    env.reset(seed=0)
    _, reward, terminated, _, _ = env.step(25)
    for _ in range(10):
        if terminated:
            break
        _, reward, terminated, _, _ = env.step(25)
    assert terminated
    assert reward == -1


@pytest.mark.parametrize("world", ["Fathom/Go-v0", "Fathom/Go9-v0", "Fathom/Go19-v0"])
def test_gymnasium_finds_nothing_to_say(world: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(world, render_mode="rgb_array").unwrapped)
    vector = gym.make_vec(world, 2)
    assert isinstance(vector.unwrapped, GoVector)
    size = 19 if world == "Fathom/Go19-v0" else 9
    assert vector.single_observation_space.shape == (19, size, size)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 4}, "size\n  Input should be greater than or equal to 5"),
        ({"size": 20}, "size\n  Input should be less than or equal to 19"),
        ({"komi": float("nan")}, "komi\n  Input should be a finite number"),
        ({"ko": "super"}, "ko\n  Input should be 'simple', 'positional' or 'situational'"),
        ({"colour": "green"}, "colour\n  Input should be 'black', 'white' or 'both'"),
        ({"handicap": 1}, "handicap stones, not 1"),
        ({"size": 5, "handicap": 2}, "a board of 5 has no handicap points"),
        ({"max_moves": -1}, "max_moves\n  Input should be greater than or equal to 0"),
        ({"opponent": " "}, 'opponent must be "random", "playout", "self"'),
        ({"render_mode": "human"}, "there is no render mode 'human'"),
    ],
)
def test_what_makes_no_game_is_said(arguments: dict, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Go(**arguments)


def _program(*moves: str) -> str:
    """The command line of a program that plays these moves, and then passes."""
    body = (
        f"import sys; moves = {list(moves)!r}\n"
        "for line in sys.stdin:\n"
        "    said = (moves.pop(0) if moves else 'pass') if 'genmove' in line else ''\n"
        "    print('=', said, end='\\n\\n', flush=True)\n"
    )
    return shlex.join([sys.executable, "-c", body])


def test_a_program_can_be_the_opponent() -> None:
    env = Go(5, opponent=_program("C3"), colour="white")
    env.reset(seed=0)
    assert env.board.moves == [(BLACK, 12)]
    _, reward, terminated, _, info = env.step(25)
    assert terminated  # it passed too
    assert reward == -1
    assert info["margin"] == -18
    env.close()


def test_a_program_that_resigns_has_lost() -> None:
    env = Go(5, opponent=_program("resign"))
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(0)
    assert terminated
    assert reward == info["win"] == 1
    assert "margin" not in info
    env.close()


@pytest.mark.parametrize("move", ["A5", "Z9"])
def test_a_program_that_plays_against_the_rules_is_said(move: str) -> None:
    env = Go(5, opponent=_program(move))
    env.reset(seed=0)
    says = "played A5, which is not legal here" if move == "A5" else "is no point of a 5×5 board"
    with pytest.raises(ProgramError, match=says):
        env.step(0)
    env.close()


def test_a_program_that_is_not_there_is_said_at_the_first_game() -> None:
    env = Go(5, opponent="no-such-program")
    with pytest.raises(ProgramError, match="the program no-such-program is not installed"):
        env.reset(seed=0)


def test_the_vector_environment_plays_programs_too() -> None:
    arguments: dict = {"size": 5, "opponent": _program("C3", "C4", "A1"), "colour": "white"}
    single = SyncVectorEnv([lambda: Go(**arguments)] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    vector = GoVector(2, **arguments)
    _same(single, vector, 0, 8, wild=0.0)
    single.close()
    vector.close()


@pytest.mark.skipif(not GNUGO.exists(), reason="GNU Go is not installed")
def test_gnu_go_can_be_the_opponent() -> None:
    command = f"{GNUGO} --mode gtp --level 1 --chinese-rules --seed 1"
    env = Go(5, opponent=command)
    _, info = env.reset(seed=0)
    terminated = False
    while not terminated:
        mask = info["action_mask"]
        _, reward, terminated, _, info = env.step(int(np.flatnonzero(mask)[0]))
    assert reward == -1
    env.close()
