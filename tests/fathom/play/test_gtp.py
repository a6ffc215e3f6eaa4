"""Whatever another program says, it gets a proper answer, and the game is as GTP has it."""

import io
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.search.go_search import Candidate
from envs.go import counting
from envs.go.board import BLACK, WHITE, Board, Rules
from fathom.play import gtp, players
from fathom.play.gtp import Engine
from fathom.play.gtp_analysis import lower_bound
from fathom.play.gtp_clock import Clock
from fathom.play.gtp_words import LONGEST_LINE, lines
from fathom.play.players import Move, Player, SearchBudget, player

STANDARD = """
protocol_version name version known_command list_commands quit boardsize clear_board komi
fixed_handicap place_free_handicap set_free_handicap play genmove undo time_settings time_left
final_score final_status_list loadsgf reg_genmove showboard
"""
EXTENDED = """
lz-analyze kata-analyze lz-genmove_analyze kata-genmove_analyze cgos-genmove_analyze
kgs-time_settings kgs-genmove_cleanup gogui-analyze_commands gogui-play_sequence gogui-interrupt
set_random_seed printsgf final_status get_komi list_stones is_legal all_legal last_move move_history captures
set_position gogui-setup gogui-setup_player kata-get-rules kata-set-rules kata-set-rule kata-list-params
kata-get-param kata-set-param kgs-rules kgs-game_over cputime
"""


WORDS = (
    "b w black White B pass D4 e5 A1 J9 T19 I3 Z0 D44 resign 0 1 2 9 13 19 5 -1 7.5 1e9 nan "
    "dead alive seki none byoyomi canadian absolute interval ownership true avoid maxmoves "
    "/dev/null /dev/zero /dev/stdin / . 99999999999999999999 ² ٣ \ud7ff 🤖 D4,E5 # = ? \\ %s {}"
)
"""Arguments, likely and unlikely."""


class Session:
    """An engine, and what it answers."""

    def __init__(
        self, one: Player | None = None, budget: SearchBudget | None = None, **more
    ) -> None:
        self.said: list[str] = []
        one = one or player("random")
        self.engine = Engine(one, Rules(), budget or SearchBudget(), self.said.append, **more)

    def __call__(self, *commands: str) -> str:
        """The answer to the last of some commands, without its end."""
        for command in commands:
            self.said.clear()
            self.engine.handle(command + "\n")
        text = "".join(self.said)
        assert text.endswith("\n\n")
        assert "\n\n" not in text[:-2]
        return text[:-2]


@pytest.fixture
def ask() -> Session:
    return Session()


def _stones(ask: Session) -> int:
    return int((ask.engine.board.stones > 0).sum())


def _clock(ask: Session, *commands: str) -> float:
    """The seconds for black's next move after some commands."""
    assert ask(*commands) == "="
    assert ask.engine._clock is not None
    return ask.engine._clock.share(BLACK, ask.engine.board)


def test_no_time_at_all_is_no_limit(ask: Session) -> None:
    for settings in ("time_settings 0 0 0", "time_settings 0 30 0", "kgs-time_settings none"):
        assert ask("time_settings 10 0 0", settings) == "="
        assert ask.engine._clock is None


def test_periods_of_japanese_byo_yomi_are_for_a_move_each(ask: Session) -> None:
    assert 4 < _clock(ask, "kgs-time_settings byoyomi 0 5 5", "time_left b 5 5") < 5
    assert 4 < _clock(ask, "time_left b 5 1") < 5
    assert 4 < _clock(ask, "time_left b 0 0") < 5, "byo-yomi is to come"
    clock = ask.engine._clock
    assert clock is not None
    clock.left[BLACK] = (3.0, 0)
    clock.spend(BLACK, 4.0)
    assert clock.left[BLACK] == (5, 5)
    clock.spend(BLACK, 4.9)
    assert clock.left[BLACK] == (5, 5), "a move in time costs no period"
    clock.spend(BLACK, 11.0)
    assert clock.left[BLACK] == (5, 3)


def test_a_clock_begins_anew_with_each_game(ask: Session) -> None:
    start = _clock(ask, "time_settings 60 10 5")
    for new_game in ("clear_board", "boardsize 9"):
        assert _clock(ask, "time_left b 1 5") < start
        assert _clock(ask, new_game) == start
    assert _clock(ask, "time_left b 0 0") > 1, "Canadian byo-yomi is to come"
    assert ask("kgs-time_settings none", "time_left b 9 0", "clear_board") == "="
    assert ask.engine._clock is None


def test_a_move_that_is_only_asked_for_leaves_no_trace() -> None:
    ask = Session(player("rave", threads=1, resign=0.99), SearchBudget(simulations=20))
    ask("boardsize 9", "komi 200")
    for _ in range(4):
        assert ask("reg_genmove b") != "= resign"
    assert ask("genmove b") != "= resign"
    for _ in range(4):
        assert ask("undo", "genmove b") != "= resign"
    assert ask("play w a1", "genmove b") != "= resign"
    assert ask("play w j1", "genmove b") == "= resign", "the third in a row"


def test_the_position_can_be_asked_for(ask: Session) -> None:
    ask("boardsize 9", "komi 6.5", "play b a2", "play w a1", "play b b1", "play w pass")
    assert ask("get_komi") == "= 6.5"
    assert ask("list_stones black") == "= A2 B1"
    assert ask("captures black") == "= 1"
    assert ask("captures w") == "= 0"
    assert ask("last_move") == "= white pass"
    assert ask("move_history").splitlines()[1:] == ["black B1", "white A1", "black A2"]
    assert ask("is_legal w a1") == "= 0"
    assert ask("is_legal b a1") == "= 1"
    assert "A1" not in ask("all_legal w").split()
    assert ask("final_status b1") in ("= alive", "= dead")
    assert ask("final_status a1").startswith("= ")
    assert ask("printsgf").startswith("= (;")
    assert ask("undo", "undo", "undo", "undo", "last_move").startswith("? ")


def test_positions_are_set(ask: Session) -> None:
    assert ask("set_position b d4 w e5") == "="
    assert ask("list_stones w") == "= E5"
    assert ask("gogui-setup b a1") == "="
    assert ask("list_stones b") == "= D4 A1"
    assert ask("gogui-setup_player w") == "="
    assert ask.engine.board.to_play == WHITE
    assert ask("set_position b d4 w d4").startswith("? ")
    assert ask("list_stones w") == "= E5", "the old position stays"


def test_a_record_is_written_and_read(ask: Session, tmp_path: Path) -> None:
    path = tmp_path / "my  games" / "a #1.sgf"
    path.parent.mkdir()
    path = path.with_name("a  1.sgf")
    ask("boardsize 9", "play b d4", "play w e5")
    assert ask(f"printsgf {path}") == "="
    assert ask(f"printsgf {path}").startswith("? "), "nothing is written over"
    for name in (str(path), f'"{path}"'):
        assert ask("clear_board", f"loadsgf {name}") == "="
        assert _stones(ask) == 2
    assert ask(f"loadsgf {'x' * 5000}").endswith("is no file")
    path.write_bytes(b"(;SZ[9];B[ee];W[cc];AE[cc];W[gg])")
    assert ask(f"loadsgf {path}") == "="
    assert ask("list_stones w") == "= G3"
    assert ask(f"loadsgf {path} 3") == "="
    assert ask("list_stones w") == "="


def test_rules_are_set_and_hold(ask: Session) -> None:
    assert ask("kata-set-rules tromp-taylor", "clear_board") == "="
    assert json.loads(ask("kata-get-rules")[2:])["suicide"] is True
    assert (
        ask('kata-set-rules {"ko":"SIMPLE","suicide":false,"scoring":"AREA"}', "boardsize 9") == "="
    )
    assert ask.engine.rules.ko == "simple"
    assert ask("kata-set-rule ko SITUATIONAL") == "="
    assert ask.engine.rules.ko == "situational"
    for refused in (
        "kgs-rules japanese",
        'kata-set-rules {"scoring":"TERRITORY"}',
        "kata-set-rules {",
    ):
        assert ask(refused).startswith("? ")
    assert ask("kata-set-param maxVisits 30", "kata-get-param maxVisits") == "= 30"


def test_a_repetition_is_refused_with_its_cure(ask: Session) -> None:
    ask("boardsize 5", "set_position b b3 b c4 b c2 w d4 w d2 w e3 w c3", "play b d3")
    assert ask("play w c3").endswith("earlier position"), "no rule allows this"
    assert ask("play w pass", "play b pass", "play w c3").endswith("(--env.ko simple allows it)")
    assert ask("kata-set-rule ko SIMPLE", "play w c3") == "="


def test_an_analysis_that_is_stopped_at_once_still_reports() -> None:
    ask = Session(player("rave", threads=1))
    text = ask("kata-analyze b 1000 rootInfo true")
    assert "info move" in text
    assert " rootInfo visits " in text
    assert " scoreLead " in text


def test_an_analysis_searches_the_allowed_moves_only() -> None:
    ask = Session(player("rave", threads=1), SearchBudget(simulations=64))
    report = ask("lz-analyze b 1000 allow b E5,A1,A2 1 avoid b a2 5 avoid w E5 1 pvVisits true")
    moves = re.findall("info move ([A-Z0-9]+) visits ([0-9]+).*? pvVisits ([0-9]+)", report)
    for move, visits, first in moves:
        assert move in ("E5", "A1")
        assert first == visits
    assert sum(int(visits) for _, visits, _ in moves) >= 63, "no visit goes elsewhere"
    assert ask("kata-genmove_analyze b 1000 avoid b C3 1 allow b C3,J9 1").endswith("play J9")
    for command in ("kata-genmove_analyze", "kata-analyze"):  # the point is occupied
        assert (
            ask(f"{command} b 1000 allow b J9 1") == "? none of the moves that are allowed is legal"
        )
    assert len(ask("reg_genmove b")) > 3
    assert len(ask("lz-analyze w 1000").split("info move")) > 4, "the next search is free again"


@pytest.mark.parametrize(
    "words",
    ["avoid b D4 0", "avoid b Z9 1", "allow b D4", "movesOwnership true", "x true"],
)
def test_what_an_analysis_cannot_do_is_refused(words: str, ask: Session) -> None:
    assert ask(f"kata-analyze b {words}").startswith("? ")
    assert ask("kata-analyze movesOwnership false") == "="
    for command in ("lz-genmove_analyze", "lz-analyze"):
        assert ask(f"{command} b allow b D4 1").startswith("? random does not search")


def test_the_first_of_several_games_is_loaded_with_a_word(
    ask: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.sgf"
    path.write_text("(;SZ[9];B[ee])(;SZ[13])")
    assert ask(f"loadsgf {path}", "move_history") == "= black E5"
    assert capsys.readouterr().err == "fathom: two.sgf holds several games; this is the first\n"


# -- about itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", (STANDARD + EXTENDED).split())
def test_the_commands_of_go_programs_are_known(ask: Session, command: str) -> None:
    assert ask(f"known_command {command}") == "= true"
    assert command in ask("list_commands").split()


def test_an_answer_carries_the_number_of_its_command(ask: Session) -> None:
    assert ask("17 protocol_version") == "=17 2"
    assert ask("18 nonsense") == "?18 unknown command"
    assert ask("19") == "?19 unknown command"
    assert ask("name") == "= Fathom random"


def test_comments_tabs_control_characters_and_case_of_colours_are_as_the_standard_has_it(
    ask: Session,
) -> None:
    assert ask("play\tBLACK\td4 # here\r") == "="
    assert ask("pl\x07ay W e5") == "="
    assert _stones(ask) == 2


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "\t\r"])
def test_an_empty_line_gets_no_answer(line: str) -> None:
    ask = Session()
    assert ask.engine.handle(line + "\n")
    assert ask.said == []


def test_quit_is_answered_and_ends_the_session(ask: Session) -> None:
    assert not ask.engine.handle("quit\n")
    assert ask.said == ["=\n\n"]


# -- the game -----------------------------------------------------------------------------------


def test_a_new_size_or_a_cleared_board_is_empty_and_keeps_the_komi(ask: Session) -> None:
    ask("komi 5.5", "play b D4", "boardsize 13")
    assert ask.engine.board.rules == Rules(size=13, komi=5.5)
    ask("play b D4", "clear_board")
    assert _stones(ask) == 0


def test_the_same_seed_gives_the_same_moves_and_leaves_the_game_alone(ask: Session) -> None:
    games = []
    for seed in ("1", "1", "2147483648"):
        ask("clear_board", "play b E5", f"set_random_seed {seed}")
        assert _stones(ask) == 1
        games.append([ask(f"genmove {'wb'[k % 2]}") for k in range(8)])
    assert games[0] == games[1] != games[2]


@pytest.mark.parametrize("size", ["4", "20", "-9", "999999999"])
def test_an_unacceptable_size_leaves_the_game_alone(ask: Session, size: str) -> None:
    ask("play b D4")
    assert ask(f"boardsize {size}") == "? unacceptable size"
    assert _stones(ask) == 1


def test_the_komi_changes_the_score_and_not_the_game(ask: Session) -> None:
    ask("play b E5", "komi 0.5")
    assert _stones(ask) == 1
    assert ask("final_score") == "= B+80.5"


def test_an_illegal_move_is_refused_with_its_reason(ask: Session) -> None:
    ask("play b D4")
    assert ask("play w D4").startswith("? illegal move: white D4 is illegal")
    assert ask("play w I5") == "? 'I5' is no point of a 9×9 board"
    assert ask("play green D5") == "? a colour is black or white"
    assert _stones(ask) == 1


def test_both_may_move_out_of_turn(ask: Session) -> None:
    assert ask("play w D4", "play w E4", "genmove w").startswith("= ")
    assert [colour for colour, _ in ask.engine.board.moves] == [WHITE] * 3


def test_undo_takes_one_move_back_captures_included(ask: Session) -> None:
    ask("play w A1", "play b A2", "play b B1")
    assert _stones(ask) == 2
    assert ask("undo") == "="
    assert _stones(ask) == 2
    assert ask.engine.board.stones[8, 0] == WHITE
    assert ask("undo", "undo", "undo") == "? cannot undo"


def test_a_sequence_is_played_whole_or_not_at_all(ask: Session) -> None:
    assert ask("gogui-play_sequence B D4 W E5") == "="
    assert ask("gogui-play_sequence B C3 W E5").startswith("? illegal move")
    assert _stones(ask) == 2


def test_the_game_goes_on_after_two_passes_for_those_who_disagree(ask: Session) -> None:
    ask("play b D4", "play w pass", "play b pass", "play w C3")
    assert _stones(ask) == 2
    assert ask("undo", "undo") == "="
    assert ask("play b pass", "genmove w").startswith("= ")


def test_handicap_stones_stand_where_the_standard_puts_them(ask: Session) -> None:
    assert ask("fixed_handicap 4") == "= C3 G7 C7 G3"
    assert ask.engine.board.to_play == WHITE
    assert ask("fixed_handicap 2") == "? board not empty"
    assert ask("clear_board", "fixed_handicap 10").startswith("? a board of 9 takes 2 to 9")
    assert len(ask("place_free_handicap 30").split()) == 10
    assert ask("clear_board", "set_free_handicap D4 E5 F6") == "="
    assert ask("clear_board", "set_free_handicap D4 D4") == "? bad vertex list"
    assert ask("set_free_handicap D4 pass") == "? bad vertex list"
    assert _stones(ask) == 0


def test_a_record_is_loaded_up_to_a_move(ask: Session, tmp_path: Path) -> None:
    path = tmp_path / "a game.sgf"
    path.write_text("(;SZ[13]KM[5.5];B[cc];W[dd];B[ee])")
    assert ask(f"loadsgf {path}") == "="
    assert (ask.engine.rules.size, ask.engine.rules.komi, _stones(ask)) == (13, 5.5, 3)
    assert ask(f"loadsgf {path} 3") == "="
    assert _stones(ask) == 2


def test_who_begins_in_a_record_still_does_after_a_komi_and_an_undo(
    ask: Session, tmp_path: Path
) -> None:
    path = tmp_path / "white.sgf"
    path.write_text("(;SZ[9]PL[W];W[dd])")
    assert ask(f"loadsgf {path} 1", "komi 3") == "="
    assert ask.engine.board.to_play == WHITE
    assert ask("play w D4", "undo") == "="
    assert ask.engine.board.to_play == WHITE
    assert ask("clear_board") == "="
    assert ask.engine.board.to_play == BLACK


@pytest.mark.parametrize(
    "content",
    [b"", b"((((", b"\x00\xff" * 50, b"(;SZ[9];B[zz])", b"(;SZ[9];B[aa];W[aa])", b"(;SZ[3])"],
)
def test_a_broken_record_leaves_the_game_alone(
    ask: Session, tmp_path: Path, content: bytes
) -> None:
    ask("play b D4")
    path = tmp_path / "broken.sgf"
    path.write_bytes(content)
    assert ask(f"loadsgf {path}").startswith("? cannot load file")
    assert ask(f"loadsgf {tmp_path}").startswith("? cannot load file")
    assert ask(f"loadsgf {tmp_path}/none.sgf").startswith("? cannot load file")
    assert _stones(ask) == 1


def test_the_board_is_shown_without_an_empty_line(ask: Session) -> None:
    assert " 4 . . .(X)" in ask("play b D4", "showboard")


def _finished(ask: Session) -> None:
    """Black has the left, white the right, and a dead black stone stands at J1."""
    for row in range(1, 10):
        ask(f"play b D{row}", f"play b C{row}" if row % 2 else "komi 0.5", f"play w E{row}")
        ask(f"play w F{row}" if row % 2 else "komi 0.5")
    ask("play b J1", "play w pass", "play b pass")


def test_dead_stones_do_not_count(ask: Session) -> None:
    _finished(ask)
    assert ask("final_status_list dead") == "= J1"
    alive = ask("final_status_list alive").removeprefix("= ").splitlines()
    assert len(alive) == 2
    assert ask("final_status_list seki") == "="
    assert ask("final_score") == "= W+9.5"
    assert ask("final_status_list wounded").startswith("?")


# -- time ---------------------------------------------------------------------------------------


class Recorder(Player):
    """Passes, and remembers how long it might have thought."""

    name = "recorder"

    def __init__(self) -> None:
        self.budgets: list[SearchBudget] = []

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        self.budgets.append(budget)
        return Move(board.rules.size**2)


def _share(*commands: str, budget: SearchBudget | None = None) -> float | None:
    recorder = Recorder()
    Session(recorder, budget)(*commands, "genmove b")
    return recorder.budgets[-1].seconds


def test_without_a_clock_the_flags_hold() -> None:
    assert _share(budget=SearchBudget(3.0)) == 3.0
    assert _share("time_settings 0 1 0", budget=SearchBudget(3.0)) == 3.0
    assert _share("kgs-time_settings none", budget=SearchBudget(3.0)) == 3.0


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        ("time_settings 300 0 0", 5, 30),
        ("time_settings 0 10 1", 8, 10),
        ("time_settings 0 60 20", 2, 3),
        ("time_settings 600 30 1", 20, 30),
        ("kgs-time_settings byoyomi 0 10 5", 8, 10),
        ("kgs-time_settings canadian 0 60 20", 2, 3),
        ("kgs-time_settings absolute 300", 5, 30),
        ("time_left b 5 0", 0.05, 0.5),
        ("time_left b 8 4", 1.5, 2),
        ("time_left b 0 0", 0.01, 0.05),
    ],
)
def test_a_move_takes_its_share_of_the_clock(settings: str, least: float, most: float) -> None:
    share = _share(settings)
    assert share is not None
    assert least <= share <= most


def test_the_flags_hold_beside_a_clock() -> None:
    assert _share("time_settings 3600 0 0", budget=SearchBudget(2.0)) == 2.0


def test_a_clock_never_runs_out_by_itself() -> None:
    clock, board = Clock(60, 0, 0), Board(Rules())
    for _ in range(200):
        clock.spend(BLACK, clock.share(BLACK, board))
    assert clock.left[BLACK][0] > 0


def test_after_the_main_time_comes_byo_yomi() -> None:
    clock = Clock(10, 30, 2)
    clock.spend(BLACK, 11)
    assert clock.left == {BLACK: (30, 2), WHITE: (10, 0)}
    clock.spend(BLACK, 10)
    assert clock.left[BLACK] == (20, 1)
    clock.spend(BLACK, 10)
    assert clock.left[BLACK] == (30, 2)


@pytest.mark.parametrize(
    "line",
    [
        "time_settings",
        "time_settings 1 2",
        "time_settings nan 0 0",
        "time_settings -1 0 0",
        "time_settings 1 1 -1",
        "time_left b 1e999 0",
        "time_left b 1",
        "kgs-time_settings byoyomi 1",
        "kgs-time_settings forever",
        "komi nan",
        "komi inf",
        "komi ٣",
        "boardsize ²",
        "boardsize 9 9",
    ],
)
def test_numbers_that_are_none_are_refused(ask: Session, line: str) -> None:
    assert ask(line).startswith("? ")


def test_the_engine_moves_in_its_time() -> None:
    ask = Session(player("rave", threads=1))
    ask("time_settings 0 3 1", "play b D4")
    for _ in range(2):
        began = time.monotonic()
        ask("genmove w")
        assert time.monotonic() - began < 3.0


# -- analysis -----------------------------------------------------------------------------------


def _for_a_while(times: int) -> Callable[[], bool]:
    counted = iter(range(times))
    return lambda: next(counted, None) is None


@pytest.mark.parametrize("command", ["lz-analyze b 5", "lz-analyze interval 5", "kata-analyze w 5"])
def test_an_analysis_reports_until_the_next_command(command: str) -> None:
    ask = Session(player("rave", threads=1), waiting=_for_a_while(10))
    first, *reports = ask("play b D4", command).split("\n")
    assert first == "="
    assert reports
    for report in reports:
        words = report.split()
        assert words[:2] == ["info", "move"]
        for name in ("visits", "winrate", "prior", "lcb", "order", "pv"):
            assert name in words
    assert _stones(ask) == 1


def test_katago_s_form_has_shares_and_the_owners_of_all_points() -> None:
    ask = Session(player("rave", threads=1), waiting=_for_a_while(10))
    report = ask("kata-analyze b 5 maxmoves 2 ownership true").split("\n")[1]
    assert report.count("info move") == 2
    assert 0 <= float(report.split("winrate ")[1].split()[0]) <= 1
    owners = [float(word) for word in report.split(" ownership ")[1].split()]
    assert len(owners) == 81
    assert max(map(abs, owners)) <= 1


def test_leela_s_form_counts_the_win_rate_in_ten_thousandths() -> None:
    ask = Session(player("rave", threads=1), waiting=_for_a_while(10))
    report = ask("lz-analyze b 5").split("\n")[1]
    assert int(report.split("winrate ")[1].split()[0]) > 100


@pytest.mark.parametrize("command", ["lz-genmove_analyze b 1", "kata-genmove_analyze b"])
def test_a_move_with_analysis_is_played(command: str) -> None:
    ask = Session(player("rave", threads=1), SearchBudget(simulations=200))
    *reports, play = ask(command).split("\n")
    assert reports[0] == "="
    assert reports[-1].startswith("info move")
    word, move = play.split()
    assert word == "play"
    assert f"info move {move} " in reports[-1]
    assert _stones(ask) == 1


def test_cgos_gets_one_line_of_json() -> None:
    ask = Session(player("rave", threads=1), SearchBudget(simulations=200))
    first, result, play = ask("cgos-genmove_analyze b").split("\n")
    assert first == "="
    thoughts = json.loads(result)
    assert play == f"play {thoughts['moves'][0]['move']}"
    assert 0 <= thoughts["winrate"] <= 1
    assert len(thoughts["ownership"]) == 81
    assert thoughts["visits"] >= 200


@pytest.mark.parametrize("words", ["avoid b D4", "b 10 ownership", "interval x", "b b", "x"])
def test_wishes_that_cannot_be_met_are_refused(ask: Session, words: str) -> None:
    assert ask(f"kata-analyze {words}").startswith("? ")


def test_a_player_that_does_not_search_has_nothing_to_report(ask: Session) -> None:
    assert ask("lz-analyze b") == "=\n".rstrip("\n")
    assert ask("lz-genmove_analyze b").split("\n")[1].startswith("play ")


# -- players that misbehave -----------------------------------------------------------------------


class Broken(Recorder):
    name = "broken"

    def __init__(self, choice: Move | Exception) -> None:
        super().__init__()
        self.choice = choice

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        if isinstance(self.choice, Exception):
            raise self.choice
        return self.choice


def test_a_player_may_resign() -> None:
    ask = Session(Broken(Move(None)))
    assert ask("genmove b") == "= resign"
    assert ask("lz-genmove_analyze b").endswith("play resign")


@pytest.mark.parametrize("what", [Move(0), ValueError("no idea"), ZeroDivisionError("oh")])
def test_a_player_that_fails_does_not_end_the_session(
    what: Move | Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = Session(Broken(what))
    ask("play b A9")
    assert ask("genmove w").startswith("? ")
    assert capsys.readouterr().out == ""
    assert ask("play w D4") == "="
    assert ask("name") == "= Fathom broken"


# -- noise --------------------------------------------------------------------------------------


def _lines(rng: random.Random, n: int) -> Sequence[str]:
    """Lines of a game, and commands with likely and unlikely arguments, some of them spoilt."""
    commands = (STANDARD + EXTENDED + "fathom-ownership analyze genmove_analyze").split()
    commands.remove("quit")
    words = WORDS.split()
    pool = []
    for k in range(n):
        line = " ".join([rng.choice(commands), *rng.choices(words, k=rng.randrange(5))])
        if k % 2:
            point = f"{rng.choice('ABCDEFGHJ')}{rng.randrange(1, 10)}"
            moves = [f"play {rng.choice('bw')} {point}"] * 4 + ["genmove b", "genmove w", "undo"]
            line = rng.choice(moves)
        if rng.random() < 0.2:
            line = f"{rng.randrange(10 ** rng.randrange(1, 30))} {line}"
        if rng.random() < 0.2:
            spoilt = bytearray(line.encode("utf-8", "replace"))
            for _ in range(rng.randrange(1, 6)):
                spoilt.insert(rng.randrange(len(spoilt) + 1), rng.randrange(256))
            line = bytes(spoilt).decode("utf-8", "replace").replace("\n", " ")
        if rng.random() < 0.05:
            line = rng.randbytes(rng.randrange(40)).decode("utf-8", "replace").replace("\n", " ")
        pool.append(line)
    return pool


def test_a_session_survives_forty_thousand_lines_of_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # printsgf writes files
    few = partial(counting.ownership, playouts=2)
    for module in (counting, players, gtp):
        monkeypatch.setattr(module, "ownership", few)
    message: list[str] = []
    engine = Engine(player("random"), Rules(), SearchBudget(), message.append)
    answered = moved = 0
    rng = random.Random(4)
    for line in rng.choices(_lines(rng, 20_000), k=40_000):
        message.clear()
        assert engine.handle(line) or "quit" in line
        text = "".join(message)
        if not text:
            continue
        answered += 1
        assert text[0] in "=?", (line, text)
        assert text.endswith("\n\n"), (line, text)
        assert "\n\n" not in text[:-2], (line, text)
        assert "internal error" not in text, (line, text)
        moved += text[0] == "=" and "play" in line
    assert answered > 36_000
    assert moved > 3_000


def test_a_line_that_does_not_end_is_one_bad_command() -> None:
    noise = b"play b " + b"x" * (5 * LONGEST_LINE) + b"\nname\n"
    assert [line for some in lines(io.BytesIO(noise)) for line in some] == ["line-too-long", "name"]


def test_lines_are_found_wherever_the_input_is_cut() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, *chunks: bytes) -> None:
            self.chunks = list(chunks)

        def read(self, size: int = -1) -> bytes:
            return self.chunks.pop(0) if self.chunks else b""

    source: Any = Pipe(b"na", b"me\nquit\nver", b"sion\n\nlast")
    assert list(lines(source)) == [["name", "quit"], ["version", ""], ["last"]]


GENMOVE = "genmove b\n"


@pytest.mark.parametrize("way", ["quit", "SIGINT", "SIGTERM", "a closed window"])
def test_a_thinking_engine_ends_at_once(way: str) -> None:
    command = [sys.executable, "-m", "fathom", "gtp", "rave", "--seconds", "60", "--threads", "1"]
    pipe: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, bufsize=1, **pipe) as process:
        process.stdin.write("name\n")
        assert process.stdout.readline() == "= Fathom rave\n"
        process.stdin.write(GENMOVE)
        time.sleep(1.0)
        assert process.poll() is None
        if way == "quit":
            process.stdin.write("quit\n")
        elif way == "a closed window":
            process.stdin.close()
            process.stdout.close()
        else:
            process.send_signal(getattr(signal, way))
        # Standard input is still open, but for the window.
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in process.stderr.read()


CLIENT = Path("build/node_modules/@sabaki/gtp")


@pytest.mark.skipif(
    shutil.which("node") is None or not CLIENT.is_dir(),
    reason="@sabaki/gtp is missing: npm install --prefix build --no-save @sabaki/gtp@3",
)
def test_sabaki_s_client_plays_quits_and_kills() -> None:
    done = subprocess.run(
        ["node", Path(__file__).with_name("client.cjs"), sys.executable],
        env={**os.environ, "NODE_PATH": str(CLIENT.parent.parent.resolve())},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    told = json.loads(done.stdout)
    name, size, move, stones = told["said"]
    assert (name, size, move) == ("Fathom random", "", stones)
    assert (told["quit"]["code"], told["quit"]["signal"]) == (0, None)
    assert (told["killed"]["code"], told["killed"]["signal"]) == (0, None)
    assert told["took"] < 10_000, "milliseconds"
    assert told["move"] == "none" or len(told["move"]) <= 4


def test_what_a_script_asks_for_is_thought_about() -> None:
    command = [sys.executable, "-m", "fathom", "gtp", "rave", "--seconds", "1", "--threads", "1"]
    began = time.monotonic()
    done = subprocess.run(
        command, input=f"{GENMOVE}quit\n", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert done.stdout.startswith("= ")
    assert time.monotonic() - began > 1.0


def test_the_engine_as_a_process_answers_noise_and_ends_with_its_input() -> None:
    noise = bytes(range(256)).replace(b"\n", b"") + b"\n\xff\xfe\x00\n" + b"\x00" * 1000 + b"\n"
    done = subprocess.run(
        [sys.executable, "-m", "fathom", "gtp", "random", "--env.size", "9"],
        input=noise + b"1 genmove b\n2 lz-analyze w 5\n3 name\n",
        capture_output=True,
        timeout=120,
    )
    text = done.stdout.decode()
    assert done.returncode == 0
    assert text.replace("\n", " ").split("=1 ")[1].endswith(" =2  =3 Fathom random  ")
    assert "Traceback" not in done.stderr.decode()


def test_an_interrupt_hurries_the_move_that_is_being_thought_about() -> None:
    arrived: queue.Queue[str | None] = queue.Queue()
    message: list[str] = []
    engine = Engine(player("rave", threads=1), Rules(), SearchBudget(60.0), message.append)
    for line in ("genmove b\n", None):
        arrived.put(line)
    threading.Timer(0.5, engine.interrupted.set).start()
    began = time.monotonic()
    gtp.serve(engine, arrived)
    assert time.monotonic() - began < 10
    assert message[0].startswith("= ")


def test_the_lower_bound_of_a_candidate_lies_below_its_win_rate() -> None:
    bounds = [lower_bound(Candidate(0, n, 0.5, 0.1, [0])) for n in (0, 10, 1000)]
    assert np.all(np.diff(bounds) > 0)
    assert bounds[-1] < 0.5
