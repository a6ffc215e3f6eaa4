"""Intervals and strengths."""

import math

import numpy as np
import pytest

from fathom.statistics import (
    bootstrap_interval,
    elo_difference,
    interquartile_mean,
    stratified_interval,
    student_interval,
    wilson_interval,
)


def test_the_bootstrap_of_a_mean_is_the_same_every_time_and_holds_it() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.2)


def test_the_bootstrap_of_a_ratio_resamples_whole_rows() -> None:
    rng = np.random.default_rng(0)
    there = rng.integers(1, 4, 300)
    right = rng.binomial(there, 0.8)
    rows = np.stack([right, there], axis=1)
    low, high = bootstrap_interval(rows, lambda r: float(r[:, 0].sum() / r[:, 1].sum()))
    assert low < right.sum() / there.sum() < high
    assert 0.03 < high - low < 0.1


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0, 2.0]])
def test_what_does_not_vary_has_an_interval_of_no_width(values: list[float]) -> None:
    assert bootstrap_interval(np.array(values)) == (values[0], values[0])


def test_student_against_the_table() -> None:
    # Standard deviation √2.5, 2.776 of it over √5 by the table of t for 4 degrees of freedom.
    low, high = student_interval(np.array([1, 2, 3, 4, 5]))
    assert (low, high) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)
    assert student_interval(np.array([7.0])) == (7.0, 7.0)


def test_wilson_against_values_worked_out_by_hand() -> None:
    # z² = 3.8415; for 8 of 10: middle (0.8 + 0.19207) / 1.38415, half 0.2266.
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == pytest.approx(1)


def test_elo_of_ten_to_one_is_four_hundred() -> None:
    assert elo_difference(10 / 11) == pytest.approx(400)
    assert elo_difference(0.5) == 0
    assert elo_difference(1.0) == math.inf
    assert elo_difference(0.0) == -math.inf


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    values = np.array([[-100.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 900.0]])
    assert interquartile_mean(values) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_a_stratified_interval_resamples_within_groups() -> None:
    # Between the groups lies a gap that no resampling within them can close.
    groups = [np.array([0.0, 2.0]), np.array([10.0, 12.0])]
    low, high = stratified_interval(groups, lambda values: float(values.mean()))
    assert (low, high) == (5.0, 7.0)
    assert stratified_interval([np.array([1.0]), np.array([3.0])], interquartile_mean) == (2.0, 2.0)
