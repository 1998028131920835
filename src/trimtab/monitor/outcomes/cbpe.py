"""Quality without labels: what the model's own calibrated probabilities expect of these rows.

Confidence-based performance estimation: the closed forms of NannyML, with intervals from the slopes
of each metric (Kivimaki et al., arXiv 2505.05295, take the same two sources of error: labels and
calibration; a third is that an isotonic curve is too sharp by its own fit). It follows a change of
the inputs; it is blind to a change of what the inputs mean, and every estimate says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.monitor.outcomes import calibration as calibrating
from trimtab.monitor.outcomes import curve as curves
from trimtab.monitor.outcomes import expected
from trimtab.monitor.outcomes.calibration import Calibration, cell_of, variances
from trimtab.monitor.outcomes.curve import Curve
from trimtab.monitor.outcomes.expected import BINARY, MULTICLASS, Classes, Rows, Soft
from trimtab.monitor.statistics.tails import normal_isf

Floats = NDArray[np.float64]

BLIND_SPOT: Final = "assumes that inputs mean what they meant in training: blind to concept drift"


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An expected metric on `n` rows with its interval at `level`; valid for a single look.

    The interval covers what labels of these very rows will show. `spread` is the part of its
    standard error that the labels' own chance makes, which more rows shrink. `untrusted` says why
    the estimate is not to be relied on, where that is so.
    """

    metric: str
    value: float
    lo: float
    hi: float
    n: int
    level: float
    method: str = "cbpe"
    note: str = BLIND_SPOT
    untrusted: str = ""
    spread: float = 0.0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What withheld rows teach of one class: its curve, and how sure each score cell's chance is."""

    curve: Curve
    calibration: Calibration
    variance: tuple[float, ...] = ()

    @property
    def variances(self) -> Floats:
        """The variance of each cell's chance; weights widen it."""
        return np.array(self.variance) if self.variance else variances(self.calibration)


class _Error(NamedTuple):
    """Variances of an estimate by the labels' chance and by the calibration's; and how much more the
    blunter calibration, in cells, would say.
    """

    label: float
    fit: float
    blunt: float


def plain(calibration: Calibration) -> Known:
    """The same knowledge from a calibration alone."""
    points = Curve(scores=calibration.scores, chances=calibration.chances)
    return Known(curve=points, calibration=calibration)


def binary(
    known: Known,
    scores: NDArray[Any],
    decided: NDArray[Any],
    metrics: Iterable[str] = tuple(BINARY),
    *,
    level: float = 0.95,
    method: str = "cbpe",
) -> list[Estimate]:
    """Expected metrics of a binary model on rows with these scores; `decided` is True for positive.

    A metric that has no value on these rows (a class that is not expected at all) is left out.
    Raises DataError on no rows or on scores that are not finite.
    """
    score = _finite(scores)
    chance = curves.chance(known.curve, score)
    step = calibrating.chance(known.calibration, score) - chance
    rows = Rows(score, np.asarray(decided, dtype=np.bool_), chance, np.ones(len(score)))
    cells, cell_variance = cell_of(known.calibration, score), known.variances
    found = []
    for name in metrics:
        soft = BINARY[name](rows)
        label = float(soft.slope**2 @ (chance * (1 - chance)))
        pull = np.bincount(cells, soft.slope, len(cell_variance))
        error = _Error(label, float(pull**2 @ cell_variance), float(soft.slope @ step))
        found.append(_estimate(name, soft, error, len(score), level, method))
    return [one for one in found if np.isfinite(one.value)]


def multiclass(
    known: Sequence[Known],
    scores: NDArray[Any],
    decided: NDArray[Any],
    metrics: Iterable[str] = tuple(MULTICLASS),
    *,
    level: float = 0.95,
    method: str = "cbpe",
) -> list[Estimate]:
    """Expected metrics of a model with classes 0..k-1: scores (n, k), decided class (n,).

    Classes are calibrated one against the rest and made to sum to 1; metrics of class against rest
    are averaged, as in NannyML.
    """
    score = _finite(scores)
    chance = curves.of_classes(tuple(one.curve for one in known), score)
    step = curves.of_classes(tuple(plain(one.calibration).curve for one in known), score) - chance
    rows = Classes(score, np.asarray(decided, dtype=np.int64), chance, np.ones(len(score)))
    found = []
    for name in metrics:
        soft = MULTICLASS[name](rows)
        mean = (chance * soft.slope).sum(axis=1)
        label = float(((chance * soft.slope**2).sum(axis=1) - mean**2).sum())
        fit = 0.0
        for c, one in enumerate(known):
            cells = cell_of(one.calibration, score[:, c])
            pull = np.bincount(cells, soft.slope[:, c], len(one.variances))
            fit += float(pull**2 @ one.variances)
        error = _Error(label, fit, float((soft.slope * step).sum()))
        found.append(_estimate(name, soft, error, len(score), level, method))
    return [one for one in found if np.isfinite(one.value)]


def accuracy(
    calibration: Calibration, scores: NDArray[Any], *, threshold: float = 0.5, level: float = 0.95
) -> Estimate:
    """The expected share of right decisions "score >= threshold"."""
    known = plain(calibration)
    (found,) = binary(known, scores, np.asarray(scores) >= threshold, ["accuracy"], level=level)
    return found


def roc_auc(calibration: Calibration, scores: NDArray[Any], *, level: float = 0.95) -> Estimate:
    """The expected area under the ROC curve: every pair weighed by the chance to be ranked right."""
    known = plain(calibration)
    (found,) = binary(known, scores, np.zeros(len(scores), np.bool_), ["roc_auc"], level=level)
    return found


def weighted_auc(scores: Floats, hit: Floats) -> float:
    """The area under the ROC curve of `scores` whose rows are hits with probability `hit`."""
    rows = Rows(scores, np.zeros(len(scores), np.bool_), hit, np.ones(len(scores)))
    return expected.roc_auc(rows).value


def _estimate(name: str, soft: Soft, error: _Error, n: int, level: float, method: str) -> Estimate:
    # The curve follows its own rows' chance and is too sharp, the cells are too blunt: the truth lies
    # anywhere between them, which is half a step off on average, with a twelfth of its square.
    label, step = max(error.label, 0.0), error.blunt
    half = normal_isf((1 - level) / 2) * (label + error.fit + step**2 / 12) ** 0.5
    middle = soft.value + step / 2
    return Estimate(
        metric=name,
        value=soft.value,
        lo=max(0.0, min(soft.value, middle - half)),
        hi=min(1.0, max(soft.value, middle + half)),
        n=n,
        level=level,
        method=method,
        spread=label**0.5,
    )


def _finite(scores: NDArray[Any]) -> Floats:
    if len(scores) == 0:
        raise DataError("there is no score to estimate from", hint="wait for predictions")
    score = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(score).all():
        raise DataError("a score is not a finite number", hint="leave failed predictions out")
    return score
