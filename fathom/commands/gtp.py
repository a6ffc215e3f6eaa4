"""Play Go as an engine for other programs, such as Sabaki and GoGui, in the Go Text Protocol."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

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

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide; the other program can change them. Its
    clock is kept whatever the flags say. A run plays on the board that it learnt on, rave on any.
    """


def run(words: list[str]) -> int:
    (reference,), rest, rules_arguments = go_arguments(words, "gtp", ("runs/go",), GtpFlags())
    flags: GtpFlags = parse(GtpFlags(), rest, f"fathom gtp {reference}")
    budget = search_budget(flags)
    with quiet(True) as out:  # standard output is for answers only
        from fathom.play import gtp
        from fathom.play.players import rules_from

        print(
            "fathom: getting ready (it takes a minute the first time)", file=sys.stderr, flush=True
        )
        player = go_player(reference, flags)
        with contextlib.closing(player), reporting_world_errors(), _ended_by_signals():
            source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            gtp.run(player, rules_from(rules_arguments, [player]), budget, source, out)
    return 0


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the session, also while the player thinks."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
