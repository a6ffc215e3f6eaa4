"""Curves of any length are drawn from bounded memory, and lose no peak."""

import numpy as np
import pytest

from fathom.runs.thinning import MOST_BUCKETS, ThinnedCurves, joined, smoothed


def reports(values, first=0):
    return [
        {"segment": 0, "steps": 10 * (first + k + 1), "seconds": 0.5 * (first + k), "loss": value}
        for k, value in enumerate(values)
    ]


def test_few_reports_stay_as_they_are():
    curves = ThinnedCurves()
    curves.extend(reports([3.0, 1.0, 2.0]))
    assert curves.names == ["loss"]
    assert curves.axis("steps").tolist() == [10, 20, 30]
    for part in curves.curve("loss"):
        assert part.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("batches", [[123_457], [1, 999, 1, 5_000, 77, 17_000]])
def test_every_bucket_holds_minimum_mean_and_maximum_of_its_reports(batches):
    values = np.random.default_rng(0).normal(size=sum(batches))
    curves, first = ThinnedCurves(), 0
    for count in batches:
        curves.extend(reports(values[first : first + count], first))
        first += count
    assert curves.buckets <= MOST_BUCKETS
    low, mean, high = curves.curve("loss")
    edges = np.arange(0, len(values), curves.width)
    assert low == pytest.approx(np.minimum.reduceat(values, edges))
    assert high == pytest.approx(np.maximum.reduceat(values, edges))
    counts = np.diff([*edges, len(values)])
    assert mean == pytest.approx(np.add.reduceat(values, edges) / counts)
    assert curves.axis("steps").tolist() == [*(10 * edges[1:]), 10 * len(values)]


def test_a_value_may_be_missing_and_need_not_be_finite():
    curves = ThinnedCurves()
    curves.extend([{"steps": 1}, {"steps": 2, "q": 5.0}, {"steps": 3, "q": float("inf")}])
    assert np.isnan(curves.curve("q")[1]).tolist() == [True, False, True]
    assert np.isnan(curves.curve("unknown")[1]).all()


def test_episodes_are_counted_from_steps_and_their_mean_length():
    curves = ThinnedCurves()
    curves.extend([{"steps": 100, "episode_length": 10.0}, {"steps": 200}])
    curves.extend([{"steps": 300, "episode_length": 50.0}])
    assert curves.axis("episodes").tolist() == [10, 10, 12]


def test_points_are_in_order_and_one_for_each_place():
    axis, curve = joined(np.array([3.0, 1, 1, 2]), np.array([1.0, 2, 3, np.nan]))
    assert (axis.tolist(), curve.tolist()) == ([1, 3], [3, 1])


def test_smoothing_starts_at_the_first_value_and_follows_a_constant_exactly():
    assert smoothed(np.full(5, 7.0), 0.9) == pytest.approx(np.full(5, 7.0))
    # by hand: weights 0.5 · 0.5 and 0.5 of 0.75 in all
    assert smoothed(np.array([0.0, 3.0]), 0.5) == pytest.approx([0.0, 2.0])
    assert smoothed(np.array([0.0, 3.0]), 0).tolist() == [0, 3]
