"""Matches between two players: win rate with its interval, and Elo.

Each opening is played twice with colours exchanged, so that it favours neither player. Openings are a few
random moves, all different, so that no game is played twice. Scores are by area. After two passes each player
names the dead stones. If both agree these are removed; else the game goes on, and after two more passes all
stones count as alive.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from envs.go import core
from envs.go.board import BLACK, Board, IllegalMoveError, Rules, random_opening
from envs.go.counting import result_of, without
from envs.go.program import ProgramError
from envs.go.sgf import record, write_game
from fathom.errors import FathomError
from fathom.files import replace_file
from fathom.play.players import Move, Player, SearchBudget
from fathom.statistics import elo_difference, wilson_interval

_ATTEMPTS = 1_000
"""Number of draws for an opening that was not played before."""

VOID = "Void"
"""The result of a game that does not count."""


@dataclass
class Played:
    """A game that was played."""

    game: int
    """Its number, from 1."""
    black: str
    white: str
    result: str
    moves: int
    file: str


@dataclass
class MatchResult:
    """The result of a match, or of its games so far; counts are the first player's."""

    names: tuple[str, str]
    wins: int = 0
    losses: int = 0
    draws: int = 0
    void: int = 0
    played: list[Played] = field(default_factory=list)
    error: str | None = None
    """Why the match ended early."""

    def add(self, played: Played) -> None:
        """Count a game."""
        self.played.append(played)
        if played.result == VOID:
            self.void += 1
        elif played.result == "0":
            self.draws += 1
        elif (played.result[0] == "B") == (played.black == self.names[0]):
            self.wins += 1
        else:
            self.losses += 1

    @property
    def counted(self) -> int:
        """Games with a result."""
        return self.wins + self.losses + self.draws

    @property
    def win_rate(self) -> float:
        """The win rate, 0…1; a draw is half a win; 0.5 without games."""
        return (self.wins + self.draws / 2) / self.counted if self.counted else 0.5

    @property
    def interval(self) -> tuple[float, float]:
        """The win rate's 95 % interval."""
        return wilson_interval(self.wins + self.draws / 2, self.counted)

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON; an infinite Elo is null."""
        low, high = self.interval
        elos = [
            value if math.isfinite(value) else None for value in map(elo_difference, (low, high))
        ]
        middle = elo_difference(self.win_rate)
        return {
            "first": self.names[0],
            "second": self.names[1],
            "games": self.counted,
            "wins": self.wins,
            "losses": self.losses,
            "draws": self.draws,
            "void": self.void,
            "win_rate": self.win_rate,
            "interval": [low, high],
            "elo": middle if math.isfinite(middle) else None,
            "elo_interval": elos,
            "error": self.error,
            "played": [dataclasses.asdict(game) for game in self.played],
        }

    def lines(self) -> list[str]:
        """Return it as lines to print."""
        first, second = self.names
        low, high = self.interval
        text = [
            f"{first} against {second}: {_count(self.wins, 'win', 'wins')}, "
            f"{_count(self.losses, 'loss', 'losses')}, {_count(self.draws, 'draw', 'draws')} "
            f"in {_count(self.counted, 'game', 'games')}"
            + (f", and {self.void} without a result" if self.void else "")
        ]
        if self.counted:
            text.append(
                f"win rate {100 * self.win_rate:.1f} % (95 % interval {100 * low:.1f} to "
                f"{100 * high:.1f}), Elo {_elo(self.win_rate)} ({_elo(low)} to {_elo(high)})"
            )
            black = MatchResult(self.names)
            for game in self.played:
                if game.black == first:
                    black.add(game)
            as_white = self.counted - black.counted
            length = sum(game.moves for game in self.played) / len(self.played)
            text.append(
                f"as black {black.wins} of {black.counted} won, as white {self.wins - black.wins} of "
                f"{as_white}; {length:.0f} moves a game"
            )
        return text


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _elo(share: float) -> str:
    value = elo_difference(share)
    return f"{value:+.0f}" if math.isfinite(value) else "+∞" if value > 0 else "−∞"


@dataclass
class _Game:
    """A game in progress."""

    players: tuple[Player, Player]
    """Black and white."""
    board: Board
    budget: SearchBudget
    comments: list[str] = field(default_factory=list)

    def play(self) -> str:
        """Play to the end and return the result.

        Raises:
            FathomError, ProgramError: a player failed or made an illegal move.
        """
        if ended := self._until_passed(cleaning_up=False):
            return ended
        black, white = (player.dead(self.board) for player in self.players)
        if black == white:
            return result_of(without(self.board, black).score())
        self.board.resume()
        return self._until_passed(cleaning_up=True) or result_of(self.board.score())

    def _until_passed(self, cleaning_up: bool) -> str | None:
        """Play until both pass; return the result if the game ends in another way."""
        board, most = self.board, 3 * self.board.rules.size**2
        while not board.over:
            if len(board.moves) >= most:
                return result_of(board.score())
            colour = board.to_play
            mover = self.players[colour - BLACK]
            if cleaning_up:
                move = mover.clean_up(board, self.budget)
            elif board.passes and mover.agrees(board):
                # If they do not agree on dead stones, the game goes on, so this costs nothing.
                move = Move(board.rules.size**2)
            else:
                move = mover.choose(board, self.budget)
            if move.action is None:
                return "W+R" if colour == BLACK else "B+R"
            if core.verdict(board.boards, 0, move.action) == core.REPETITION:
                # Programs have different rules of repetition, so the game does not count.
                return VOID
            self._move(mover, move)
        return None

    def _move(self, mover: Player, move: Move) -> None:
        assert move.action is not None
        try:
            self.board.play(move.action)
        except IllegalMoveError as error:
            raise FathomError(f"{mover.name} made an illegal move: {error}") from None
        self.comments.append(move.comment(self.board.rules.size))


def play_match(
    first: Player,
    second: Player,
    rules: Rules,
    games: int,
    budget: SearchBudget,
    folder: Path,
    seed: int = 0,
    shown: Callable[[MatchResult], None] = lambda match_result: None,
    openings: bool = True,
) -> MatchResult:
    """Play games; the first player is black in the first game and every other one.

    The match ends early if a player crashes, hangs or makes an illegal move, and by Ctrl-C. Every game, and the
    result so far, is written as soon as the game has ended.

    Args:
        folder: gets `game-001.sgf` and so on, and `match.json`.
        seed: of the openings, and of the players' random numbers.
        shown: called with the result so far after every game.
        openings: whether games begin with a few random moves, rather than on the empty board.
    """
    if first.name == second.name:
        second.name += " (2)"
    match_result = MatchResult((first.name, second.name))
    began = time.time()
    about = {
        "rules": dataclasses.asdict(rules),
        "limit": dataclasses.asdict(budget),
        "seed": seed,
        "openings": openings,
    }
    beginnings = _openings(rules, seed) if openings else itertools.repeat(Board(rules))
    for k in range(games):
        if k % 2 == 0:
            beginning = next(beginnings)
        board = beginning.copy()
        players = (first, second) if k % 2 == 0 else (second, first)
        game = _Game(players, board, budget, [""] * len(board.moves))
        result = VOID
        try:
            for player in players:
                player.new_game(rules, (), ((seed << 20) + k) % 2**63)
            result = game.play()
        except (FathomError, ProgramError) as error:
            match_result.error = str(error)
        except KeyboardInterrupt:
            match_result.error = "stopped"
        names = players[0].name, players[1].name
        path = folder / f"game-{k + 1:03d}.sgf"
        path.write_bytes(write_game(record(board, names, result, (), game.comments)))
        if match_result.error is None:
            match_result.add(Played(k + 1, *names, result, len(board.moves), path.name))
        summary = match_result.as_json() | about | {"seconds": round(time.time() - began, 1)}
        replace_file(folder / "match.json", json.dumps(summary, indent=1).encode() + b"\n")
        if match_result.error is not None:
            break
        shown(match_result)
    return match_result


def _openings(rules: Rules, seed: int) -> Iterator[Board]:
    """Yield boards after a few random moves, all different under symmetry as long as there are new ones."""
    known: set[bytes] = set()
    for k in itertools.count():
        rng = np.random.default_rng([seed, k])
        for _ in range(_ATTEMPTS):
            board = Board(rules)
            for action in random_opening(rng, rules):
                board.play(action)
            either = (board.stones, board.stones.T)
            position = min(np.rot90(x, turns).tobytes() for x in either for turns in range(4))
            if position not in known:
                break
        known.add(position)
        yield board


def free_folder(parent: Path, names: Sequence[str]) -> Path:
    """Make a new folder for a match, such as `matches/rave-gnugo-2`."""
    base = "-".join("".join(c if c.isalnum() else "-" for c in name).strip("-") for name in names)
    for count in range(1, 10_000):
        folder = parent / (base if count == 1 else f"{base}-{count}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FathomError(f"{parent} is full of matches between {' and '.join(names)}")


def new_folder(folder: Path) -> Path:
    """Make the folder that the user named; FathomError if it is not empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FathomError(f"{folder} exists already: choose another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Scoreboard:
    """Progress of a match on standard error: a bar on a terminal, else a line per game."""

    def __init__(self, games: int) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("[bold]game"),
            MofNCompleteColumn(),
            BarColumn(bar_width=30, complete_style="cyan", finished_style="green"),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=games)

    def __enter__(self) -> Scoreboard:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, match_result: MatchResult) -> None:
        """Show the result after a game."""
        low, high = (100 * bound for bound in match_result.interval)
        first, second = match_result.names
        text = (
            f"[bold]{escape(first)}[/] [green]{match_result.wins}[/]–[red]{match_result.losses}[/] "
            f"[bold]{escape(second)}[/] · "
            f"{100 * match_result.win_rate:.0f} % [dim]({low:.0f} to {high:.0f})[/]"
        )
        self._bar.update(self._task, advance=1, description=text)
        if not self._console.is_terminal:
            game = match_result.played[-1]
            self._console.print(
                f"game {game.game}: {game.black} (black) against {game.white}: {game.result} after "
                f"{game.moves} moves; {first} {match_result.wins}–{match_result.losses}"
            )
