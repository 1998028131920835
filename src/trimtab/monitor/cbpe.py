"""Quality without labels: what the model's own calibrated probabilities expect of these rows.

Confidence-based performance estimation (NannyML; Kivimaki et al., arXiv 2505.05295, for the
intervals). It follows a change of the inputs; it is blind to a change of what the inputs mean, and
every estimate says so.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.monitor.calibration import Calibration, cell_of, chance, variances
from trimtab.monitor.tails import normal_isf

Floats = NDArray[np.float64]
Metric = Literal["accuracy", "roc_auc"]

BLIND_SPOT: Final = "assumes that inputs mean what they meant in training: blind to concept drift"
_DRAWS: Final = 400


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An expected metric on `n` rows with its interval at `level`; valid for a single look."""

    metric: str
    value: float
    lo: float
    hi: float
    n: int
    level: float
    method: str = "cbpe"
    note: str = BLIND_SPOT


def accuracy(
    calibration: Calibration, scores: NDArray[Any], *, threshold: float = 0.5, level: float = 0.95
) -> Estimate:
    """The expected share of right decisions "score >= threshold".

    The interval covers the accuracy that late labels will show: it adds the variance of the labels
    (Poisson-binomial) and that of the calibration on this mix of scores.
    """
    p, decided = _probabilities(calibration, scores), scores >= threshold
    right = np.where(decided, p, 1 - p)
    n = len(right)
    # within a cell calibration errors move right answers up where decided and down elsewhere
    cells = cell_of(calibration, scores)
    pull = np.bincount(cells, weights=np.where(decided, 1.0, -1.0), minlength=len(calibration.rows))
    variance = float((right * (1 - right)).sum()) / n**2
    variance += float((pull / n) ** 2 @ variances(calibration))
    half = normal_isf((1 - level) / 2) * variance**0.5
    value = float(right.mean())
    return Estimate(
        metric="accuracy",
        value=value,
        lo=max(0.0, value - half),
        hi=min(1.0, value + half),
        n=n,
        level=level,
    )


def roc_auc(
    calibration: Calibration, scores: NDArray[Any], *, level: float = 0.95, seed: int = 0
) -> Estimate:
    """The expected area under the ROC curve.

    The value weighs every pair of scores by the probability that they rank a hit above a miss; the
    interval comes from 400 draws of calibration and labels. NaN where one class is not expected.
    """
    p = _probabilities(calibration, scores)
    order = np.argsort(scores, kind="stable")
    ranked, p = np.asarray(scores, dtype=np.float64)[order], p[order]
    value = weighted_auc(ranked, p)
    noise = np.random.default_rng(seed)
    cells = cell_of(calibration, ranked)
    spread = np.sqrt(variances(calibration))
    drawn = []
    for _ in range(_DRAWS):
        shift = noise.normal(size=len(spread)) * spread
        labels = noise.random(len(p)) < np.clip(p + shift[cells], 0, 1)
        drawn.append(weighted_auc(ranked, labels.astype(np.float64)))
    known = np.array(drawn)[np.isfinite(drawn)]
    lo, hi = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if known.size else (0.0, 1.0)
    return Estimate(
        metric="roc_auc", value=value, lo=float(lo), hi=float(hi), n=len(p), level=level
    )


def weighted_auc(scores: Floats, hit: Floats) -> float:
    """The area under the ROC curve of ascending `scores` whose rows are hits with weight `hit`.

    Mann-Whitney's form, ties counting half; with 0/1 weights it is the usual area.
    """
    start = np.concatenate([[True], scores[1:] != scores[:-1]])
    tie = np.cumsum(start) - 1
    hits, misses = np.bincount(tie, weights=hit), np.bincount(tie, weights=1 - hit)
    below = np.cumsum(misses) - misses / 2
    pairs = float(hits.sum() * misses.sum())
    return float(hits @ below) / pairs if pairs > 0 else float("nan")


def _probabilities(calibration: Calibration, scores: NDArray[Any]) -> Floats:
    if len(scores) == 0:
        raise DataError("there is no score to estimate from", hint="wait for predictions")
    if not np.isfinite(scores).all():
        raise DataError("a score is not a finite number", hint="leave failed predictions out")
    return chance(calibration, scores)
