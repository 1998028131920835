"""Corrects a p-value for ordinary variation between days, as the reference's chunks showed it.

A statistic that behaves like phi times one squared normal, phi estimated from M chunks, follows
phi times F(1, M); with no chunks rows count as independent.
"""

from __future__ import annotations

import math

from trimtab.monitor.tails import f_sf, normal_isf


def factor(phi: float, chunk_rows: float, window_rows: float, clusters: float = 1.0) -> float:
    """Phi at windows of `window_rows` when it was measured at chunks of `chunk_rows`.

    `clusters` is what rows that come in bursts add at any size. A random effect per window adds a
    variance that does not shrink with its rows, so the rest of phi grows in proportion to them. It
    does not fall in smaller windows: unknown bursts would not either.
    """
    if chunk_rows <= 0:
        return clusters
    return clusters + max(phi - clusters, 0.0) * max(window_rows / chunk_rows, 1.0)


def squared_normal_sf(x: float, phi: float, chunks: int) -> float:
    """P(statistic > x) for one squared normal scaled by phi."""
    if chunks == 0:
        return math.erfc(math.sqrt(max(x, 0.0) / 2))
    return f_sf(x / phi, 1, chunks)


def corrected(p: float, phi: float, chunks: int) -> float:
    """A two-sided p-value of independent rows, corrected through its equivalent squared normal."""
    if chunks == 0 or p >= 1:
        return min(p, 1.0)
    z = normal_isf(p / 2) if p > 0 else math.inf
    return squared_normal_sf(z * z, phi, chunks) if math.isfinite(z) else 0.0
