"""Options and numbers of an analysis in the Go Text Protocol."""

from __future__ import annotations

import dataclasses
import math

from agents.search.go_search import Candidate
from envs.go.vertices import action_at
from fathom.play.gtp_words import COLOURS, GtpError, colour_of, whole

_PAIRS = {"minmoves", "maxmoves", "interval", "ownership", "movesOwnership", "rootInfo", "pvVisits"}
"""Options of lz-analyze and kata-analyze, each with a value. `minmoves` changes nothing."""


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
    visits: bool = False
    """Whether the visits along a variation are reported."""
    only: frozenset[int] | None = None
    """The first moves that are considered; None: all."""

    @classmethod
    def read(cls, words: list[str], to_play: int, size: int) -> AnalysisOptions:
        """Read the words after the command: a colour, an interval, and pairs of name and value."""
        options, rest = cls(to_play), list(words)
        if rest and rest[0].lower() in COLOURS:
            options.colour = colour_of(rest.pop(0))
        if rest and rest[0].isascii() and rest[0].isdigit():
            options.interval = whole(rest.pop(0)) / 100
        rest = options._read_restrictions(rest, size)
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
            elif name == "pvVisits":
                options.visits = value.lower() == "true"
            elif name == "movesOwnership" and value.lower() == "true":
                raise GtpError("the ownership after each move is not known: movesOwnership false")
        options.interval = max(0.05, options.interval)
        return options

    def _read_restrictions(self, words: list[str], size: int) -> list[str]:
        """Take `avoid` and `allow` out of the words: each has a colour, points, and a depth, of which only the first
        move, by the colour to move, is restricted."""
        rest: list[str] = []
        everything = frozenset(range(size * size + 1))
        avoided: frozenset[int] = frozenset()
        allowed: frozenset[int] = frozenset()
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
            if whole(depth) < 1:
                raise GtpError(f"the depth of {name} must be at least 1")
            named = frozenset(action_at(point, size) for point in points.split(","))
            if colour_of(colour) != self.colour:
                continue
            if name == "avoid":
                avoided |= named
            else:
                allowed |= named
        if avoided or allowed:
            self.only = (allowed or everything) - avoided
        return rest


def rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def lower_bound(candidate: Candidate) -> float:
    """Return the lower 95 % confidence bound of a candidate's win rate."""
    rate = candidate.win_rate
    spread = 1.96 * math.sqrt(max(0.0, rate * (1 - rate)) / max(1, candidate.visits))
    return max(0.0, rate - spread)
