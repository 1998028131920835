"""One feature put before the tests: its counts, the level it gets, and what a test found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from numpy.typing import NDArray

from trimtab.monitor.budget import Margins
from trimtab.monitor.findings import Kind, Test
from trimtab.monitor.statistics.effect import Effect
from trimtab.monitor.statistics.overdispersion import Chunks, factor
from trimtab.profile.cells import Cells
from trimtab.profile.distance import CONTINUOUS


class Spread(NamedTuple):
    """Variance factors of a statistic: between chunks, and between groups of whole entities."""

    chunks: float = 1.0
    clusters: float = 1.0


ALONE: Final = Spread()
"""Of independent rows."""


@dataclass(frozen=True, eq=False)
class Case:
    """`windows` (sums x codes) are sums over the newest 1, 2, ... blocks, `rows` their rows.

    `reference` has `total` rows; `bases` and `totals` are those that each sum is compared with: the
    same, or the reference in the sum's seasons. `scales` are the sums to judge, `alpha` the
    feature's level at each; `merges` are those on which its shape is judged, each at `shape_alpha`.
    `shape`, `single` and `rates` are variance factors with `chunks` degrees of freedom, measured at
    chunks of `chunk_rows` rows; `law` is that of Anderson-Darling.
    """

    cells: Cells
    windows: NDArray[Any]
    reference: NDArray[Any]
    rows: NDArray[Any]
    total: int
    bases: NDArray[Any]
    totals: NDArray[Any]
    scales: tuple[int, ...]
    merges: tuple[int, ...]
    alpha: float
    shape_alpha: float
    margins: Margins
    chunks: int = 0
    chunk_rows: float = 0.0
    shape: Spread = ALONE
    single: Spread = ALONE
    rates: dict[str, Spread] | None = None
    law: tuple[float, float] = CONTINUOUS

    def at(self, spread: Spread, entry: int) -> float:
        """A variance factor at the mean size of the windows in sum `entry`."""
        mean = float(self.rows[entry]) / (entry + 1)
        return factor(
            spread.chunks, Chunks(self.chunks if self.chunk_rows else 0, self.chunk_rows), mean,
            float(self.totals[entry]),
            windows=entry + 1, clusters=spread.clusters,
        )  # fmt: skip

    def base(self, entry: int, codes: Sequence[int]) -> int:
        """The reference's rows in some codes; a mixture of seasons is rounded, but never to 0."""
        found = float(self.bases[entry][list(codes)].sum())
        return 1 if 0 < found < 1 else round(found)


@dataclass(frozen=True)
class Signal:
    """A test that passed its level and its margin, at sum `entry`.

    `codes` are the cells that a defect or spike concerns; `partner` is a correlation's other
    feature.
    """

    feature: str
    test: Test
    kind: Kind
    p: float
    effect: Effect
    unit: Literal["sd", "share", "correlation"]
    note: str
    entry: int
    codes: tuple[int, ...] = ()
    partner: str = ""


def stronger(a: Signal | None, b: Signal) -> Signal:
    """The one with the smaller p; of equals the one with the larger sure effect."""
    if a is None:
        return b
    return min(a, b, key=lambda s: (s.p, -min(abs(s.effect.lo), abs(s.effect.hi))))


def sure(effect: Effect) -> float:
    """The size of an effect that its interval guarantees, whatever its sign; 0 if it spans 0."""
    return max(effect.lo, -effect.hi, 0.0)
