"""The clock of a game of Go."""

from __future__ import annotations

import dataclasses

from envs.go.board import BLACK, WHITE, Board


@dataclasses.dataclass
class Clock:
    """The clocks of both players: main time, then `stones` moves in every `period` (Canadian byo-yomi), or `stones`
    periods, of which a move in time costs none (Japanese byo-yomi). Times are in seconds."""

    main: float
    period: float = 0.0
    stones: int = 0
    japanese: bool = False

    def __post_init__(self) -> None:
        start = (self.main, 0) if self.main > 0 or not self.period else (self.period, self.stones)
        self.left: dict[int, tuple[float, int]] = {BLACK: start, WHITE: start}
        """Seconds left, and the number of moves or periods that they are of; 0 in main time."""

    @property
    def _per_move(self) -> float:
        """Seconds for each move in byo-yomi."""
        return self.period / (1 if self.japanese else max(1, self.stones))

    def share(self, colour: int, board: Board) -> float:
        """Return the seconds for the next move, less a margin for delays."""
        seconds, stones = self.left[colour]
        if stones:
            share = seconds if self.japanese else seconds / stones
        else:  # main time, and what comes when it is used up
            points = board.rules.size**2
            share = seconds / max(10.0, (points - len(board.moves)) / 3)
            share = max(share, self._per_move)
        return max(0.01, 0.9 * share - 0.05)

    def spend(self, colour: int, seconds: float) -> None:
        """Take the time of a move off the clock. Programs may also send `time_left`."""
        left, stones = self.left[colour]
        if self.japanese:
            over = seconds if stones else seconds - left
            if over < 0:
                left -= seconds
            else:
                lost = int(over / self.period) if self.period else 0
                left, stones = self.period, max(1, (stones or self.stones) - lost)
        else:
            left, stones = left - seconds, max(0, stones - 1)
            if self.period and (left <= 0 or self.left[colour][1] == 1):
                left, stones = self.period, self.stones
        self.left[colour] = (max(0.0, left), stones)
