"""A player as an engine for other Go programs: the Go Text Protocol, version 2 (Farnebäck 2002).

A command is a line; its answer begins with "=" or "?" and ends with an empty line. Beside the commands of the
standard it has those that Sabaki, Lizzie, GoGui, KGS and CGOS send. No input ends the session but `quit`.
Messages for people go to standard error.
"""

from __future__ import annotations

import dataclasses
import json
import math
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from agents.search.go_search import Candidate
from envs.go.board import BLACK, WHITE, Board, IllegalMoveError, Rules, handicap_points, replay
from envs.go.core import LARGEST
from envs.go.counting import chains, ownership, result_of, without
from envs.go.rendering import ansi
from envs.go.sgf import read_game
from envs.go.vertices import action_at, vertex
from fathom import __version__
from fathom.errors import FathomError
from fathom.play.players import Move, Player, SearchBudget

LONGEST_LINE = 1 << 16
"""Longest command in bytes."""

_CONTROLS = {code: None for code in (*range(32), 127)} | {ord("\t"): " "}
_NUMBER = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""CGOS's digits for numbers from −1 to 1."""
_PAIRS = {"minmoves", "maxmoves", "interval", "ownership", "movesOwnership", "rootInfo", "pvVisits"}
"""Options of lz-analyze and kata-analyze, each with a value."""


class GtpError(ValueError):
    """A command cannot be executed."""


@dataclasses.dataclass
class Clock:
    """The clocks of both players: main time, then `stones` moves in every `period`."""

    main: float
    period: float
    stones: int

    def __post_init__(self) -> None:
        start = (self.main, 0) if self.main > 0 else (self.period, self.stones)
        self.left: dict[int, tuple[float, int]] = {BLACK: start, WHITE: start}
        """Seconds left, and the number of moves that they are for; 0 for the rest of the game."""

    def share(self, colour: int, board: Board) -> float:
        """Return the seconds for the next move, less a margin for delays."""
        seconds, stones = self.left[colour]
        if stones:
            share = seconds / stones
        else:
            points = board.rules.size**2
            share = seconds / max(10.0, (points - len(board.moves)) / 3)
            if self.period:
                share = max(share, min(self.period / self.stones, seconds))
        return max(0.01, 0.9 * share - 0.05)

    def spend(self, colour: int, seconds: float) -> None:
        """Take the time of a move off the clock. Programs may also send `time_left`."""
        left, stones = self.left[colour]
        left, stones = left - seconds, max(0, stones - 1)
        if self.period and (left <= 0 or self.left[colour][1] == 1):
            left, stones = self.period, self.stones
        self.left[colour] = (max(0.0, left), stones)


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
        self._clock: Clock | None = None
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
        words = _clean(line).split()
        if not words:
            return True
        number = ""
        if words[0].isascii() and words[0].isdigit():
            number, words = words[0], words[1:]
        self._number, self._streaming = number, False
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
        size = _whole(_only(words))
        if not 5 <= size <= LARGEST:
            raise GtpError("unacceptable size")
        try:
            self._begin(dataclasses.replace(self.rules, size=size))
        except FathomError as error:
            raise GtpError(f"unacceptable size: {error}") from None
        return ""

    def _do_clear_board(self, words: list[str]) -> str:
        self._begin(self.rules)
        return ""

    def _do_komi(self, words: list[str]) -> str:
        rules = dataclasses.replace(self.rules, komi=_float(_only(words)))
        self._begin(rules, self.setup, self.board.moves, self._first)
        return ""

    def _do_set_random_seed(self, words: list[str]) -> str:
        self._seed = _whole(_only(words)) % 2**31
        self.player.new_game(self.rules, self.setup, self._seed)
        return ""

    def _do_play(self, words: list[str]) -> str:
        if len(words) != 2:
            raise GtpError("a move is a colour and a vertex")
        self._play(_colour(words[0]), self._vertex(words[1]))
        return ""

    def _do_gogui__play_sequence(self, words: list[str]) -> str:
        if len(words) % 2:
            raise GtpError("moves are pairs of a colour and a vertex")
        before = list(self.board.moves)
        try:
            for colour, point in zip(words[::2], words[1::2], strict=True):
                self._play(_colour(colour), self._vertex(point))
        except ValueError:
            self._back_to(before)
            raise
        return ""

    def _do_undo(self, words: list[str]) -> str:
        if not self.board.moves:
            raise GtpError("cannot undo")
        self._back_to(self.board.moves[:-1])
        return ""

    def _do_fixed_handicap(self, words: list[str]) -> str:
        return self._handicap(handicap_points(self.rules.size, _whole(_only(words))))

    def _do_place_free_handicap(self, words: list[str]) -> str:
        wanted = _whole(_only(words))
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
        moves = None
        if len(words) > 1 and words[-1].isascii() and words[-1].isdigit():
            moves, words = max(0, _whole(words[-1]) - 1), words[:-1]
        path = Path(" ".join(words))
        if not path.is_file():  # not a folder, and not a pipe, which might block
            raise GtpError(f"cannot load file: {path} is no file")
        try:
            game = read_game(path)
            rules = dataclasses.replace(self.rules, size=game.size, komi=game.komi)
            if game.size < 5:
                raise GtpError(f"unacceptable size: {game.size}")
            self._begin(rules, game.setup, game.moves[:moves], game.to_play)
        except (ValueError, FathomError) as error:
            raise GtpError(f"cannot load file: {error}") from None
        return ""

    def _do_showboard(self, words: list[str]) -> str:
        last = self.board.moves[-1][1] if self.board.moves else None
        return "\n" + ansi(self.board.stones, last).rstrip("\n")

    # -- the player -----------------------------------------------------------------------------

    def _do_genmove(self, words: list[str]) -> str:
        colour = _colour(_only(words))
        return self._named(self._generate(colour))

    def _do_reg_genmove(self, words: list[str]) -> str:
        board = self._before(_colour(_only(words)))
        return self._named(self.player.choose(board, self._budget(board), self.interrupted.is_set))

    def _do_kgs__genmove_cleanup(self, words: list[str]) -> str:
        colour = _colour(_only(words))
        board = self._before(colour)
        return self._named(self._made(colour, self.player.clean_up(board, self._budget(board))))

    def _generate(self, colour: int, report: Callable[[], None] = lambda: None) -> Move:
        """Choose a move and play it; `report` is called while the player thinks."""

        def stop() -> bool:
            report()
            return self.interrupted.is_set()

        board, began = self._before(colour), time.monotonic()
        move = self.player.choose(board, self._budget(board), stop)
        if self._clock is not None:
            self._clock.spend(colour, time.monotonic() - began)
        return self._made(colour, move)

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
        main, period, stones = _seconds(words[0]), _seconds(words[1]), _whole(words[2])
        if stones < 0:
            raise GtpError("the number of stones must be at least 0")
        # By the standard, byo-yomi time without stones means no limit.
        endless = period > 0 and stones == 0
        self._clock = None if endless else Clock(main, period, stones if period > 0 else 0)
        return ""

    def _do_kgs__time_settings(self, words: list[str]) -> str:
        kind = words[0] if words else ""
        wanted = {"none": 1, "absolute": 2, "byoyomi": 4, "canadian": 4}.get(kind)
        if wanted != len(words):
            raise GtpError(
                "time settings are none, absolute, byoyomi or canadian and their numbers"
            )
        times = [_seconds(word) for word in words[1:3]]
        count = max(1, _whole(words[3])) if wanted == 4 else 0
        if kind == "none":
            self._clock = None
        elif kind == "absolute":
            self._clock = Clock(times[0], 0, 0)
        else:  # each Japanese period is for one move
            self._clock = Clock(times[0], times[1], 1 if kind == "byoyomi" else count)
        return ""

    def _do_time_left(self, words: list[str]) -> str:
        if len(words) != 3:
            raise GtpError("the time left is a colour, seconds and stones")
        colour, seconds, stones = _colour(words[0]), _seconds(words[1]), _whole(words[2])
        if stones < 0:
            raise GtpError("the number of stones must be at least 0")
        if self._clock is None:
            self._clock = Clock(seconds, 0, 0)
        self._clock.left[colour] = (seconds, stones)
        return ""

    # -- the end --------------------------------------------------------------------------------

    def _do_final_score(self, words: list[str]) -> str:
        return result_of(without(self.board, self.player.dead(self.board)).score())

    def _do_final_status_list(self, words: list[str]) -> str:
        status = _only(words)
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
        colour = _colour(_only(words))
        before = self._before(colour)
        move = self._generate(colour)
        owned = ownership(before) * (1 if colour == BLACK else -1)
        size = self.rules.size
        analysis = {
            "winrate": _rounded(move.win_rate),
            "score": round(float(owned.sum()) + self._komi_for(colour), 2),
            "visits": sum(candidate.visits for candidate in move.candidates),
            "moves": [
                {
                    "move": vertex(candidate.action, size),
                    "winrate": _rounded(candidate.win_rate),
                    "prior": _rounded(candidate.prior),
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
        wishes = Wishes.read(words, self.board.to_play)
        board = self._before(wishes.colour)
        search = self.player.analyse(board)
        self._stream()
        report_at = time.monotonic() + wishes.interval
        while not self._waiting():
            began = time.monotonic()
            if search is not None:
                search(0.02)
            if time.monotonic() - began < 0.01:  # nothing to search, or the tree is full
                time.sleep(0.02)
            if time.monotonic() >= report_at:
                self._report(line(wishes, board, self.player.candidates()))
                report_at = time.monotonic() + wishes.interval
        return ""

    def _generate_and_analyse(self, words: list[str], line: Line) -> str:
        wishes = Wishes.read(words, self.board.to_play)
        board = self._before(wishes.colour)
        self._stream()
        report_at = time.monotonic() + wishes.interval

        def report() -> None:
            nonlocal report_at
            if time.monotonic() >= report_at:
                self._report(line(wishes, board, self.player.candidates()))
                report_at = time.monotonic() + wishes.interval

        try:
            move = self._generate(wishes.colour, report)
        except (ValueError, FathomError) as error:  # the answer has begun with "="
            print(f"fathom: {error}", file=sys.stderr)
            return "play pass"
        self._report(line(wishes, board, move.candidates))
        return f"play {self._named(move)}"

    def _report(self, text: str) -> None:
        if text:
            self._write(text + "\n")

    def _leela_line(self, wishes: Wishes, board: Board, candidates: Sequence[Candidate]) -> str:
        return " ".join(self._infos(wishes, candidates, lambda rate: str(round(10_000 * rate))))

    def _kata_line(self, wishes: Wishes, board: Board, candidates: Sequence[Candidate]) -> str:
        text = " ".join(self._infos(wishes, candidates, lambda rate: f"{rate:.6f}"))
        if text and wishes.ownership:
            owned = self.player.ownership(board) * (1 if wishes.colour == BLACK else -1)
            text += " ownership " + " ".join(f"{owner:.3f}" for owner in owned.ravel())
        return text

    def _infos(
        self, wishes: Wishes, candidates: Sequence[Candidate], shown: Callable[[float], str]
    ) -> Iterator[str]:
        for order, candidate in enumerate(candidates[: wishes.moves]):
            yield (
                f"info move {vertex(candidate.action, self.rules.size)} visits {candidate.visits} "
                f"winrate {shown(candidate.win_rate)} prior {shown(candidate.prior)} "
                f"lcb {shown(_lower_bound(candidate))} order {order} "
                f"pv {' '.join(vertex(action, self.rules.size) for action in candidate.variation)}"
            )

    # -- parts ----------------------------------------------------------------------------------

    def _play(self, colour: int, action: int) -> None:
        if not self.board.over:
            self.board.play(action, colour)
            return
        board = self.board.copy()  # players who disagree about dead stones play on
        board.resume()
        board.play(action, colour)
        self.board = board

    def _vertex(self, word: str) -> int:
        return action_at(word, self.rules.size)


@dataclasses.dataclass
class Wishes:
    """Options of an analysis."""

    colour: int
    interval: float = 1.0
    """Seconds between reports."""
    moves: int = 1000
    """Largest number of moves reported."""
    ownership: bool = False

    @classmethod
    def read(cls, words: list[str], to_play: int) -> Wishes:
        """Read the words after the command: a colour, an interval, and pairs of name and value."""
        wishes, rest = cls(to_play), list(words)
        if rest and rest[0].lower() in _COLOURS:
            wishes.colour = _colour(rest.pop(0))
        if rest and rest[0].isascii() and rest[0].isdigit():
            wishes.interval = _whole(rest.pop(0)) / 100
        if len(rest) % 2:
            raise GtpError("an analysis takes a colour, an interval and pairs of name and value")
        for name, value in zip(rest[::2], rest[1::2], strict=True):
            if name not in _PAIRS:
                raise GtpError(f"an analysis has no option {name!r}")
            if name == "interval":
                wishes.interval = _whole(value) / 100
            elif name == "maxmoves":
                wishes.moves = max(1, _whole(value))
            elif name == "ownership":
                wishes.ownership = value.lower() == "true"
        wishes.interval = max(0.05, wishes.interval)
        return wishes


Line = Callable[[Wishes, Board, Sequence[Candidate]], str]
"""A function that returns a line of a report."""


def serve(engine: Engine, arrived: queue.Queue[str | None]) -> None:
    """Answer lines until `quit` or None, the end of the input."""
    while (line := arrived.get()) is not None and engine.handle(line):
        pass


def run(player: Player, rules: Rules, budget: SearchBudget, source: BinaryIO, sink: TextIO) -> None:
    """Answer another program's commands until it quits or closes the input.

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
        for line in lines(source):
            if line.lstrip().startswith("# interrupt"):
                engine.interrupted.set()
            arrived.put(line)
        arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    serve(engine, arrived)


def lines(source: BinaryIO) -> Iterator[str]:
    """Yield the lines of the input; one that is too long becomes an unknown command."""
    while got := source.readline(LONGEST_LINE):
        if not got.endswith(b"\n") and len(got) == LONGEST_LINE:
            while (rest := source.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            got = b"line-too-long"
        yield got.decode("utf-8", "replace")


def _clean(line: str) -> str:
    """Remove control characters and comments."""
    return line.partition("#")[0].translate(_CONTROLS)


_COLOURS = {"b": BLACK, "black": BLACK, "w": WHITE, "white": WHITE}


def _only(words: list[str]) -> str:
    if len(words) != 1:
        raise GtpError("this command takes one argument")
    return words[0]


def _colour(word: str) -> int:
    try:
        return _COLOURS[word.lower()]
    except KeyError:
        raise GtpError("a colour is black or white") from None


def _whole(word: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", word):
        raise GtpError("a whole number was expected")
    return int(word)


def _float(word: str) -> float:
    if not _NUMBER.fullmatch(word):
        raise GtpError("a number was expected")
    return float(word)


def _seconds(word: str) -> float:
    seconds = _float(word)
    if seconds < 0:
        raise GtpError("a time must be at least 0")
    return seconds


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def _lower_bound(candidate: Candidate) -> float:
    """Return the lower 95 % confidence bound of a candidate's win rate."""
    rate = candidate.win_rate
    spread = 1.96 * math.sqrt(max(0.0, rate * (1 - rate)) / max(1, candidate.visits))
    return max(0.0, rate - spread)
