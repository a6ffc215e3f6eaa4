"""Scores: episodes with fixed seeds that training never sees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from agents.agent import Agent, generator
from envs.vector import BrokenEnvironmentError, Transitions
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError, Stopped
from fathom.statistics import bootstrap_interval

MAX_ENVS = 16
"""Environments that play side by side, at most."""

STEP_LIMIT = 200_000
"""An episode longer than this is taken for one that never ends."""

EVALUATION_SEED = 1 << 30
"""Seeds from here on are for evaluation; those of training all lie below."""


def evaluation_seed(choice: int = 0) -> int:
    """Seed of the ``choice``-th set of evaluation episodes; a run's own evaluations use set 0."""
    if not 0 <= choice < 10_000:
        raise FathomError(f"an evaluation seed lies between 0 and 9,999, not {choice}")
    return EVALUATION_SEED + choice * 100_000


@dataclass(frozen=True)
class Result:
    """A score with all that it has to be read with."""

    mean: float
    interval: tuple[float, float]
    """95 % bootstrap interval of the mean."""
    count: int
    """Episodes, or examples of the test set."""
    protocol: dict[str, Any]
    """The rules the score was made under."""
    unit: str = "episodes"
    """What `count` counts."""
    score: str = ""
    """What is scored, such as "accuracy"; of an agent it is the return, and this is empty."""
    measures: dict[str, float] = field(default_factory=dict)
    """Means of further measures."""
    returns: list[float] = field(default_factory=list)
    """Return of each episode."""
    lengths: list[int] = field(default_factory=list)
    """Agent steps of each episode."""
    std: float | None = None
    """Standard deviation of the returns (n − 1)."""
    environments: int | None = None
    """Environments that played side by side."""
    seed: int | None = None
    """Environment i was reset with seed + i."""
    table: list[list[Any]] = field(default_factory=list)
    """Details, such as a row for each class; the first row is the head."""
    pictures: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Matplotlib figures by name."""

    def to_json(self) -> dict[str, Any]:
        """The result as `evaluations.jsonl` holds it; without pictures, and without what is empty."""
        content = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name not in ("count", "unit", "pictures")
        }
        optional = ("score", "returns", "lengths", "std", "environments", "seed", "table")
        content = {
            name: value
            for name, value in content.items()
            if name not in optional or value not in ("", None, [])
        }
        return {**content, "interval": list(self.interval), self.unit: self.count}


def evaluate(
    agent: Agent,
    environment: EnvironmentSpec,
    episodes: int,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Play `episodes` episodes.

    Every environment plays a fixed number of episodes (of two environments these numbers differ by
    one at most), so that short episodes are not over-represented. The same seed gives the same result.

    An environment can name further measures in its `metadata["measures"]`: entries of `info` at an
    episode's end. Their means are over the episodes that have them.

    Raises:
        FathomError: an episode does not end, or the environment is broken.
        Stopped: `should_stop` said so.
    """
    if episodes < 1:
        raise FathomError("an evaluation needs at least one episode")
    quotas = episode_quotas(episodes)
    returns, lengths, measures = _play(agent, environment, quotas, seed, should_stop)
    return Result(
        mean=float(returns.mean()),
        interval=bootstrap_interval(returns),
        count=episodes,
        protocol=environment.describe(),
        measures=measures,
        returns=returns.tolist(),
        lengths=lengths.tolist(),
        std=float(returns.std(ddof=1)) if episodes > 1 else 0.0,
        environments=len(quotas),
        seed=seed,
    )


def episode_quotas(episodes: int) -> np.ndarray:
    """Number of episodes that each environment plays, (n,) int64, the larger ones first.

    Where at least half of `MAX_ENVS` environments can share the episodes out evenly they do; else the
    numbers differ by one.
    """
    most = min(MAX_ENVS, episodes)
    even = next(n for n in range(most, 0, -1) if episodes % n == 0)
    n = even if 2 * even >= most else most
    return np.array([episodes // n + (i < episodes % n) for i in range(n)], np.int64)


def _play(
    agent: Agent,
    environment: EnvironmentSpec,
    quotas: np.ndarray,
    seed: int,
    should_stop: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Play each environment's quota; returns, lengths and the mean measures."""
    num_envs = len(quotas)
    rng = generator(seed)
    returns = np.zeros((quotas.max(), num_envs))
    lengths = np.zeros((quotas.max(), num_envs), dtype=np.int64)
    played = np.zeros(num_envs, dtype=np.int64)
    indices = np.arange(num_envs)
    env = environment.make_vector(num_envs, training=False)
    measured: dict[str, list[float]] = {name: [] for name in env.metadata.get("measures", ())}
    try:
        transitions = Transitions(env)
        observations = transitions.reset(seed)
        while (played < quotas).any():
            if should_stop():
                raise Stopped
            actions = agent.act(
                observations, transitions.action_masks, transitions.episode_starts, rng
            )
            step = transitions.step(actions)
            observations = step.next_observations
            # Environments that finished their quota keep stepping; their rewards are ignored.
            playing = played < quotas
            counted = indices[step.valid & playing]
            returns[played[counted], counted] += step.rewards[counted]
            lengths[played[counted], counted] += 1
            if lengths.max() > STEP_LIMIT:
                raise FathomError(
                    f"an episode of {environment.reference} has not ended after {STEP_LIMIT:,} steps;"
                    " give it a time limit, for example --env.max_episode_steps 1000"
                )
            ended = step.valid & playing & (step.terminated | step.truncated)
            played += ended
            for name, values in measured.items():
                known = transitions.info.get(f"_{name}", np.zeros(num_envs, bool))
                for i in np.flatnonzero(ended & known):
                    entry = transitions.info[name]
                    value = entry if isinstance(entry, dict) else entry[i]
                    if not isinstance(value, (Real, np.bool_)) or not math.isfinite(value):
                        raise FathomError(
                            f"{environment.reference} gives {value!r} as info[{name!r}], and a"
                            " measure must be a finite number"
                        )
                    values.append(float(value))
    except BrokenEnvironmentError as error:
        raise FathomError(
            f"{environment.reference} is broken, in an evaluation: {error}"
        ) from error
    finally:
        env.close()
    means = {name: float(np.mean(values)) for name, values in measured.items() if values}
    real = np.arange(len(returns))[:, None] < quotas
    return returns[real], lengths[real], means
