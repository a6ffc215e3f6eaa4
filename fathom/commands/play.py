"""Play Go against a player, or talk to a dialogue agent or a chat bot.

PLAYER is a run, `random`, `playout`, `rave`, or the command line of a GTP program.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import parse, prefixed_arguments, runs_dir_in, split_positional, warn
from fathom.errors import FathomError
from fathom.play.go_flags import (
    GoFlags,
    go_arguments,
    go_player,
    reporting_world_errors,
    search_budget,
)
from fathom.runs.options import STRICT, Device, Seed

if TYPE_CHECKING:
    from fathom.runs.run import Run

USAGE = "play RUN"


@dataclass(frozen=True, config=STRICT)
class PlayFlags(GoFlags):
    """Play Go in the terminal. `fathom play RUN --help` shows the flags of a chat if RUN talks.

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide.
    """

    colour: Literal["black", "white", "b", "w"] = "black"
    """Your colour."""
    record: Path | None = None
    """SGF file from whose last position the game goes on; you play the colour to move."""
    handicap: Annotated[int, Field(ge=0, le=9)] = 0
    """Black stones on the board at the start; white then moves first."""
    sgf: Path | None = None
    """File that the game is written to when it ends or you leave."""


@dataclass(frozen=True, config=STRICT)
class ChatFlags:
    """Talk to a dialogue agent, as a user with one of the goals held out from its training."""

    checkpoint: str = "latest"
    """Which checkpoint: latest, best (by the run's own evaluations; see --keep of train) or its step."""
    seed: Seed | None = None
    """Which goal; a random one if not given."""
    understanding: str | None = None
    """Fit of slot-filling that reads your lines; if not given the run's own, else one fitted to its domain."""
    transcript: Path | None = None
    """File for the dialogue, as JSON lines; its text is put beside it; in the folder `chats` if not given."""
    device: Device = "auto"
    """Device of the network; auto takes the one it was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""


@dataclass(frozen=True, config=STRICT)
class ChitChatFlags:
    """Talk to a fit of chit-chat."""

    checkpoint: str = "latest"
    """Which checkpoint: latest or its step."""
    device: Device = "auto"
    """Device of the network; auto takes the one it was fitted on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import what its run.toml names."""


def run(words: list[str]) -> int:
    given, rest = split_positional(words, [PlayFlags, ChatFlags, ChitChatFlags])
    talking = _run_that_talks(given, rest)
    if talking is None:
        return _play_go(words)
    chat = _chit_chat if talking.config.is_fit else _chat
    return chat(talking, [*given[1:], *rest])


def _play_go(words: list[str]) -> int:
    (reference,), rest, rules_arguments = go_arguments(words, "play", ("runs/go",), PlayFlags())
    flags: PlayFlags = parse(PlayFlags(), rest, f"fathom play {reference}")
    budget = search_budget(flags)
    from envs.go.board import BLACK, WHITE
    from envs.go.sgf import read_game, read_games
    from fathom.play.go_session import GoSession
    from fathom.play.go_terminal import GoTerminal, busy, new_console
    from fathom.play.players import rules_from

    if flags.sgf is not None and flags.sgf.exists():
        raise FathomError(f"{flags.sgf} exists already: choose another --sgf")
    game = None
    if flags.record is not None:
        with reporting_world_errors():
            game = read_game(flags.record, whole=True)
            games = sum(1 for _ in read_games(flags.record))
        if games > 1:
            warn(f"{flags.record} holds {games} games; this is the first")
        rules_arguments.setdefault("size", str(game.size))
    player = go_player(reference, flags)
    console = new_console()
    with contextlib.closing(player), reporting_world_errors():
        rules = rules_from(rules_arguments, [player])
        colour = BLACK if flags.colour.startswith("b") else WHITE
        with busy(console, "getting ready (it takes a minute the first time)"):
            session = GoSession(player, rules, budget, colour, flags.handicap)
            if game is not None:
                session.take_up(game)
        if flags.sgf is not None:  # fails before the game rather than after it
            session.save(flags.sgf)
        try:
            GoTerminal(session, console).run()
        finally:
            if flags.sgf is not None:
                session.save(flags.sgf)
    return 0


def _run_that_talks(given: list[str], rest: list[str]) -> Run | None:
    """Return the run that the first word names if it can be talked to."""
    if not given:
        return None
    from fathom.play.runs import find_run

    try:
        run = find_run(given[0], runs_dir_in(rest))
    except FathomError:  # no run: perhaps a player of Go
        return None
    from fathom.play.chit_chat import is_chit_chat
    from fathom.play.dialogue_session import is_dialogue

    return run if is_chit_chat(run) or is_dialogue(run) else None


def _chit_chat(run: Run, words: list[str]) -> int:
    flags: ChitChatFlags = parse(ChitChatFlags(), words, f"fathom play {run.folder}")
    run.trust = flags.trust
    from fathom.play.chit_chat import ChitChatTerminal

    ChitChatTerminal(run.task(flags.device, flags.checkpoint)).run()
    return 0


def _chat(run: Run, words: list[str]) -> int:
    words, env_args = prefixed_arguments(words, "env")
    flags: ChatFlags = parse(ChatFlags(), words, f"fathom play {run.folder}")
    if env_args:
        raise FathomError(
            f"--env.{next(iter(env_args))} cannot be set in a chat: its environment is that of the run"
        )
    run.trust = flags.trust
    seed = int.from_bytes(os.urandom(4), "big") if flags.seed is None else flags.seed
    from fathom.play.dialogue_session import dialogue_with
    from fathom.play.dialogue_terminal import DialogueTerminal
    from fathom.play.runs import find_run
    from fathom.play.transcripts import check_transcript, new_transcript

    path = flags.transcript or new_transcript(run.name)
    check_transcript(path)  # fails before the chat rather than after it
    understanding = None
    if flags.understanding is not None:
        understanding = find_run(flags.understanding, flags.runs_dir)
    session = dialogue_with(run, understanding, seed, flags.device, warn, flags.checkpoint)
    try:
        DialogueTerminal(session).run()
    finally:
        if session.messages:
            session.save(path)
            print(f"the transcript is {path}")
    return 0
