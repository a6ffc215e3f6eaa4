"""AlphaGo's shape learns: the moves of others, and from its own games."""

import random
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from agents.agent import AgentState, RunContext, UnsuitableEnvironmentError
from agents.alphago import AlphaGo, AlphaGoConfig
from agents.parts.positions import in_all_symmetries, symmetric
from agents.search.go_search import GoSearch, SearchConfig
from envs.go.board import BLACK, Board, IllegalMoveError, Rules
from envs.go.games import GamesError, expert_games
from envs.go.go import Go
from envs.go.vector import GoVector

SIZE = 5
OBSERVATIONS = gym.spaces.Box(0, 1, (19, SIZE, SIZE), np.uint8)
ACTIONS = gym.spaces.Discrete(SIZE * SIZE + 1)


def _agent(
    config: AlphaGoConfig, storage: Path, steps: int, segment_steps: int | None = None
) -> AlphaGo:
    torch.manual_seed(0)
    context = RunContext(config.num_envs, segment_steps or steps, steps, storage=storage)
    return AlphaGo(OBSERVATIONS, ACTIONS, config, context)


def _write_games(folder: Path, games: int) -> None:
    """Two stones anywhere, then whoever is to move plays the first free point, row by row."""
    folder.mkdir()
    rng = random.Random(0)
    for number in range(games):
        board, record = Board(Rules(SIZE)), ""
        moves = rng.sample(range(SIZE * SIZE), 2)
        for move in range(14):
            colour = "B" if board.to_play == BLACK else "W"
            action = moves[move] if move < 2 else int(board.legal().argmax())
            try:
                board.play(action)
            except IllegalMoveError:
                break
            row, column = divmod(action, SIZE)
            record += f";{colour}[{'abcde'[column]}{'abcde'[row]}]"
        (folder / f"{number}.sgf").write_text(f"(;GM[1]SZ[{SIZE}]RE[B+R]{record})")


def test_it_learns_the_moves_of_experts(tmp_path: Path) -> None:
    _write_games(tmp_path / "games", 150)
    config = AlphaGoConfig(
        expert_games=str(tmp_path / "games"), layers=4, width=16, batch_size=32, learning_rate=5e-3
    )
    agent = _agent(config, tmp_path, 8_000)
    with closing(GoVector(agent.context.num_envs, size=SIZE)) as env:
        *_, report = agent.train(env, 8_000, seed=0)
    # Symmetry hides which corner is the first; what was played before tells it nearly always.
    assert report["test_top_1"] > 0.5
    assert report["test_top_5"] > 0.8


def test_it_learns_what_its_search_finds(tmp_path: Path) -> None:
    config = AlphaGoConfig(
        layers=4, width=16, num_envs=16, simulations=4, batch_size=32, learning_rate=5e-3
    )
    agent = _agent(config, tmp_path, 4_000)
    with closing(GoVector(agent.context.num_envs, size=SIZE, komi=0.5, opponent="self")) as env:
        losses = [report["policy_loss"] for report in agent.train(env, 4_000, seed=0)]
    assert losses[0] > 2.8  # the logarithm of 26 actions is 3.3
    assert losses[-1] < 0.9 * losses[0]


def test_the_games_that_the_end_of_a_run_cuts_off_are_learnt_from(tmp_path: Path) -> None:
    agent = _agent(AlphaGoConfig(layers=4, width=16, num_envs=8, simulations=2), tmp_path, 80)
    before = {name: weight.clone() for name, weight in agent.state().weights.items()}
    with closing(GoVector(agent.context.num_envs, size=SIZE, komi=0.5, opponent="self")) as env:
        *_, report = agent.train(env, 80, seed=0)
    assert report["updates"] > 0
    assert any((agent.state().weights[name] != weight).any() for name, weight in before.items())


def test_some_games_of_self_play_begin_with_random_moves(tmp_path: Path) -> None:
    agent = _agent(AlphaGoConfig(layers=4, width=8, num_envs=64, simulations=1), tmp_path, 64)
    with closing(GoVector(agent.context.num_envs, size=SIZE, opponent="self")) as env:
        list(agent.train(env, 64, seed=0))  # one move in each of 64 games
    stones = np.unpackbits(agent.replay.planes, axis=1)[:, : 2 * SIZE * SIZE].sum(axis=1)
    assert set(stones) == {0, 2, 3, 4}
    assert 32 < (stones == 0).sum() < 60


def test_it_learns_from_experts_first_and_then_from_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _write_games(tmp_path / "games", 150)
    (tmp_path / "games" / "broken.sgf").write_text("(;SZ[5];B[aa];W[ff])")
    config = AlphaGoConfig(
        expert_games=str(tmp_path / "games"), expert_share=0.4, layers=4, width=16, batch_size=32,
        num_envs=16, simulations=4,
    )  # fmt: skip
    agent = _agent(config, tmp_path, 1_800, segment_steps=600)
    with (
        closing(GoVector(agent.context.num_envs, size=SIZE)) as env,
        pytest.warns(UserWarning, match="left out") as warned,
    ):
        ends = [list(agent.train(env, 600, seed))[-1] for seed in range(3)]
    assert capfd.readouterr() == ("", "")
    first, *_, last = [str(warning.message) for warning in warned]
    assert first == "broken.sgf: move 2: [ff] is no point of a 5×5 board"
    assert "left out: " in last
    assert "1 broken" in last
    # The share ends within the second segment, which the experts still have whole.
    assert ["test_top_1" in end for end in ends] == [True, True, False]
    assert ["game_length" in end for end in ends] == [False, False, True]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_of_the_run_is_one(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match="expert_share"):
        _agent(AlphaGoConfig(expert_games="games", expert_share=share), tmp_path, 100)


def test_a_share_after_which_no_segment_begins_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"segment_steps must be at most 300, not 600"):
        _agent(AlphaGoConfig(expert_games="games", expert_share=0.7), tmp_path, 1_000, 600)


def test_a_share_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expert_share needs expert_games"):
        _agent(AlphaGoConfig(expert_share=0.5), tmp_path, 100)


@pytest.mark.parametrize("which", range(8))
def test_a_symmetry_moves_stones_moves_and_owners_alike(which: int) -> None:
    rng = np.random.default_rng(which)
    points = rng.random((1, 1, SIZE, SIZE)).astype(np.float32)
    policy = np.append(points.ravel(), np.float32(7))[None]
    planes, policies, owners = symmetric(points, policy, points[:, 0], np.array([which]))
    assert np.array_equal(planes.ravel(), owners.ravel())
    assert np.array_equal(planes.ravel(), policies[0, :-1])
    assert policies[0, -1] == 7
    assert (which == 0) == np.array_equal(planes, points)


def test_in_all_symmetries_a_network_turns_its_answer_with_the_board(tmp_path: Path) -> None:
    evaluate = _agent(AlphaGoConfig(layers=2, width=8), tmp_path, 100).evaluate
    mean = in_all_symmetries(evaluate)
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 2, (3, 19, SIZE, SIZE), np.uint8)
    owners = planes[:, 0]
    policies, values = mean(planes)
    for which in range(8):
        turned, wanted, _ = symmetric(planes, policies, owners, np.full(3, which))
        result, worth = mean(turned)
        assert np.allclose(result, wanted, atol=1e-5)
        assert np.allclose(worth, values, atol=1e-6)
    # One network alone does not, and the mean of its values is that of the eight boards.
    turned, wanted, _ = symmetric(planes, evaluate(planes)[0], owners, np.full(3, 1))
    assert not np.allclose(evaluate(turned)[0], wanted, atol=1e-3)
    boards = [symmetric(planes, policies, owners, np.full(3, k))[0] for k in range(8)]
    assert np.allclose(np.mean([evaluate(board)[1] for board in boards], axis=0), values)


def test_a_checkpoint_gives_back_network_and_positions(tmp_path: Path) -> None:
    config = AlphaGoConfig(layers=2, width=8, num_envs=4, simulations=2, batch_size=16)
    agent = _agent(config, tmp_path, 200)
    with closing(GoVector(agent.context.num_envs, size=SIZE, komi=0.5, opponent="self")) as env:
        list(agent.train(env, 200, seed=0))
    saved = agent.state()
    other = _agent(config, tmp_path, 200)
    other.load(saved)
    again = other.state()
    for name, tensor in (saved.weights | saved.tensors).items():
        assert torch.equal(tensor, (again.weights | again.tensors)[name]), name
    player = _agent(config, tmp_path, 200)
    player.load(AgentState(saved.weights))
    planes = np.stack([Board(Rules(SIZE)).planes()])
    assert np.array_equal(player.evaluate(planes)[0], agent.evaluate(planes)[0])


def test_a_game_that_nobody_won_teaches_no_value(tmp_path: Path) -> None:
    config = AlphaGoConfig(layers=2, width=8, num_envs=4, simulations=2, batch_size=16)
    agent = _agent(config, tmp_path, 12)
    with closing(GoVector(agent.context.num_envs, size=SIZE, komi=0.5, opponent="self")) as env:
        list(agent.train(env, 12, seed=0))  # too short for any game to end
    assert len(agent.replay.winners) == 12
    assert not agent.replay.winners.any()
    assert not agent.replay.owners.any()


def test_a_picture_shows_its_favourites_and_the_chance_to_win(tmp_path: Path) -> None:
    agent = _agent(AlphaGoConfig(layers=2, width=8), tmp_path, 1)
    go = Go(size=SIZE, opponent="random")
    observation, info = go.reset(seed=0)
    for move in range(3):
        masks = info["action_mask"].astype(bool)[None]
        agent.annotate(go, observation[None], masks)
        assert go.thoughts is not None
        favourites = [action for action, _ in go.thoughts.candidates]
        (chosen,) = agent.act(observation[None], masks, np.zeros(1, bool), np.random.default_rng(0))
        assert favourites[0] == chosen
        assert len(go.thoughts.win_rates) == len(go.board.moves) == 2 * move
        observation, *_, info = go.step(int(chosen))


def test_a_search_thinks_with_the_network(tmp_path: Path) -> None:
    agent = _agent(AlphaGoConfig(layers=2, width=8), tmp_path, 1)
    search = GoSearch(Rules(SIZE), agent.evaluate, SearchConfig(memory=16))
    search.set_board(Board(Rules(SIZE)))
    search.run(simulations=50)
    assert sum(candidate.visits for candidate in search.candidates()) == 50


def test_records_that_are_not_there_are_told_before_a_run_begins(tmp_path: Path) -> None:
    context = RunContext(64, 100, 100, storage=tmp_path)
    for folder, message in ((tmp_path / "nowhere", "no such file"), (tmp_path, "no games on 5×5")):
        config = AlphaGoConfig(expert_games=str(folder))
        with pytest.raises(ValueError, match=message):
            AlphaGo.storage_bytes(OBSERVATIONS, ACTIONS, config, context)


def test_a_folder_of_records_is_found_from_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert AlphaGoConfig(expert_games="games").expert_games == str(tmp_path / "games")
    assert AlphaGoConfig().expert_games == ""


def test_records_that_changed_after_the_run_began_are_refused(tmp_path: Path) -> None:
    games = tmp_path / "games"
    _write_games(games, 30)
    config = AlphaGoConfig(expert_games=str(games), layers=2, width=8, batch_size=4)
    with closing(GoVector(64, size=SIZE)) as env:
        agent = _agent(config, tmp_path / "replay", 100)
        list(agent.train(env, 8, seed=0))
        for sound in (True, False):
            again = _agent(config, tmp_path / "replay", 100)
            again.load(agent.state())
            if sound:
                list(again.train(env, 8, seed=1))
                (games / "0.sgf").unlink()
                continue
            with pytest.raises(
                UnsuitableEnvironmentError, match="not those that the run began with"
            ):
                list(again.train(env, 8, seed=1))


def test_records_that_are_all_held_out_are_refused(tmp_path: Path) -> None:
    _write_games(tmp_path / "games", 1)
    with pytest.raises(GamesError, match="all its games are held out"):
        expert_games(tmp_path / "games", SIZE, held_out=1.0)


def test_it_does_not_play_itself_where_it_cannot(tmp_path: Path) -> None:
    agent = _agent(AlphaGoConfig(layers=2, width=8), tmp_path, 100)
    for env in (GoVector(64, handicap=2), SyncVectorEnv([lambda: Go(SIZE)] * 64)):
        with closing(env), pytest.raises(UnsuitableEnvironmentError, match="self-play needs"):
            list(agent.train(env, 8, seed=0))


def test_another_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plays Go only"):
        AlphaGo(
            gym.spaces.Box(0, 1, (4,), np.float32),
            gym.spaces.Discrete(2),
            AlphaGoConfig(),
            RunContext(64, 100, 100, storage=tmp_path),
        )
