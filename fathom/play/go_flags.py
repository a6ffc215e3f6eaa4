"""Flags that the commands playing Go share, and the players they make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom.arguments import Device, environment_arguments, parse, positional, warn
from fathom.errors import FathomError

if TYPE_CHECKING:
    from fathom.play.players import Player, SearchBudget


@dataclass(frozen=True)
class GoFlags:
    """Flags of a Go player."""

    seconds: float | None = None
    """Seconds a move; programs decide by flags of their own (default without --simulations: 3, in a match 1)."""
    simulations: int | None = None
    """Simulations a move; 0 lets a run play its network's best move without search."""
    threads: int | None = None
    """Trees that a search without a network grows in parallel (default: one a core)."""
    resign: float = 0.05
    """Win rate below which a searching player resigns, from 0 (never) to 1."""
    device: Device = "auto"
    """Device of a run's network; auto takes the one it was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""


def go_arguments(
    words: list[str], command: str, examples: tuple[str, ...], flags: Any
) -> tuple[list[str], list[str], dict[str, str]]:
    """Split the words of a command into players, flags, and the rules given as --env.NAME.

    Args:
        examples: a player for each that the command needs.
        flags: the command's flags, whose help is printed for --help.
    """
    words, rules_asked = environment_arguments(words)
    names = " ".join(("A", "B")[: len(examples)]) if len(examples) > 1 else "PLAYER"
    if any(word in ("-h", "--help") for word in words):
        parse(flags, ["--help"], f"fathom {command} {names}")
    players = positional(words)[: len(examples)]
    if len(players) < len(examples):
        wanted = "two players" if len(examples) > 1 else "a player"
        raise FathomError(
            f"{command} needs {wanted} first, as in `fathom {command} {' '.join(examples)}`"
        )
    return players, words[len(players) :], rules_asked


def search_budget(flags: GoFlags, seconds: float = 3.0) -> SearchBudget:
    """Return how much a player may think about a move; FathomError if a flag is out of range.

    Args:
        seconds: used if the flags set neither seconds nor simulations.
    """
    if flags.seconds is not None and not 0 < flags.seconds < 1e6:
        raise FathomError(f"--seconds must be above 0, not {flags.seconds:g}")
    if flags.simulations is not None and flags.simulations < 0:
        raise FathomError(f"--simulations must be at least 0, not {flags.simulations}")
    if flags.threads is not None and flags.threads < 1:
        raise FathomError(f"--threads must be at least 1, not {flags.threads}")
    if not 0 <= flags.resign <= 1:
        raise FathomError(f"--resign must be from 0 to 1, not {flags.resign:g}")
    from fathom.play.players import SearchBudget

    default = seconds if flags.simulations is None else None
    return SearchBudget(default if flags.seconds is None else flags.seconds, flags.simulations)


def go_player(reference: str, flags: GoFlags, timeout: float = 120.0) -> Player:
    """Return the player that a text names; FathomError if there is none or it cannot play so."""
    from fathom.play.players import player

    result = player(
        reference,
        runs=flags.runs_dir,
        device=flags.device,
        threads=flags.threads,
        resign=flags.resign,
        timeout=timeout,
        warn=warn,
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
