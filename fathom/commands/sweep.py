"""Train many runs that differ in hyperparameters and seeds, e.g. fathom sweep ppo CartPole-v1 --seeds 0-4."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import (
    asks_for_help,
    parse,
    parse_with_config,
    path_in,
    prefixed_arguments,
    split_positional,
)
from fathom.errors import FathomError
from fathom.runs.options import STRICT, FitOptions, NumEnvs, Seed, TrainOptions
from fathom.streams import quiet

USAGE = "sweep AGENT ENV [flags]"
HELP = """`fathom sweep AGENT ENV` or `fathom sweep TASK [DATA]`. The flags of `fathom train AGENT ENV` or `fathom fit TASK` hold
for all runs. A sweep that was killed goes on by `fathom resume runs/SWEEP`."""


@dataclass(frozen=True, config=STRICT)
class SweepOptions:
    """The sweep."""

    seeds: str = "0"
    """Seeds of each trial, such as 0-4 or 0,3,7."""
    vary: tuple[str, ...] = ()
    """A hyperparameter and its values: NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C; again for another."""
    trials: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Settings that a sampler chooses (TPE); None for every combination of lists."""
    minimize: bool = False
    """The score is an error, so small is good."""
    prune: bool = True
    """End a chosen trial that falls behind the median of earlier ones after a segment."""
    jobs: NumEnvs | None = None
    """Runs at the same time; None means as many as there are cores for their threads."""
    ray: str | None = None
    """Address of a Ray cluster that trains the runs, such as auto or ray-head:6379; the runs folder has to be shared."""
    ray_gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    """GPUs that each run asks the cluster for."""
    ray_memory: Annotated[float, Field(ge=0, le=4096)] = 0.0
    """Gigabytes of memory that each run asks the cluster for."""
    seed: Seed = 0
    """Seed of the sampler; those of the runs are --seeds."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


@dataclass(frozen=True, config=STRICT)
class TrainSweepFlags(SweepOptions, TrainOptions):
    """The sweep and its runs."""

    seed: Seed = 0
    """Seed of the sampler; those of the runs are --seeds."""


@dataclass(frozen=True, config=STRICT)
class FitSweepFlags(SweepOptions, FitOptions):
    """The sweep and its runs."""

    seed: Seed = 0
    """Seed of the sampler; those of the runs are --seeds."""


def run(words: list[str]) -> int:
    """Carry out a sweep."""
    words, env_args = prefixed_arguments(words, "env")
    words, data_args = prefixed_arguments(words, "data")
    with quiet("--json" in words) as out:
        from agents import AGENTS

        given, rest = split_positional(words, [TrainSweepFlags])
        for word in AGENTS.keys() & set(words):  # which flags take a value depends on the agent
            from fathom.runs.agent_learner import agent_class

            kinds = [TrainSweepFlags, agent_class(word).Config]
            positional, flags_then = split_positional(words, kinds)
            if positional[:1] == [word]:
                given, rest = positional, flags_then
        if not given and asks_for_help(words):
            parse(TrainSweepFlags(), ["--help"], "fathom sweep AGENT ENV", out, HELP)
        if not given:
            raise FathomError(
                "sweep needs an agent and an environment, or a task, as in `fathom sweep ppo CartPole-v1"
                " --vary learning_rate=1e-4:1e-2:log --trials 20`"
            )
        from fathom.commands._sweeping import sweep_and_report
        from fathom.sweeps.plan import fit_sweep, training_sweep
        from fathom.sweeps.space import refuse_fixed

        flags_typed = (word[2:].partition("=")[0] for word in rest if word.startswith("--"))
        typed = {name.replace("-", "_") for name in flags_typed}
        prog = " ".join(["fathom sweep", *given[:2]])
        preset = path_in(rest, "--preset")
        flags: Any
        if given[0] in AGENTS:
            if len(given) < 2 and not asks_for_help(words):
                raise FathomError(
                    f"sweep needs an environment, as in `fathom sweep {given[0]} CartPole-v1`"
                )
            from fathom.environments import resolve
            from fathom.runs.launcher import defaults_for
            from fathom.runs.trained_run import open_run

            environment = resolve(given[1], env_args, open_run) if len(given) > 1 else None
            reference = None if environment is None else environment.reference
            defaults = defaults_for(given[0], reference, TrainSweepFlags, preset)
            flags, config = parse_with_config(
                defaults.options, defaults.config, given[0], [*given[2:], *rest], prog, out, HELP
            )
            assert environment is not None  # `parse` has printed the help
            refuse_fixed(flags.vary, typed)
            request = dataclasses.replace(defaults, options=flags, config=config)
            sweep = training_sweep(given[0], environment, request)
        else:
            from fathom.runs.launcher import fit_defaults
            from fathom.runs.tasks import is_own, resolve_task, task_class
            from fathom.schema import plain_value
            from perception.tasks import TASKS

            if given[0] not in TASKS and ":" not in given[0] and not given[0].endswith(".py"):
                from fathom.arguments import nearest

                known = [*AGENTS, *TASKS]
                raise FathomError(
                    f"there is no agent or task {given[0]!r}{nearest(given[0], known)}; see `fathom list`"
                )
            task = resolve_task(given[0])
            options, config = fit_defaults(task, FitSweepFlags, preset)
            if len(given) > 1:
                options = dataclasses.replace(options, data=given[1])
            name = task_class(task).__name__ if is_own(task) else task
            flags, config = parse_with_config(
                options, config, name, [*given[2:], *rest], prog, out, HELP
            )
            refuse_fixed(flags.vary, typed)
            arguments = {key: plain_value(text) for key, text in data_args.items()}
            sweep = fit_sweep(task, flags, config, arguments)
        return sweep_and_report(sweep, flags.json, out)
