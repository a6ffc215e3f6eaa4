"""Statistics: intervals and ratings."""

from __future__ import annotations

import math

_Z95 = 1.959964
"""Standard deviations on either side that hold 95 % of a normal distribution."""


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson (1927), which holds for few trials too.

    Args:
        successes: may have halves, as for draws.
    """
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, _Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    spread *= _Z95 / (1 + z2 / trials)
    return max(0.0, middle - spread), min(1.0, middle + spread)


def elo_difference(share: float) -> float:
    """Return the difference in strength for a share of the points (Elo 1978); ±∞ for all or none."""
    if not 0 < share < 1:
        return math.copysign(math.inf, share - 0.5)
    return 400 * math.log10(share / (1 - share))
