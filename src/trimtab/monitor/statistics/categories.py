"""The two-sample chi-square test of a category's levels, light levels pooled.

Both samples are random: a test that takes the reference's shares as the truth alarms without cause.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.statistics.tails import chi2_sf, f_sf
from trimtab.profile.cells import CategoryCells
from trimtab.profile.distance import pearson, pool

LEAST_EXPECTED: Final = 20.0


class ChiSquare(NamedTuple):
    """A chi-square statistic, its degrees of freedom and p-value."""

    statistic: float
    freedom: int
    p: float


def comparable(
    cells: CategoryCells, window: NDArray[Any], reference: NDArray[Any]
) -> NDArray[np.int64]:
    """The codes of levels whose shares in both samples (counts by code) compare fairly.

    Levels were listed because they turned up in the reference, so a sum over listed levels is too
    high there and falls in any other sample. Choosing by the count in both samples together does not
    favour either (given it, the split is hypergeometric); what is left is to choose only levels that
    were bound to be listed: 5 standard deviations above the rarest listed one.
    """
    k = len(cells.levels)
    n, total = float(window[: k + 2].sum()), float(reference[: k + 2].sum())
    if k == 0 or n == 0 or total == 0:
        return np.empty(0, dtype=np.int64)
    both = (window[:k] + reference[:k]).astype(np.float64)
    expected = both * total / (n + total)
    cut_short = reference[k] > 0 or not cells.complete
    rarest = float(reference[:k].min()) if cut_short else 1.0
    bound = expected - 5 * np.sqrt(expected * n / (n + total)) >= rarest
    common = both * min(n, total) / (n + total) >= LEAST_EXPECTED
    return np.flatnonzero(bound & common).astype(np.int64)


def with_rest(
    cells: CategoryCells, counts: NDArray[Any], codes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The counts of the levels `codes`, then of all other text together (codes x 1, or a stack)."""
    valued = counts[..., : len(cells.levels) + 2].sum(axis=-1, keepdims=True)
    own = counts[..., codes]
    rest = valued - own.sum(axis=-1, keepdims=True)
    result: NDArray[np.int64] = np.concatenate([own, rest], axis=-1)
    return result


def grouped(window: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both counts with the cells pooled in which the window expects under 10 rows."""
    pooled = (window + reference).astype(np.float64)
    smaller = min(float(window.sum()), float(reference.sum()))
    groups = pool(pooled * (smaller / max(pooled.sum(), 1.0)), LEAST_EXPECTED)
    return np.bincount(groups, window), np.bincount(groups, reference)


def chi_square(
    window: NDArray[Any], reference: NDArray[Any], phi: float = 1.0, chunks: int = 0
) -> ChiSquare:
    """The test of equal level shares; p = 1 where a single cell is left.

    With `phi` from `chunks` chunks the statistic over freedom and phi is F(freedom, chunks) (Rao and
    Scott 1981).
    """
    if window.sum() == 0 or reference.sum() == 0:
        return ChiSquare(0.0, 0, 1.0)
    a, b = grouped(window, reference)
    freedom = len(a) - 1
    if freedom < 1:
        return ChiSquare(0.0, 0, 1.0)
    statistic = float(pearson(a, b)[0])
    if chunks == 0:
        return ChiSquare(statistic, freedom, chi2_sf(statistic, freedom))
    return ChiSquare(statistic, freedom, f_sf(statistic / (freedom * phi), freedom, chunks))
