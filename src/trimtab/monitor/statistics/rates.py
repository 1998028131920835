"""Exact tests and intervals for shares: missing, mistyped, infinite, out of range, unseen, spikes.

Both the window's and the reference's share are random, so the test is Fisher's exact one; it is
right for a value that the reference never had, where every normal approximation fails.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from trimtab.monitor.statistics.effect import Effect
from trimtab.monitor.statistics.tails import normal_isf

_BLOCK: Final = 512


def more(k: int, n: int, base: int, total: int) -> float:
    """P(at least k of n window rows hit | k + base hits fall anywhere among n + total rows)."""
    return _tail(k, n, k + base, n + total)


def fewer(k: int, n: int, base: int, total: int) -> float:
    """P(at most k of n window rows hit | k + base hits fall anywhere among n + total rows)."""
    hits, rows = k + base, n + total
    # at most k of the hits in the window = at least as many misses there as now
    return _tail(n - k, n, rows - hits, rows)


def two_sided(k: int, n: int, base: int, total: int) -> float:
    """Twice the smaller tail, at most 1."""
    return min(1.0, 2 * min(more(k, n, base, total), fewer(k, n, base, total)))


def far_from(k: int, n: int, base: int, total: int, limit: float = 3.0) -> bool:
    """Whether two shares differ by over `limit` pooled standard errors.

    A cheap screen before an exact test: below 3 no exact tail is under 1e-4 (Chernoff's bound on
    the lighter side, convexity on the heavier).
    """
    pooled = (k + base) / (n + total)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / total))
    return spread > 0 and abs(k / n - base / total) > limit * spread


def wilson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share k/n (1927)."""
    if n <= 0:
        return 0.0, 1.0
    z = normal_isf((1 - level) / 2)
    share, add = k / n, z * z / n
    middle = (share + add / 2) / (1 + add)
    half = z * math.sqrt(share * (1 - share) / n + add / (4 * n)) / (1 + add)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(k: int, n: int, base: int, total: int, level: float = 0.95) -> Effect:
    """The window's share less the reference's, with Newcombe's hybrid score interval (1998)."""
    p, q = k / n, base / total
    p_lo, p_hi = wilson(k, n, level)
    q_lo, q_hi = wilson(base, total, level)
    return Effect(
        p - q,
        p - q - math.hypot(p - p_lo, q_hi - q),
        p - q + math.hypot(p_hi - p, q - q_lo),
    )


def _tail(k: int, draws: int, hits: int, rows: int) -> float:
    """P(X >= k), X hypergeometric: `draws` of `rows` rows, `hits` of which hit."""
    least, most = max(0, draws - (rows - hits)), min(draws, hits)
    if k <= least:
        return 1.0
    if k > most:
        return 0.0
    if k * rows > draws * hits:
        return _sum_up(k, draws, hits, rows, most)
    # below the mean the complement is the small sum: misses in place of hits, counted upwards
    return 1 - _sum_up(draws - k + 1, draws, rows - hits, rows, min(draws, rows - hits))


def _sum_up(k: int, draws: int, hits: int, rows: int, most: int) -> float:
    """P(X >= k) by adding probabilities upwards from k until they no longer count."""
    if k > most:
        return 0.0
    log_first = _choose(hits, k) + _choose(rows - hits, draws - k) - _choose(rows, draws)
    total = last = 1.0
    start = k
    while start < most:
        x = np.arange(start, min(start + _BLOCK, most), dtype=np.float64)
        ratio = (hits - x) * (draws - x) / ((x + 1) * (rows - hits - draws + x + 1))
        terms = last * np.cumprod(ratio)
        total += float(terms.sum())
        last = float(terms[-1])
        start += len(x)
        if ratio[-1] < 1 and last < 1e-17 * total:
            break
    return min(1.0, math.exp(log_first + math.log(total)))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
