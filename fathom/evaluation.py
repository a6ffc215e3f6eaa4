"""Scores: episodes with fixed seeds that training never sees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from agents.agent import Agent, attach, generator
from envs.vector import BrokenEnvironmentError, Transitions
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError, Stopped
from fathom.statistics import bootstrap_interval

MAX_ENVS = 16
"""Environments that play side by side, at most, unless more are asked for."""

STEP_LIMIT = 10_000
"""An episode is cut after so many agent steps, unless the environment's own time limit is longer."""

EVALUATION_SEED = 1 << 30
"""Seeds from here on are for evaluation; those of training all lie below."""


Report = Callable[[int, int], None]
"""Told how many episodes or examples are done, and of how many."""


def ignore(done: int, total: int) -> None:
    """A report to nobody."""


def evaluation_seed(index: int = 0) -> int:
    """Seed of the set number `index` of evaluation episodes; a run's own evaluations use set 0."""
    if not 0 <= index < 10_000:
        raise FathomError(f"an evaluation seed lies between 0 and 9,999, not {index}")
    return EVALUATION_SEED + index * 100_000


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
    cut: int | None = None
    """Episodes that did not end and were cut, if any were; their returns are those up to there."""
    table: list[list[Any]] = field(default_factory=list)
    """Details, such as a row for each class; the first row is the head."""

    @property
    def warning(self) -> str:
        """A sentence about episodes that were cut; empty without any."""
        if not self.cut:
            return ""
        return (
            f"{self.cut} of {self.count} evaluation episodes had not ended after {max(self.lengths):,} steps"
            " and were cut; a time limit, for example --env.max_episode_steps 1000, ends them sooner"
        )

    def to_json(self) -> dict[str, Any]:
        """The result as `evaluations.jsonl` holds it, without what is empty."""
        content = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name not in ("count", "unit")
        }
        optional = ("score", "returns", "lengths", "std", "environments", "seed", "cut", "table")
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
    num_envs: int = MAX_ENVS,
    should_stop: Callable[[], bool] = lambda: False,
    report: Report = ignore,
) -> Result:
    """Play `episodes` episodes in at most `num_envs` environments side by side.

    Every environment plays a fixed number of episodes (of two environments these numbers differ by
    one at most), so that short episodes are not over-represented. The same seed gives the same result.

    An environment can name further measures in its `metadata["measures"]`: entries of `info` at an
    episode's end. Their means are over the episodes that have them.

    An episode that does not end is cut (see `STEP_LIMIT`), and its environment plays no more.

    Raises:
        FathomError: the environment is broken.
        Stopped: `should_stop` said so.
    """
    if episodes < 1:
        raise FathomError("an evaluation needs at least one episode")
    quotas = episode_quotas(episodes, num_envs)
    returns, lengths, measures, cut = _play(agent, environment, quotas, seed, should_stop, report)
    return Result(
        mean=float(returns.mean()),
        interval=bootstrap_interval(returns),
        count=len(returns),
        protocol=environment.describe(),
        measures=measures,
        returns=returns.tolist(),
        lengths=lengths.tolist(),
        std=float(returns.std(ddof=1)) if len(returns) > 1 else 0.0,
        environments=len(quotas),
        seed=seed,
        cut=cut or None,
    )


def episode_quotas(episodes: int, num_envs: int = MAX_ENVS) -> np.ndarray:
    """Number of episodes that each environment plays, (n,) int64, the larger ones first.

    Where at least half of `num_envs` environments can share the episodes out evenly they do; else all of
    them play, and the numbers differ by one.
    """
    most = min(num_envs, episodes)
    even = next(n for n in range(most, 0, -1) if episodes % n == 0)
    n = even if 2 * even >= most else most
    return np.array([episodes // n + (i < episodes % n) for i in range(n)], np.int64)


def _play(
    agent: Agent,
    environment: EnvironmentSpec,
    quotas: np.ndarray,
    seed: int,
    should_stop: Callable[[], bool],
    report: Report,
) -> tuple[np.ndarray, np.ndarray, dict[str, float], int]:
    """Play each environment's quota; returns, lengths, the mean measures, and how many were cut."""
    num_envs = len(quotas)
    limit, cut = max(STEP_LIMIT, environment.time_limit), 0
    rng = generator(seed)
    returns = np.zeros((quotas.max(), num_envs))
    lengths = np.zeros((quotas.max(), num_envs), dtype=np.int64)
    played = np.zeros(num_envs, dtype=np.int64)
    indices = np.arange(num_envs)
    env = environment.make_vector(num_envs, training=False)
    measured: dict[str, list[float]] = {name: [] for name in env.metadata.get("measures", ())}
    try:
        transitions = Transitions(env)
        attach(agent, env)
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
            ended = step.valid & playing & (step.terminated | step.truncated)
            if lengths.max() >= limit:
                long = lengths[np.minimum(played, quotas - 1), indices] >= limit
                endless = playing & long & ~ended
                cut += int(endless.sum())
                played[endless] += 1
                quotas = np.where(endless, played, quotas)  # an environment cannot be reset alone
            played += ended
            if ended.any():
                report(int(played.sum()), int(quotas.sum()))
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
    return returns[real], lengths[real], means, cut
