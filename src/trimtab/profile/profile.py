"""The profile of a table or a window: integer counts on frozen bins, and what adds exactly.

Merging is integer addition (and minimum, maximum), so it is associative, commutative and does not
care how rows were split. A profile holds no rows and no judgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ConflictError
from trimtab.profile import bins as binning
from trimtab.profile import sums, wire
from trimtab.profile.bins import Bins
from trimtab.profile.cells import NumberCells
from trimtab.profile.coder import coder
from trimtab.profile.columns import Columns, numbers, row_count, wanted

_MAGIC: Final = b"trimtabP"
_BLOCK: Final = 65_536


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts of `rows` rows on the bins whose digest is `bins`.

    `counts` (int64, `Bins.size`) holds all features' cells end to end. `low`, `high` (float64, one
    per feature) are finite extremes, +inf and -inf where there are none. `totals` are exact sums of
    the finite values (`sums.as_float`). `moments` (int64, paired x paired) is the sum over rows of
    the products of normal scores, each times `SCORE_SCALE`; a missing value scores 0.
    """

    bins: str
    rows: int
    counts: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    totals: tuple[int, ...]
    moments: NDArray[np.int64]


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    bins: str
    rows: int
    counts: wire.Packed
    low: wire.Packed
    high: wire.Packed
    totals: tuple[tuple[int, bytes], ...]
    moments: wire.Packed


def empty(bins: Bins) -> Profile:
    """The profile of no rows: merging it changes nothing."""
    features = len(bins.features)
    return Profile(
        bins=binning.digest(bins),
        rows=0,
        counts=np.zeros(bins.size, dtype=np.int64),
        low=np.full(features, np.inf),
        high=np.full(features, -np.inf),
        totals=(0,) * features,
        moments=np.zeros((bins.paired, bins.paired), dtype=np.int64),
    )


def count(bins: Bins, columns: Columns) -> Profile:
    """The profile of a table that has at least the columns of `bins`.

    Raises DataError on an absent or ragged column; odd values are counted, never raised.
    """
    table = wanted(columns, bins.names)
    rows = row_count(table)
    start = empty(bins)
    counts, low, high = start.counts, start.low, start.high
    totals = list(start.totals)
    moments = np.zeros((bins.paired, bins.paired))
    spans = bins.spans()
    coders = [coder(cells) for cells in bins.features]
    tables = [np.array(cells.scores, dtype=np.float64) for cells in bins.features]
    for first in range(0, rows, _BLOCK):
        block = slice(first, min(first + _BLOCK, rows))
        scores = np.empty((block.stop - first, bins.paired))
        for i, cells in enumerate(bins.features):
            column = table[cells.name][block]
            codes = coders[i](column)
            counts[spans[cells.name]] += np.bincount(codes, minlength=cells.size)
            if i < bins.paired:
                scores[:, i] = tables[i][codes]
            if isinstance(cells, NumberCells):
                finite = _finite(column)
                if finite.size:
                    low[i] = min(low[i], finite.min())
                    high[i] = max(high[i], finite.max())
                    totals[i] += sums.exact_sum(finite)
        # integer scores below 2**9.2 keep every partial sum under 2**53, so BLAS adds exactly
        moments += scores.T @ scores
    return Profile(start.bins, rows, counts, low, high, tuple(totals), moments.astype(np.int64))


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both tables' rows. Raises ConflictError where their bins differ."""
    if a.bins != b.bins:
        raise ConflictError(
            f"profiles on different bins ({a.bins} and {b.bins}) cannot be merged",
            hint="count both tables on the bins of one reference",
        )
    return Profile(
        bins=a.bins,
        rows=a.rows + b.rows,
        counts=a.counts + b.counts,
        low=np.minimum(a.low, b.low),
        high=np.maximum(a.high, b.high),
        totals=tuple(x + y for x, y in zip(a.totals, b.totals, strict=True)),
        moments=a.moments + b.moments,
    )


def merge_all(bins: Bins, profiles: Iterable[Profile]) -> Profile:
    """The profile of all rows of `profiles`; of no rows where there are none."""
    return reduce(merge, profiles, empty(bins))


def mean(bins: Bins, profile: Profile, name: str) -> float:
    """The mean of a numeric feature's finite values, rounded once; NaN where there are none."""
    place = bins.names.index(name)
    cells = bins.feature(name)
    if not isinstance(cells, NumberCells):
        return float("nan")
    counts = profile.counts[bins.spans()[name]]
    return sums.as_float(profile.totals[place], int(counts[1 : cells.inner + 5].sum()))


def encode(profile: Profile) -> bytes:
    """The profile as bytes; equal profiles give equal bytes (docs/formats/profile.md)."""
    upper = profile.moments[np.triu_indices(len(profile.moments))]
    content = _Wire(
        bins=profile.bins,
        rows=profile.rows,
        counts=wire.pack(profile.counts),
        low=wire.pack(profile.low),
        high=wire.pack(profile.high),
        totals=tuple(map(sums.to_bytes, profile.totals)),
        moments=wire.pack(upper),
    )
    return wire.frame(_MAGIC, msgspec.msgpack.encode(content))


def decode(data: bytes) -> Profile:
    """The inverse of `encode`. Raises IntegrityError."""
    content: _Wire = wire.decode_payload(wire.unframe(_MAGIC, data), _Wire)
    return Profile(
        bins=content.bins,
        rows=content.rows,
        counts=wire.integers(content.counts),
        low=wire.floats(content.low),
        high=wire.floats(content.high),
        totals=tuple(sums.from_bytes(shift, raw) for shift, raw in content.totals),
        moments=_symmetric(wire.integers(content.moments)),
    )


def _finite(column: NDArray[np.generic]) -> NDArray[np.float64]:
    values = numbers(column).values
    return values[np.isfinite(values)]


def _symmetric(upper: NDArray[np.int64]) -> NDArray[np.int64]:
    size = int((np.sqrt(8 * len(upper) + 1) - 1) / 2)
    full = np.zeros((size, size), dtype=np.int64)
    full[np.triu_indices(size)] = upper
    return full + np.triu(full, 1).T
