"""A game of Go at the board of the page: the person's messages, and what the page shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from envs.go.board import BLACK, WHITE, Rules
from envs.go.config import GoConfig
from envs.go.sgf import MAX_BYTES, read_game
from envs.go.vertices import action_at, vertex
from fathom.errors import FathomError, printable
from fathom.page.playing.live import Message, Reply, number_in, text_in
from fathom.play.go_session import GoSession
from fathom.play.players import Player, SearchBudget

MOST_SECONDS = 5.0
"""A move's thinking at most."""
MOST_RATED = 400
"""Positions that are rated for the curve at a time; who wants more asks again."""
_RATING = SearchBudget(seconds=0.05)
"""Of a position for the curve, where the player has no network."""
_WORDS = ("pass", "undo", "resign", "score", "hint")
"""Messages that `GoSession.handle` understands as they are."""


class GoTable:
    """A board, the person, and a player."""

    interval = None

    def __init__(self, player: Player) -> None:
        self.player = player
        self._new(player.size or 9, BLACK, 1.0, 0)

    def _new(self, size: int, colour: int, seconds: float, handicap: int) -> None:
        if self.player.size is None:
            seconds = max(seconds, 0.1)
        # A run without time for a search plays its network's best move.
        budget = SearchBudget(seconds=seconds) if seconds else SearchBudget(simulations=0)
        rules = Rules(size, GoConfig.komi)
        self.session = GoSession(self.player, rules, budget, colour, handicap)
        self._ownership: list[float] | None = None

    def begin(self) -> Iterator[Reply]:
        yield self._state()
        yield from self._answers()

    def tick(self) -> Iterator[Reply]:
        return iter(())

    def close(self) -> None:
        self.player.close()

    def handle(self, message: Message) -> Iterator[Reply]:
        session, what = self.session, message["do"]
        self._ownership = None
        if what == "new":
            self._begin_new(message)
        elif what == "load":
            self._load(text_in(message, "sgf"))
        elif what == "sgf":
            text = session.sgf().decode("utf-8", "replace")
            yield {"type": "sgf", "text": text}
            return
        elif what == "ownership":
            owners = self.player.ownership(session.board)
            self._ownership = [round(float(owner), 2) for owner in owners.ravel()]
        elif what == "curve":
            yield from self._rate()
        elif what == "agree":
            if session.turn != "dead stones":
                raise FathomError("there are no dead stones to agree on")
            session.agree(bool(message.get("yes", True)))
        elif session.turn != "person" and what not in ("score", "undo"):
            raise FathomError("it is not your move" if not session.result else "the game is over")
        elif what == "play":
            self._move(text_in(message, "point"))
        elif what in _WORDS:
            self._say(what)
        else:
            raise FathomError(f"there is nothing called {what[:40]!r} to do here")
        yield from self._answers()
        yield self._state()

    def _answers(self) -> Iterator[Reply]:
        """Let the player move while it is its turn."""
        while self.session.turn == "player":
            yield self._state(thinking=True)
            self.session.reply()
            yield self._state()

    def _move(self, point: str) -> None:
        try:
            action_at(point, self.session.rules.size)
        except ValueError as error:
            raise FathomError(str(error)) from None
        self.session.handle(point)

    def _say(self, word: str) -> None:
        session = self.session
        if word == "undo" and session.result:
            session.result = ""
        if word == "undo":
            session.dead = set()
        session.handle(word)

    def _begin_new(self, message: Message) -> None:
        size = int(number_in(message, "size", 5, 19, self.session.rules.size))
        seconds = float(number_in(message, "seconds", 0, MOST_SECONDS, 1.0))
        handicap = int(number_in(message, "handicap", 0, 9, 0))
        self._new(size, WHITE if message.get("colour") == "white" else BLACK, seconds, handicap)

    def _load(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        if len(data) > MAX_BYTES:
            raise FathomError(f"a record has at most {MAX_BYTES >> 10} KiB")
        self.session.take_up(read_game(data, "the record"))

    def _rate(self) -> Iterator[Reply]:
        """Estimate the missing win rates, a reply every few of them."""
        has_network = self.player.size is not None
        budget = SearchBudget(simulations=0) if has_network else _RATING
        for count, _ in enumerate(itertools.islice(self.session.rate_moves(budget), MOST_RATED)):
            if count % 8 == 7:
                yield self._state(thinking=True)
        if not self.session.win_rates:
            self.session.message = f"{self.player.name} gives no win rates."

    def _state(self, thinking: bool = False) -> Message:
        session, board = self.session, self.session.board
        size = session.rules.size
        placed = {
            colour: sum(one == colour for one, _ in session.setup) for colour in (BLACK, WHITE)
        }
        for colour, action in board.moves:
            placed[colour] += action < size**2
        stones = board.stones
        captured = {c: placed[3 - c] - int((stones == 3 - c).sum()) for c in (BLACK, WHITE)}
        last = board.moves[-1][1] if board.moves else None
        return {
            "type": "go",
            "player": printable(self.player.name),
            "fixed_size": self.player.size,
            "size": size,
            "komi": session.rules.komi,
            "stones": stones.ravel().tolist(),
            "last": None if last is None or last == size**2 else last,
            "moves": len(board.moves),
            "to_play": board.to_play,
            "colour": session.colour,
            "turn": session.turn,
            "thinking": thinking,
            "message": printable(session.message.replace("\n", "; ")),
            "captured": [captured[BLACK], captured[WHITE]],
            "win_rates": [[k, round(rate, 4)] for k, rate in sorted(session.win_rates.items())],
            "hints": [self._hint(candidate) for candidate in session.hints],
            "dead": sorted(session.dead),
            "ownership": self._ownership,
            "result": session.result,
            "verdict": session.verdict() if session.result else "",
        }

    def _hint(self, candidate: Any) -> Message:
        size = self.session.rules.size
        return {
            "action": candidate.action,
            "point": vertex(candidate.action, size),
            "visits": candidate.visits,
            "win_rate": round(float(candidate.win_rate), 4),
            "prior": round(float(candidate.prior), 4),
            "line": [vertex(action, size) for action in candidate.variation[1:6]],
        }
