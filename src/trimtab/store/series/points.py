"""Points as columns, their canonical order, and 64-bit columns as few bytes.

A series is a set of (step, time, value bits): the order in which points arrive means nothing, and one
that is sent twice is there once. In order they ascend by step, then time, then value, NaN before all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.store.records import Point

Integers = NDArray[np.int64]
_LEAST: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one series: `step` and `time` (microseconds) int64, `value` float64, all (n,)."""

    step: Integers
    time: Integers
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, rows: Any) -> Series:
        return Series(self.step[rows], self.time[rows], self.value[rows])

    @property
    def bits(self) -> Integers:
        """The values' bits, by which NaN equals itself and 0.0 is not -0.0."""
        return self.value.view(np.int64)


@dataclass(frozen=True, eq=False)
class Columns:
    """Points of several series: `key` (n,) indexes `keys`."""

    keys: tuple[str, ...]
    key: NDArray[np.uint32]
    points: Series

    def __len__(self) -> int:
        return len(self.key)

    def series(self) -> dict[str, Series]:
        """The points of each key that has any, in order of arrival."""
        order = np.argsort(self.key, kind="stable")
        numbers, starts = np.unique(self.key[order], return_index=True)
        parts = np.split(order, starts[1:])
        return {
            self.keys[number]: self.points[rows]
            for number, rows in zip(numbers.tolist(), parts, strict=False)
        }

    def of(self, key: str) -> Series:
        """The points of one key, in order of arrival; those of the others are not looked at."""
        if key not in self.keys:
            return NOTHING
        return self.points[self.key == self.keys.index(key)]


NOTHING: Final = Series(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def of_points(points: Sequence[Point]) -> Columns:
    """Points as columns; raises DataError for a step or time outside of int64."""
    keys = sorted({point.key for point in points})
    index = {key: number for number, key in enumerate(keys)}
    try:
        steps = np.array([point.step for point in points], dtype=np.int64)
        times = np.array([point.time for point in points], dtype=np.int64)
    except OverflowError:
        wrong = next(p for p in points if not (_fits(p.step) and _fits(p.time)))
        raise DataError(
            f"metric {wrong.key!r} has step {wrong.step} at {wrong.time}: both are 64-bit integers"
        ) from None
    values = np.array([point.value for point in points], dtype=np.float64)
    numbers = np.array([index[point.key] for point in points], dtype=np.uint32)
    return Columns(tuple(keys), numbers, Series(steps, times, values))


def of_rows(rows: Sequence[tuple[str, float, int, int]]) -> Columns:
    """Rows of key, value, time and step as columns; times and steps are 64-bit integers."""
    index: dict[str, int] = {}
    numbers = [index.setdefault(row[0], len(index)) for row in rows]
    return Columns(
        tuple(index),
        np.array(numbers, dtype=np.uint32),
        Series(
            np.array([row[3] for row in rows], dtype=np.int64),
            np.array([row[2] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=np.float64),
        ),
    )


def to_points(key: str, series: Series) -> list[Point]:
    """A series as points."""
    columns = zip(series.step.tolist(), series.time.tolist(), series.value.tolist(), strict=True)
    return [Point(key=key, step=step, time=time, value=value) for step, time, value in columns]


def joined(parts: Iterable[Series]) -> Series:
    """All points of several series, one after the other."""
    found = list(parts)
    if len(found) == 1:
        return found[0]
    if not found:
        return NOTHING
    return Series(
        np.concatenate([one.step for one in found]),
        np.concatenate([one.time for one in found]),
        np.concatenate([one.value for one in found]),
    )


def canonical(series: Series) -> Series:
    """The points in order, each once."""
    if len(series) < 2:
        return series
    step, time, bits = series.step, series.time, series.bits
    later = (step[1:] > step[:-1]) | ((step[1:] == step[:-1]) & (time[1:] > time[:-1]))
    if later.all():  # as nearly every series arrives
        return series
    found = series[np.lexsort((bits, _rank(series.value), time, step))]
    step, time, bits = found.step, found.time, found.bits
    same = (step[1:] == step[:-1]) & (time[1:] == time[:-1]) & (bits[1:] == bits[:-1])
    return found[np.r_[True, ~same]] if same.any() else found


def _rank(values: NDArray[np.float64]) -> Integers:
    """Integers in the order of the values, -0.0 below 0.0 and NaN below all."""
    bits = values.view(np.int64)
    found = np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)
    found[np.isnan(values)] = _LEAST
    return found


def shrunk(values: Integers) -> bytes:
    """64-bit integers so that a compressor finds what they have in common.

    Differences (modulo 2^64) of neighbours, their signs folded in (zigzag), byte by byte of equal
    weight; constant steps become zeros.
    """
    raw = values.view(np.uint64)
    steps = np.diff(raw, prepend=np.uint64(0))
    folded = (steps << np.uint64(1)) ^ (steps.view(np.int64) >> 63).view(np.uint64)
    return _planes(folded)


def grown(data: bytes) -> Integers:
    """The inverse of `shrunk`."""
    folded = _unplanes(data)
    steps = (folded >> np.uint64(1)) ^ (np.uint64(0) - (folded & np.uint64(1)))
    return np.cumsum(steps, dtype=np.uint64).view(np.int64)


def shrunk_values(values: NDArray[np.float64]) -> bytes:
    """The same for floats: what changed of the bits (exclusive or), as in Facebook's Gorilla
    (Pelkonen et al., VLDB 2015).
    """
    raw = values.view(np.uint64)
    changed = raw.copy()
    changed[1:] ^= raw[:-1]
    return _planes(changed)


def grown_values(data: bytes) -> NDArray[np.float64]:
    """The inverse of `shrunk_values`."""
    return np.bitwise_xor.accumulate(_unplanes(data)).view(np.float64)


def _planes(values: NDArray[np.uint64]) -> bytes:
    return values.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8).T.tobytes()


def _unplanes(data: bytes) -> NDArray[np.uint64]:
    planes = np.frombuffer(data, dtype=np.uint8).reshape(8, -1)
    return np.ascontiguousarray(planes.T).view("<u8").reshape(-1).astype(np.uint64, copy=False)


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63
