"""Play Go as an engine for other programs, such as Sabaki and GoGui, in the Go Text Protocol."""

from __future__ import annotations

import contextlib
import sys

from pydantic.dataclasses import dataclass

from fathom.arguments import parse
from fathom.play.go_flags import (
    GoFlags,
    go_arguments,
    go_player,
    reporting_world_errors,
    search_budget,
)
from fathom.runs.options import STRICT
from fathom.streams import quiet

USAGE = "gtp PLAYER"


@dataclass(frozen=True, config=STRICT)
class GtpFlags(GoFlags):
    """Play Go as an engine for other programs, in the Go Text Protocol.

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide; the other program can change size
    and komi. Its clock is kept whatever the flags say.
    """


def run(words: list[str]) -> int:
    (reference,), rest, rules_arguments = go_arguments(words, "gtp", ("runs/go",), GtpFlags())
    flags: GtpFlags = parse(GtpFlags(), rest, f"fathom gtp {reference}")
    budget = search_budget(flags)
    with quiet(True) as out:  # standard output is for answers only
        from fathom.play import gtp
        from fathom.play.players import rules_from

        player = go_player(reference, flags)
        with contextlib.closing(player), reporting_world_errors():
            gtp.run(player, rules_from(rules_arguments, [player]), budget, sys.stdin.buffer, out)
    return 0
