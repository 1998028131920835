"""How far a packaged model's answers lie from the estimator's, and whether that is near enough.

Judged over all rows, and again in every slice that is large enough: a thousandth of all rows may be
the whole of one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.model.signature import Class

CLOSE: Final = 1e-4
FAR: Final = 1e-3
SHARE: Final = 1e-3
SLICE_ROWS: Final = 30
SLICE_SHARE: Final = 1e-2
MAX_SLICES: Final = 100


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The same figures over the rows in which `column` is `value`."""

    column: str
    value: str
    rows: int
    max_difference: float
    above: float
    far: float
    flips: int

    @property
    def refusal(self) -> str:
        """Why this slice is too far apart, or "": more than 1 row in 100, and more than one row."""
        where = f"where {self.column} is {self.value!r}"
        off = max(1.0, SLICE_SHARE * self.rows)
        if self.flips > off:
            return f"{self.flips} of {self.rows} decisions {where} differ from the estimator's"
        if round(self.far * self.rows) > off:
            return (
                f"{self.far:.2%} of {self.rows} rows {where} differ from the estimator by more "
                f"than {FAR:g} (at most by {self.max_difference:.3g})"
            )
        return ""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """Differences over `rows` rows, in units of `scale` (1 for probabilities).

    `above` is the share of rows that differ by more than 1e-4, `far` by more than 1e-3; `flips`
    counts changed decisions (none for a regression). `slices` are the largest groups of at least
    30 rows, in the order of their columns.
    """

    rows: int
    max_difference: float
    above: float
    far: float
    flips: int
    scale: float = 1.0
    slices: tuple[Slice, ...] = ()

    @property
    def refusal(self) -> str:
        """Why this is too far apart, or "".

        Flips or far rows in more than 1 row of 1,000, or in more than 1 of 100 of a slice.
        """
        if self.flips > SHARE * self.rows:
            return f"{self.flips} of {self.rows} decisions differ from the estimator's"
        if self.far > SHARE:
            return (
                f"{self.far:.2%} of {self.rows} rows differ from the estimator by more than "
                f"{FAR:g} (at most by {self.max_difference:.3g})"
            )
        return next((reason for one in self.slices if (reason := one.refusal)), "")

    @property
    def distance(self) -> tuple[float, ...]:
        """To order by: flips, then rows that are off, then the largest difference."""
        return (self.flips, self.far, self.above, self.max_difference)


def compare(
    expected: NDArray[np.floating],
    got: NDArray[np.floating],
    decisions: tuple[Sequence[Class], Sequence[Class]] | None = None,
    *,
    scale: float = 1.0,
    groups: Mapping[str, Sequence[Any]] | None = None,
) -> Parity:
    """Compare scores of one shape, [N] or [N, classes], and the decisions (expected, got).

    `groups` has one value per row for each column to slice by, None where it is not known.
    """
    rows = len(expected)
    difference = np.abs(expected.astype(np.float64) - got.astype(np.float64)) / scale
    # A NaN on one side only is as far as can be; on both it is the same answer.
    difference = np.where(np.isnan(expected) & np.isnan(got), 0.0, difference)
    difference = np.nan_to_num(difference, nan=np.inf)
    if difference.ndim == 2:
        difference = difference.max(axis=1)
    flips = np.zeros(rows, dtype=bool)
    if decisions:
        flips[:] = [a != b for a, b in zip(*decisions, strict=True)]
    slices = [
        Slice(column=column, value=value, **_figures(difference[chosen], flips[chosen]))
        for column, values in (groups or {}).items()
        for value, chosen in _chosen(values)
    ]
    largest = sorted(slices, key=lambda one: -one.rows)[:MAX_SLICES]
    return Parity(
        **_figures(difference, flips),
        scale=scale,
        slices=tuple(one for one in slices if one in largest),
    )


def _chosen(values: Sequence[Any]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """The values that stand in enough rows, and the places of these rows."""
    places: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            places.setdefault(str(value), []).append(place)
    for name in sorted(places):
        if len(places[name]) >= SLICE_ROWS:
            yield name, np.array(places[name], dtype=np.intp)


def _figures(difference: NDArray[np.float64], flips: NDArray[np.bool_]) -> dict[str, Any]:
    rows = len(difference)
    return {
        "rows": rows,
        "max_difference": float(difference.max(initial=0.0)),
        "above": float((difference > CLOSE).mean()) if rows else 0.0,
        "far": float((difference > FAR).mean()) if rows else 0.0,
        "flips": int(flips.sum()),
    }
