"""Flags that the commands playing Go share, and the players they make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, prefixed_arguments, split_positional, warn
from fathom.errors import FathomError
from fathom.runs.options import MOST, STRICT, Device, Threads

if TYPE_CHECKING:
    from fathom.play.players import Player, SearchBudget


@dataclass(frozen=True, config=STRICT)
class GoFlags:
    """Flags of a Go player."""

    seconds: Annotated[float, Field(gt=0, lt=1e6)] | None = None
    """Seconds a move; without --simulations 3, in a match 1. Programs decide by flags of their own."""
    simulations: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """Simulations a move; 0 lets a run play its network's best move without search."""
    threads: Threads | None = None
    """Trees that a search without a network grows in parallel; one a core if not given."""
    resign: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Win rate below which a searching player resigns, from 0 (never) to 1."""
    device: Device = "auto"
    """Device of a run's network; auto takes the one it was trained on."""
    checkpoint: str = "latest"
    """Which checkpoint of a run: latest, best (by the run's own evaluations; see --keep of train) or its step."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""


def go_arguments(
    words: list[str], command: str, examples: tuple[str, ...], flags: Any
) -> tuple[list[str], list[str], dict[str, str]]:
    """Split the words of a command into players, flags, and the rules given as --env.NAME.

    Args:
        examples: a player for each that the command needs.
        flags: the command's flags, whose help is printed for --help.
    """
    words, rules_arguments = prefixed_arguments(words, "env")
    names = " ".join(("A", "B")[: len(examples)]) if len(examples) > 1 else "PLAYER"
    if asks_for_help(words):
        parse(flags, ["--help"], f"fathom {command} {names}")
    players, rest = split_positional(words, [type(flags)])
    if len(players) < len(examples):
        wanted = "two players" if len(examples) > 1 else "a player"
        raise FathomError(
            f"{command} needs {wanted} first, as in `fathom {command} {' '.join(examples)}`"
        )
    n = len(examples)
    return players[:n], [*players[n:], *rest], rules_arguments


def search_budget(flags: GoFlags, seconds: float = 3.0) -> SearchBudget:
    """Return how much a player may think about a move.

    Args:
        seconds: used if the flags set neither seconds nor simulations.
    """
    from fathom.play.players import SearchBudget

    default = seconds if flags.simulations is None else None
    return SearchBudget(default if flags.seconds is None else flags.seconds, flags.simulations)


def go_player(reference: str, flags: GoFlags, timeout: float = 120.0) -> Player:
    """Return the player that a text names; FathomError if there is none or it cannot play so."""
    from fathom.play.players import player

    result = player(
        reference,
        runs=flags.runs_dir,
        trust=flags.trust,
        device=flags.device,
        threads=flags.threads,
        resign=flags.resign,
        timeout=timeout,
        warn=warn,
        checkpoint=flags.checkpoint,
    )
    if flags.simulations == 0 and result.only_searches:
        raise FathomError(f"{result.name} has no network to play by alone: give it --simulations")
    return result


@contextlib.contextmanager
def reporting_world_errors() -> Iterator[None]:
    """Turn a `WorldError`, such as that of a program that has ended, into a FathomError."""
    from envs.hooks import WorldError

    try:
        yield
    except WorldError as error:
        raise FathomError(str(error)) from error
