"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom.arguments import (
    Device,
    check_ranges,
    environment_arguments,
    known_fields,
    nearest,
    parse,
    parse_pair,
    positional,
    print_json,
    quiet,
    run_argument,
    warn,
)
from fathom.commands import gtp, match, play
from fathom.errors import FathomError

if TYPE_CHECKING:
    from fathom.runs.run import Progress, Run

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
    """Where the videos go (default: the run's own folder of videos)."""
    seed: int = 0
    """Which set of evaluation episodes."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    json: bool = False
    """Print one JSON object on standard output."""


@dataclass(frozen=True)
class ListFlags:
    """List worlds, agents, presets and tasks."""

    json: bool = False
    """Print one JSON object on standard output."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a letter of ours
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.formatwarning = lambda message, *_: f"fathom: warning: {message}\n"
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except FathomError as error:
        message = " ".join(str(error).split()).removesuffix(".")
        print(f"fathom: {message}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _forget_output()  # its reader went away
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO) or error.filename is not None:
            raise
        _forget_output()
        print(f"fathom: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fathom: stopped", file=sys.stderr)
        return 130


def _forget_output() -> None:
    """Keep the interpreter from complaining at its end of what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(words: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": _list,
        "train": _train,
        "resume": _resume,
        "evaluate": _evaluate,
        "record": _record,
        "fit": _fit,
        "play": play.run,
        "gtp": gtp.run,
        "match": match.run,
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
            f"there is no command {words[0]!r}{nearest(words[0], list(commands))}; see `fathom --help`"
        )
    return command(words[1:])


def _list(words: list[str]) -> int:
    flags: ListFlags = parse(ListFlags(), words, "fathom list")
    from agents import AGENTS
    from perception.tasks import TASKS

    with quiet(flags.json) as out:
        from fathom.environments import list_environments
        from fathom.environments.presets import preset_names

        result, presets = list_environments(), preset_names()
    environments: dict[str, list[str]] = {}
    for name in result:
        family = name.partition("/")[0] if "/" in name else "Gymnasium"
        environments.setdefault(family, []).append(name)
    if flags.json:
        print_json(
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
    words, env_args = environment_arguments(words)
    given = positional(words)
    asks_help = any(word in ("-h", "--help") for word in words)
    if asks_help and not given:
        parse(TrainFlags(), words, "fathom train AGENT ENV")
    if not given or (len(given) < 2 and not asks_help):
        raise FathomError(
            "train needs an agent and an environment first, as in `fathom train dqn ALE/Pong-v5`"
        )
    agent, rest = given[0], words[min(2, len(given)) :]
    from agents import AGENTS

    if agent not in AGENTS:
        raise FathomError(
            f"there is no agent {agent!r}{nearest(agent, list(AGENTS))} (agents: {', '.join(sorted(AGENTS))})"
        )
    with quiet(any(word == "--json" for word in words)) as out:
        from fathom.environments import check as contract
        from fathom.environments import resolve
        from fathom.environments.presets import preset as find_preset
        from fathom.runs import training
        from fathom.runs.config import build_config
        from fathom.runs.run import Run, check_name
        from fathom.runs.trained import open_run

        kind = training.agent_class(agent)
        world = resolve(given[1], env_args, open_run) if len(given) > 1 else None
        chosen = find_preset(agent, world.reference) if world is not None else None
        preset, tables = chosen if chosen is not None else ("", {})
        run_defaults = TrainFlags(**known_fields(TrainFlags, tables.get("run", {}), preset))
        agent_defaults = build_config(kind.Config, tables.get("agent", {}))
        prog = " ".join(["fathom train", *given[:2], *(["ENV"] if len(given) < 2 else [])])
        flags, config = parse_pair(run_defaults, agent_defaults, rest, prog, out, True)
        assert world is not None
        settings = _settings(flags, agent, config, world, preset)

        from fathom.display import Display

        if flags.name is not None:
            check_name(flags.runs_dir, flags.name)
        complaints = contract.check(world)
        training.build_agent(settings, world)
        if flags.record:
            training.check_rendering(world)
        needed = training.storage_needed(settings, world)
        training.check_room(flags.runs_dir, needed)
        settings.protocol = dict(world.describe())
        shown = Display(settings.steps, 0, stderr=flags.json)
        for complaint in complaints:
            shown.message(f"warning: {complaint}")
        for line in training.summary(settings, needed):
            shown.message(line)
        run = Run.create(flags.runs_dir, flags.name, settings)
        shown.message(f"  run {run.folder}")
        return _live(run, flags.json, out)


def _settings(flags: TrainFlags, agent: str, config: Any, world: Any, preset: str) -> Any:
    import torch

    from fathom.runs.config import RunConfig
    from fathom.runs.training import device_to_learn

    num_envs = config.num_envs
    segment_steps = 10_000 * num_envs if flags.segment_steps is None else flags.segment_steps
    threads = torch.get_num_threads() if flags.threads is None else flags.threads
    check_ranges(
        steps=flags.steps,
        segment_steps=segment_steps,
        evaluation_episodes=flags.evaluation_episodes,
        seed=flags.seed,
        threads=threads,
        num_envs=num_envs,
    )
    # Environments step together, so only whole rounds of steps can be done.
    steps = -(-flags.steps // num_envs) * num_envs
    check_ranges(steps=steps)
    return RunConfig(
        environment=world.reference,
        agent=agent,
        steps=steps,
        segment_steps=-(-segment_steps // num_envs) * num_envs,
        evaluation_episodes=flags.evaluation_episodes,
        seed=flags.seed,
        device=device_to_learn(flags.device),
        threads=threads,
        preset=preset,
        record=flags.record,
        keep_replay=flags.keep_replay,
        environment_arguments=dict(world.env_args),
        hyperparameters=dataclasses.asdict(config),
    )


def _fit(words: list[str]) -> int:
    given = positional(words)[:1]
    rest = words[len(given) :]
    if not given and any(word in ("-h", "--help") for word in words):
        given = ["slot-filling"]
    elif not given:
        raise FathomError("fit needs a task first, as in `fathom fit slot-filling`")
    task = given[0]
    from perception.tasks import TASKS

    if task not in TASKS:
        raise FathomError(
            f"there is no task {task!r}{nearest(task, list(TASKS))} (tasks: {', '.join(sorted(TASKS))})"
        )
    with quiet(any(word == "--json" for word in words)) as out:
        from fathom.display import Display
        from fathom.runs import fit
        from fathom.runs.run import Run, check_name

        kind = fit.task_class(task)
        flags, config = parse_pair(
            fit.FitFlags(), kind.Config(), rest, f"fathom fit {task}", out, False
        )
        if flags.name is not None:
            check_name(flags.runs_dir, flags.name)
        settings = fit.settings_of(task, flags, config)
        run = Run.create(flags.runs_dir, flags.name, settings)
        shown = Display(settings.steps, 0, stderr=flags.json)
        for line in [*fit.summary(settings), f"  run {run.folder}"]:
            shown.message(line)
        return _live(run, flags.json, out)


def _resume(words: list[str]) -> int:
    reference, rest = run_argument(words, "resume", ResumeFlags())
    flags: ResumeFlags = parse(ResumeFlags(), rest, f"fathom resume {reference}")
    with quiet(flags.json) as out:
        from fathom.runs.config import installed_versions
        from fathom.runs.run import find
        from fathom.runs.training import protocol_line

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
            check_ranges(steps=flags.steps)
            _extend(run, flags.steps)
        print(protocol_line(run.settings), file=sys.stderr if flags.json else out)
        return _live(run, flags.json, out)


def _extend(run: Run, steps: int) -> None:
    """Set a new end, unless the run can no longer go on."""
    if _is_fit(run):
        from fathom.runs import fit

        return fit.extend(run, steps)
    from fathom.files import reporting_disk_errors

    with run.lock(), reporting_disk_errors(run.folder):
        from fathom.runs import training

        settings = run.settings
        checkpoint = run.load_checkpoint()
        world = training.world_of(settings)
        training.prepare(settings.threads, settings.device)
        training.build_agent(settings, world)  # refuses what cannot be
        num_envs = training.config_of(settings).num_envs
        complete = checkpoint is not None and checkpoint.progress.steps >= settings.steps
        if complete and not run.replay.is_dir() and training.storage_needed(settings, world):
            raise FathomError(
                f"{run.folder} is complete and its replay memory was deleted, so it cannot be "
                "extended; train with --keep-replay to be able to"
            )
        settings.steps = -(-steps // num_envs) * num_envs
        check_ranges(steps=settings.steps)
        run.write_settings()


def _is_fit(run: Run) -> bool:
    from perception.tasks import TASKS

    return run.settings.agent in TASKS


def _live(run: Run, as_json: bool, out: Any) -> int:
    """Train a run to its end and report."""
    from fathom.display import clock, score, table
    from fathom.runs import training

    go_on = training.train
    if _is_fit(run):
        from fathom.runs import fit

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
        print_json(
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
    reference, rest = run_argument(words, "evaluate", EvaluateFlags())
    flags: EvaluateFlags = parse(EvaluateFlags(), rest, f"fathom evaluate {reference}")
    with quiet(flags.json) as out:
        from fathom.display import score
        from fathom.evaluation import evaluate
        from fathom.runs import training
        from fathom.runs.run import find

        run = find(reference, flags.runs_dir)
        if _is_fit(run):
            return _evaluate_fit(run, flags, out)
        episodes = (
            (run.settings.evaluation_episodes or 20) if flags.episodes is None else flags.episodes
        )
        if episodes < 1:
            raise FathomError(f"--episodes must be at least 1, not {episodes}")
        seed = training.evaluation_seed(flags.seed)
        agent, world, progress = training.trained_agent(run, warn, flags.device)
        result = evaluate(agent, world, episodes, seed)
        if flags.json:
            print_json(out, {"run": str(run.folder), "steps": progress.steps, **result})
        else:
            print(f"{run.name} after {progress.steps:,} steps: {score(result)}", file=out)
            protocol = ", ".join(f"{key} {value}" for key, value in result["protocol"].items())
            print(f"protocol: {protocol}; evaluation seed {seed}", file=out)
    return 0


def _evaluate_fit(run: Run, flags: EvaluateFlags, out: Any) -> int:
    from fathom.display import score, table
    from fathom.runs import fit

    if flags.episodes is not None or flags.seed:
        raise FathomError(
            f"{run.folder} is a fit of {run.settings.agent}: it is tested on all its test sentences, "
            "so it takes neither --episodes nor --seed"
        )
    result = fit.evaluate(run, warn, flags.device)
    if flags.json:
        print_json(out, {"run": str(run.folder), **result})
        return 0
    print(f"{run.name} after {result['steps']:,} steps: {score(result)}", file=out)
    print("\n".join(table(result["table"])), file=out)
    protocol = ", ".join(f"{key} {value}" for key, value in result["protocol"].items())
    print(f"protocol: {protocol}", file=out)
    return 0


def _record(words: list[str]) -> int:
    reference, rest = run_argument(words, "record", RecordFlags())
    flags: RecordFlags = parse(RecordFlags(), rest, f"fathom record {reference}")
    with quiet(flags.json) as out:
        from fathom.files import reporting_disk_errors
        from fathom.recording import record
        from fathom.runs import training
        from fathom.runs.run import find

        run = find(reference, flags.runs_dir)
        if flags.episodes < 1:
            raise FathomError(f"--episodes must be at least 1, not {flags.episodes}")
        seed = training.evaluation_seed(flags.seed)
        agent, world, progress = training.trained_agent(run, warn, flags.device)
        name = f"step-{progress.steps}" + (f"-seed-{flags.seed}" if flags.seed else "")
        folder = run.videos if flags.folder is None else flags.folder
        with reporting_disk_errors(folder, "make room and record again"):
            paths = record(agent, world, folder, flags.episodes, seed, name)
        if flags.json:
            print_json(
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
