"""Curves of any length in bounded memory: minimum, mean and maximum of neighbouring reports.

Neighbouring reports share a bucket. Where there are more than `MOST_BUCKETS` buckets, each takes its neighbour in,
so that what is kept covers the whole run evenly, however long it goes on, and no peak is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

MOST_BUCKETS = 1000
"""With a minimum and a maximum each, 2,000 points are drawn."""
AXES = "steps", "seconds", "episodes"
"""What a curve can be drawn over: steps, seconds of training, and episodes."""
_NOT_DRAWN = {"segment", "steps", "seconds"}
_MOST_NAMES = 256
_BATCH = 4096


class ThinnedCurves:
    """The reports of a run, a curve for each of their values.

    Episodes are not reported, so they are counted from the steps and the mean length of episodes.
    """

    def __init__(self) -> None:
        self.width = 1
        """Reports in a bucket."""
        self.reports = 0
        self._axes = np.zeros((3, MOST_BUCKETS))
        self._kept: dict[str, np.ndarray] = {}
        self._last = np.zeros(3)

    @property
    def names(self) -> list[str]:
        """The values that were reported."""
        return list(self._kept)

    @property
    def buckets(self) -> int:
        """Buckets that have a report."""
        return -(-self.reports // self.width)

    def extend(self, reports: Iterable[Mapping[str, Any]]) -> None:
        """Take lines of `metrics.jsonl` in."""
        remaining = iter(reports)
        while batch := list(islice(remaining, _BATCH)):
            self._extend(batch)

    def _extend(self, batch: Sequence[Mapping[str, Any]]) -> None:
        while self.reports + len(batch) > MOST_BUCKETS * self.width:
            self._merge()
        buckets = (self.reports + np.arange(len(batch))) // self.width
        columns = {name: _column(batch, name) for name in dict.fromkeys(chain(*batch))}
        nothing = np.zeros(len(batch))
        steps, seconds = columns.get("steps", nothing), columns.get("seconds", nothing)
        length = columns.get("episode_length", nothing)
        done = np.maximum(np.diff(steps, prepend=self._last[0]), 0)
        known = length > 0  # False where it is NaN
        episodes = self._last[2] + np.cumsum(np.divide(done, length, out=nothing, where=known))
        axes = np.stack([steps, seconds, episodes])
        self._axes[:, buckets] = axes  # of a bucket's reports the last stays
        self._last = axes[:, -1]
        for name, values in columns.items():
            if name in _NOT_DRAWN or (name not in self._kept and len(self._kept) == _MOST_NAMES):
                continue
            kept = self._kept.setdefault(name, _empty(MOST_BUCKETS))
            there = np.isfinite(values)
            at, values = buckets[there], values[there]
            np.minimum.at(kept[0], at, values)
            np.maximum.at(kept[1], at, values)
            np.add.at(kept[2], at, values)
            np.add.at(kept[3], at, 1)
        self.reports += len(batch)

    def axis(self, name: str) -> np.ndarray:
        """Where the buckets end on one of `AXES`, (buckets,)."""
        return self._axes[AXES.index(name), : self.buckets]

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Minimum, mean and maximum in each bucket, (buckets,) each; NaN where nothing was reported."""
        kept = self._kept.get(name)
        if kept is None:
            kept = _empty(self.buckets)
        low, high, total, count = kept[:, : self.buckets]
        there = count > 0
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=there)
        return np.where(there, low, np.nan), mean, np.where(there, high, np.nan)

    def _merge(self) -> None:
        """Let each pair of buckets be one."""
        half, used = MOST_BUCKETS // 2, self.buckets
        last = np.minimum(np.arange(1, MOST_BUCKETS, 2), max(used - 1, 0))
        self._axes[:, :half] = self._axes[:, last]
        for kept in self._kept.values():
            left, right = kept[:, ::2].copy(), kept[:, 1::2].copy()
            kept[0, :half] = np.minimum(left[0], right[0])
            kept[1, :half] = np.maximum(left[1], right[1])
            kept[2:, :half] = left[2:] + right[2:]
            kept[:, half:] = _empty(half)
        self.width *= 2


def _column(batch: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """What the reports say of a value, NaN where they say nothing."""
    values = [report.get(name, math.nan) for report in batch]
    try:
        return np.array(values, np.float64)
    except OverflowError:  # a whole number of hundreds of digits
        return np.array([v if abs(v) < 1e300 else math.nan for v in values], np.float64)


def _empty(buckets: int) -> np.ndarray:
    """Minimum, maximum, sum and count of buckets without values, (4, buckets)."""
    columns = np.zeros((4, buckets))
    columns[0], columns[1] = np.inf, -np.inf
    return columns


def joined(axis: np.ndarray, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve that have a value, in rising order of the axis; of equal ones the last stays."""
    there = np.isfinite(curve) & np.isfinite(axis)
    axis, curve = axis[there], curve[there]
    if not len(axis):
        return axis, curve
    order = np.argsort(axis, kind="stable")
    axis, curve = axis[order], curve[order]
    last = np.append(axis[1:] != axis[:-1], True)
    return axis[last], curve[last]


def smoothed(curve: np.ndarray, share: float) -> np.ndarray:
    """Exponential moving average; the start is weighted as in Adam (Kingma & Ba 2015), not drawn towards 0.

    Args:
        curve: (n,), without NaN.
        share: weight of the past, 0 (none) to 1.
    """
    if not 0 < share < 1:
        return curve
    out, mean, weight = np.empty(len(curve)), 0.0, 0.0
    for index, value in enumerate(curve):
        mean = share * mean + (1 - share) * value
        weight = share * weight + (1 - share)
        out[index] = mean / weight
    return out
