"""How far a packaged model's answers lie from the estimator's, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.model.signature import Class

CLOSE: Final = 1e-4
FAR: Final = 1e-3
SHARE: Final = 1e-3


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """Differences over `rows` rows, in units of `scale` (1 for probabilities).

    `above` is the share of rows that differ by more than 1e-4, `far` by more than 1e-3; `flips`
    counts changed decisions (none for a regression).
    """

    rows: int
    max_difference: float
    above: float
    far: float
    flips: int
    scale: float = 1.0

    @property
    def refusal(self) -> str:
        """Why this is too far apart, or "": flips or far rows in more than 1 row of 1,000."""
        if self.flips > SHARE * self.rows:
            return f"{self.flips} of {self.rows} decisions differ from the estimator's"
        if self.far > SHARE:
            return (
                f"{self.far:.2%} of {self.rows} rows differ from the estimator by more than "
                f"{FAR:g} (at most by {self.max_difference:.3g})"
            )
        return ""


def compare(
    expected: NDArray[np.floating],
    got: NDArray[np.floating],
    decisions: tuple[Sequence[Class], Sequence[Class]] | None = None,
    *,
    scale: float = 1.0,
) -> Parity:
    """Compare scores of one shape, [N] or [N, classes], and the decisions (expected, got)."""
    rows = len(expected)
    difference = np.abs(expected.astype(np.float64) - got.astype(np.float64)) / scale
    # A NaN on one side only is as far as can be; on both it is the same answer.
    difference = np.where(np.isnan(expected) & np.isnan(got), 0.0, difference)
    difference = np.nan_to_num(difference, nan=np.inf)
    if difference.ndim == 2:
        difference = difference.max(axis=1)
    return Parity(
        rows=rows,
        max_difference=float(difference.max(initial=0.0)),
        above=float((difference > CLOSE).mean()) if rows else 0.0,
        far=float((difference > FAR).mean()) if rows else 0.0,
        flips=sum(a != b for a, b in zip(*decisions, strict=True)) if decisions else 0,
        scale=scale,
    )
