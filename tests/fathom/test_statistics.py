"""Intervals and ratings, against values worked out by hand."""

import math

import pytest

from fathom.statistics import elo_difference, wilson_interval


def test_wilson_s_interval_is_the_textbook_s() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_elo_is_four_hundred_for_ten_to_one() -> None:
    assert elo_difference(10 / 11) == pytest.approx(400)
    assert elo_difference(0.5) == 0
    assert elo_difference(1) == math.inf
    assert elo_difference(0) == -math.inf
