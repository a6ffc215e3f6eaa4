"""Resume a run from its latest checkpoint, extend it, go on with changes, or go on with a sweep."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from pydantic.dataclasses import dataclass

from fathom.arguments import (
    asks_for_help,
    parse,
    parse_with_config,
    prefixed_arguments,
    runs_dir_in,
    split_positional,
)
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT, Episodes, Keep, NumEnvs, Steps
from fathom.streams import quiet

USAGE = "resume RUN [--steps N]"
HELP = """Go on with a run exactly where it was. `fathom resume RUN --help` adds what can change of that run."""


@dataclass(frozen=True, config=STRICT)
class ResumeFlags:
    """Go on with a run exactly where it was."""

    steps: Steps | None = None
    """New number of steps in all, to extend the run."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""
    ray: str | None = None
    """Address of a Ray cluster that searches the groups of alphago's games, such as auto or ray-head:6379."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


@dataclass(frozen=True, config=STRICT)
class SweepResumeFlags:
    """Go on with a sweep where it was."""

    runs_dir: Path = Path("runs")
    """Folder in which a sweep's name is looked up."""
    trust: bool = False
    """Go on with a sweep from elsewhere: import, start and read what its sweep.toml names."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


@dataclass(frozen=True, config=STRICT)
class ChangeFlags(ResumeFlags):
    """Go on with a run exactly where it was, or with changes, which are written to run.toml."""

    evaluation_episodes: Episodes = 0
    """Episodes of the evaluation at each checkpoint; 0 for none."""
    evaluation_envs: NumEnvs = 1
    """Environments of an evaluation side by side."""
    early_stop: float | None = None
    """Mean of an evaluation at which the training ends; None for none."""
    keep: Keep = "latest"
    """Checkpoints that stay: the latest three, or that of the best evaluation as well."""


def run(words: list[str]) -> int:
    """Train a run to its end, from its latest checkpoint."""
    words, env_args = prefixed_arguments(words, "env")
    with quiet("--json" in words) as out:
        given, rest = split_positional(words, [ChangeFlags])
        if not given and asks_for_help(words):
            parse(ResumeFlags(), ["--help"], "fathom resume RUN", out, HELP)
        if not given:
            raise FathomError("resume needs a run first, as in `fathom resume runs/pong-dqn`")
        from fathom.commands._training import train_and_report
        from fathom.display import Display
        from fathom.runs.agent_learner import agent_class, agent_config
        from fathom.runs.changes import OPTIONS, change
        from fathom.runs.cluster import workers_at
        from fathom.runs.config import check_hyperparameters
        from fathom.runs.folder import RunFolder
        from fathom.runs.launcher import protocol_line
        from fathom.runs.runner import learner_of

        if sweep := _sweep_named(given[0], runs_dir_in(rest)):
            return _resume_sweep(sweep, [*given[1:], *rest], out)
        resumed = RunFolder.find(given[0], runs_dir_in(rest), "--trust" in rest)
        config, prog = resumed.config, f"fathom resume {given[0]}"
        flags: Any
        changes: dict[str, Any] = {}
        if config.is_fit:
            flags = parse(ResumeFlags(), [*given[1:], *rest], prog, out)
        else:
            check_hyperparameters(resumed.folder, config, agent_class(config.agent).Config)
            hyperparameters = agent_config(config)
            given, rest = split_positional(words, [ChangeFlags, type(hyperparameters)])
            now = ChangeFlags(**{name: getattr(config, name) for name in OPTIONS})
            flags, asked = parse_with_config(
                now,
                hyperparameters,
                config.agent,
                [*given[1:], *rest],
                prog,
                out,
                "The environment's own arguments change by --env.NAME VALUE.",
            )
            for before, after in ((now, flags), (hyperparameters, asked)):
                changes |= {
                    item.name: getattr(after, item.name)
                    for item in dataclasses.fields(after)
                    if getattr(after, item.name) != getattr(before, item.name)
                    and item.name not in ("steps", "runs_dir", "trust", "ray", "json")
                }
        display = Display(stderr=flags.json)
        with workers_at(flags.ray, config.agent, config.threads, display.message) as workers:
            change(resumed, flags.steps, changes, env_args, display.message)
            line = printable(protocol_line(resumed.config))
            print(line, file=sys.stderr if flags.json else out)
            learner = functools.partial(learner_of, workers=workers)
            return train_and_report(resumed, display, flags.json, out, learner)


def _sweep_named(reference: str, runs_dir: Path) -> Path | None:
    """The folder of the sweep that is meant; None where it is none."""
    from fathom.runs.folder import SWEEP_CONFIG

    for folder in (Path(reference), runs_dir / reference):
        if os.path.isfile(folder / SWEEP_CONFIG):
            return folder
    return None


def _resume_sweep(folder: Path, words: list[str], out: TextIO) -> int:
    given = {word.partition("=")[0] for word in words}
    if "--ray" in given:
        raise FathomError(
            f"{folder} goes on elsewhere by the command that began it: `fathom sweep … --name {folder.name} --ray"
            " ADDRESS`"
        )
    if "--steps" in given:
        raise FathomError(
            f"{folder} is a sweep, whose steps stay as they were asked for; a single run of it can be extended:"
            f" `fathom resume {folder}/t000-s0 --steps N`"
        )
    flags = parse(SweepResumeFlags(), words, f"fathom resume {folder}", out)
    from fathom.commands._sweeping import sweep_and_report
    from fathom.sweeps.folder import SweepFolder

    return sweep_and_report(SweepFolder.open(folder, flags.trust), flags.json, out)
