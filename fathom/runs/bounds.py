"""What a run from elsewhere may ask for in time and memory, unless the user asks for it or trusts the run."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gymnasium import Space, spaces

from fathom.errors import FathomError
from fathom.evaluation import STEP_LIMIT
from fathom.runs.config import RunConfig
from fathom.runs.folder import RunFolder

EVALUATION = {
    "evaluation_episodes": 1_000,
    "evaluation_envs": 16,
    "max_episode_steps": STEP_LIMIT,
    "simulations": 512,
    "rollout_length": 4_096,
}
"""Most of what `run.toml` may ask of an evaluation; no preset asks for more."""
TEST = {"batch_size": 512}
"""Most of what it may ask of a task's test."""
TRAINING = {
    **EVALUATION,
    **TEST,
    "steps": 10**9,
    "num_envs": 256,
    "model_batch_size": 512,
    "replay_capacity": 1_000_000,
    "replay_positions": 100_000,
    "reanalyse": 64,
    "unroll_steps": 50,
    "planning": 100,
    "epochs": 1_000,
    "passes": 1_000,
}
"""Most of what it may ask of a training: options, arguments and hyperparameters, whose defaults are never too much."""
_MOST_NUMBERS = 1 << 27
"""Numbers of the observations that are held at once, and of what the network makes of them."""
_LEAST_NUMBERS = 1_024
"""What an observation counts for at least."""


def refuse_costs(
    run: RunFolder, learner: type, bounds: dict[str, int], asked: Collection[str] = ()
) -> None:
    """Raise FathomError where the `run.toml` of a run from elsewhere asks for too much time or memory.

    Args:
        learner: dataclass of its hyperparameters.
        bounds: `EVALUATION`, `TEST` or `TRAINING`.
        asked: names that the user gave a value of their own.
    """
    if run.trusted:
        return
    config = run.config
    values: dict[str, Any] = {
        **vars(config),
        **config.environment_arguments,
        **config.hyperparameters,
    }
    for name, bound in bounds.items():
        value, most = values.get(name), max(bound, int(getattr(learner, name, 0)))
        if name not in asked and isinstance(value, int | float) and value > most:
            raise FathomError(_refusal(run.folder, f"{name} = {value:,}", f"{most:,}"))


def refuse_memory(run: RunFolder, space: Space[Any], training: bool) -> None:
    """Raise FathomError where a run from elsewhere holds too many observations at once.

    Args:
        space: of the observations, flat.
    """
    if run.trusted:
        return
    hidden: Any = run.config.hyperparameters.get("hidden_size", 1)
    size = max(_numbers(space), hidden, _LEAST_NUMBERS)
    for name, count in _held(run.config, training).items():
        if count * size > _MOST_NUMBERS:
            asked = f"{name} = {count:,} observations of {size:,} numbers at once"
            raise FathomError(_refusal(run.folder, asked, f"{_MOST_NUMBERS // size:,}"))


def _held(config: RunConfig, training: bool) -> dict[str, int]:
    """How many observations are held at once, by what says so."""
    held = {"evaluation_envs": config.evaluation_envs}
    if not training:
        return held
    get: Any = {
        "train_frequency": 1,
        "rollout_steps": 1,
        "batch_size": 1,
        "unroll_steps": 0,
        "simulations": 1,
        **config.hyperparameters,
    }.get
    envs = get("num_envs", 1)
    batches = max(1, envs // get("train_frequency"))
    if "reanalyse" in config.hyperparameters:
        roots = envs * (1 + get("reanalyse"))
        held["num_envs × (reanalyse + 1) × (simulations + 1)"] = roots * (1 + get("simulations"))
    return held | {
        "batch_size × (unroll_steps + 1)": get("batch_size") * (1 + get("unroll_steps")),
        "num_envs × rollout_steps": envs * get("rollout_steps"),
        "batch_size × num_envs / train_frequency": get("batch_size") * batches,
    }


def _numbers(space: Space[Any]) -> int:
    """How many numbers an observation has."""
    if isinstance(space, spaces.Tuple):
        return sum(_numbers(part) for part in space.spaces)
    return max(1, math.prod(space.shape or ()))


def _refusal(folder: Path, asked: str, most: str) -> str:
    return (
        f"{folder} asks for {asked}, and a run from elsewhere may ask for at most {most}: ask for another"
        " number by a flag, or if you trust the run, add --trust (in Python, trust=True)"
    )
