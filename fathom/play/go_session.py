"""A game of Go between a person and a player, without a screen.

A view shows the session and calls it by its `turn`: `handle` with the person's line, `reply` to let the
player move, `agree` when both have passed and dead stones are to be taken off.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from agents.search.go_search import Candidate
from envs.go.board import (
    BLACK,
    WHITE,
    Board,
    IllegalMoveError,
    Rules,
    handicap_points,
    replay,
)
from envs.go.counting import dead_stones, result_of, without, won
from envs.go.sgf import Game, record, write_game
from envs.go.vertices import action_at, vertex
from fathom.errors import FathomError
from fathom.play.players import Move, Player, SearchBudget

HINTS = 3
"""Most moves that a hint names."""
COMMANDS = (
    ("D4", "play there (columns skip I)"),
    ("pass", "pass; two passes end the game"),
    ("undo", "take your last move back"),
    ("hint", "show the engine's best moves"),
    ("score", "estimate the score by playouts"),
    ("save F", "write the game so far to the file F"),
    ("resign", "give up the game"),
    ("quit", "leave"),
)
_COLOUR_NAMES = {BLACK: "black", WHITE: "white"}

Turn = Literal["person", "player", "dead stones", "over"]


def _in_order(word: str) -> str:
    """A point with its column first and without a space, as in "d4" for "4 D"; other words as they are."""
    match = re.fullmatch(r"([a-z])\s+(\d{1,2})|(\d{1,2})\s*([a-z])", word)
    return f"{match[1] or match[4]}{match[2] or match[3]}" if match else word


class GoSession:
    """A game between a person and a player.

    Args:
        colour: the person's.
        handicap: black stones on the board at the start; white then moves first.

    Raises:
        FathomError: the player does not play on such a board, or the handicap does not fit it.
    """

    def __init__(
        self,
        player: Player,
        rules: Rules,
        budget: SearchBudget,
        colour: int = BLACK,
        handicap: int = 0,
    ) -> None:
        self.player, self.rules, self.budget, self.colour = player, rules, budget, colour
        try:
            points = handicap_points(rules.size, handicap) if handicap else []
        except ValueError as error:
            raise FathomError(str(error)) from None
        self.setup = tuple((BLACK, point) for point in points)
        self.board = replay(rules, self.setup)
        self._first: int | None = None
        """Who plays the first move; None for the rule of `replay`."""
        self.result = ""
        """As records write it; empty while the game goes on."""
        self.left = False
        """Whether the person has left before the end."""
        self.message = ""
        """What the last action led to, for the person."""
        self.hints: Sequence[Candidate] = ()
        """The moves of the last hint, best first."""
        self.dead: set[int] = set()
        """Stones to be taken off if the person agrees."""
        self.win_rates: dict[int, float] = {}
        """The person's chance to win as the player estimated it, by the number of moves played before."""
        self._comments: dict[int, str] = {}
        """The player's comments, by number of the move."""
        self._all_alive = False
        """Whether every stone counts as alive, after the person disagreed on the dead ones."""
        player.new_game(rules, self.setup)

    @property
    def turn(self) -> Turn:
        """Who or what the game waits for."""
        if self.result or self.left:
            return "over"
        if self.dead:
            return "dead stones"
        return "person" if self.board.to_play == self.colour else "player"

    @property
    def win_rate(self) -> float | None:
        """The newest of the win rates."""
        return self.win_rates[max(self.win_rates)] if self.win_rates else None

    @property
    def player_name(self) -> str:
        """The player with its colour."""
        return f"{self.player.name} ({_COLOUR_NAMES[3 - self.colour]})"

    def handle(self, line: str) -> None:
        """Do what the person's line says: a move, or one of `COMMANDS`."""
        self.message, self.hints = "", ()
        commands: dict[str, Callable[[], None]] = {
            "": lambda: None,
            "help": self._help,
            "?": self._help,
            "undo": self._undo,
            "hint": self._hint,
            "score": self._score,
            "resign": self._resign,
            "quit": self.leave,
            "exit": self.leave,
            "q": self.leave,
        }
        word = _in_order(line.strip().lower())
        if word in commands:
            commands[word]()
            return
        try:
            self.board.play(action_at(word, self.rules.size))
        except IllegalMoveError as error:
            text = str(error)
            self.message = f"{text[:1].upper()}{text[1:]}."
        except ValueError:
            self.message = f"There is no point or command {line.strip()[:40]!r}; try help."
        self._count_if_over()

    def reply(self) -> None:
        """Let the player move.

        Raises:
            FathomError: it made an illegal move.
        """
        board = self.board
        if board.passes and won(board):
            # The person's pass ends a game that the player has won: dead stones need no capturing.
            board.play(self.rules.size**2)
            self.message = f"{self.player_name} passes, too."
            self._count_if_over()
            return
        move = self.player.choose(board, self.budget)
        self._note_rate(board, move)
        if move.action is None:
            self.result = f"{'BW'[self.colour - 1]}+R"
            return
        self._comments[len(board.moves)] = move.comment(self.rules.size)
        try:
            board.play(move.action)
        except IllegalMoveError as error:
            raise FathomError(f"{self.player.name} made an illegal move: {error}") from None
        point = vertex(move.action, self.rules.size)
        self.message = f"{self.player_name} {'passes' if point == 'pass' else f'plays {point}'}."
        self._count_if_over()

    def agree(self, agrees: bool) -> None:
        """Take the dead stones off and end the game; or, if the person disagrees, play on."""
        if agrees:
            self.result = result_of(without(self.board, self.dead).score())
        else:
            self.board.resume()
            self._all_alive = True
            self.message = "Play on; next time every stone on the board counts as alive."
        self.dead = set()

    def leave(self) -> None:
        """End the session without a result."""
        self.left = True

    def verdict(self) -> str:
        """Return the result as a sentence for the person."""
        if self.result == "0":
            return "A draw."
        winner = BLACK if self.result[0] == "B" else WHITE
        who = "You win" if winner == self.colour else f"{self.player.name} wins"
        how = self.result[2:]
        return f"{who} by resignation." if how == "R" else f"{who} by {how} points ({self.result})."

    def sgf(self) -> bytes:
        """Return the game so far with the player's comments as SGF."""
        names = ("you", self.player.name) if self.colour == BLACK else (self.player.name, "you")
        comments = [self._comments.get(k, "") for k in range(len(self.board.moves))]
        return write_game(record(self.board, names, self.result, self.setup, comments))

    def take_up(self, game: Game) -> None:
        """Go on from the last position of a record; the person plays the colour to move.

        Raises:
            FathomError: a move is illegal, or the player does not play on such a board. The session then is as
                it was before.
        """
        rules = dataclasses.replace(self.rules, size=game.size, komi=game.komi)
        try:
            board = replay(rules, game.setup, game.moves, game.to_play)
        except IllegalMoveError as error:
            raise FathomError(f"the record has an illegal move: {error}") from None
        self.player.new_game(rules, game.setup)
        self.rules, self.setup, self.board = rules, game.setup, board
        self._first = game.to_play
        self.colour = board.to_play
        self.result, self.left, self.hints, self.dead = "", False, (), set()
        self._all_alive = False
        self._comments, self.win_rates = dict(enumerate(game.comments)), {}
        number = len(board.moves)
        self.message = f"A game of {number} move{'s' * (number != 1)}."
        self._count_if_over()

    def rate_moves(self, budget: SearchBudget) -> Iterator[None]:
        """Estimate the win rates that are missing, one at every step of the iterator."""
        moves = tuple(self.board.moves)
        for count in range(len(moves) + 1):
            if count in self.win_rates:
                continue
            board = replay(self.rules, self.setup, moves[:count], self._first)
            if board.over:
                continue
            self._note_rate(board, self.player.advise(board, budget))
            yield

    def save(self, path: Path) -> None:
        """Write the game so far with the player's comments as SGF; FathomError if that fails."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.sgf())
        except OSError as error:
            raise FathomError(f"{path} cannot be written: {error.strerror}") from None

    def _count_if_over(self) -> None:
        """After two passes, count the board, or propose the dead stones first."""
        if not self.board.over:
            return
        dead = set() if self._all_alive else dead_stones(self.board)
        score = result_of(without(self.board, dead).score())
        if dead:
            self.dead = dead
            self.message += f" Without the dead stones (×) it is {score}."
        else:
            self.result = score

    def _note_rate(self, board: Board, move: Move) -> None:
        """Keep the win rate that came with a move, if it did."""
        if move.win_rate is not None:
            own = board.to_play == self.colour
            rate = move.win_rate if own else 1 - move.win_rate
            self.win_rates[len(board.moves)] = rate

    def _help(self) -> None:
        self.message = "\n".join(f"{word:8}{meaning}" for word, meaning in COMMANDS)

    def _undo(self) -> None:
        moves = list(self.board.moves)
        own = [k for k, (colour, _) in enumerate(moves) if colour == self.colour]
        if not own:
            self.message = "There is no move of yours to take back."
            return
        self.board = replay(self.rules, self.setup, moves[: own[-1]], self._first)
        self._comments = {k: text for k, text in self._comments.items() if k < own[-1]}
        self.win_rates = {k: rate for k, rate in self.win_rates.items() if k <= own[-1]}
        self.message = "Taken back."

    def _hint(self) -> None:
        move = self.player.advise(self.board, self.budget)
        if move.action is None:
            self.message = f"{self.player.name} would resign."
            return
        best = list(move.candidates[:HINTS])
        self.hints = best or [Candidate(move.action, 0, 0.5, 0.0, [move.action])]
        self._note_rate(self.board, move)
        lines = []
        for k, hint in enumerate(self.hints):
            line = f"{k + 1}  {vertex(hint.action, self.rules.size):5}"
            if move.candidates:
                expected = " ".join(vertex(a, self.rules.size) for a in hint.variation[1:6])
                line += f"{100 * hint.win_rate:3.0f} %  {expected}"
            lines.append(line.rstrip())
        self.message = "\n".join(lines)

    def _score(self) -> None:
        score = without(self.board, dead_stones(self.board)).score()
        self.message = f"If the game ended here: about {result_of(score)}."

    def _resign(self) -> None:
        self.result = f"{'WB'[self.colour - 1]}+R"
