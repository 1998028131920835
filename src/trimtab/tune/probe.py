"""What a probe of a batch found, and the one-sided bounds that all probes decide by.

A probe refuses only where the whole one-sided interval lies beyond what is tolerated; rows that are
too few to say so are no reason to refuse, and the probe then says what it could have seen.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Status = Literal["pass", "fail", "undecided"]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One probe: an effect with its one-sided interval, the rows behind it and what is tolerated.

    `status` is "fail" where the batch harms, "undecided" where the probe could not look. `columns`
    names the columns concerned; `seen` holds cells and may only be kept beside the rows.
    """

    name: str
    status: Status
    said: str
    value: float = 0.0
    lo: float = 0.0
    hi: float = 0.0
    p: float = 1.0
    n: int = 0
    tolerated: float = 0.0
    columns: tuple[str, ...] = ()
    details: dict[str, float] = {}
    seen: dict[str, Any] = {}


class Bounded(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, its one-sided bounds at a level each, and p of "no more than tolerated"."""

    value: float
    lo: float
    hi: float
    p: float


def bounded(value: float, error: float, level: float, tolerated: float = 0.0) -> Bounded:
    """Normal bounds of an estimate with a standard error."""
    reach = NormalDist().inv_cdf(1 - level) * error
    p = 0.5 * math.erfc((value - tolerated) / max(error, 1e-12) / math.sqrt(2))
    return Bounded(value=value, lo=value - reach, hi=value + reach, p=p)


def of_rows(differences: Floats, level: float) -> Bounded:
    """The mean of paired differences (n,)."""
    n = max(len(differences), 1)
    error = float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return bounded(float(differences.mean()), error, level)


def of_shares(
    many: int, rows: int, other: int, other_rows: int, *, level: float, tolerated: float
) -> Bounded:
    """The difference of two shares, one row of each kind added to both (Agresti & Caffo, 2000)."""
    share, rest = (many + 1) / (rows + 2), (other + 1) / (other_rows + 2)
    error = math.sqrt(share * (1 - share) / (rows + 2) + rest * (1 - rest) / (other_rows + 2))
    return bounded(share - rest, error, level, tolerated)
