"""A player as an engine for other Go programs: the Go Text Protocol, version 2 (Farnebäck 2002).

A command is a line; its answer begins with "=" or "?" and ends with an empty line. Beside the commands of the
standard it has those that Sabaki, Lizzie, GoGui, KGS and CGOS send. No command ends the session but `quit`.
Messages for people go to standard error.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import queue
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from agents.search.go_search import Candidate
from envs.go.board import BLACK, WHITE, Board, IllegalMoveError, Rules, handicap_points, replay
from envs.go.core import LARGEST, Ko
from envs.go.counting import chains, ownership, result_of, without
from envs.go.rendering import ansi
from envs.go.sgf import read_game, read_games, record, write_game
from envs.go.vertices import action_at, vertex
from fathom import __version__
from fathom.errors import FathomError, printable
from fathom.play.gtp_analysis import AnalysisOptions, lower_bound, rounded
from fathom.play.gtp_clock import Clock
from fathom.play.gtp_words import (
    COLOUR_NAMES,
    GtpError,
    clean,
    colour_of,
    lines,
    number,
    only,
    seconds_of,
    whole,
)
from fathom.play.players import Move, Player, SearchBudget

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""CGOS's digits for numbers from −1 to 1."""
_RULE_SETS: dict[str, tuple[Ko, bool]] = {
    **{"chinese": ("positional", False), "chinese-kgs": ("positional", False)},
    **{"chinese-ogs": ("positional", False), "aga": ("situational", False)},
    **{"new_zealand": ("situational", True), "new-zealand": ("situational", True)},
    **{"tromp-taylor": ("positional", True)},
}
"""Names of rules with area scoring, with their ko rule and whether suicide is allowed."""
_KO_NAMES: dict[str, Ko] = {
    "SIMPLE": "simple",
    "POSITIONAL": "positional",
    "SITUATIONAL": "situational",
}


class Engine:
    """One session.

    Args:
        write: sends text to the other program at once.
        budget: for every move, also with a clock.
        waiting: returns whether another command has come, which ends an analysis.
    """

    def __init__(
        self,
        player: Player,
        rules: Rules,
        budget: SearchBudget,
        write: Callable[[str], object],
        waiting: Callable[[], bool] = lambda: True,
    ) -> None:
        self.player, self.budget = player, budget
        self._write, self._waiting = write, waiting
        self.interrupted = threading.Event()
        """Set to end the search for a move at once."""
        self.ended = threading.Event()
        """Set to end the session: no search goes on."""
        self._clock: Clock | None = None
        self._rest = ""
        self._timed = False
        """Whether the clock is of time settings; else it is of `time_left` alone."""
        self._quit = False
        self._seed = 0
        self._commands: dict[str, Callable[[list[str]], str]] = {
            name.removeprefix("_do_").replace("__", "-"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_do_")
        }
        self._begin(rules)

    def _begin(
        self,
        rules: Rules,
        setup: tuple[tuple[int, int], ...] = (),
        moves: Sequence[tuple[int, int]] = (),
        first: int | None = None,
    ) -> None:
        """Begin a game with some moves. If the player refuses it, the old game stays.

        Args:
            first: who begins; by default the setup decides.
        """
        board = replay(rules, setup, moves, first)
        self.player.new_game(rules, setup, self._seed)
        self.rules, self.setup, self.board, self._first = rules, setup, board, first

    def _back_to(self, moves: Sequence[tuple[int, int]]) -> None:
        """Go back to the given moves of the same game."""
        self.board = replay(self.rules, self.setup, moves, self._first)

    def handle(self, line: str) -> bool:
        """Answer a line, and return whether to go on."""
        line = clean(line)
        words = line.split()
        if not words:
            return True
        number = ""
        if words[0].isascii() and words[0].isdigit():
            number, words = words[0], words[1:]
        self._number, self._streaming = number, False
        self._rest = line.partition(words[0])[2].strip() if words else ""
        try:
            command = self._commands.get(words[0] if words else "")
            if command is None:
                raise GtpError("unknown command")
            sign, answer = "=", command(words[1:])
        except (ValueError, FathomError) as error:
            sign, answer = "?", " ".join(str(error).split())
            if isinstance(error, IllegalMoveError):
                answer = f"illegal move: {answer}"
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            sign, answer = "?", f"internal error: {type(error).__name__}"
        if self._streaming:
            self._write(f"{answer}\n\n" if sign == "=" and answer else "\n")
        else:
            self._write(f"{sign}{number}{' ' if answer else ''}{answer}\n\n")
        return not self._quit

    # -- about itself ---------------------------------------------------------------------------

    def _do_protocol_version(self, words: list[str]) -> str:
        return "2"

    def _do_name(self, words: list[str]) -> str:
        return f"Fathom {self.player.name}"

    def _do_version(self, words: list[str]) -> str:
        return __version__

    def _do_known_command(self, words: list[str]) -> str:
        return "true" if words and words[0] in self._commands else "false"

    def _do_list_commands(self, words: list[str]) -> str:
        return "\n".join(sorted(self._commands))

    def _do_quit(self, words: list[str]) -> str:
        self._quit = True
        return ""

    def _do_gogui__analyze_commands(self, words: list[str]) -> str:
        return "dboard/Ownership/fathom-ownership"

    def _do_gogui__interrupt(self, words: list[str]) -> str:
        return ""

    # -- the game -------------------------------------------------------------------------------

    def _do_boardsize(self, words: list[str]) -> str:
        size = whole(only(words))
        if not 5 <= size <= LARGEST:
            raise GtpError("unacceptable size")
        try:
            self._begin(dataclasses.replace(self.rules, size=size))
        except FathomError as error:
            raise GtpError(f"unacceptable size: {error}; `fathom gtp rave` plays on any") from None
        self._reset_clock()
        return ""

    def _do_clear_board(self, words: list[str]) -> str:
        self._begin(self.rules)
        self._reset_clock()
        return ""

    def _reset_clock(self) -> None:
        if self._clock is not None:
            self._clock = dataclasses.replace(self._clock) if self._timed else None

    def _do_komi(self, words: list[str]) -> str:
        rules = dataclasses.replace(self.rules, komi=number(only(words)))
        self._begin(rules, self.setup, self.board.moves, self._first)
        return ""

    def _do_set_random_seed(self, words: list[str]) -> str:
        self._seed = whole(only(words)) % 2**31
        self.player.new_game(self.rules, self.setup, self._seed)
        return ""

    def _do_play(self, words: list[str]) -> str:
        if len(words) != 2:
            raise GtpError("a move is a colour and a vertex")
        self._play(colour_of(words[0]), self._vertex(words[1]))
        return ""

    def _do_gogui__play_sequence(self, words: list[str]) -> str:
        if len(words) % 2:
            raise GtpError("moves are pairs of a colour and a vertex")
        before = list(self.board.moves)
        try:
            for colour, point in zip(words[::2], words[1::2], strict=True):
                self._play(colour_of(colour), self._vertex(point))
        except ValueError:
            self._back_to(before)
            raise
        return ""

    def _do_undo(self, words: list[str]) -> str:
        if words:
            raise GtpError("undo takes back one move and has no argument")
        if not self.board.moves:
            raise GtpError("cannot undo")
        self._back_to(self.board.moves[:-1])
        return ""

    def _do_fixed_handicap(self, words: list[str]) -> str:
        return self._handicap(handicap_points(self.rules.size, whole(only(words))))

    def _do_place_free_handicap(self, words: list[str]) -> str:
        wanted = whole(only(words))
        if wanted < 2:
            raise GtpError("a handicap is at least two stones")
        # The standard allows fewer: the fixed points, which every program knows.
        for stones in range(min(wanted, 9), 1, -1):
            try:
                points = handicap_points(self.rules.size, stones)
            except ValueError:
                continue
            return self._handicap(points)
        raise GtpError(f"a board of {self.rules.size} has no handicap points")

    def _do_set_free_handicap(self, words: list[str]) -> str:
        points = [self._vertex(word) for word in words]
        if len(points) < 2 or len(set(points)) < len(points) or self.rules.size**2 in points:
            raise GtpError("bad vertex list")
        self._handicap(points)
        return ""

    def _handicap(self, points: list[int]) -> str:
        if self.setup or self.board.moves:
            raise GtpError("board not empty")
        self._begin(self.rules, tuple((BLACK, point) for point in points))
        return " ".join(vertex(point, self.rules.size) for point in points)

    def _do_loadsgf(self, words: list[str]) -> str:
        if not words:
            raise GtpError("loadsgf needs a file")
        text, moves = self._rest, None
        if len(words) > 1 and words[-1].isascii() and words[-1].isdigit():
            text, moves = text[: -len(words[-1])].strip(), max(0, whole(words[-1]) - 1)
        path = Path(text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text)
        try:
            is_file = path.is_file()  # not a folder, and not a pipe, which might block
        except (OSError, ValueError):  # too long a name
            is_file = False
        if not is_file:
            raise GtpError(f"cannot load file: {str(path)[:80]} is no file")
        try:
            game = read_game(path, moves=moves, whole=True)
            rules = dataclasses.replace(self.rules, size=game.size, komi=game.komi)
            if game.size < 5:
                raise GtpError(f"unacceptable size: {game.size}")
            self._begin(rules, game.setup, game.moves, game.to_play)
        except (ValueError, FathomError) as error:
            raise GtpError(f"cannot load file: {error}") from None
        if len(list(itertools.islice(read_games(path), 2))) > 1:
            said = f"{printable(path.name)} holds several games; this is the first"
            print(f"fathom: {said}", file=sys.stderr, flush=True)
        self._reset_clock()
        return ""

    def _do_printsgf(self, words: list[str]) -> str:
        game = record(self.board, ("", ""), "", self.setup)
        text = write_game(game).decode().strip()
        if not words:
            return text
        path = Path(self._rest.strip('"'))
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text + "\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise GtpError(f"{str(path)[:80]} cannot be written: {reason}") from None
        return ""

    def _do_set_position(self, words: list[str]) -> str:
        self._begin(self.rules, self._stones(words))
        return ""

    def _do_gogui__setup(self, words: list[str]) -> str:
        if self.board.moves:
            raise GtpError("stones are set up before the first move")
        self._begin(self.rules, (*self.setup, *self._stones(words)), (), self._first)
        return ""

    def _do_gogui__setup_player(self, words: list[str]) -> str:
        if self.board.moves:
            raise GtpError("the first player is set before the first move")
        self._begin(self.rules, self.setup, (), colour_of(only(words)))
        return ""

    def _stones(self, words: list[str]) -> tuple[tuple[int, int], ...]:
        """Read pairs of a colour and a point."""
        if len(words) % 2:
            raise GtpError("stones are pairs of a colour and a vertex")
        points = [self._vertex(word) for word in words[1::2]]
        if self.rules.size**2 in points or len(set(points)) < len(points):
            raise GtpError("bad vertex list")
        return tuple(zip(map(colour_of, words[::2]), points, strict=True))

    def _do_get_komi(self, words: list[str]) -> str:
        return f"{self.rules.komi:g}"

    def _do_list_stones(self, words: list[str]) -> str:
        stones = self.board.stones.ravel() == colour_of(only(words))
        return self._points(action for action, there in enumerate(stones) if there)

    def _do_is_legal(self, words: list[str]) -> str:
        if len(words) != 2:
            raise GtpError("a move is a colour and a vertex")
        return str(int(self._before(colour_of(words[0])).legal()[self._vertex(words[1])]))

    def _do_all_legal(self, words: list[str]) -> str:
        legal = self._before(colour_of(only(words))).legal()
        return self._points(action for action, may in enumerate(legal) if may)

    def _points(self, actions: Iterable[int]) -> str:
        return " ".join(vertex(action, self.rules.size) for action in actions)

    def _do_last_move(self, words: list[str]) -> str:
        if not self.board.moves:
            raise GtpError("no move has been played")
        return self._do_move_history(words).partition("\n")[0]

    def _do_move_history(self, words: list[str]) -> str:
        moves = reversed(self.board.moves)
        return "\n".join(
            f"{COLOUR_NAMES[colour]} {vertex(action, self.rules.size)}" for colour, action in moves
        )

    def _do_captures(self, words: list[str]) -> str:
        other = 3 - colour_of(only(words))
        placed = (*self.setup, *self.board.moves)
        played = sum(colour == other and action < self.rules.size**2 for colour, action in placed)
        return str(played - int((self.board.stones == other).sum()))

    # -- rules and parameters -------------------------------------------------------------------

    def _do_kgs__rules(self, words: list[str]) -> str:
        return self._do_kata__set__rules(words)

    def _do_kata__get__rules(self, words: list[str]) -> str:
        return json.dumps(
            {
                "ko": next(name for name, ko in _KO_NAMES.items() if ko == self.rules.ko),
                "scoring": "AREA",
                "tax": "NONE",
                "suicide": self.rules.suicide,
                "hasButton": False,
                "whiteHandicapBonus": "0",
            }
        )

    def _do_kata__set__rules(self, words: list[str]) -> str:
        if self._rest.startswith("{"):
            try:
                wanted = json.loads(self._rest)
            except ValueError as error:
                raise GtpError(f"these rules are no JSON: {error}") from None
        elif self._rest.lower() in _RULE_SETS:
            ko, suicide = _RULE_SETS[self._rest.lower()]
            wanted = {"ko": ko.upper(), "suicide": suicide}
        else:
            raise GtpError(
                f"only rules with area scoring are known: {', '.join(sorted(_RULE_SETS))}"
            )
        rules = self.rules
        for name, value in wanted.items():
            rules = _with_rule(rules, name, value)
        self._begin(rules, self.setup, self.board.moves, self._first)
        return ""

    def _do_kata__set__rule(self, words: list[str]) -> str:
        if len(words) != 2:
            raise GtpError("a rule is a name and a value")
        text = words[1].lower()
        value: object = text == "true" if text in ("true", "false") else words[1]
        rules = _with_rule(self.rules, words[0], value)
        self._begin(rules, self.setup, self.board.moves, self._first)
        return ""

    def _do_kata__list__params(self, words: list[str]) -> str:
        return "maxTime maxVisits"

    def _do_kata__get__param(self, words: list[str]) -> str:
        seconds, simulations = self.budget.seconds, self.budget.simulations
        values = {"maxTime": seconds, "maxVisits": simulations}
        if only(words) not in values:
            raise GtpError(f"the parameters are {self._do_kata__list__params([])}")
        value = values[words[0]]
        return "1e20" if value is None else f"{value:g}"

    def _do_kata__set__param(self, words: list[str]) -> str:
        if len(words) != 2 or words[0] not in ("maxTime", "maxVisits"):
            raise GtpError(
                f"the parameters are {self._do_kata__list__params([])}, each with a value"
            )
        if words[0] == "maxTime":
            self.budget = dataclasses.replace(self.budget, seconds=max(0.01, seconds_of(words[1])))
        else:
            simulations = max(1, whole(words[1]))
            self.budget = dataclasses.replace(self.budget, simulations=simulations)
        return ""

    def _do_kgs__game_over(self, words: list[str]) -> str:
        return ""

    def _do_cputime(self, words: list[str]) -> str:
        return f"{time.process_time():.3f}"

    def _do_showboard(self, words: list[str]) -> str:
        last = self.board.moves[-1][1] if self.board.moves else None
        return "\n" + ansi(self.board.stones, last).rstrip("\n")

    # -- the player -----------------------------------------------------------------------------

    def _do_genmove(self, words: list[str]) -> str:
        colour = colour_of(only(words))
        return self._named(self._generate(colour))

    def _do_reg_genmove(self, words: list[str]) -> str:
        board = self._before(colour_of(only(words)))
        return self._named(self.player.advise(board, self._budget(board), self._stopped))

    def _do_kgs__genmove_cleanup(self, words: list[str]) -> str:
        colour = colour_of(only(words))
        board = self._before(colour)
        return self._named(self._made(colour, self.player.clean_up(board, self._budget(board))))

    def _generate(
        self,
        colour: int,
        report: Callable[[], None] = lambda: None,
        only: frozenset[int] | None = None,
    ) -> Move:
        """Choose a move and play it.

        Args:
            report: called while the player thinks.
            only: the moves to choose from; by default all.
        """

        def stop() -> bool:
            report()
            return self._stopped()

        board, began = self._before(colour), time.monotonic()
        budget = dataclasses.replace(self._budget(board), only=only)
        move = self.player.choose(board, budget, stop)
        if self._clock is not None:
            self._clock.spend(colour, time.monotonic() - began)
        return self._made(colour, move)

    def _stopped(self) -> bool:
        return self.interrupted.is_set() or self.ended.is_set()

    def _made(self, colour: int, move: Move) -> Move:
        if move.action is not None:
            try:
                self._play(colour, move.action)
            except IllegalMoveError as error:
                raise GtpError(f"{self.player.name} made an illegal move: {error}") from None
        return move

    def _before(self, colour: int) -> Board:
        """Return the position with a colour to move, resumed if there were two passes."""
        self.interrupted.clear()
        board = self.board.copy()
        if board.over:
            board.resume()
        board.to_play = colour
        return board

    def _budget(self, board: Board) -> SearchBudget:
        if self._clock is None:
            return self.budget
        share = self._clock.share(board.to_play, board)
        if self.budget.seconds is not None:
            share = min(share, self.budget.seconds)
        return dataclasses.replace(self.budget, seconds=share)

    def _named(self, move: Move) -> str:
        return "resign" if move.action is None else vertex(move.action, self.rules.size)

    # -- time -----------------------------------------------------------------------------------

    def _do_time_settings(self, words: list[str]) -> str:
        if len(words) != 3:
            raise GtpError("time settings are main time, byo-yomi time and byo-yomi stones")
        main, period, stones = seconds_of(words[0]), seconds_of(words[1]), whole(words[2])
        if stones < 0:
            raise GtpError("the number of stones must be at least 0")
        # By the standard, byo-yomi time without stones means no limit; no time at all is meant so, too.
        endless = (period > 0 and stones == 0) or main == period == 0
        self._set_clock(None if endless else Clock(main, period, stones if period > 0 else 0))
        return ""

    def _set_clock(self, clock: Clock | None) -> None:
        self._clock, self._timed = clock, clock is not None

    def _do_kgs__time_settings(self, words: list[str]) -> str:
        kind = words[0] if words else ""
        wanted = {"none": 1, "absolute": 2, "byoyomi": 4, "canadian": 4}.get(kind)
        if wanted != len(words):
            raise GtpError(
                "time settings are none, absolute, byoyomi or canadian and their numbers"
            )
        times = [seconds_of(word) for word in words[1:3]]
        count = max(1, whole(words[3])) if wanted == 4 else 0
        if kind == "none" or not any(times):
            self._set_clock(None)
        elif kind == "absolute":
            self._set_clock(Clock(times[0]))
        else:
            self._set_clock(Clock(times[0], times[1], count, japanese=kind == "byoyomi"))
        return ""

    def _do_time_left(self, words: list[str]) -> str:
        if len(words) != 3:
            raise GtpError("the time left is a colour, seconds and stones")
        colour, seconds, stones = colour_of(words[0]), seconds_of(words[1]), whole(words[2])
        if stones < 0:
            raise GtpError("the number of stones must be at least 0")
        if self._clock is None:
            self._clock = Clock(seconds)
        self._clock.left[colour] = (seconds, stones)
        return ""

    # -- the end --------------------------------------------------------------------------------

    def _do_final_score(self, words: list[str]) -> str:
        return result_of(without(self.board, self.player.dead(self.board)).score())

    def _do_final_status_list(self, words: list[str]) -> str:
        status = only(words)
        if status not in ("alive", "dead", "seki"):
            raise GtpError("a status is alive, dead or seki")
        if status == "seki":  # by area scoring, what stays on the board is alive
            return ""
        dead, wanted = self.player.dead(self.board), status == "dead"
        return "\n".join(
            " ".join(vertex(point, self.rules.size) for point in chain)
            for chain in chains(self.board.stones)
            if (chain[0] in dead) == wanted
        )

    def _do_final_status(self, words: list[str]) -> str:
        point = self._vertex(only(words))
        if point == self.rules.size**2:
            raise GtpError("a pass has no status")
        dead = self.player.dead(self.board)
        if self.board.stones.ravel()[point]:
            return "dead" if point in dead else "alive"
        owner = ownership(without(self.board, dead)).ravel()[point]
        return (
            "dame"
            if abs(owner) < 0.5
            else f"{COLOUR_NAMES[BLACK if owner > 0 else WHITE]}_territory"
        )

    def _do_fathom__ownership(self, words: list[str]) -> str:
        rows = [" ".join(f"{owner:.2f}" for owner in row) for row in ownership(self.board)]
        return "\n" + "\n".join(rows)

    # -- analysis -------------------------------------------------------------------------------

    def _do_lz__analyze(self, words: list[str]) -> str:
        return self._analyse(words, self._leela_line)

    def _do_kata__analyze(self, words: list[str]) -> str:
        return self._analyse(words, self._kata_line)

    def _do_analyze(self, words: list[str]) -> str:
        return self._analyse(words, self._leela_line)

    def _do_lz__genmove_analyze(self, words: list[str]) -> str:
        return self._generate_and_analyse(words, self._leela_line)

    def _do_kata__genmove_analyze(self, words: list[str]) -> str:
        return self._generate_and_analyse(words, self._kata_line)

    def _do_genmove_analyze(self, words: list[str]) -> str:
        return self._generate_and_analyse(words, self._leela_line)

    def _do_cgos__genmove_analyze(self, words: list[str]) -> str:
        colour = colour_of(only(words))
        before = self._before(colour)
        move = self._generate(colour)
        owned = ownership(before) * (1 if colour == BLACK else -1)
        size = self.rules.size
        analysis = {
            "winrate": rounded(move.win_rate),
            "score": round(float(owned.sum()) + self._komi_for(colour), 2),
            "visits": sum(candidate.visits for candidate in move.candidates),
            "moves": [
                {
                    "move": vertex(candidate.action, size),
                    "winrate": rounded(candidate.win_rate),
                    "prior": rounded(candidate.prior),
                    "visits": candidate.visits,
                    "pv": " ".join(vertex(action, size) for action in candidate.variation[1:]),
                }
                for candidate in move.candidates[:10]
            ],
            "ownership": "".join(_DIGITS[round(31 * (owner + 1))] for owner in owned.ravel()),
        }
        self._stream()
        self._write(json.dumps(analysis, separators=(",", ":")) + "\n")
        return f"play {self._named(move)}"

    def _komi_for(self, colour: int) -> float:
        return float(-self.rules.komi if colour == BLACK else self.rules.komi)

    def _stream(self) -> None:
        """Begin an answer that is sent line by line."""
        self._streaming = True
        self._write(f"={self._number}\n")

    def _analyse(self, words: list[str], line: Line) -> str:
        """Report on the position until the next command comes."""
        options = AnalysisOptions.read(words, self.board.to_play, self.rules.size)
        board = self._before(options.colour)
        search = self._searching(board, options)
        self._stream()
        report_at, reported = time.monotonic() + options.interval, False
        while not (self._waiting() and reported) and not self.ended.is_set():
            began = time.monotonic()
            if search is not None:
                search(0.02)
            # What was found is told even if the next command came before the first interval was over.
            if time.monotonic() >= report_at or self._waiting():
                self._report(line(options, board, self.player.candidates()))
                report_at, reported = time.monotonic() + options.interval, True
            elif time.monotonic() - began < 0.01:  # nothing to search, or the tree is full
                time.sleep(0.02)
        return ""

    def _searching(self, board: Board, options: AnalysisOptions) -> Callable[[float], None] | None:
        """What searches the position for some seconds more; None for a player that does not search.

        Raises:
            GtpError: moves are restricted, and it does not search or none of them is legal.
        """
        if options.only is not None and not board.legal()[list(options.only)].any():
            raise GtpError("none of the moves that are allowed is legal")
        search = self.player.analyse(board, options.only)
        if options.only is not None and search is None:
            raise GtpError(f"{self.player.name} does not search: its moves cannot be restricted")
        return search

    def _generate_and_analyse(self, words: list[str], line: Line) -> str:
        options = AnalysisOptions.read(words, self.board.to_play, self.rules.size)
        board = self._before(options.colour)
        self._searching(board, options)
        self._stream()
        report_at = time.monotonic() + options.interval

        def report() -> None:
            nonlocal report_at
            if time.monotonic() >= report_at:
                self._report(line(options, board, self.player.candidates()))
                report_at = time.monotonic() + options.interval

        try:
            move = self._generate(options.colour, report, options.only)
        except (ValueError, FathomError) as error:  # the answer has begun with "="
            print(f"fathom: {error}", file=sys.stderr)
            return "play pass"
        self._report(line(options, board, move.candidates))
        return f"play {self._named(move)}"

    def _report(self, text: str) -> None:
        if text:
            self._write(text + "\n")

    def _leela_line(
        self, options: AnalysisOptions, board: Board, candidates: Sequence[Candidate]
    ) -> str:
        return " ".join(self._infos(options, candidates, lambda rate: str(round(10_000 * rate))))

    def _kata_line(
        self, options: AnalysisOptions, board: Board, candidates: Sequence[Candidate]
    ) -> str:
        text = " ".join(self._infos(options, candidates, lambda rate: f"{rate:.6f}"))
        if not text or not (options.ownership or options.root):
            return text
        owned = self.player.ownership(board) * (1 if options.colour == BLACK else -1)
        if options.root:
            visits = sum(candidate.visits for candidate in candidates)
            lead = float(owned.sum()) + self._komi_for(options.colour)
            text += f" rootInfo visits {visits} winrate {candidates[0].win_rate:.6f} scoreLead {lead:.2f}"
        if options.ownership:
            text += " ownership " + " ".join(f"{owner:.3f}" for owner in owned.ravel())
        return text

    def _infos(
        self,
        options: AnalysisOptions,
        candidates: Sequence[Candidate],
        shown: Callable[[float], str],
    ) -> Iterator[str]:
        size, only = self.rules.size, options.only
        wanted = [one for one in candidates if only is None or one.action in only]
        for order, candidate in enumerate(wanted[: options.moves]):
            text = (
                f"info move {vertex(candidate.action, size)} visits {candidate.visits} "
                f"winrate {shown(candidate.win_rate)} prior {shown(candidate.prior)} "
                f"lcb {shown(lower_bound(candidate))} order {order} "
                f"pv {' '.join(vertex(action, size) for action in candidate.variation)}"
            )
            if options.visits:
                text += f" pvVisits {' '.join(map(str, candidate.variation_visits))}"
            yield text

    # -- parts ----------------------------------------------------------------------------------

    def _play(self, colour: int, action: int) -> None:
        board = self.board
        if board.over:  # players who disagree about dead stones play on
            board = board.copy()
            board.resume()
        try:
            board.play(action, colour)
        except IllegalMoveError as error:
            simple = dataclasses.replace(self.rules, ko="simple")
            moves = [*self.board.moves, (colour, action)]
            try:
                replay(simple, self.setup, moves, self._first)
            except IllegalMoveError:
                raise error from None
            raise IllegalMoveError(f"{error} (--env.ko simple allows it)") from None
        self.board = board

    def _vertex(self, word: str) -> int:
        return action_at(word, self.rules.size)


Line = Callable[[AnalysisOptions, Board, Sequence[Candidate]], str]
"""A function that returns a line of a report."""


def serve(engine: Engine, arrived: queue.Queue[str | None]) -> None:
    """Answer lines until `quit` or None, the end of the input."""
    while (line := arrived.get()) is not None and engine.handle(line):
        pass


def run(player: Player, rules: Rules, budget: SearchBudget, source: BinaryIO, sink: TextIO) -> None:
    """Answer another program's commands until it quits, closes the input, or no longer reads.

    A `quit` that comes while a move is thought about ends that at once; what was sent together with the command before
    is a script, whose moves are thought about.

    Args:
        source: lines are read ahead from here, because the next command ends an analysis.
        sink: answers go here.
    """
    arrived: queue.Queue[str | None] = queue.Queue()

    def write(text: str) -> None:
        sink.write(text)
        sink.flush()

    engine = Engine(player, rules, budget, write, lambda: not arrived.empty())
    ownership(engine.board, 1)  # compiled before a clock runs

    def read() -> None:
        for together in lines(source):
            for line in together:
                if line.lstrip().startswith("# interrupt"):
                    engine.interrupted.set()
                arrived.put(line)
            if together and clean(together[0]).split()[-1:] == ["quit"]:
                engine.ended.set()
        arrived.put(None)
        while not _abandoned(sink):  # a script's answers are awaited
            time.sleep(0.1)
        engine.ended.set()

    threading.Thread(target=read, daemon=True).start()
    serve(engine, arrived)


def _abandoned(sink: TextIO) -> bool:
    """Whether nobody reads a stream any more."""
    try:
        poll = select.poll()
        poll.register(sink.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # Windows has no poll
        return False


def _with_rule(rules: Rules, name: str, value: object) -> Rules:
    """Change a rule by KataGo's name for it."""
    if name == "ko" and str(value).upper() in _KO_NAMES:
        return dataclasses.replace(rules, ko=_KO_NAMES[str(value).upper()])
    if name == "suicide" and isinstance(value, bool):
        return dataclasses.replace(rules, suicide=value)
    fixed = {"scoring": "AREA", "tax": "NONE", "hasButton": False, "whiteHandicapBonus": "0"}
    if name in (*fixed, "friendlyPassOk") and value == fixed.get(name, value):
        return rules
    if name == "komi" and isinstance(value, (int, float)):
        return dataclasses.replace(rules, komi=float(value))
    raise GtpError(f"the rule {name[:20]} cannot be {str(value)[:20]}")
