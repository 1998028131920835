"""Fixed scales that need no reference: latency in quarter octaves, confidence in hundredths.

A table's columns `__latency__` (microseconds) and `__confidence__` (probability of the decision)
are counted on them, so that quantiles of any sum of windows follow from the counts.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LATENCY: Final = "__latency__"
CONFIDENCE: Final = "__confidence__"
SCALES: Final = (LATENCY, CONFIDENCE)
STEPS: Final = 4
OCTAVES: Final = 32
LATENCY_CELLS: Final = STEPS * OCTAVES + 2
"""Below 1 us, quarter octaves from 2^(i/4) up to 2^32 us (72 minutes), and from there on."""
HUNDREDTHS: Final = 100
CONFIDENCE_CELLS: Final = HUNDREDTHS + 1
"""[0, .01) to [.99, 1], and everything that is no probability."""

_EDGES: Final = np.array([2 ** (i / STEPS) for i in range(STEPS * OCTAVES + 1)])


def latency(values: NDArray[Any]) -> NDArray[np.int64]:
    """Counts (`LATENCY_CELLS`) of times in microseconds; those under 1 and NaN are in the first."""
    found = np.asarray(values, dtype=np.float64)
    codes = np.searchsorted(_EDGES, np.where(np.isnan(found), 0.0, found), side="right")
    return np.bincount(codes, minlength=LATENCY_CELLS).astype(np.int64)


def confidence(values: NDArray[Any]) -> NDArray[np.int64]:
    """Counts (`CONFIDENCE_CELLS`) of probabilities."""
    found = np.asarray(values, dtype=np.float64)
    fine = (found >= 0) & (found <= 1)
    cells = np.minimum(found[fine] * HUNDREDTHS, HUNDREDTHS - 1).astype(np.int64)
    counts = np.bincount(cells, minlength=CONFIDENCE_CELLS).astype(np.int64)
    counts[-1] = len(found) - int(fine.sum())
    return counts


def latency_quantile(counts: NDArray[np.int64], share: float) -> float:
    """The upper end of the cell that holds a quantile of latency, at most 19 % above it; in us.

    NaN where nothing was counted, infinity beyond 72 minutes.
    """
    total = int(counts.sum()) if counts.size else 0
    if total == 0:
        return math.nan
    # the smallest time that at least this share of the requests did not exceed
    rank = max(1, math.ceil(share * total))
    cell = int(np.searchsorted(np.cumsum(counts), rank))
    return float(_EDGES[cell]) if cell < len(_EDGES) else math.inf
