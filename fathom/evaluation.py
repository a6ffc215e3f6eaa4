"""Scores: episodes with fixed seeds that training never saw, and what can be said of them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from agents.agent import Agent, generator
from envs.vector import BrokenEnvironmentError, Transitions
from fathom.environments.spec import EnvironmentSpec
from fathom.errors import FathomError

MAX_ENVS = 16
"""At most so many environments side by side."""

STEP_LIMIT = 200_000
"""An episode longer than this is taken for one that never ends."""


def evaluate(agent: Agent, world: EnvironmentSpec, episodes: int, seed: int) -> dict[str, Any]:
    """Play `episodes` episodes and return the score with its protocol, ready for JSON.

    Every environment plays the same number of episodes, so that short ones are not
    over-represented. The same seed gives the same result.

    A world can name further measures in its `metadata["measures"]`: entries of `info` at an
    episode's end, of which the mean is given over the episodes that have them.
    """
    if episodes < 1:
        raise FathomError("an evaluation needs at least one episode")
    num_envs = environments_for(episodes)
    returns, lengths, measures = _play(agent, world, num_envs, episodes // num_envs, seed)
    return {
        "mean": float(returns.mean()),
        "interval": list(interval(returns)),
        "std": float(returns.std(ddof=1)) if episodes > 1 else 0.0,
        "episodes": episodes,
        "returns": returns.tolist(),
        "lengths": lengths.tolist(),
        "measures": measures,
        "environments": num_envs,
        "seed": seed,
        "protocol": world.describe(),
    }


def environments_for(episodes: int) -> int:
    """Return how many environments play: the most that share the episodes out evenly."""
    return next(n for n in range(min(MAX_ENVS, episodes), 0, -1) if episodes % n == 0)


def interval(returns: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean, always drawn with the same seed."""
    rng = np.random.default_rng(0)
    n = len(returns)
    means = np.array([returns[rng.integers(0, n, n)].mean() for _ in range(resamples)])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _play(
    agent: Agent, world: EnvironmentSpec, num_envs: int, share: int, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Play `share` episodes in each environment; returns, lengths and the mean measures."""
    rng = generator(seed)
    returns = np.zeros((share, num_envs))
    lengths = np.zeros((share, num_envs), dtype=np.int64)
    played = np.zeros(num_envs, dtype=np.int64)
    everyone = np.arange(num_envs)
    env = world.make_vector(num_envs, training=False)
    measured: dict[str, list[float]] = {name: [] for name in env.metadata.get("measures", ())}
    try:
        transitions = Transitions(env)
        observations = transitions.reset(seed)
        while (played < share).any():
            actions = agent.act(
                observations, transitions.action_masks, transitions.episode_starts, rng
            )
            step = transitions.step(actions)
            observations = step.next_observations
            # Who has played its share is stepped on, but no longer counted.
            counted = everyone[step.valid & (played < share)]
            returns[played[counted], counted] += step.rewards[counted]
            lengths[played[counted], counted] += 1
            if lengths.max() > STEP_LIMIT:
                raise FathomError(
                    f"an episode of {world.reference} has not ended after {STEP_LIMIT:,} steps;"
                    " give it a time limit, for example --env.max_episode_steps 1000"
                )
            ended = step.valid & (played < share) & (step.terminated | step.truncated)
            played += ended
            for name, values in measured.items():
                known = transitions.info.get(f"_{name}", np.zeros(num_envs, bool))
                for i in np.flatnonzero(ended & known):
                    result = transitions.info[name]
                    value = result if isinstance(result, dict) else result[i]
                    if not isinstance(value, (Real, np.bool_)) or not math.isfinite(value):
                        raise FathomError(
                            f"{world.reference} gives {value!r} as info[{name!r}], and a measure"
                            " must be a finite number"
                        )
                    values.append(float(value))
    except BrokenEnvironmentError as error:
        raise FathomError(f"{world.reference} is broken, in an evaluation: {error}") from error
    finally:
        env.close()
    means = {name: float(np.mean(values)) for name, values in measured.items() if values}
    return returns.ravel(), lengths.ravel(), means
