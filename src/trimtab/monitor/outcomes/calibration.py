"""What a score has meant on withheld rows: the probability of the event at each score, and how
sure.

The event is the positive class for a binary model, a correct answer for a multi-class one (score:
the confidence), an error beyond a limit for a regression (score: the prediction).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError

Floats = NDArray[np.float64]

_CELL_ROWS: Final = 100
_MAX_CELLS: Final = 20


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Withheld rows in up to 20 cells of equal mass by score.

    Cell i holds scores from `edges[i-1]` up to `edges[i]`; it had `rows[i]` rows, of which
    `hits[i]` had the event. The map from score to probability is linear between the points
    (`scores[i]`, `chances[i]`) and flat beyond them.
    """

    edges: tuple[float, ...]
    rows: tuple[int, ...]
    hits: tuple[int, ...]
    scores: tuple[float, ...]
    chances: tuple[float, ...]

    @property
    def total(self) -> int:
        """Withheld rows in all."""
        return sum(self.rows)

    @property
    def rate(self) -> float:
        """The event's share of the withheld rows."""
        return sum(self.hits) / self.total


def fit(scores: NDArray[Any], events: NDArray[Any], *, monotone: bool = True) -> Calibration:
    """The calibration of withheld `scores` (float) and `events` (0 or 1), one each per row.

    `monotone` says that a higher score means a likelier event: cells that disagree are pooled.
    Raises DataError on no rows, on lengths that differ, on a score that is not finite, on an event
    that is neither 0 nor 1.
    """
    score, event = checked(scores, events)
    if len(score) == 0:
        raise DataError(
            "there is no withheld row to calibrate on", hint="evaluate the model on withheld rows"
        )
    cells = int(np.clip(len(score) // _CELL_ROWS, 1, _MAX_CELLS))
    # cuts are scores that occur, above the lowest, so that no cell is empty
    cuts = np.unique(np.quantile(score, np.arange(1, cells) / cells, method="higher"))
    cuts = cuts[cuts > score.min()]
    cell = np.searchsorted(cuts, score, side="right")
    rows = np.bincount(cell, minlength=len(cuts) + 1)
    hits = np.bincount(cell, weights=event, minlength=len(cuts) + 1)
    middle = np.bincount(cell, weights=score, minlength=len(cuts) + 1) / rows
    # half a row of each outcome (Jeffreys) keeps chances off 0 and 1, which no sample proves
    chances = (hits + 0.5) / (rows + 1)
    if monotone:
        chances = isotonic(chances, rows.astype(np.float64))
    return Calibration(
        edges=tuple(cuts.tolist()),
        rows=tuple(rows.tolist()),
        hits=tuple(hits.astype(np.int64).tolist()),
        scores=tuple(middle.tolist()),
        chances=tuple(chances.tolist()),
    )


def fit_residuals(
    predictions: NDArray[Any], errors: NDArray[Any], *, share: float = 0.2
) -> tuple[float, Calibration]:
    """The size of error that a `share` of withheld rows exceeds, and how often at each prediction.

    For a regression: feed the detector `abs(error) > limit` as events. A rank, so that no single
    absurd error counts for more than one row.
    """
    if errors.shape != predictions.shape or errors.size == 0:
        raise DataError(
            "every withheld prediction needs its error", hint="evaluate the model first"
        )
    size = np.abs(errors.astype(np.float64))
    limit = float(np.quantile(size, 1 - share))
    return limit, fit(predictions, (size > limit).astype(np.float64), monotone=False)


def constant(hits: int, rows: int) -> Calibration:
    """The calibration that knows one rate only: `hits` events in `rows` withheld rows."""
    if not 0 <= hits <= rows or rows < 1:
        raise DataError(f"{hits} events in {rows} rows cannot be")
    return Calibration(
        edges=(),
        rows=(rows,),
        hits=(hits,),
        scores=(0.0,),
        chances=((hits + 0.5) / (rows + 1),),
    )


def chance(calibration: Calibration, scores: NDArray[Any]) -> Floats:
    """The event's probability at each score."""
    result: Floats = np.interp(scores, calibration.scores, calibration.chances)
    return result


def cell_of(calibration: Calibration, scores: NDArray[Any]) -> NDArray[np.int64]:
    """The cell of each score."""
    return np.searchsorted(calibration.edges, scores, side="right").astype(np.int64)


def variances(calibration: Calibration) -> Floats:
    """The variance of each cell's probability, as estimated from its withheld rows."""
    p = np.array(calibration.chances)
    result: Floats = p * (1 - p) / (np.array(calibration.rows) + 1)
    return result


def isotonic(values: Floats, weights: Floats) -> Floats:
    """The nearest non-decreasing sequence in weighted least squares.

    Pool adjacent violators (Ayer et al. 1955), one pass with a stack of blocks.
    """
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while means and means[-1] >= mean:
            before = masses.pop()
            mean = (means.pop() * before + mean * mass) / (before + mass)
            mass += before
            size += sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(means, sizes)


def checked(scores: NDArray[Any], events: NDArray[Any]) -> tuple[Floats, Floats]:
    """Scores and events as floats of one length. Raises DataError saying what is wrong."""
    if scores.shape != events.shape or scores.ndim != 1:
        raise DataError(
            f"{scores.shape} scores and {events.shape} events do not pair up",
            hint="pass one score and one 0/1 event per row",
        )
    score, event = scores.astype(np.float64), events.astype(np.float64)
    if not np.isfinite(score).all():
        raise DataError("a score is not a finite number", hint="leave failed predictions out")
    if not np.isin(event, (0.0, 1.0)).all():
        raise DataError("an event is neither 0 nor 1", hint="leave rows without a label out")
    return score, event
