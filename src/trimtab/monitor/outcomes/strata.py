"""Where a model is off by itself: withheld outcomes by score and by each feature in turn.

A calibration by score alone averages over regions in which the model is too sure or not sure
enough. When inputs move into such a region errors rise although nothing changed its meaning. The
strata of the features that moved tell the two apart; they need neither weights nor raw rows.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, NotFoundError
from trimtab.monitor.outcomes.calibration import Calibration, chance, checked
from trimtab.monitor.statistics.tails import normal_isf
from trimtab.profile.bins import Bins
from trimtab.profile.cells import Cells
from trimtab.profile.coder import coder
from trimtab.profile.columns import Columns, wanted

Floats = NDArray[np.float64]

_GROUPS: Final = 8
_SCORES: Final = 4
_SHRINK: Final = 20.0


class Stratum(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's table of score cells x groups, flattened row by row.

    `groups` gives the group of every code, groups of ordered codes being runs of equal withheld
    mass. A stratum had `rows` withheld rows, `hits` events where the calibration expected
    `expected`.
    """

    feature: str
    groups: tuple[int, ...]
    rows: tuple[int, ...]
    hits: tuple[int, ...]
    expected: tuple[float, ...]


class Strata(msgspec.Struct, frozen=True, kw_only=True):
    """The strata of every feature, and the score edges that they share."""

    edges: tuple[float, ...]
    features: tuple[Stratum, ...]

    def feature(self, name: str) -> Stratum:
        """A feature's strata. Raises NotFoundError."""
        for stratum in self.features:
            if stratum.feature == name:
                return stratum
        raise NotFoundError(f"there are no strata of a feature {name!r}")


class Excess(NamedTuple):
    """Outcomes beyond what the strata expect, as a share of the rows compared, with its interval.

    `supported` is the share of rows in strata that withheld rows have seen; the others are left
    out.
    """

    value: float
    lo: float
    hi: float
    supported: float


def fit_strata(
    bins: Bins,
    calibration: Calibration,
    columns: Columns,
    scores: NDArray[Any],
    events: NDArray[Any],
) -> Strata:
    """The strata of withheld rows: their columns, scores and events (0 or 1), row by row."""
    score, event = checked(scores, events)
    table = _table(bins, columns, len(score))
    edges = np.unique(np.quantile(score, np.arange(1, _SCORES) / _SCORES))
    level = np.searchsorted(edges, score, side="right")
    expected = chance(calibration, score)
    features = []
    for cells in bins.features:
        codes = coder(cells)(table[cells.name])
        groups = _group(cells, codes)
        place = level * (int(groups.max()) + 1) + groups[codes]
        size = (len(edges) + 1) * (int(groups.max()) + 1)
        features.append(
            Stratum(
                feature=cells.name,
                groups=tuple(groups.tolist()),
                rows=tuple(np.bincount(place, minlength=size).tolist()),
                hits=tuple(np.bincount(place, event, size).astype(np.int64).tolist()),
                expected=tuple(np.bincount(place, expected, size).tolist()),
            )
        )
    return Strata(edges=tuple(edges.tolist()), features=tuple(features))


def excess(
    strata: Strata,
    bins: Bins,
    calibration: Calibration,
    feature: str,
    columns: Columns,
    scores: NDArray[Any],
    events: NDArray[Any],
    *,
    flip: NDArray[np.bool_] | None = None,
    level: float = 0.99,
) -> Excess:
    """How many more outcomes than expected these labelled rows had, given score and `feature`.

    The outcome is the event, or its absence in rows where `flip` holds ("score >= threshold" turns
    events into errors). A stratum's deviation from the calibration counts as 20 rows without any.
    """
    score, event = checked(scores, events)
    own = strata.feature(feature)
    codes = coder(bins.feature(feature))(_table(bins, columns, len(score), feature)[feature])
    groups = np.array(own.groups)
    place = np.searchsorted(strata.edges, score, side="right") * (groups.max() + 1) + groups[codes]
    rows, hits = np.array(own.rows), np.array(own.hits)
    deviation = (hits - np.array(own.expected)) / (rows + _SHRINK)
    known = rows[place] > 0
    if not known.any():
        return Excess(0.0, -1.0, 1.0, 0.0)
    sign = np.where(np.zeros(len(score), dtype=np.bool_) if flip is None else flip, -1.0, 1.0)
    p = np.clip(chance(calibration, score) + deviation[place], 0.001, 0.999)
    n = int(known.sum())
    value = float((sign * (event - p))[known].sum()) / n
    rate = (hits + 0.5) / (rows + 1)
    pull = np.bincount(place[known], weights=sign[known], minlength=len(rows))
    variance = float((p * (1 - p))[known].sum()) + float(pull**2 @ (rate * (1 - rate) / (rows + 1)))
    half = normal_isf((1 - level) / 2) * variance**0.5 / n
    return Excess(value, value - half, value + half, n / len(score))


def _table(bins: Bins, columns: Columns, rows: int, *names: str) -> Columns:
    table = wanted(bins.expanded(columns), names or bins.names)
    for name, column in table.items():
        if len(column) != rows:
            raise DataError(f"column {name!r} has {len(column)} rows for {rows} scores")
    return table


def _group(cells: Cells, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of every code: up to 8 runs of ordered codes, and one per code after them."""
    mass = np.bincount(codes, minlength=cells.size).astype(np.float64)
    end = cells.ordered.stop
    ordered = mass[:end]
    middle = (np.cumsum(ordered) - ordered / 2) / max(float(ordered.sum()), 1.0)
    runs = np.minimum((middle * _GROUPS).astype(np.int64), _GROUPS - 1)
    return np.concatenate([runs, _GROUPS + np.arange(cells.size - end)])
