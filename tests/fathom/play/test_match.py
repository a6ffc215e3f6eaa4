"""What a match says is what was played; and nothing that a program does can lose a game."""

import dataclasses
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.search.go_search import SearchConfig
from envs.go.board import BLACK, WHITE, Board, Rules
from envs.go.counting import dead_stones, without
from envs.go.sgf import read_game
from fathom.cli import main
from fathom.environments import resolve
from fathom.errors import FathomError
from fathom.play.match import (
    VOID,
    MatchResult,
    Played,
    _openings,
    free_folder,
    play_match,
)
from fathom.play.players import (
    Move,
    Player,
    SearchBudget,
    _Searcher,
    player,
    rules_from,
)
from fathom.runs.agent_learner import agent_class, build_agent
from fathom.runs.checkpoint import Progress
from fathom.runs.config import RunConfig, build_config
from fathom.runs.run import Run

GNUGO = shutil.which("gnugo") or "/usr/games/gnugo"
SMALL = Rules(size=5, komi=0.5)


class Scripted(Player):
    """Plays what it was told to; then passes."""

    def __init__(
        self, name: str, moves: Sequence[int | Exception | None] = (), dead: Sequence[int] = ()
    ) -> None:
        self.name, self._moves, self._dead = name, list(moves), set(dead)
        self.seeds: list[int] = []
        self.cleaned = 0

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        self.seeds.append(seed)
        self._left = list(self._moves)

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        move = self._left.pop(0) if self._left else board.rules.size**2
        if isinstance(move, BaseException):
            raise move
        return Move(move, 0.25)

    def dead(self, board: Board) -> set[int]:
        return self._dead & set(np.flatnonzero(board.stones).tolist())

    def clean_up(self, board: Board, budget: SearchBudget) -> Move:
        self.cleaned += 1
        return self.choose(board, budget)


def _match(
    tmp_path: Path, first: Player, second: Player, games: int = 2, **more: Any
) -> MatchResult:
    rules = more.pop("rules", SMALL)
    return play_match(first, second, rules, games, SearchBudget(), tmp_path, **more)


# -- statistics ---------------------------------------------------------------------------------


def test_a_tally_counts_for_the_first_player() -> None:
    tally = MatchResult(("a", "b"))
    for k, (black, result) in enumerate(
        [("a", "B+R"), ("b", "B+3.5"), ("a", "0"), ("b", "W+1"), ("a", VOID)]
    ):
        tally.add(Played(k + 1, black, "b" if black == "a" else "a", result, 10, "x"))
    assert (tally.wins, tally.losses, tally.draws, tally.void) == (2, 1, 1, 1)
    assert tally.win_rate == 0.625
    text = "\n".join(tally.lines())
    assert "2 wins, 1 loss, 1 draw in 4 games, and 1 without a result" in text
    assert "as black 1 of 2 won, as white 1 of 2" in text
    assert json.loads(json.dumps(tally.as_json(), allow_nan=False))["win_rate"] == 0.625


def test_all_games_won_is_an_infinite_elo_and_json_all_the_same() -> None:
    tally = MatchResult(("a", "b"))
    assert tally.as_json()["elo"] == 0
    tally.add(Played(1, "a", "b", "B+R", 10, "x"))
    result = json.loads(json.dumps(tally.as_json(), allow_nan=False))
    assert result["elo"] is None
    assert result["elo_interval"][1] is None
    assert "Elo +∞" in tally.lines()[1]


# -- games --------------------------------------------------------------------------------------


def test_every_opening_is_played_with_both_colours(tmp_path: Path) -> None:
    first, second = Scripted("first"), Scripted("second")
    tally = _match(tmp_path, first, second, 6)
    games = [read_game(tmp_path / game.file) for game in tally.played]
    assert [game.black for game in games] == ["first", "second"] * 3
    openings = [game.moves[:-2] for game in games]
    assert openings[::2] == openings[1::2]
    assert len(set(openings)) == 3
    assert len(set(first.seeds)) == 6
    assert first.seeds == second.seeds


def test_no_opening_is_another_turned_or_mirrored() -> None:
    positions = set()
    for board in itertools.islice(_openings(SMALL, 0), 150):
        assert 2 <= len(board.moves) <= 4
        stones = board.stones
        flips = (stones, stones[::-1], stones[:, ::-1], stones[::-1, ::-1])
        positions.add(min(x.tobytes() for flip in flips for x in (flip, flip.T)))
    assert len(positions) == 150


def test_without_openings_games_begin_on_the_empty_board(tmp_path: Path) -> None:
    tally = _match(tmp_path, Scripted("first"), Scripted("second"), 4, openings=False)
    games = [read_game(tmp_path / game.file) for game in tally.played]
    assert [game.black for game in games] == ["first", "second"] * 2
    assert {game.moves for game in games} == {((BLACK, 25), (WHITE, 25))}


def test_the_largest_seed_is_a_seed(tmp_path: Path) -> None:
    words = ["match", "random", "random", "--games", "1", "--env.size", "5", "--json"]
    assert main([*words, "--seed", str(2**63 - 1), "--folder", str(tmp_path / "games")]) == 0


def test_the_same_seed_gives_the_same_games(tmp_path: Path) -> None:
    played = []
    for k, seed in enumerate([1, 1, 2]):
        folder = tmp_path / str(k)
        folder.mkdir()
        _match(folder, player("random"), player("random"), seed=seed)
        played.append([read_game(path).moves for path in sorted(folder.glob("*.sgf"))])
    assert played[0] == played[1] != played[2]


def test_a_game_has_its_result_and_the_players_thoughts(tmp_path: Path) -> None:
    tally = _match(tmp_path, Scripted("first", [None]), Scripted("second", [None]))
    for game in (read_game(tmp_path / played.file) for played in tally.played):
        assert game.result == ("W+R", "B+R")[len(game.moves) % 2]  # who is to move resigned
    game = read_game(
        tmp_path / _match(tmp_path, Scripted("first"), Scripted("second")).played[0].file
    )
    assert game.comments[-1] == "win rate 25.0 %"
    assert game.comments[0] == ""


def test_players_of_one_name_are_told_apart(tmp_path: Path) -> None:
    tally = _match(tmp_path, player("random"), player("random"))
    assert tally.names == ("random", "random (2)")
    assert tally.counted == 2


def test_dead_stones_are_taken_off_where_both_agree(tmp_path: Path) -> None:
    everything = range(25)
    agreed = _match(tmp_path, Scripted("a", (), everything), Scripted("b", (), everything), 1)
    assert agreed.played[0].result == "W+0.5"


def test_who_does_not_agree_plays_on_until_all_stones_count(tmp_path: Path) -> None:
    first, second = Scripted("a", (), range(25)), Scripted("b")
    tally = _match(tmp_path, first, second, 1)
    assert first.cleaned == second.cleaned == 1
    assert tally.played[0].moves >= 2 + 4
    assert tally.played[0].result[1] == "+"


def test_a_game_without_end_is_counted_as_it_stands(tmp_path: Path) -> None:
    tally = _match(tmp_path, player("random"), player("random"), rules=Rules(5, ko="simple"))
    assert all(game.moves <= 3 * 25 for game in tally.played)


# -- players that misbehave ---------------------------------------------------------------------


@pytest.mark.parametrize("failure", [ValueError, 0, KeyboardInterrupt()])
def test_what_ends_a_match_keeps_its_games(tmp_path: Path, failure: Any) -> None:
    if failure is ValueError:
        failure = FathomError("out of ideas")

    class Later(Scripted):
        def new_game(
            self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0
        ) -> None:
            super().new_game(rules, setup, seed)
            if len(self.seeds) == 4:
                self._left = [99, 99] if failure == 0 else [failure]

        def choose(
            self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
        ) -> Move:
            choice = super().choose(board, budget, stop)
            if choice.action == 99:  # a point that has a stone
                return Move(int(np.flatnonzero(board.stones)[0]))
            return choice

    tally = _match(tmp_path, Later("first"), Scripted("second"), 10)
    assert tally.counted == 3
    assert tally.error
    assert "\n" not in tally.error
    saved = json.loads((tmp_path / "match.json").read_text())
    assert saved["games"] == 3
    assert saved["error"] == tally.error
    assert len(list(tmp_path.glob("game-*.sgf"))) == 4


def _program(tmp_path: Path, genmove: str) -> str:
    """The command line of a program that moves like this."""
    path = tmp_path / "program.py"
    path.write_text(
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    name = line.split()[0] if line.split() else ''\n"
        "    if name == 'genmove':\n"
        f"        {genmove}\n"
        "    elif name == 'known_command': print('= false\\n', flush=True)\n"
        "    else: print('=\\n', flush=True)\n"
    )
    return f"{sys.executable} {path}"


@pytest.mark.parametrize(
    ("genmove", "complaint"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("time.sleep(60)", "within 1 seconds"),
        ("print('= Z99\\n', flush=True)", "nonsense"),
        ("print('rubbish\\n', flush=True)", "nonsense"),
        ("print('= A1\\n', flush=True)", "an illegal move"),
    ],
)
def test_a_program_that_fails_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], genmove: str, complaint: str
) -> None:
    command = _program(tmp_path, genmove)
    words = ["match", "random", command, "--games", "4", "--timeout", "1", "--env.size", "5"]
    code = main([*words, "--folder", str(tmp_path / "games"), "--json"])
    message = capsys.readouterr()
    assert code == 2
    assert complaint in message.err.splitlines()[-1]
    assert json.loads(message.out)["error"]
    assert (tmp_path / "games" / "match.json").exists()


@pytest.mark.parametrize("command", ["play", "gtp"])
def test_a_program_that_cannot_even_begin_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "import sys\nfor line in sys.stdin: print('=\\n' if 'command' in line else 'what?\\n', flush=True)"
    )
    assert main([command, f"{sys.executable} {path}"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    (message,) = [line for line in lines if "getting ready" not in line]
    assert "nonsense" in message


@pytest.mark.skipif(not Path(GNUGO).exists(), reason="GNU Go is not installed")
def test_gnu_go_wins_every_game_against_random_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"{GNUGO} --mode gtp --level 1 --chinese-rules"
    words = ["match", "random", command, "--games", "2", "--env.size", "5", "--json"]
    assert main([*words, "--folder", str(tmp_path / "games")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["losses"], result["second"]) == (2, "gnugo")


def test_two_of_our_engines_meet_over_gtp(tmp_path: Path) -> None:
    command = f"{sys.executable} -P -m fathom gtp random"
    other = player(command)
    try:
        tally = _match(tmp_path, player("playout"), other)
    finally:
        other.close()
    assert tally.error is None
    assert tally.wins == 2


# -- players and rules by name ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["match", "random"], "needs two players"),
        (["match", "random", "gnugoo"], "is no player"),
        (["match", "random", "no-such-program --mode gtp"], "is not installed"),
        (["match", "random", "random", "--games", "0"], "--games must be at least 1, not 0"),
        (["match", "random", "random", "--env.size", "4"], "--env.size must be at least 5, not 4"),
        (["match", "random", "random", "--env.size", "nine"], "--env.size cannot be 'nine'"),
        (["match", "random", "random", "--env.colour", "red"], "the rules have no 'colour'"),
        (["match", "random", "random", "--env.ko", "never"], "--env.ko must be 'simple', "),
        (["match", "random", "random", "--seconds", "0"], "--seconds must be greater than 0"),
        (["match", "random", "random", "--simulations", "-1"], "--simulations must be at least 0"),
        (["match", "random", "random", "--resign", "2"], "--resign must be at most 1"),
        (["match", "rave", "random", "--simulations", "0"], "has no network"),
        (["gtp"], "needs a player"),
        (["gtp", "random", "--level", "3"], "there is no flag --level"),
        (["play", "'"], "is no command line"),
        (["play", ""], "names no program"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    message = capsys.readouterr().err.splitlines()
    assert message[-1].startswith("fathom: ")
    assert complaint in message[-1]


def test_games_are_never_written_over_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert free_folder(tmp_path, ["a b", "c/d"]).name == "a-b-c-d"
    assert free_folder(tmp_path, ["a b", "c/d"]).name == "a-b-c-d-2"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "game-001.sgf").write_text("mine")
    assert main(["match", "random", "random", "--folder", str(tmp_path / "full")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "full" / "game-001.sgf").read_text() == "mine"


def _run(tmp_path: Path, environment: str, agent: str, **hyperparameters: Any) -> str:
    """An untrained run, in tmp_path/runs."""
    world = resolve(environment, {"size": "5"} if "Go" in environment else {})
    config = build_config(agent_class(agent).Config, hyperparameters)
    settings = RunConfig(
        environment=world.reference,
        agent=agent,
        steps=64,
        segment_steps=64,
        evaluation_episodes=0,
        seed=0,
        device="cpu",
        threads=1,
        environment_arguments=dict(world.env_args),
        hyperparameters=dataclasses.asdict(config),
    )
    run = Run.create(tmp_path / "runs", agent, settings)
    run.save_checkpoint(0, build_agent(settings, world).state(), Progress())
    return str(run.folder)


@pytest.fixture
def network(tmp_path: Path) -> str:
    return _run(tmp_path, "Fathom/Go-v0", "alphago", layers=2, width=4)


def test_a_run_plays_with_search_and_without(tmp_path: Path, network: str) -> None:
    for budget in (
        SearchBudget(simulations=0),
        SearchBudget(simulations=20),
        SearchBudget(seconds=0.05),
    ):
        one = player(network)
        assert (one.name, one.size) == ("alphago", 5)
        tally = play_match(one, player("random"), SMALL, 2, budget, tmp_path)
        assert tally.error is None
        assert tally.counted == 2


def test_a_run_is_found_by_its_name_and_brings_its_board(
    tmp_path: Path, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["match", "alphago", "random", "--games", "2", "--simulations", "5", "--json"]
    runs = ["--runs-dir", str(tmp_path / "runs"), "--folder", str(tmp_path / "games")]
    assert main([*words, *runs]) == 0
    assert json.loads(capsys.readouterr().out)["games"] == 2
    assert read_game(tmp_path / "games" / "game-001.sgf").size == 5


def test_a_run_on_another_board_is_one_sentence(
    tmp_path: Path, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["match", network, "random", "--env.size", "9", "--folder", str(tmp_path / "games")]
    assert main(words) == 2
    assert "alphago has learnt on 5×5 and cannot play on 9×9" in capsys.readouterr().err


def test_an_agent_of_another_kind_plays_if_it_knows_go(tmp_path: Path) -> None:
    tally = _match(tmp_path, player(_run(tmp_path, "Fathom/Go-v0", "ppo")), player("random"))
    assert tally.error is None
    with pytest.raises(FathomError, match=r"was trained in CartPole-v1, not to play Go"):
        player(_run(tmp_path, "CartPole-v1", "reinforce"))


def test_a_recurrent_agent_begins_every_game_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recurrent = player(_run(tmp_path, "Fathom/Go-v0", "ppo", memory="gru"))
    told: list[bool] = []
    act = recurrent._agent.act  # type: ignore[attr-defined]

    def noted(planes: Any, masks: Any, starts: np.ndarray, rng: Any) -> np.ndarray:
        told.append(bool(starts[0]))
        return act(planes, masks, starts, rng)

    monkeypatch.setattr(recurrent._agent, "act", noted)  # type: ignore[attr-defined]
    _match(tmp_path, recurrent, player("random"), 4)
    assert told[:2] == [True, False]
    assert sum(told) == 4
    board = Board(SMALL)
    recurrent.new_game(SMALL)
    for moves in ((), (12, 7), (12, 8)):  # the last does not follow from the one before
        told.clear()
        board = Board(SMALL)
        for action in moves:
            board.play(action)
        recurrent.choose(board, SearchBudget())
        assert told == [moves != (12, 7)]


def _divided() -> Board:
    """Black has the four left columns, white the three on the right; black is to play."""
    board = Board(Rules(7, komi=0.5))
    for row in range(7):
        board.place(BLACK, 7 * row + 3)
        board.place(WHITE, 7 * row + 4)
    return board


def _thinks(favourite: int, value: float) -> _Searcher:
    """A player whose network always likes the same move, and white so much."""

    def evaluate(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = np.zeros((len(planes), 50), np.float32)
        logits[:, favourite] = 1
        black = planes[:, 17, 0, 0] == 1
        return logits, np.where(black, -value, value).astype(np.float32)

    one = _Searcher("net", evaluate, SearchConfig(), 7)
    one.new_game(Rules(7, komi=0.5))
    return one


ALONE = SearchBudget(simulations=0)


def test_a_network_alone_passes_where_that_wins() -> None:
    one, board = _thinks(24, 0.0), _divided()
    assert one.choose(board, ALONE).action != 49
    board.play(8)
    board.play(49)
    assert one.choose(board, ALONE).action == 49


@pytest.mark.parametrize("budget", [ALONE, SearchBudget(simulations=30)])
def test_who_passes_does_not_count_on_dead_stones(budget: SearchBudget) -> None:
    board = _divided()
    board.place(WHITE, 8)  # in black's area: as long as it stands, that is nobody's
    board.play(49)
    assert board.score() < 0
    assert without(board, dead_stones(board)).score() > 0
    # Who thinks that he wins plays something else, who thinks that he has lost may pass.
    assert _thinks(49, 0.9).choose(board, budget).action not in (49, None)
    assert _thinks(49, -0.9).choose(board, ALONE).action == 49
    # In a game that goes on after a dispute everything counts that stands.
    assert _thinks(2, 0.9).clean_up(board, ALONE).action == 49


def test_a_network_alone_passes_where_it_has_nothing_else() -> None:
    board = Board(Rules(7, komi=0.5))
    for point in range(49):
        row, column = divmod(point, 7)
        if row % 2 == 0 or column % 2 == 0:
            board.place(BLACK, point)
    board.to_play = WHITE
    board.play(49)  # what is left are black's eyes
    one = _thinks(49, -0.9)
    assert one.choose(board, ALONE).action == 49
    assert one.clean_up(board, ALONE).action == 49
    board.resume()
    assert [c.action for c in one.choose(board, ALONE).candidates] == [49]


def test_a_search_resigns_only_a_game_that_it_thinks_lost_for_long() -> None:
    def hopeless(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(planes), 26), np.float32), np.full(len(planes), -0.98, np.float32)

    one = _Searcher("net", hopeless, SearchConfig(), 5, resign=0.05)
    one.new_game(SMALL)
    board = Board(SMALL)
    for _ in range(5):  # asking again is no further move
        assert one.choose(board, SearchBudget(simulations=0)).action is not None
    for points in ((0, 24), (4, 20)):
        for point in points:
            board.play(point)
        move = one.choose(board, SearchBudget(simulations=0))
    assert move.action is None, "the third position of the game that it thinks lost"
    one.new_game(SMALL)
    assert one.choose(Board(SMALL), SearchBudget(simulations=0)).action is not None


def test_a_program_follows_wherever_the_board_goes() -> None:
    if not Path(GNUGO).exists():
        pytest.skip("GNU Go is not installed")
    other = player(f"{GNUGO} --mode gtp --level 1")
    rules = Rules(size=9)
    other.new_game(rules, [(BLACK, 40)])
    board = Board(rules)
    board.place(BLACK, 40)
    board.to_play = WHITE
    answer = other.choose(board, SearchBudget()).action
    assert answer is not None
    assert board.is_legal(answer)
    board.play(0)  # another move than the program's
    board.play(80)
    again = other.choose(board, SearchBudget()).action
    assert again is not None
    assert board.is_legal(again)
    other.close()


def test_the_board_is_the_one_that_the_players_know() -> None:
    seven, nine, any_ = Scripted("seven"), Scripted("nine"), Scripted("any")
    seven.size, nine.size = 7, 9
    assert rules_from({}, [seven, any_]).size == 7
    assert rules_from({}, [any_]).size == 9
    with pytest.raises(FathomError, match="seven on 7×7 and nine on 9×9"):
        rules_from({}, [seven, nine])


def test_rules_are_read_from_words() -> None:
    asked = {"size": "13", "komi": "-5.5", "ko": "simple", "suicide": "true"}
    assert rules_from(asked) == Rules(13, -5.5, "simple", True)


def test_a_planner_without_an_environment_to_copy_is_no_player(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = "--env.size 5 --simulations 2 --evaluation-episodes 0 --name p --runs-dir"
    assert main(["train", "planner", "Fathom/Go-v0", *few.split(), str(tmp_path)]) == 0
    assert main(["gtp", "p", "--runs-dir", str(tmp_path)]) == 2
    assert "plans in copies of its environment" in capsys.readouterr().err
