"""The commands that play: a chat, a game of Go in the terminal, an engine for Go programs, a match."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fathom.arguments import (
    Device,
    check_ranges,
    environment_arguments,
    parse,
    positional,
    print_json,
    quiet,
    warn,
)
from fathom.errors import FathomError

if TYPE_CHECKING:
    from fathom.runs.run import Run


@dataclass(frozen=True)
class GoFlags:
    """How a player of Go thinks; rules are set as --env.size, --env.komi, --env.ko, --env.suicide."""

    seconds: float | None = None
    """Seconds for a move; a program's own flags say how it thinks (default without --simulations: 3, in a match 1)."""
    simulations: int | None = None
    """Simulations for a move; 0 lets a run play by its network alone."""
    threads: int | None = None
    """Trees that a search without a network grows side by side (default: one a core)."""
    resign: float = 0.05
    """Chance to win below which a searching player resigns, from 0 (never) to 1."""
    device: Device = "auto"
    """Where a run's network computes; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""


@dataclass(frozen=True)
class GtpFlags(GoFlags):
    """Play Go as an engine for other programs, in the Go Text Protocol.

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide; the other program can change size
    and komi, and its clock is kept whatever the flags say.
    """


@dataclass(frozen=True)
class PlayFlags(GoFlags):
    """Play Go in the terminal.

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide.
    """

    colour: Literal["black", "white"] = "black"
    """What you play."""
    handicap: int = 0
    """Stones that black begins with; white then moves first."""
    sgf: Path | None = None
    """File that the game is written to when it ends or you leave."""


@dataclass(frozen=True)
class ChatFlags:
    """Talk to a dialogue agent, as a user with one of the goals that it never trained with."""

    seed: int | None = None
    """Which goal (default: a new one)."""
    understanding: str | None = None
    """Fit of slot-filling that reads what you write (default: one made for the run's domain)."""
    transcript: Path | None = None
    """File for the dialogue, as JSON lines; its text is put beside it (default: in the run's chats)."""
    device: Device = "auto"
    """Where the network computes; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""


@dataclass(frozen=True)
class MatchFlags(GoFlags):
    """Play games of Go between two players, each opening twice, with either colour.

    Rules are set by --env.size, --env.komi, --env.ko and --env.suicide.
    """

    games: int = 20
    """Games."""
    seed: int = 0
    """Of openings and players."""
    openings: bool = True
    """Begin with two to four random moves, each pair of games with the same; else on the empty board, where games differ only by what the players draw."""
    folder: Path | None = None
    """New folder for the games (default: made from the players' names, in `matches`)."""
    timeout: float = 120.0
    """Seconds without an answer after which a program counts as hung."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


def play(words: list[str]) -> int:
    run = _dialogue_run(words)
    if run is not None:
        return _chat(run, words[1:])
    (reference,), rest, rules_asked = _go_arguments(words, "play", ("runs/go",), PlayFlags())
    flags: PlayFlags = parse(PlayFlags(), rest, f"fathom play {reference}")
    limit = _go_limit(flags)
    from envs.go.board import BLACK, WHITE
    from fathom.play.go_terminal import Session
    from fathom.play.players import rules_from

    if flags.sgf is not None and flags.sgf.exists():
        raise FathomError(f"{flags.sgf} exists already: choose another --sgf")
    player = _go_player(reference, flags)
    with contextlib.closing(player), _programs_explained():
        rules = rules_from(rules_asked, [player])
        colour = BLACK if flags.colour == "black" else WHITE
        session = Session(player, rules, limit, colour, flags.handicap)
        if flags.sgf is not None:  # at once: a game that cannot be kept had better not begin
            session.save(flags.sgf)
        try:
            session.run()
        finally:
            if flags.sgf is not None:
                session.save(flags.sgf)
    return 0


def _dialogue_run(words: list[str]) -> Run | None:
    """The run that the first word names, if its agent can be talked to."""
    if not words or words[0].startswith("-"):
        return None
    runs_dir = "runs"
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--runs-dir", "--runs_dir"):
            runs_dir = value if equals else following
    from fathom.runs.run import find

    try:
        run = find(words[0], Path(runs_dir))
    except FathomError:  # not a run: perhaps a player of Go
        return None
    from fathom.play.chat import is_dialogue

    return run if is_dialogue(run) else None


def _chat(run: Run, words: list[str]) -> int:
    words, asked = environment_arguments(words)
    flags: ChatFlags = parse(ChatFlags(), words, f"fathom play {run.folder}")
    if asked:
        raise FathomError(
            f"--env.{next(iter(asked))} has no place in a chat: its world is that of the run"
        )
    seed = int.from_bytes(os.urandom(4), "big") if flags.seed is None else flags.seed
    check_ranges(seed=seed)
    from fathom.play.chat import chat_with, new_transcript
    from fathom.runs.run import find

    path = flags.transcript or new_transcript(run)
    if path.suffix != ".jsonl":
        raise FathomError(f"a transcript's name ends in .jsonl, unlike {path}")
    for file in (path, path.with_suffix(".txt")):
        if file.exists():
            raise FathomError(f"{file} exists already: choose another --transcript")
    try:  # a chat that cannot be kept had better not begin
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
        path.unlink()
    except OSError as error:
        raise FathomError(
            f"{path} cannot be written: {error.strerror}; choose another --transcript"
        ) from error
    reader = None if flags.understanding is None else find(flags.understanding, flags.runs_dir)
    chat = chat_with(run, reader, seed, flags.device, warn)
    try:
        chat.run()
    finally:
        if chat.said:
            chat.save(path)
            print(f"the transcript is {path}")
    return 0


def gtp(words: list[str]) -> int:
    (reference,), rest, rules_asked = _go_arguments(words, "gtp", ("runs/go",), GtpFlags())
    flags: GtpFlags = parse(GtpFlags(), rest, f"fathom gtp {reference}")
    limit = _go_limit(flags)
    with quiet(True) as out:  # nothing but answers may reach the other program
        from fathom.play import gtp
        from fathom.play.players import rules_from

        player = _go_player(reference, flags)
        with contextlib.closing(player), _programs_explained():
            gtp.run(player, rules_from(rules_asked, [player]), limit, sys.stdin.buffer, out)
    return 0


def match(words: list[str]) -> int:
    references, rest, rules_asked = _go_arguments(
        words, "match", ("runs/go", '"gnugo --mode gtp"'), MatchFlags()
    )
    flags: MatchFlags = parse(MatchFlags(), rest, "fathom match A B")
    limit = _go_limit(flags, 1.0)
    check_ranges(games=flags.games, seed=flags.seed)
    with quiet(flags.json) as out, contextlib.ExitStack() as stack:
        from fathom.files import reporting_disk_errors
        from fathom.play.match import Scoreboard, free_folder, new_folder, play_match
        from fathom.play.players import rules_from

        players = []
        for reference in references:
            players.append(_go_player(reference, flags, flags.timeout))
            stack.callback(players[-1].close)
        first, second = players
        rules = rules_from(rules_asked, players)
        with reporting_disk_errors(flags.folder or Path("matches"), "choose another --folder"):
            folder = (
                free_folder(Path("matches"), [first.name, second.name])
                if flags.folder is None
                else new_folder(flags.folder)
            )
            with Scoreboard(flags.games) as board:
                tally = play_match(
                    first, second, rules, flags.games, limit, folder,
                    flags.seed, board.show, flags.openings,
                )  # fmt: skip
        if flags.json:
            print_json(out, {**tally.as_json(), "folder": str(folder)})
        else:
            print("\n".join([*tally.lines(), f"the games are in {folder}"]), file=out)
        if tally.error is not None:
            raise FathomError(f"the match ended early: {tally.error}")
    return 0


def _go_arguments(
    words: list[str], command: str, example: tuple[str, ...], flags: Any
) -> tuple[list[str], list[str], dict[str, str]]:
    """The players, the words after them, and what is asked of the rules."""
    words, rules_asked = environment_arguments(words)
    names = " ".join(("A", "B")[: len(example)]) if len(example) > 1 else "PLAYER"
    if any(word in ("-h", "--help") for word in words):
        parse(flags, ["--help"], f"fathom {command} {names}")
    result = positional(words)[: len(example)]
    if len(result) < len(example):
        wanted = "two players" if len(example) > 1 else "a player"
        raise FathomError(
            f"{command} needs {wanted} first, as in `fathom {command} {' '.join(example)}`"
        )
    return result, words[len(result) :], rules_asked


@contextlib.contextmanager
def _programs_explained() -> Iterator[None]:
    """Say in a sentence what a program did that cannot be played with any more."""
    from envs.go.program import ProgramError

    try:
        yield
    except ProgramError as error:
        raise FathomError(str(error)) from error


def _go_limit(flags: GoFlags, seconds: float = 3.0) -> Any:
    if flags.seconds is not None and not 0 < flags.seconds < 1e6:
        raise FathomError(f"--seconds must be above 0, not {flags.seconds:g}")
    if flags.simulations is not None and flags.simulations < 0:
        raise FathomError(f"--simulations must be at least 0, not {flags.simulations}")
    if flags.threads is not None and flags.threads < 1:
        raise FathomError(f"--threads must be at least 1, not {flags.threads}")
    if not 0 <= flags.resign <= 1:
        raise FathomError(f"--resign must be from 0 to 1, not {flags.resign:g}")
    from fathom.play.players import SearchBudget

    by_default = seconds if flags.simulations is None else None
    return SearchBudget(by_default if flags.seconds is None else flags.seconds, flags.simulations)


def _go_player(reference: str, flags: GoFlags, timeout: float = 120.0) -> Any:
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
