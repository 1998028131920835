"""Broken dependence between features whose own distributions stand still: a join gone wrong.

The largest difference of normal-score correlations in Fisher's z over all pairs,
Bonferroni-corrected over the pairs that the sample can judge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.statistics.effect import Effect
from trimtab.monitor.statistics.overdispersion import squared_normal_sf
from trimtab.monitor.statistics.tails import normal_isf

Floats = NDArray[np.float64]


def p_value(z: float, pairs: int, phi: float = 1.0, chunks: int = 0) -> float:
    """P(the largest of `pairs` standardised differences is this far from 0), at most 1."""
    return min(1.0, pairs * squared_normal_sf(z * z, phi, chunks))


def difference(
    window: float, rows: int, reference: float, total: float, variance: float, level: float = 0.95
) -> Effect:
    """The window's correlation less the reference's, Zou's interval from both Fisher intervals
    (2007).

    `variance` is n times the variance of Fisher's z (`Pairs.variance`).
    """
    z = normal_isf((1 - level) / 2)
    r_lo, r_hi = _interval(window, z * math.sqrt(variance / rows))
    q_lo, q_hi = _interval(reference, z * math.sqrt(variance / total))
    step = window - reference
    return Effect(
        step,
        step - math.hypot(window - r_lo, q_hi - reference),
        step + math.hypot(r_hi - window, reference - q_lo),
    )


def culprits(z: Floats, limit: float) -> list[tuple[int, int]]:
    """Features that explain all pairs with |z| over `limit`, worst first, each with its worst pair.

    Greedy cover: the feature with the largest sum of squares over such pairs, then the next among
    the pairs that are left.
    """
    left = np.where(np.abs(z) > limit, z**2, 0.0)
    found: list[tuple[int, int]] = []
    while left.any():
        worst = int(left.sum(axis=0).argmax())
        found.append((worst, int(left[worst].argmax())))
        left[worst, :] = left[:, worst] = 0.0
    return found


def _interval(r: float, half: float) -> tuple[float, float]:
    z = math.atanh(r)
    return math.tanh(z - half), math.tanh(z + half)
