"""Dependence between features: correlations of normal scores and how far they scatter by chance.

Sampling spread is taken from the reference's own fourth moments, because normal theory is wrong for
skewed, discrete or heteroscedastic pairs. Whether a change is alarming is judged elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.profile.bins import Bins
from trimtab.profile.coder import coder
from trimtab.profile.columns import Columns, row_count, take
from trimtab.profile.derived import expand
from trimtab.profile.distance import correlations

Floats = NDArray[np.float64]

_SAMPLE: Final = 100_000
_LEAST_VARIANCE: Final = 0.25
KURTOSIS_ROWS: Final = 40
"""Rows per unit of kurtosis from which the normal tail is trusted far out."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Per pair (d x d): `variance` is n times the variance of Fisher's z of the correlation, 1 for
    normal pairs; `kurtosis` is that of the product of both scores, 9 for independent normal pairs.
    """

    variance: Floats
    kurtosis: Floats


def correlation(
    bins: Bins,
    counts: NDArray[Any],
    moments: NDArray[Any],
    rows: NDArray[Any],
) -> Floats:
    """Normal-score correlations of the paired features for a stack of profiles (k x d x d).

    `counts` (k x `Bins.size`), `moments` (k x d x d) and `rows` (k) are the profiles'; a profile of
    no rows has zeros.
    """
    paired = bins.features[: bins.paired]
    scores = np.concatenate([np.array(cells.scores, dtype=np.float64) for cells in paired])
    starts = np.cumsum([0, *(cells.size for cells in paired)])[:-1]
    own = counts[:, : len(scores)]
    sums = np.add.reduceat(own * scores, starts, axis=1)
    squares = np.add.reduceat(own * scores**2, starts, axis=1)
    return np.stack(
        [
            correlations(m.astype(np.float64), s, q, max(n, 1))
            for m, s, q, n in zip(moments, sums, squares, rows.tolist(), strict=True)
        ]
    )


def fit_pairs(bins: Bins, columns: Columns) -> Pairs:
    """The scatter of correlations, from at most 100,000 evenly taken rows of the reference.

    The influence of a row with standardised scores a, b on a correlation r is
    a*b - r*(a^2 + b^2)/2; dividing its variance by (1 - r^2)^2 carries it to Fisher's z.
    """
    wide = [one.column for one in bins.derived]
    table = {name: columns[name] for name in bins.needed}
    every = slice(None, None, -(-row_count(table, wide) // _SAMPLE))
    values = expand(bins.derived, take(table, table, every))
    a = np.stack(
        [
            np.array(cells.scores, dtype=np.float64)[coder(cells)(values[cells.name])]
            for cells in bins.features[: bins.paired]
        ],
        axis=1,
    )
    rows = len(a)
    spread = a.std(axis=0)
    a = (a - a.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    r = np.clip(a.T @ a / rows, -0.9995, 0.9995)
    two, three = a**2, a**3
    cross, cubic = two.T @ two / rows, three.T @ a / rows
    fourth = np.diag(cross)
    influence = cross - r * (cubic + cubic.T)
    influence += r**2 / 4 * (fourth[:, None] + 2 * cross + fourth[None, :])
    eighth = (a**4).T @ (a**4) / rows
    live = np.outer(spread > 0, spread > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = np.where(live & (cross > 0), eighth / cross**2, np.inf)
    # two rare flags may never have met in the reference: independence says how heavy they are
    kurtosis = np.maximum(kurtosis, np.outer(fourth, fourth))
    variance = np.maximum(influence / (1 - r**2) ** 2, _LEAST_VARIANCE)
    return Pairs(variance, kurtosis)


def z_scores(pairs: Pairs, window: Floats, rows: int, reference: Floats, total: float) -> Floats:
    """Standardised differences of two correlation matrices in Fisher's z; 0 where not to be
    trusted.

    A pair counts only from 40 rows per unit of kurtosis on: below, a handful of rare coincidences
    would look like a changed correlation.
    """
    step = np.arctanh(window) - np.arctanh(reference)
    z = step / np.sqrt(pairs.variance * (1 / max(rows, 1) + 1 / max(total, 1)))
    z[rows < KURTOSIS_ROWS * pairs.kurtosis] = 0.0
    np.fill_diagonal(z, 0.0)
    result: Floats = z
    return result
