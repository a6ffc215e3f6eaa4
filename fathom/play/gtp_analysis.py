"""Options and numbers of an analysis in the Go Text Protocol."""

from __future__ import annotations

import dataclasses
import math

from agents.search.go_search import Candidate
from fathom.play.gtp_words import COLOURS, GtpError, colour_of, whole

_PAIRS = {"minmoves", "maxmoves", "interval", "ownership", "movesOwnership", "rootInfo", "pvVisits"}
"""Options of lz-analyze and kata-analyze, each with a value; `movesOwnership` and `pvVisits` change nothing."""


@dataclasses.dataclass
class AnalysisOptions:
    """Options of an analysis."""

    colour: int
    interval: float = 1.0
    """Seconds between reports."""
    moves: int = 1000
    """Largest number of moves reported."""
    ownership: bool = False
    root: bool = False
    """Whether the position itself is reported on."""
    avoided: frozenset[str] = frozenset()
    """Moves that are not reported."""
    allowed: frozenset[str] | None = None
    """The only moves that are reported; None: all."""

    def wants(self, point: str) -> bool:
        """Whether a move is reported."""
        return point not in self.avoided and (self.allowed is None or point in self.allowed)

    @classmethod
    def read(cls, words: list[str], to_play: int) -> AnalysisOptions:
        """Read the words after the command: a colour, an interval, and pairs of name and value."""
        options, rest = cls(to_play), list(words)
        if rest and rest[0].lower() in COLOURS:
            options.colour = colour_of(rest.pop(0))
        if rest and rest[0].isascii() and rest[0].isdigit():
            options.interval = whole(rest.pop(0)) / 100
        rest = options._read_restrictions(rest)
        if len(rest) % 2:
            raise GtpError("an analysis takes a colour, an interval and pairs of name and value")
        for name, value in zip(rest[::2], rest[1::2], strict=True):
            if name not in _PAIRS:
                raise GtpError(f"an analysis has no option {name!r}")
            if name == "interval":
                options.interval = whole(value) / 100
            elif name == "maxmoves":
                options.moves = max(1, whole(value))
            elif name == "ownership":
                options.ownership = value.lower() == "true"
            elif name == "rootInfo":
                options.root = value.lower() == "true"
        options.interval = max(0.05, options.interval)
        return options

    def _read_restrictions(self, words: list[str]) -> list[str]:
        """Take `avoid` and `allow` out of the words: each has a colour, points, and a depth, here of the first move."""
        rest: list[str] = []
        while words:
            if words[0] not in ("avoid", "allow"):
                rest.append(words.pop(0))
                continue
            if len(words) < 4:
                raise GtpError(
                    f"{words[0]} takes a colour, points with commas between them, and a depth"
                )
            name, colour, points, depth = words[:4]
            words = words[4:]
            if colour_of(colour) != self.colour or whole(depth) < 1:
                continue
            named = frozenset(
                "pass" if p.lower() == "pass" else p.upper() for p in points.split(",")
            )
            if name == "avoid":
                self.avoided |= named
            else:
                self.allowed = (self.allowed or frozenset()) | named
        return rest


def rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def lower_bound(candidate: Candidate) -> float:
    """Return the lower 95 % confidence bound of a candidate's win rate."""
    rate = candidate.win_rate
    spread = 1.96 * math.sqrt(max(0.0, rate * (1 - rate)) / max(1, candidate.visits))
    return max(0.0, rate - spread)
