"""Intervals of scores and strengths, all in one place.

Confidence intervals are at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

LEVEL = 0.95


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], float] | None = None
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron 1979), always drawn with the same seed.

    Args:
        values: (n,) or (n, k), a row for each episode or example; rows are resampled.
        statistic: of such rows; the mean if not given.

    Returns:
        Lower and upper end; both are the statistic itself where there is one row.
    """
    from scipy.stats import bootstrap  # takes most of a second to import

    values = np.asarray(values)
    if len(values) < 2 or (values == values[0]).all():
        point = float(values.mean()) if statistic is None else float(statistic(values))
        return point, point
    options = {"confidence_level": LEVEL, "method": "percentile", "rng": np.random.default_rng(0)}
    if statistic is None:
        batch = max(1, 5_000_000 // len(values))  # 40 MB at a time
        result = bootstrap((values,), np.mean, n_resamples=10_000, batch=batch, **options)
    else:

        def of_rows(rows: np.ndarray) -> float:
            return statistic(values[rows])

        rows = np.arange(len(values))
        result = bootstrap((rows,), of_rows, vectorized=False, n_resamples=1_000, **options)
    interval = result.confidence_interval
    return float(interval.low), float(interval.high)


def student_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's interval of the mean (Student 1908), for few values, such as one for each seed.

    Args:
        values: (n,); of a single one nothing is known, and both ends are the value itself.
    """
    low, high = student_intervals(np.asarray(values)[:, None])
    return float(low[0]), float(high[0])


def student_intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`student_interval` of each column of values (n, k); two arrays (k,)."""
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    mean, count = values.mean(0), len(values)
    if count < 2:
        return mean, mean
    half = t.ppf((1 + LEVEL) / 2, count - 1) * values.std(0, ddof=1) / math.sqrt(count)
    return mean - half, mean + half


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half of all values, the measure of Agarwal et al. 2021 for few runs: neither a lucky nor an
    unlucky one decides it. A quarter of the values, rounded down, is left out at each end."""
    from scipy.stats import trim_mean

    return float(trim_mean(np.asarray(values, np.float64), 0.25, axis=None))


def wilson_interval(wins: float, games: int) -> tuple[float, float]:
    """Interval of a win rate (Wilson 1927), which holds for few games and for rates near 0 and 1.

    Args:
        wins: games won; a draw counts half.
        games: games played; without any, nothing is known and the interval is (0, 1).
    """
    if not games:
        return 0.0, 1.0
    z = 1.959964
    share, spread = wins / games, z * z / games
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / games + spread / (4 * games)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def elo_difference(share: float) -> float:
    """Difference in Elo rating that gives this expected share of points (Elo 1978, section 1.5).

    Infinite at 0 and 1.
    """
    if share <= 0:
        return -math.inf
    return math.inf if share >= 1 else 400 * math.log10(share / (1 - share))


def stratified_interval(
    groups: Sequence[np.ndarray], statistic: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """Stratified bootstrap interval of a statistic over groups (Agarwal et al. 2021), always drawn with the same seed.

    Args:
        groups: values of each group, such as the seeds of a game; they are resampled within their group.
        statistic: of all values together.

    Returns:
        Lower and upper end; both are the statistic itself where no group has two values.
    """
    if all(len(group) < 2 for group in groups):
        point = statistic(np.concatenate(groups))
        return point, point
    rng = np.random.default_rng(0)
    drawn = [
        statistic(np.concatenate([rng.choice(group, len(group)) for group in groups]))
        for _ in range(2_000)
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
