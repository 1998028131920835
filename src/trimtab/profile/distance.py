"""How far two count vectors lie apart: the statistics alone, no level and no verdict.

Shapes: a stack of windows (windows x cells) against one reference (cells) or a stack of as many;
one value per window.
"""

from __future__ import annotations

import math
from typing import Any, Final

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
    base = np.atleast_2d(reference).astype(np.float64)
    n, total = window.sum(axis=1, keepdims=True), base.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        f, g = window / n, base / total
        gap = np.cumsum(f, axis=1) - f / 2 - (np.cumsum(g, axis=1) - g / 2)
        mass = (window + base) / (n + total)
        middle = np.cumsum(mass, axis=1) - mass / 2
        terms = np.where(mass > 0, mass * gap**2 / (middle * (1 - middle)), 0.0)
        result: Floats = (n * total / (n + total))[:, 0] * terms.sum(axis=1)
    return result


CONTINUOUS: Final = (0.5, math.sqrt(3))
_COARSE: Final = 0.03
_NEAR: Final = 0.9


def anderson_law(counts: Counts) -> tuple[float, float]:
    """The tail of A2 on cells that hold `counts`, under equal distributions: (scale, factor).

    A2 is a sum of scale_j * chi2_1; far out its law is factor * P(scale_1 * chi2_1 > x), factor the
    product over j >= 2 of (1 - scale_j/scale_1)^(-1/2) (Zolotarev 1961). Without ties the scales are
    1/(j(j+1)) and the factor is sqrt(3). A value that many rows share takes part of the sum away:
    with a cell of mass m at the middle rank h the mean is less by m^2/(4h(1-h)), and the scales are
    the eigenvalues of the covariance of the cumulatives, weighted by m/(h(1-h)).
    """
    mass = counts[counts > 0] / max(float(counts.sum()), 1.0)
    if len(mass) < 2:
        return CONTINUOUS
    middle = np.cumsum(mass) - mass / 2
    weight = mass / (middle * (1 - middle))
    if float(weight @ mass) / 4 < _COARSE:
        return CONTINUOUS
    covariance = np.minimum.outer(middle, middle) - np.outer(middle, middle)
    covariance[np.diag_indices_from(covariance)] -= mass / 4
    root = np.sqrt(weight)
    scales = np.linalg.eigvalsh(covariance * np.outer(root, root))[::-1]
    rest = np.clip(scales[1:] / scales[0], 0.0, _NEAR)
    return float(scales[0]), float(np.prod((1 - rest) ** -0.5))


def pearson(windows: Counts, reference: Counts) -> Floats:
    """The two-sample chi-square statistic over cells, both samples random.

    The sum over cells and both rows of (count - expected)^2 / expected, expected from the pooled
    shares. Cells empty in both add nothing. NaN where a side is empty.
    """
    window = np.atleast_2d(windows).astype(np.float64)
    base = np.atleast_2d(reference).astype(np.float64)
    n, total = window.sum(axis=1, keepdims=True), base.sum(axis=1, keepdims=True)
    pooled = window + base
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(pooled > 0, (window * total - base * n) ** 2 / pooled, 0.0)
        result: Floats = terms.sum(axis=1) / (n * total)[:, 0]
    return result


def pool(expected: Floats, least: float) -> NDArray[np.int64]:
    """Group numbers that put cells expected to hold fewer than `least` rows together.

    Cells that hold `least` stay alone, in order of mass; the lighter ones follow in that order and
    fill one group after the other up to `least`. What is left over joins the last group. Numbers
    run from 0 without gaps.
    """
    order = np.argsort(-expected, kind="stable")
    alone = int((expected >= least).sum())
    ranks, group, held = list(range(alone)), alone, 0.0
    for mass in expected[order[alone:]].tolist():
        ranks.append(group)
        held += mass
        if held >= least:
            group, held = group + 1, 0.0
    groups = np.empty(len(expected), dtype=np.int64)
    # a last group that did not fill up is one with the group before it
    groups[order] = np.minimum(ranks, max(group - 1, 0))
    return groups


def correlations(moments: Floats, sums: Floats, squares: Floats, rows: float) -> Floats:
    """Correlations from co-moments, clipped to +-0.9995; 0 with a constant feature.

    `moments` (d x d) holds sums of products, `sums` and `squares` (d) sums of values and squares.
    """
    covariance = moments / rows - np.outer(sums, sums) / rows**2
    spread = np.sqrt(np.maximum(squares / rows - (sums / rows) ** 2, 0.0))
    scale = np.outer(spread, spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.where(scale > 0, covariance / scale, 0.0)
    return np.clip(result, -0.9995, 0.9995)
