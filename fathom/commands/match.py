"""Play games of Go between two players: win rate, 95 % interval, Elo."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import parse, print_json
from fathom.errors import FathomError, printable
from fathom.play.go_flags import GoFlags, go_arguments, go_player, search_budget
from fathom.runs.options import STRICT, Seed, SomeEpisodes
from fathom.streams import quiet

USAGE = "match A B"


@dataclass(frozen=True, config=STRICT)
class MatchFlags(GoFlags):
    """Play games of Go between two players, each opening twice with colours exchanged.

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide.
    """

    games: SomeEpisodes = 20
    """Number of games."""
    seed: Seed = 0
    """Seed of the openings and the players."""
    openings: bool = True
    """Begin with two to four random moves, the same in both games of a pair; else games begin on the empty board and differ only by the players' own randomness."""
    folder: Path | None = None
    """New folder for the games; made from the players' names, in `matches`, if not given."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds without an answer after which a program counts as hung."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


def run(words: list[str]) -> int:
    references, rest, rules_arguments = go_arguments(
        words, "match", ("runs/go", '"gnugo --mode gtp"'), MatchFlags()
    )
    flags: MatchFlags = parse(MatchFlags(), rest, "fathom match A B")
    budget = search_budget(flags, 1.0)
    with quiet(flags.json) as out, contextlib.ExitStack() as stack:
        from fathom.files import reporting_disk_errors
        from fathom.play.match import Scoreboard, free_folder, new_folder, play_match
        from fathom.play.players import rules_from

        players = []
        for reference in references:
            players.append(go_player(reference, flags, flags.timeout))
            stack.callback(players[-1].close)
        first, second = players
        rules = rules_from(rules_arguments, players)
        with reporting_disk_errors(flags.folder or Path("matches"), "choose another --folder"):
            folder = (
                free_folder(Path("matches"), [first.name, second.name])
                if flags.folder is None
                else new_folder(flags.folder)
            )
            with Scoreboard(flags.games) as board:
                result = play_match(
                    first, second, rules, flags.games, budget, folder,
                    flags.seed, board.show, flags.openings,
                )  # fmt: skip
        if flags.json:
            print_json(out, {**result.as_json(), "folder": str(folder)})
        else:
            for line in [*result.lines(), f"the games are in {folder}"]:
                print(printable(line), file=out)
        if result.error is not None:
            raise FathomError(f"the match ended early: {result.error}")
    return 0
