"""Spends one error probability over looks without end, so that intervals hold for all of them.

An interval that is valid at one look turns into one that is valid at every look when look k has
level alpha_k and the alpha_k add up to alpha (union bound).
"""

from __future__ import annotations

import math

from trimtab.errors import UsageError


def level(alpha: float, look: int) -> float:
    """The error probability of look k = 1, 2, ...: alpha * 6 / (pi^2 k^2), which sums to alpha."""
    if look < 1 or not 0 < alpha < 1:
        raise UsageError(f"look {look} at level {alpha} cannot be", hint="looks count from 1")
    return alpha * 6 / (math.pi * look) ** 2


def confidence(alpha: float, look: int) -> float:
    """The coverage to ask of look k's fixed interval so that all looks hold with 1 - alpha."""
    return 1 - level(alpha, look)
