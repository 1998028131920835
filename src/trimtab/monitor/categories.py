"""The two-sample chi-square test of a category's levels, light levels pooled.

Both samples are random: a test that takes the reference's shares as the truth alarms without cause.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.overdispersion import corrected
from trimtab.monitor.tails import chi2_sf
from trimtab.profile.distance import pearson, pool

LEAST_EXPECTED: Final = 10.0


class ChiSquare(NamedTuple):
    """A chi-square statistic, its degrees of freedom and p-value."""

    statistic: float
    freedom: int
    p: float


def listed(reference: NDArray[Any]) -> NDArray[np.int64]:
    """The codes of levels that hold at least 10 reference rows.

    Rarer levels were listed because they happened to turn up, so their sum is too high in the
    reference and falls in any other sample; they count as rest.
    """
    return np.flatnonzero(reference >= LEAST_EXPECTED).astype(np.int64)


def grouped(window: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both counts with the cells pooled in which the window expects under 10 rows."""
    pooled = (window + reference).astype(np.float64)
    smaller = min(float(window.sum()), float(reference.sum()))
    groups = pool(pooled * (smaller / max(pooled.sum(), 1.0)), LEAST_EXPECTED)
    return np.bincount(groups, window), np.bincount(groups, reference)


def chi_square(
    window: NDArray[Any], reference: NDArray[Any], phi: float = 1.0, chunks: int = 0
) -> ChiSquare:
    """The test of equal level shares; p = 1 where a single cell is left."""
    if window.sum() == 0 or reference.sum() == 0:
        return ChiSquare(0.0, 0, 1.0)
    a, b = grouped(window, reference)
    freedom = len(a) - 1
    if freedom < 1:
        return ChiSquare(0.0, 0, 1.0)
    statistic = float(pearson(a, b)[0])
    return ChiSquare(statistic, freedom, corrected(chi2_sf(statistic, freedom), phi, chunks))
