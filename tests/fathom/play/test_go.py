"""A person at the board gets a move, a hint, or one sentence, and can always go back or leave."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from agents.search.go_search import Candidate
from envs.go.board import BLACK, WHITE, Board, Rules
from envs.go.sgf import read_game
from fathom.cli import main
from fathom.errors import FathomError
from fathom.play.go_session import GoSession
from fathom.play.go_terminal import GoTerminal, draw
from fathom.play.players import Move, Player, SearchBudget, player


class Follower(Player):
    """Plays the first free point; resigns, passes or gives hints when told to."""

    name = "follower"

    def __init__(self, resigns: bool = False, passes: bool = False) -> None:
        self.resigns, self.passes = resigns, passes

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        if self.resigns:
            return Move(None, 0.01)
        action = board.rules.size**2 if self.passes else int(np.flatnonzero(board.legal())[0])
        candidates = [
            Candidate(action, 90, 0.6, 0.5, [action, 40]),
            Candidate(41, 9, 0.5, 0.1, [41]),
        ]
        return Move(action, 0.6, candidates)


def _session(*said: str, one: Player | None = None, tty: bool = False, **more) -> GoTerminal:
    """A game in which a person types some lines and then leaves."""
    lines = iter(said)

    def ask() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    console = Console(
        file=io.StringIO(),
        width=more.pop("width", 100),
        force_terminal=tty,
        color_system="truecolor" if tty else None,
        highlight=False,
        soft_wrap=True,
    )
    rules = more.pop("rules", Rules())
    session = GoSession(one or Follower(), rules, SearchBudget(), **more)
    return GoTerminal(session, console, ask)


def _shown(terminal: GoTerminal) -> str:
    terminal.run()
    return terminal.console.file.getvalue()  # type: ignore[attr-defined]


def _moves(terminal: GoTerminal) -> list[int]:
    return [action for _, action in terminal.session.board.moves]


def test_moves_alternate() -> None:
    terminal = _session("E5", "d4")
    assert terminal.run() == ""
    assert _moves(terminal) == [40, 0, 48, 1]


def test_who_plays_white_moves_second_and_a_handicap_reverses_it() -> None:
    terminal = _session("E5", colour=WHITE)
    terminal.run()
    assert _moves(terminal)[:2] == [0, 40]
    terminal = _session("E5", handicap=2)
    terminal.run()
    assert int((terminal.session.board.stones == BLACK).sum()) == 3
    assert terminal.session.board.moves[0][0] == WHITE


def test_the_player_s_last_move_and_words_are_shown() -> None:
    text = _shown(_session("E5"))
    assert "follower (white) plays A9." in text
    assert " 9(O). ." in text


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("E5", "there is a stone already"),
        ("I5", "There is no point or command 'I5'"),
        ("pas", "There is no point or command 'pas'"),
        ("[bold]", "There is no point or command '[bold]'"),
        ("\x00\x1b" * 50, "There is no point or command"),
    ],
)
def test_a_mistake_is_a_sentence_and_no_move(line: str, complaint: str) -> None:
    terminal = _session("E5", line)
    assert complaint in _shown(terminal)
    assert len(terminal.session.board.moves) == 2


def test_undo_takes_back_the_person_s_last_move_and_the_answer() -> None:
    terminal = _session("E5", "D4", "undo", "undo", "undo")
    assert "There is no move of yours to take back" in _shown(terminal)
    assert terminal.session.board.moves == []


def test_undo_leaves_the_other_s_first_move() -> None:
    terminal = _session("E5", "undo", colour=WHITE)
    terminal.run()
    assert _moves(terminal) == [0]


def test_a_hint_is_no_move() -> None:
    terminal = _session("hint")
    text = _shown(terminal)
    assert "1  A9    60 %  E5" in text
    assert "2  F5    50 %" in text
    assert terminal.session.board.moves == []


def test_help_names_every_command() -> None:
    text = _shown(_session("help"))
    for word in ("pass", "undo", "hint", "score", "resign", "quit"):
        assert word in text


def test_the_score_so_far_is_told() -> None:
    assert "If the game ended here: about " in _shown(_session("E5", "score"))


def test_both_may_resign() -> None:
    assert _session("E5", "resign").run() == "W+R"
    terminal = _session("E5", one=Follower(resigns=True))
    assert "You win by resignation." in _shown(terminal)
    assert terminal.session.result == "B+R"


def test_two_passes_end_the_game_with_its_score() -> None:
    terminal = _session("E5", "pass", one=Follower(passes=True))
    text = _shown(terminal)
    assert terminal.session.result == "B+74"
    assert "You win by 74 points (B+74)." in text


def _divided(terminal: GoTerminal) -> None:
    """Black has the left, white the right, with a dead white stone at A9; black is to play."""
    board = Board(terminal.session.rules)
    for row in range(9):
        board.place(BLACK, row * 9 + 3)
        board.place(WHITE, row * 9 + 4)
        if row % 2:
            board.place(BLACK, row * 9 + 2)
            board.place(WHITE, row * 9 + 5)
    board.place(WHITE, 0)
    terminal.session.board = board


def test_who_passes_in_a_lost_game_is_not_made_to_play_it_out() -> None:
    terminal = _session("pass", "y")
    _divided(terminal)
    text = _shown(terminal)
    assert "follower (white) passes, too." in text
    assert "Without the dead stones (×) it is W+16." in text
    assert terminal.session.result == "W+16"


def test_who_does_not_agree_on_the_dead_plays_on_and_then_all_stones_count() -> None:
    terminal = _session("pass", "n", "pass", one=Follower(passes=True))
    _divided(terminal)
    text = _shown(terminal)
    assert "every stone on the board counts" in text
    assert terminal.session.result == "W+40"


def test_a_pass_in_the_opening_does_not_end_the_game() -> None:
    terminal = _session("E5", "pass", "D4")
    terminal.run()
    assert terminal.session.result == ""
    assert len(terminal.session.board.moves) == 6


@pytest.mark.parametrize("word", ["quit", "exit", "q"])
def test_one_can_leave(word: str) -> None:
    terminal = _session("E5", word, "D4")
    assert terminal.run() == ""
    assert len(terminal.session.board.moves) == 2


def test_a_player_that_moves_against_the_rules_is_one_sentence() -> None:
    class Cheat(Follower):
        def choose(
            self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
        ) -> Move:
            return Move(40)

    with pytest.raises(FathomError, match="follower made an illegal move: white E5 is illegal"):
        _session("E5", one=Cheat()).run()


def test_a_handicap_that_no_board_has_is_one_sentence() -> None:
    with pytest.raises(FathomError, match="takes 2 to 9 handicap stones"):
        _session(handicap=10)


# -- pictures -----------------------------------------------------------------------------------


def test_the_board_is_drawn_with_its_last_stone_hints_and_dead() -> None:
    board = Board(Rules())
    board.play(40)
    board.play(0)
    text = draw(board, [Candidate(80, 1, 0.5, 0.5, [80])], {0}).plain.splitlines()
    assert text[0] == text[-1] == "    A B C D E F G H J"
    assert text[1].startswith(" 9 (×)┬")
    assert text[5][12] == "●"
    assert text[9].endswith("─1  1")
    assert {len(line) for line in text[1:-1]} <= {24, 25}


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("size", [5, 19])
def test_a_terminal_gets_colours_within_its_width(width: int, size: int) -> None:
    terminal = _session("C3", "hint", "[x]", tty=True, width=width, rules=Rules(size=size))
    text = _shown(terminal)
    assert "\x1b[" in text
    assert f"Go {size}×{size}" in text
    assert "% yours" in text


# -- the command --------------------------------------------------------------------------------


def test_a_game_is_written_with_the_player_s_thoughts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("E5\nquit\n"))
    path = tmp_path / "game.sgf"
    words = ["play", "rave", "--simulations", "200", "--threads", "1", "--env.komi", "5.5"]
    assert main([*words, "--sgf", str(path)]) == 0
    game = read_game(path)
    assert (game.black, game.white, game.komi) == ("you", "rave", 5.5)
    assert len(game.moves) == 2
    assert game.comments[1].startswith("win rate ")
    assert "rave (white) plays" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_one_sentence_before_the_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("quit\n"))
    (tmp_path / "file").write_text("mine")
    for path, complaint in (("file/game.sgf", "cannot be written"), ("file", "exists already")):
        assert main(["play", "random", "--sgf", str(tmp_path / path)]) == 2
        message = capsys.readouterr()
        assert complaint in message.err
        assert message.out == ""
    assert (tmp_path / "file").read_text() == "mine"


def test_random_can_be_played_to_the_end() -> None:
    terminal = _session(*["pass"] * 300, one=player("random"), rules=Rules(size=5))
    terminal.run()
    assert terminal.session.result


def test_a_record_is_taken_up_where_it_ends_by_the_colour_to_move() -> None:
    first = GoSession(Follower(), Rules(), SearchBudget())
    for line in ("E5", "D4"):
        first.handle(line)
        first.reply()
    second = GoSession(Follower(), Rules(), SearchBudget(), WHITE)
    second.take_up(read_game(first.sgf()))
    assert second.board.moves == first.board.moves
    assert (second.board.stones == first.board.stones).all()
    assert second.colour == BLACK
    assert second.turn == "person"
    second.handle("undo")
    assert len(second.board.moves) == 2


def test_a_record_with_an_illegal_move_changes_nothing() -> None:
    session = GoSession(Follower(), Rules(), SearchBudget())
    session.handle("E5")
    with pytest.raises(FathomError, match="illegal move"):
        session.take_up(read_game(b"(;SZ[9];B[aa];W[aa])"))
    assert [action for _, action in session.board.moves] == [40]


def test_win_rates_are_the_person_s_and_those_missing_can_be_asked_for() -> None:
    session = GoSession(Follower(), Rules(), SearchBudget())
    session.handle("E5")
    session.reply()
    assert session.win_rates == {1: pytest.approx(0.4)}
    for _ in session.rate_moves(SearchBudget()):
        pass
    assert session.win_rates == {0: 0.6, 1: pytest.approx(0.4), 2: 0.6}
    session.handle("undo")
    assert session.win_rates == {0: 0.6}
    assert session.win_rate == 0.6
