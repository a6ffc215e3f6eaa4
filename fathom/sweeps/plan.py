"""From what a person asked for to a new sweep: options resolved, checked, written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from fathom.environments import EnvironmentSpec
from fathom.environments.constructor import for_toml
from fathom.errors import FathomError, one_sentence
from fathom.runs.config import toml_value
from fathom.runs.folder import free_name
from fathom.runs.launcher import TrainingRequest
from fathom.runs.options import FitOptions, TrainOptions
from fathom.runs.task_learner import data_source
from fathom.runs.tasks import default_data
from fathom.sweeps.folder import SweepConfig, SweepFolder
from fathom.sweeps.space import grid, is_grid, parse_seeds, parse_vary
from fathom.sweeps.sweep import cores

_OF_THE_SWEEP = {"seed", "name", "runs_dir", "threads", "preset", "data"}
"""Options that each run has from the sweep."""


def training_sweep(
    agent: str, environment: EnvironmentSpec, request: TrainingRequest
) -> SweepFolder:
    """The folder of a sweep over trainings: a new one, or that of the same sweep.

    Args:
        request: with options that have those of a sweep, too.
    """
    options = request.options
    if not options.evaluation_episodes:
        raise FathomError("a sweep goes by evaluations, and --evaluation-episodes 0 asks for none")
    arguments = {name: for_toml(value) for name, value in environment.env_args.items()}
    named = {
        "agent": agent,
        "environment": environment.reference,
        "arguments": arguments,
        "preset": request.preset,
    }
    return _sweep(named, options, TrainOptions, request.config)


def fit_sweep(
    task: str, options: Any, hyperparameters: Any, data_options: Mapping[str, Any]
) -> SweepFolder:
    """The folder of a sweep over fits: a new one, or that of the same sweep.

    Args:
        options: those of a fit and of a sweep.
    """
    data = data_source(options.data or default_data(task), data_options).absolute()
    named = {"task": task, "data": data.reference, "arguments": dict(data_options)}
    return _sweep(named, options, FitOptions, hyperparameters)


def _sweep(named: dict[str, Any], options: Any, kind: Any, hyperparameters: Any) -> SweepFolder:
    seeds = parse_seeds(options.seeds)
    space = parse_vary(options.vary, hyperparameters)
    if options.trials is None and not is_grid(space):
        raise FathomError(
            "--vary has a range, of which there are endless values: say how many to try by --trials"
        )
    if options.trials is not None and not space:
        raise FathomError(
            "--trials needs something to vary, such as --vary learning_rate=1e-4:1e-2:log"
        )
    count = options.trials or len(grid(space))
    threads, jobs = _places(options, count * len(seeds))
    default = kind()
    chosen = {
        item.name: getattr(options, item.name)
        for item in dataclasses.fields(kind)
        if item.name not in _OF_THE_SWEEP
        and getattr(options, item.name) != getattr(default, item.name)
    }
    try:
        config = SweepConfig(
            **named,
            options=toml_value(chosen),
            hyperparameters=toml_value(dataclasses.asdict(hyperparameters)),
            vary=list(options.vary),
            seeds=seeds,
            trials=options.trials,
            seed=options.seed,
            minimize=options.minimize,
            prune=options.prune,
            generation=min(jobs, count),
            threads=threads,
            jobs=jobs,
            ray=options.ray or "",
            ray_gpus=float(options.ray_gpus),
            ray_memory=float(options.ray_memory),
        )
    except ValidationError as error:
        raise FathomError(one_sentence(error)) from error
    source, learner = config.environment or config.data, config.agent or config.task
    name = options.name or free_name(options.runs_dir, source, learner, "-sweep")
    return SweepFolder.create(options.runs_dir, name, config)


def _places(options: Any, runs: int) -> tuple[int, int]:
    """Threads of a run, and runs at the same time, so that the cores are shared out."""
    if options.ray:
        from fathom.runs.cluster import cluster_cores

        there, where = cluster_cores(options.ray), f"the cluster {options.ray} has"
    else:
        there, where = cores(), "this machine has"
    if options.jobs is None:
        jobs = max(1, min(there // (options.threads or 1), runs, 256))
    else:
        jobs = options.jobs
    threads = options.threads or (1 if options.ray else max(1, there // jobs))
    if jobs * threads > there:
        raise FathomError(
            f"{jobs} jobs of {threads} threads need {jobs * threads} cores, and {where} {there}: lower --jobs or"
            " --threads"
        )
    return threads, jobs
