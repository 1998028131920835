"""Corrects a p-value for ordinary variation between days, as the reference's chunks showed it.

A statistic that behaves like phi times one squared normal, phi estimated from M chunks, follows
phi times F(1, M); with no chunks rows count as independent.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from trimtab.monitor.statistics.tails import f_sf, normal_isf


class Chunks(NamedTuple):
    """How many chunks, in degrees of freedom, and the mean of their rows."""

    number: int = 0
    rows: float = 0.0

    @property
    def upper(self) -> float:
        """By how much a factor from so many chunks may be too low, at 90 % (Wilson and Hilferty 1931)."""
        part = 2 / (9 * self.number)
        return float(max(1 - part - 1.2816 * math.sqrt(part), 0.1) ** -3)


def factor(
    phi: float,
    known: Chunks,
    window_rows: float,
    reference_rows: float,
    *,
    windows: int = 1,
    clusters: float = 1.0,
) -> float:
    """Phi of `windows` windows of `window_rows` rows each beside a reference of `reference_rows`,
    when `known` chunks showed `phi`.

    `clusters` is what rows that come in bursts add at any size. A random effect per window adds a
    variance t that does not shrink with its rows: k windows of r rows and a reference of N rows in
    chunks of m differ by t (1/k + m/N) where the rows themselves scatter by 1/(kr) + 1/N, and chunks
    say t = (phi - 1)/m. Beyond their size the upper end of phi's 90 % interval is taken: chance
    that few chunks show none would else be multiplied. It does not fall in smaller windows: unknown
    bursts would not either.
    """
    if known.number == 0:
        return clusters
    excess, ratio = max(phi - clusters, 0.0), window_rows / known.rows
    if ratio <= 1:
        return clusters + excess
    beside = reference_rows + windows * known.rows
    growth = ratio * beside / (reference_rows + windows * window_rows)
    surely = max(phi * known.upper - clusters, 0.0)
    return clusters + excess + surely * max(growth - 1, 0.0)


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
