"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fathom.errors import FathomError

if TYPE_CHECKING:
    from fathom.run import Progress, Run

HELP = """\
usage: fathom COMMAND ...

  list                       worlds, agents, presets and tasks
  train AGENT ENV [flags]    train an agent, e.g. fathom train dqn ALE/Pong-v5 --seed 1 --name pong
  resume RUN [--steps N]     go on with a run exactly where it was, or extend it
  evaluate RUN               its score, with protocol and 95 % interval
  record RUN                 episodes as mp4
  fit TASK [flags]           a perception task, e.g. fathom fit slot-filling --data domain:movie
  play RUN                   talk to a dialogue agent; a game of Go against a run (or random, playout,
                             rave, a GTP program)
  gtp PLAYER                 the same as an engine for Sabaki, GoGui and other Go programs
  match PLAYER PLAYER        Go games between two of them: win rate, interval, Elo

`fathom COMMAND --help` explains a command's flags; `fathom train AGENT ENV --help` shows the
hyperparameters of that agent with the values that will be used in that environment.
"""

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class TrainFlags:
    """The run."""

    steps: int = 100_000
    """Agent steps, over all environments."""
    seed: int = 0
    """All randomness of the run derives from it."""
    name: str | None = None
    """Name of the run's folder (default: made from environment and agent)."""
    runs_dir: Path = Path("runs")
    """Folder in which runs are written."""
    segment_steps: int | None = None
    """Steps from one checkpoint to the next (default: 10,000 in every environment)."""
    evaluation_episodes: int = 20
    """Episodes of the evaluation at each checkpoint; 0 for none."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU where there is one."""
    threads: int | None = None
    """Threads for computing (default: one a core); exact results hold for the same number."""
    record: bool = False
    """Record an episode at the end."""
    keep_replay: bool = False
    """Keep the replay memory after the end, so that the run can be extended."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


@dataclass(frozen=True)
class ResumeFlags:
    """Go on with a run exactly where it was."""

    steps: int | None = None
    """New number of steps in all, to extend the run."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


@dataclass(frozen=True)
class EvaluateFlags:
    """Score a run's latest checkpoint in episodes that training never saw."""

    episodes: int | None = None
    """Episodes (default: as many as the run's own evaluations)."""
    seed: int = 0
    """Which set of evaluation episodes; 0 is the one that the run itself uses."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    json: bool = False
    """Print one JSON object on standard output."""


@dataclass(frozen=True)
class RecordFlags:
    """Record episodes of a run's latest checkpoint as mp4."""

    episodes: int = 1
    """Episodes."""
    folder: Path | None = None
    """Where the films go (default: the run's own folder of videos)."""
    seed: int = 0
    """Which set of evaluation episodes."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    json: bool = False
    """Print one JSON object on standard output."""


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
    folder: Path | None = None
    """New folder for the games (default: made from the players' names, in `matches`)."""
    timeout: float = 120.0
    """Seconds without an answer after which a program counts as hung."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


@dataclass(frozen=True)
class ListFlags:
    """List worlds, agents, presets and tasks."""

    json: bool = False
    """Print one JSON object on standard output."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except FathomError as error:
        message = " ".join(str(error).split()).removesuffix(".")
        print(f"fathom: {message}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output went away; keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("fathom: stopped", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": _list,
        "train": _train,
        "resume": _resume,
        "evaluate": _evaluate,
        "record": _record,
        "fit": _fit,
        "play": _play,
        "gtp": _gtp,
        "match": _match,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from fathom import __version__

        print(f"fathom {__version__}")
        return 0
    command = commands.get(words[0])
    if command is None:
        raise FathomError(
            f"there is no command {words[0]!r}{_nearest(words[0], list(commands))}; see `fathom --help`"
        )
    return command(words[1:])


def _nearest(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    lowered = {item.lower(): item for item in known}
    found = [
        lowered[item] for item in get_close_matches(word.lower(), list(lowered), n=3, cutoff=0.5)
    ]
    return f"; did you mean {' or '.join(found)}?" if found else ""


# -- commands -------------------------------------------------------------------------------------


def _list(words: list[str]) -> int:
    flags: ListFlags = _parse(ListFlags(), words, "fathom list")
    from importlib.resources import files

    from agents import AGENTS
    from perception.tasks import TASKS

    with _quiet(flags.json) as out:
        from fathom import plugins

        found: Any = plugins.list_environments()
    folder = files("fathom") / "presets"
    presets = sorted(
        item.name.removesuffix(".toml")
        for item in (folder.iterdir() if folder.is_dir() else [])
        if item.name.endswith(".toml")
    )
    environments: dict[str, list[str]] = {}
    if isinstance(found, dict):
        environments = found
    else:
        for name in found:
            environments.setdefault(
                name.partition("/")[0] if "/" in name else "Gymnasium", []
            ).append(name)
    if flags.json:
        _print_json(
            out,
            {
                "agents": sorted(AGENTS),
                "presets": presets,
                "tasks": sorted(TASKS),
                "environments": environments,
            },
        )
        return 0
    print(f"agents:   {', '.join(sorted(AGENTS))}", file=out)
    print(f"presets:  {', '.join(presets) or 'none'}", file=out)
    print(f"tasks:    {', '.join(sorted(TASKS))}", file=out)
    for group, names in environments.items():
        print(f"\n{group}:", file=out)
        for name in names:
            print(f"  {name}", file=out)
    print("\nand any Gymnasium environment: module:Id, or path/to/file.py:Class", file=out)
    return 0


def _train(words: list[str]) -> int:
    words, env_args = _take_environment_arguments(words)
    positional = _positional(words)
    asks_help = any(word in ("-h", "--help") for word in words)
    if asks_help and not positional:
        _parse(TrainFlags(), words, "fathom train AGENT ENV")
    if not positional or (len(positional) < 2 and not asks_help):
        raise FathomError(
            "train needs an agent and an environment first, as in `fathom train dqn ALE/Pong-v5`"
        )
    agent, rest = positional[0], words[min(2, len(positional)) :]
    from agents import AGENTS

    if agent not in AGENTS:
        raise FathomError(
            f"there is no agent {agent!r}{_nearest(agent, list(AGENTS))} (agents: {', '.join(sorted(AGENTS))})"
        )
    with _quiet(any(word == "--json" for word in words)) as out:
        from fathom import plugins, training
        from fathom.run import Run, Settings, build_config, check_name

        kind = training.agent_class(agent)
        world = plugins.resolve(positional[1], env_args) if len(positional) > 1 else None
        chosen = plugins.preset(agent, world.reference) if world is not None else None
        preset, tables = chosen if chosen is not None else ("", {})
        run_defaults = TrainFlags(**_known(TrainFlags, tables.get("run", {}), preset))
        agent_defaults = build_config(kind.Config, tables.get("agent", {}))
        prog = " ".join(
            ["fathom train", *positional[:2], *(["ENV"] if len(positional) < 2 else [])]
        )
        flags, config = _parse_pair(run_defaults, agent_defaults, rest, prog, out)
        assert world is not None
        settings = _settings(flags, agent, config, world, preset)

        from fathom.display import Display

        if flags.name is not None:
            check_name(flags.runs_dir, flags.name)
        complaints = plugins.check(world)
        training.build_agent(settings, world)
        if flags.record:
            training.check_rendering(world)
        needed = training.storage_needed(settings, world)
        training.check_room(flags.runs_dir, needed)
        settings.protocol = dict(world.describe())
        shown = Display(settings.steps, 0, stderr=flags.json)
        for complaint in complaints or []:
            text = re.sub(r"\x1b\[[0-9;]*m", "", complaint).removeprefix("WARN: ")
            shown.message(f"warning: {text}")
        for line in training.summary(settings, needed):
            shown.message(line)
        run = Run.create(flags.runs_dir, flags.name, Settings(**dataclasses.asdict(settings)))
        shown.message(f"  run {run.folder}")
        return _live(run, flags.json, out)


def _settings(flags: TrainFlags, agent: str, config: Any, world: Any, preset: str) -> Any:
    import torch

    from fathom.run import Settings

    num_envs = config.num_envs
    segment_steps = 10_000 * num_envs if flags.segment_steps is None else flags.segment_steps
    threads = torch.get_num_threads() if flags.threads is None else flags.threads
    for name, value, least in (
        ("steps", flags.steps, 1),
        ("segment-steps", segment_steps, 1),
        ("evaluation-episodes", flags.evaluation_episodes, 0),
        ("seed", flags.seed, 0),
        ("threads", threads, 1),
        ("num-envs", num_envs, 1),
    ):
        if value < least:
            raise FathomError(f"--{name} must be at least {least}, not {value}")
    if flags.seed >= 1 << 63:
        raise FathomError("--seed must be below 2^63")
    device = flags.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise FathomError("there is no CUDA device on this machine; use --device cpu")
    # Environments step together, so only whole rounds of steps can be done.
    steps = -(-flags.steps // num_envs) * num_envs
    return Settings(
        environment=world.reference,
        agent=agent,
        steps=steps,
        segment_steps=min(steps, -(-segment_steps // num_envs) * num_envs),
        evaluation_episodes=flags.evaluation_episodes,
        seed=flags.seed,
        device=device,
        threads=threads,
        preset=preset,
        record=flags.record,
        keep_replay=flags.keep_replay,
        environment_arguments=dict(world.env_args),
        hyperparameters=dataclasses.asdict(config),
    )


def _fit(words: list[str]) -> int:
    positional = _positional(words)
    if not positional and any(word in ("-h", "--help") for word in words):
        positional = ["slot-filling"]
    elif not positional:
        raise FathomError("fit needs a task first, as in `fathom fit slot-filling`")
    task, rest = positional[0], words[len(positional[:1]) :]
    from perception.tasks import TASKS

    if task not in TASKS:
        raise FathomError(
            f"there is no task {task!r}{_nearest(task, list(TASKS))} (tasks: {', '.join(sorted(TASKS))})"
        )
    with _quiet(any(word == "--json" for word in words)) as out:
        from fathom import fit
        from fathom.display import Display
        from fathom.run import Run, check_name

        kind = fit.task_class(task)
        flags, config = _parse_pair(fit.FitFlags(), kind.Config(), rest, f"fathom fit {task}", out)
        if flags.name is not None:
            check_name(flags.runs_dir, flags.name)
        settings = fit.settings_of(task, flags, config)
        run = Run.create(flags.runs_dir, flags.name, settings)
        shown = Display(settings.steps, 0, stderr=flags.json)
        for line in [*fit.summary(settings), f"  run {run.folder}"]:
            shown.message(line)
        return _live(run, flags.json, out)


def _resume(words: list[str]) -> int:
    reference, rest = _run_argument(words, "resume", ResumeFlags())
    flags: ResumeFlags = _parse(ResumeFlags(), rest, f"fathom resume {reference}")
    with _quiet(flags.json) as out:
        from fathom.run import find, installed_versions

        run = find(reference, flags.runs_dir)
        if flags.steps is not None and flags.steps < run.settings.steps:
            raise FathomError(
                f"{run.folder} was asked for {run.settings.steps:,} steps already; --steps can only extend that"
            )
        for name, version in installed_versions(run.settings.agent).items():
            before = run.settings.versions.get(name)
            if before is not None and before != version:
                print(
                    f"fathom: warning: the run began with {name} {before} and goes on with {version}, "
                    "so the results may differ from those of an uninterrupted run",
                    file=sys.stderr,
                )
        if flags.steps is not None and flags.steps > run.settings.steps:
            _extend(run, flags.steps)
        return _live(run, flags.json, out)


def _extend(run: Run, steps: int) -> None:
    """Set a new end, unless the run can no longer go on."""
    if _is_fit(run):
        from fathom import fit

        return fit.extend(run, steps)
    with run.lock():
        from fathom import training

        settings = run.settings
        checkpoint = run.load_checkpoint()
        world = training.world_of(settings)
        complete = checkpoint is not None and checkpoint.progress.steps >= settings.steps
        if complete and not run.replay.is_dir() and training.storage_needed(settings, world):
            raise FathomError(
                f"{run.folder} is complete and its replay memory was deleted, so it cannot be "
                "extended; train with --keep-replay to be able to"
            )
        num_envs = int(settings.hyperparameters["num_envs"])
        settings.steps = -(-steps // num_envs) * num_envs
        run.write_settings()


def _is_fit(run: Run) -> bool:
    from perception.tasks import TASKS

    return run.settings.agent in TASKS


def _live(run: Run, as_json: bool, out: Any) -> int:
    """Train a run to its end and report."""
    from fathom import training
    from fathom.display import clock, score, table

    go_on = training.train
    if _is_fit(run):
        from fathom import fit

        go_on = fit.fit
    try:
        progress: Progress = go_on(run, to_stderr=as_json)
    except training.Stopped as stopped:
        print(
            "fathom: stopped; the segment that was in progress will be done again. "
            f"Go on with: fathom resume {run.folder}",
            file=sys.stderr,
        )
        return stopped.exit_code
    evaluations = run.evaluations()
    last = evaluations[-1] if evaluations else None
    if as_json:
        _print_json(
            out,
            {
                "run": str(run.folder),
                "steps": progress.steps,
                "seconds": progress.seconds,
                "evaluation": last,
            },
        )
    else:
        ending = f", evaluation {score(last)}" if last is not None else ""
        print(
            f"{run.folder}: {progress.steps:,} steps in {clock(progress.seconds)}{ending}", file=out
        )
        if last is not None and "table" in last:
            print("\n".join(table(last["table"])), file=out)
    return 0


def _evaluate(words: list[str]) -> int:
    reference, rest = _run_argument(words, "evaluate", EvaluateFlags())
    flags: EvaluateFlags = _parse(EvaluateFlags(), rest, f"fathom evaluate {reference}")
    with _quiet(flags.json) as out:
        from fathom import training
        from fathom.display import score
        from fathom.evaluation import evaluate
        from fathom.run import find

        run = find(reference, flags.runs_dir)
        if _is_fit(run):
            return _evaluate_fit(run, flags, out)
        episodes = (
            (run.settings.evaluation_episodes or 20) if flags.episodes is None else flags.episodes
        )
        if episodes < 1:
            raise FathomError(f"--episodes must be at least 1, not {episodes}")
        seed = training.evaluation_seed(flags.seed)
        agent, world, progress = training.trained_agent(run, _warn, flags.device)
        result = evaluate(agent, world, episodes, seed)
        if flags.json:
            _print_json(out, {"run": str(run.folder), "steps": progress.steps, **result})
        else:
            print(f"{run.name} after {progress.steps:,} steps: {score(result)}", file=out)
            protocol = ", ".join(f"{key} {value}" for key, value in result["protocol"].items())
            print(f"protocol: {protocol}; evaluation seed {seed}", file=out)
    return 0


def _evaluate_fit(run: Run, flags: EvaluateFlags, out: Any) -> int:
    from fathom import fit
    from fathom.display import score, table

    if flags.episodes is not None or flags.seed:
        raise FathomError(
            f"{run.folder} is a fit of {run.settings.agent}: it is tested on all its test sentences, "
            "so it takes neither --episodes nor --seed"
        )
    result = fit.evaluate(run, _warn, flags.device)
    if flags.json:
        _print_json(out, {"run": str(run.folder), **result})
        return 0
    print(f"{run.name} after {result['steps']:,} steps: {score(result)}", file=out)
    print("\n".join(table(result["table"])), file=out)
    protocol = ", ".join(f"{key} {value}" for key, value in result["protocol"].items())
    print(f"protocol: {protocol}", file=out)
    return 0


def _record(words: list[str]) -> int:
    reference, rest = _run_argument(words, "record", RecordFlags())
    flags: RecordFlags = _parse(RecordFlags(), rest, f"fathom record {reference}")
    with _quiet(flags.json) as out:
        from fathom import training
        from fathom.recording import record
        from fathom.run import explained_disk_errors, find

        run = find(reference, flags.runs_dir)
        if flags.episodes < 1:
            raise FathomError(f"--episodes must be at least 1, not {flags.episodes}")
        seed = training.evaluation_seed(flags.seed)
        agent, world, progress = training.trained_agent(run, _warn, flags.device)
        name = f"step-{progress.steps}" + (f"-seed-{flags.seed}" if flags.seed else "")
        folder = run.videos if flags.folder is None else flags.folder
        with explained_disk_errors(folder, "make room and record again"):
            paths = record(agent, world, folder, flags.episodes, seed, name)
        if flags.json:
            _print_json(
                out,
                {
                    "run": str(run.folder),
                    "steps": progress.steps,
                    "videos": [str(path) for path in paths],
                },
            )
        else:
            for path in paths:
                print(path, file=out)
                transcript = path.with_suffix(".txt")
                if transcript.is_file():
                    print(transcript, file=out)
    return 0


def _play(words: list[str]) -> int:
    run = _dialogue_run(words)
    if run is not None:
        return _chat(run, words[1:])
    (reference,), rest, rules_asked = _go_arguments(words, "play", ("runs/go",), PlayFlags())
    flags: PlayFlags = _parse(PlayFlags(), rest, f"fathom play {reference}")
    limit = _go_limit(flags)
    from envs.go.board import BLACK, WHITE
    from fathom.play import Session
    from fathom.players import rules_from

    if flags.sgf is not None and flags.sgf.exists():
        raise FathomError(f"{flags.sgf} exists already: choose another --sgf")
    player = _go_player(reference, flags)
    with contextlib.closing(player):
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
    from fathom.run import find

    try:
        run = find(words[0], Path(runs_dir))
    except FathomError:  # not a run: perhaps a player of Go
        return None
    from fathom.chat import is_dialogue

    return run if is_dialogue(run) else None


def _chat(run: Run, words: list[str]) -> int:
    words, asked = _take_environment_arguments(words)
    flags: ChatFlags = _parse(ChatFlags(), words, f"fathom play {run.folder}")
    if asked:
        raise FathomError(
            f"--env.{next(iter(asked))} has no place in a chat: its world is that of the run"
        )
    seed = int.from_bytes(os.urandom(4), "big") if flags.seed is None else flags.seed
    if not 0 <= seed < 1 << 63:
        raise FathomError(f"--seed must be at least 0 and below 2^63, not {seed}")
    from fathom.chat import chat_with, new_transcript
    from fathom.run import find

    path = flags.transcript or new_transcript(run)
    if path.exists():
        raise FathomError(f"{path} exists already: choose another --transcript")
    if path.suffix != ".jsonl":
        raise FathomError(f"a transcript's name ends in .jsonl, unlike {path}")
    reader = None if flags.understanding is None else find(flags.understanding, flags.runs_dir)
    chat = chat_with(run, reader, seed, flags.device, _warn)
    try:
        chat.run()
    finally:
        if chat.said:
            chat.save(path)
            print(f"the transcript is {path}")
    return 0


def _gtp(words: list[str]) -> int:
    (reference,), rest, rules_asked = _go_arguments(words, "gtp", ("runs/go",), GtpFlags())
    flags: GtpFlags = _parse(GtpFlags(), rest, f"fathom gtp {reference}")
    limit = _go_limit(flags)
    with _quiet(True) as out:  # nothing but answers may reach the other program
        from fathom import gtp
        from fathom.players import rules_from

        player = _go_player(reference, flags)
        with contextlib.closing(player):
            gtp.run(player, rules_from(rules_asked, [player]), limit, sys.stdin.buffer, out)
    return 0


def _match(words: list[str]) -> int:
    references, rest, rules_asked = _go_arguments(
        words, "match", ("runs/go", '"gnugo --mode gtp"'), MatchFlags()
    )
    flags: MatchFlags = _parse(MatchFlags(), rest, "fathom match A B")
    limit = _go_limit(flags, 1.0)
    for name, value in (("games", flags.games - 1), ("seed", flags.seed)):
        if value < 0:
            raise FathomError(f"--{name} is too small: {getattr(flags, name)}")
    with _quiet(flags.json) as out, contextlib.ExitStack() as stack:
        from fathom.match import Scoreboard, free_folder, new_folder, play_match
        from fathom.players import rules_from
        from fathom.run import explained_disk_errors

        players = []
        for reference in references:
            players.append(_go_player(reference, flags, flags.timeout))
            stack.callback(players[-1].close)
        first, second = players
        rules = rules_from(rules_asked, players)
        with explained_disk_errors(flags.folder or Path("matches"), "choose another --folder"):
            folder = (
                free_folder(Path("matches"), [first.name, second.name])
                if flags.folder is None
                else new_folder(flags.folder)
            )
            with Scoreboard(flags.games) as board:
                tally = play_match(
                    first, second, rules, flags.games, limit, folder, flags.seed, board.show
                )
        if flags.json:
            _print_json(out, {**tally.as_json(), "folder": str(folder)})
        else:
            print("\n".join([*tally.lines(), f"the games are in {folder}"]), file=out)
        if tally.error is not None:
            raise FathomError(f"the match ended early: {tally.error}")
    return 0


def _go_arguments(
    words: list[str], command: str, example: tuple[str, ...], flags: Any
) -> tuple[list[str], list[str], dict[str, str]]:
    """The players, the words after them, and what is asked of the rules."""
    words, rules_asked = _take_environment_arguments(words)
    names = " ".join(("A", "B")[: len(example)]) if len(example) > 1 else "PLAYER"
    if any(word in ("-h", "--help") for word in words):
        _parse(flags, ["--help"], f"fathom {command} {names}")
    found = _positional(words)[: len(example)]
    if len(found) < len(example):
        wanted = "two players" if len(example) > 1 else "a player"
        raise FathomError(
            f"{command} needs {wanted} first, as in `fathom {command} {' '.join(example)}`"
        )
    return found, words[len(found) :], rules_asked


def _go_limit(flags: GoFlags, seconds: float = 3.0) -> Any:
    if flags.seconds is not None and not 0 < flags.seconds < 1e6:
        raise FathomError(f"--seconds must be above 0, not {flags.seconds:g}")
    if flags.simulations is not None and flags.simulations < 0:
        raise FathomError(f"--simulations must be at least 0, not {flags.simulations}")
    if flags.threads is not None and flags.threads < 1:
        raise FathomError(f"--threads must be at least 1, not {flags.threads}")
    if not 0 <= flags.resign <= 1:
        raise FathomError(f"--resign must be from 0 to 1, not {flags.resign:g}")
    from fathom.players import Limit

    by_default = seconds if flags.simulations is None else None
    return Limit(by_default if flags.seconds is None else flags.seconds, flags.simulations)


def _go_player(reference: str, flags: GoFlags, timeout: float = 120.0) -> Any:
    from fathom.players import player

    return player(
        reference,
        runs=flags.runs_dir,
        device=flags.device,
        threads=flags.threads,
        resign=flags.resign,
        timeout=timeout,
        warn=_warn,
    )


# -- words ----------------------------------------------------------------------------------------


def _positional(words: list[str]) -> list[str]:
    """The words before the first flag."""
    found = []
    for word in words:
        if word.startswith("-"):
            break
        found.append(word)
    return found


def _run_argument(words: list[str], command: str, flags: Any) -> tuple[str, list[str]]:
    if any(word in ("-h", "--help") for word in words):
        _parse(flags, ["--help"], f"fathom {command} RUN")
    if not words or words[0].startswith("-"):
        raise FathomError(f"{command} needs a run first, as in `fathom {command} runs/pong-dqn`")
    return words[0], words[1:]


def _take_environment_arguments(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Pick ``--env.NAME VALUE`` and ``--env.NAME=VALUE`` out of the command line."""
    rest: list[str] = []
    taken: dict[str, str] = {}
    remaining = iter(words)
    for word in remaining:
        if not word.startswith("--env."):
            rest.append(word)
            continue
        name, equals, value = word.removeprefix("--env.").partition("=")
        if not equals:
            following = next(remaining, None)
            if following is None or following.startswith("--"):
                raise FathomError(f"--env.{name} needs a value, as in `--env.{name} VALUE`")
            value = following
        name = name.replace("-", "_")
        if not name:
            raise FathomError("--env. needs a name, as in `--env.size 9`")
        taken[name] = value
    return rest, taken


def _known(kind: type, table: dict[str, Any], preset: str) -> dict[str, Any]:
    fields = {item.name for item in dataclasses.fields(kind)}
    if unknown := sorted(table.keys() - fields):
        raise FathomError(f"the preset {preset} sets {', '.join(unknown)}, which no run has")
    return table


def _parse(default: Any, words: list[str], prog: str) -> Any:
    """Read flags into a dataclass like ``default``, whose values are the defaults."""
    return _tyro(type(default), default, words, prog, [default], sys.stdout)


def _parse_pair(run: Any, agent: Any, words: list[str], prog: str, out: Any) -> tuple[Any, Any]:
    """Read the flags of a run and of its agent or task."""
    clash = {item.name for item in dataclasses.fields(run)} & {
        item.name for item in dataclasses.fields(agent)
    }
    if clash:
        raise FathomError(
            f"the agent's hyperparameters {', '.join(sorted(clash))} have the names of flags of the run"
        )
    pair = dataclasses.make_dataclass(
        "Flags", [("run", type(run), run), ("agent", type(agent), agent)]
    )
    flags = _tyro(pair, pair(), words, prog, [run, agent], out)
    return flags.run, flags.agent


def _tyro(kind: type, default: Any, words: list[str], prog: str, parts: list[Any], out: Any) -> Any:
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out):
            result, unknown = tyro.cli(
                kind,
                default=default,
                args=words,
                prog=prog,
                description="The environment's own arguments follow as --env.NAME VALUE."
                if isinstance(parts[0], TrainFlags)
                else None,
                config=(tyro.conf.OmitArgPrefixes,),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise FathomError(_sentence(errors.getvalue())) from None
    except (ValueError, TypeError) as error:
        raise FathomError(str(error)) from error
    if unknown:
        names = [
            f"--{item.name.replace('_', '-')}"
            for part in parts
            for item in dataclasses.fields(part)
        ]
        flag = unknown[0].partition("=")[0]
        if flag.startswith("-"):
            raise FathomError(
                f"there is no flag {flag}{_nearest(flag, names)}; see `{prog} --help`"
            )
        raise FathomError(f"{unknown[0]!r} is one word too many; see `{prog} --help`")
    return result


def _sentence(box: str) -> str:
    """The first paragraph of an error that tyro framed."""
    said: list[str] = []
    title, parsing, rest = box.partition("Error parsing ")  # a title goes before the sentence
    for line in (rest if parsing else title).splitlines():
        if line.strip()[:1] in ("╭", "╰", "+"):  # the frame; above it stands only the kind of error
            continue
        text = line.strip().strip("│|").strip()
        if not text.strip("─-"):
            if said:
                break
            continue
        said.append(text)
    return " ".join(said).strip() or "the command line cannot be read"


# -- output ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _quiet(as_json: bool) -> Any:
    """Give standard output; with JSON asked for, keep everything else (a world's prints too) off it."""
    out = sys.stdout
    if as_json:
        with contextlib.redirect_stdout(sys.stderr):
            yield out
    else:
        yield out


def _print_json(out: Any, value: dict[str, Any]) -> None:
    print(json.dumps(value), file=out, flush=True)


def _warn(message: str) -> None:
    print(f"fathom: warning: {message}", file=sys.stderr)
