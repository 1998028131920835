"""How far two count vectors lie apart: the statistics alone, no level and no verdict.

Shapes: a stack of windows (windows x cells) against one reference (cells); one value per window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Floats = NDArray[np.float64]


def anderson_darling(windows: Counts, reference: Counts) -> Floats:
    """The two-sample Anderson-Darling statistic A2 on ordered cells.

    nN/(n+N) times the integral of (F-G)^2/(H(1-H)) dH, cumulatives taken at the middle of each cell
    and H the pooled distribution (Scholz and Stephens, JASA 1987). Its limit law under equal
    distributions is the sum over j of chi2_1/(j(j+1)), mean 1. NaN where a side is empty.
    """
    window = np.atleast_2d(windows).astype(np.float64)
    base = reference.astype(np.float64)
    n, total = window.sum(axis=1, keepdims=True), base.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        f, g = window / n, base / total
        gap = np.cumsum(f, axis=1) - f / 2 - (np.cumsum(g) - g / 2)
        mass = (window + base) / (n + total)
        middle = np.cumsum(mass, axis=1) - mass / 2
        terms = np.where(mass > 0, mass * gap**2 / (middle * (1 - middle)), 0.0)
        result: Floats = (n * total / (n + total))[:, 0] * terms.sum(axis=1)
    return result


def pearson(windows: Counts, reference: Counts) -> Floats:
    """The two-sample chi-square statistic over cells, both samples random.

    The sum over cells and both rows of (count - expected)^2 / expected, expected from the pooled
    shares. Cells empty in both add nothing. NaN where a side is empty.
    """
    window = np.atleast_2d(windows).astype(np.float64)
    base = reference.astype(np.float64)
    n, total = window.sum(axis=1, keepdims=True), base.sum()
    pooled = window + base
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(pooled > 0, (window * total - base * n) ** 2 / pooled, 0.0)
        result: Floats = terms.sum(axis=1) / (n[:, 0] * total)
    return result


def pool(expected: Floats, least: float) -> NDArray[np.int64]:
    """Group numbers that put cells expected to hold fewer than `least` rows together.

    Cells stay alone in order of mass; the light ones share the last group, which takes in the
    lightest of the others until it holds `least` itself. Numbers run from 0 without gaps.
    """
    order = np.argsort(-expected, kind="stable")
    alone = int((expected >= least).sum())
    rest = float(expected[order[alone:]].sum())
    while 0 < rest < least and alone > 0:
        alone -= 1
        rest += float(expected[order[alone]])
    groups = np.empty(len(expected), dtype=np.int64)
    groups[order] = np.minimum(np.arange(len(expected)), alone)
    return groups


def correlations(moments: Floats, sums: Floats, squares: Floats, rows: int) -> Floats:
    """Correlations from co-moments, clipped to +-0.9995; 0 with a constant feature.

    `moments` (d x d) holds sums of products, `sums` and `squares` (d) sums of values and squares.
    """
    covariance = moments / rows - np.outer(sums, sums) / rows**2
    spread = np.sqrt(np.maximum(squares / rows - (sums / rows) ** 2, 0.0))
    scale = np.outer(spread, spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.where(scale > 0, covariance / scale, 0.0)
    return np.clip(result, -0.9995, 0.9995)
