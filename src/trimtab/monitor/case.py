"""One feature put before the tests: its counts, the level it gets, and what a test found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from trimtab.monitor.budget import Margins
from trimtab.monitor.effect import Effect
from trimtab.monitor.findings import Kind, Test
from trimtab.monitor.overdispersion import factor
from trimtab.profile.cells import Cells


@dataclass(frozen=True, eq=False)
class Case:
    """`windows` (sums x codes) are sums over the newest 1, 2, ... blocks, `rows` their rows.

    `scales` are the sums to judge, `alpha` the feature's level at each. `shape`, `single` and
    `rates` are variance factors measured at `chunks` chunks of `chunk_rows` rows.
    """

    cells: Cells
    windows: NDArray[Any]
    reference: NDArray[Any]
    rows: NDArray[Any]
    total: int
    scales: tuple[int, ...]
    alpha: float
    margins: Margins
    chunks: int = 0
    chunk_rows: float = 0.0
    shape: float = 1.0
    single: float = 1.0
    rates: dict[str, float] | None = None

    def at(self, phi: float, entry: int) -> float:
        """A variance factor at the mean size of the windows in sum `entry`."""
        return factor(phi, self.chunk_rows, float(self.rows[entry]) / (entry + 1))


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
