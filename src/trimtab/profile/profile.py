"""The profile of a table or a window: integer counts on frozen bins, and what adds exactly.

Merging is integer addition (and minimum, maximum), so it is associative, commutative and does not
care how rows were split. A profile holds no rows and no judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ConflictError
from trimtab.profile import bins as binning
from trimtab.profile import cardinality, scales, sums, wire
from trimtab.profile.bins import Bins
from trimtab.profile.cells import CategoryCells, NumberCells, level_hash
from trimtab.profile.coder import coding
from trimtab.profile.columns import Column, Columns, numbers, row_count, take, wanted
from trimtab.profile.derived import expand

_T = TypeVar("_T")

_MAGIC: Final = b"trimtabP"
_BLOCK: Final = sums.BLOCK
_PRODUCTS: Final = 1 << 23
"""So many are made between two pauses: some milliseconds."""


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts of `rows` rows on the bins whose digest is `bins`.

    `counts` (int64, `Bins.size`) holds all features' cells end to end. `low`, `high` (float64, one
    per feature) are finite extremes, +inf and -inf where there are none. `totals` are exact sums of
    the finite values (`sums.as_float`). `moments` (int64, paired x paired) is the sum over rows of
    the products of normal scores, each times `SCORE_SCALE`; a missing value scores 0. `registers`
    (uint8, categories x 1,024) say how many levels there were (`distinct`), `joints` (int64) how
    many rows of each slice fell into each group of predictions, `latency` and `confidence` (int64)
    what `scales` counted.
    """

    bins: str
    rows: int
    counts: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    totals: tuple[int, ...]
    moments: NDArray[np.int64]
    registers: NDArray[np.uint8]
    joints: tuple[NDArray[np.int64], ...]
    latency: NDArray[np.int64]
    confidence: NDArray[np.int64]


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    bins: str
    rows: int
    counts: wire.Packed
    low: wire.Packed
    high: wire.Packed
    totals: tuple[tuple[int, bytes], ...]
    moments: wire.Packed
    registers: wire.Packed | None = None
    joints: tuple[wire.Packed, ...] = ()
    latency: wire.Packed | None = None
    confidence: wire.Packed | None = None


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
        registers=np.zeros((len(bins.categories), cardinality.REGISTERS), dtype=np.uint8),
        joints=tuple(np.zeros(joint.shape, dtype=np.int64) for joint in bins.joints),
        latency=np.zeros(scales.LATENCY_CELLS, dtype=np.int64),
        confidence=np.zeros(scales.CONFIDENCE_CELLS, dtype=np.int64),
    )


def finish(steps: Generator[None, None, _T]) -> _T:
    """What work that pauses returns, done without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            returned: _T = end.value
            return returned


def count(bins: Bins, columns: Columns) -> Profile:
    """The profile of a table that has at least the columns that `bins` need.

    Slices and the columns of `scales` are counted where the table has them. Raises DataError on an
    absent or ragged column; odd values are counted, never raised.
    """
    return Counter(bins).count(columns)


class Counter:
    """`count` for many tables: what values are looked up in is made once. For one thread at a time."""

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self.blank = empty(bins)
        self.spans = list(bins.spans().values())
        self.coders = [coding(cells) for cells in bins.features]
        self.scores = [np.array(cells.scores, dtype=np.float64) for cells in bins.features]
        self.slicers = [coding(joint.slice) for joint in bins.joints]
        self.groups = [np.array(joint.groups) for joint in bins.joints]
        self.levels = {
            place: cells.levels
            for place, cells in enumerate(bins.features)
            if isinstance(cells, CategoryCells)
        }
        self.marks: dict[int, cardinality.Marks] = {}

    def count(self, columns: Columns) -> Profile:
        """The profile of a table. Raises DataError."""
        return finish(self.steps(columns))

    def steps(self, columns: Columns) -> Generator[None, None, Profile]:
        """`count` with a pause after every column; it returns the profile. Raises DataError."""
        wanted(columns, self.bins.needed)
        table = {name: columns[name] for name in self.bins.sources if name in columns}
        rows = row_count(table, wide=[one.column for one in self.bins.derived])
        tally = _Tally(self)
        for first in range(0, rows, _BLOCK):
            block = slice(first, min(first + _BLOCK, rows))
            yield from tally.add(take(table, table, block), block.stop - first)
        return tally.profile(rows)

    def level_marks(self, place: int, codes: NDArray[np.intp]) -> cardinality.Marks:
        """What listed levels of a feature leave in its registers; each is hashed once."""
        levels = self.levels[place]
        if place not in self.marks:
            self.marks[place] = cardinality.Marks(
                np.zeros(len(levels), dtype=np.intp), np.zeros(len(levels), dtype=np.uint8)
            )
        known = self.marks[place]
        new = codes[known.ranks[codes] == 0]
        if new.size:
            made = cardinality.marks(level_hash(levels[code]) for code in new.tolist())
            known.places[new], known.ranks[new] = made
        return cardinality.Marks(known.places[codes], known.ranks[codes])


class _Tally:
    """What has been counted so far of one table, block by block."""

    def __init__(self, counter: Counter) -> None:
        bins = counter.bins
        self.counter, self.bins = counter, bins
        self.counts = np.zeros(bins.size, dtype=np.int64)
        self.low, self.high = counter.blank.low.copy(), counter.blank.high.copy()
        self.totals = [0] * len(bins.features)
        self.moments = np.zeros((bins.paired, bins.paired))
        self.strange: list[set[int]] = [set() for _ in bins.features]
        self.coders = [
            begin(strange) for begin, strange in zip(counter.coders, self.strange, strict=True)
        ]
        self.slicers = [begin(set()) for begin in counter.slicers]
        self.kept = {joint.feature: np.empty(0, dtype=np.int64) for joint in bins.joints}
        self.joints = [np.zeros_like(one) for one in counter.blank.joints]
        self.latency = np.zeros_like(counter.blank.latency)
        self.confidence = np.zeros_like(counter.blank.confidence)
        self.scores = np.empty((bins.paired, 0))

    def add(self, columns: Columns, rows: int) -> Generator[None, None, None]:
        """Count some rows, with a pause after every column."""
        values = expand(self.bins.derived, columns)
        if self.scores.shape[1] != rows:
            self.scores = np.empty((self.bins.paired, rows))
        for place, cells in enumerate(self.bins.features):
            column = values[cells.name]
            codes = self.coders[place](column)
            own = np.bincount(codes, minlength=cells.size)
            self.counts[self.counter.spans[place]] += own
            if place < self.bins.paired:
                self.counter.scores[place].take(codes, out=self.scores[place], mode="clip")
            if isinstance(cells, NumberCells):
                self._measure(place, cells, column, own)
            if cells.name in self.kept:
                self.kept[cells.name] = codes
            yield
        at_once = _PRODUCTS // max(self.moments.size, 1) + 1
        for first in range(0, rows, at_once):
            part = self.scores[:, first : first + at_once]
            # integer scores below 2**9.2 keep every partial sum under 2**53, so BLAS adds exactly
            self.moments += part @ part.T
            yield
        self._join(columns, rows)
        if scales.LATENCY in columns:
            self.latency += scales.latency(np.asarray(columns[scales.LATENCY]))
        if scales.CONFIDENCE in columns:
            self.confidence += scales.confidence(np.asarray(columns[scales.CONFIDENCE]))

    def _measure(
        self, place: int, cells: NumberCells, column: Column, own: NDArray[np.int64]
    ) -> None:
        """Extremes and the sum of the finite values; the counts say whether there are others."""
        finite = numbers(column).values
        if own[0] or own[cells.inner + 5 :].any():
            finite = finite[np.isfinite(finite)]
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            self.low[place] = min(self.low[place], low)
            self.high[place] = max(self.high[place], high)
            self.totals[place] += sums.exact_sum(finite, max(high, -low))

    def _join(self, columns: Columns, rows: int) -> None:
        for place, (joint, counts) in enumerate(zip(self.bins.joints, self.joints, strict=True)):
            column = columns.get(joint.slice.name)
            nothing = np.full(rows, None, dtype=object) if column is None else column
            codes = self.slicers[place](nothing)
            groups = self.counter.groups[place][self.kept[joint.feature]]
            both = np.bincount(codes * joint.shape[1] + groups, minlength=counts.size)
            counts += both.reshape(counts.shape)

    def profile(self, rows: int) -> Profile:
        """All that was counted."""
        registers = np.zeros_like(self.counter.blank.registers)
        for own, place in zip(registers, self.bins.categories, strict=True):
            listed = self.counts[self.counter.spans[place]][: len(self.counter.levels[place])]
            cardinality.note(own, self.counter.level_marks(place, np.flatnonzero(listed)))
            cardinality.note(own, cardinality.marks(self.strange[place]))
        return Profile(
            bins=self.counter.blank.bins,
            rows=rows,
            counts=self.counts,
            low=self.low,
            high=self.high,
            totals=tuple(self.totals),
            moments=self.moments.astype(np.int64),
            registers=registers,
            joints=tuple(self.joints),
            latency=self.latency,
            confidence=self.confidence,
        )


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
        registers=_both(np.maximum, a.registers, b.registers),
        joints=tuple(x + y for x, y in zip(a.joints, b.joints, strict=True)),
        latency=_both(np.add, a.latency, b.latency),
        confidence=_both(np.add, a.confidence, b.confidence),
    )


def _both(join: Callable[..., Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Two arrays joined; one that an older file did not have counts as nothing."""
    if not a.size or not b.size:
        return a if a.size else b
    found: NDArray[Any] = join(a, b)
    return found


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


def distinct(bins: Bins, profile: Profile, name: str) -> float:
    """About how many levels a categorical feature had (standard error 3.3 %); NaN for numbers."""
    place = bins.names.index(bins.feature(name).name)
    if place not in bins.categories or not profile.registers.size:
        return float("nan")
    return cardinality.estimate(profile.registers[bins.categories.index(place)])


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
        registers=wire.pack(profile.registers),
        joints=tuple(map(wire.pack, profile.joints)),
        latency=wire.pack(profile.latency),
        confidence=wire.pack(profile.confidence),
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
        registers=_newer(content.registers).astype(np.uint8),
        joints=tuple(map(wire.integers, content.joints)),
        latency=_newer(content.latency),
        confidence=_newer(content.confidence),
    )


def _newer(packed: wire.Packed | None) -> NDArray[np.int64]:
    """An array that files of version 1 do not have."""
    return np.empty(0, dtype=np.int64) if packed is None else wire.integers(packed)


def _symmetric(upper: NDArray[np.int64]) -> NDArray[np.int64]:
    size = int((np.sqrt(8 * len(upper) + 1) - 1) / 2)
    full = np.zeros((size, size), dtype=np.int64)
    full[np.triu_indices(size)] = upper
    return full + np.triu(full, 1).T
