"""The counts of each window that ordinary variation was learnt from: what past days looked like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError
from trimtab.profile import wire
from trimtab.profile.profile import Profile


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of `span` microseconds in order of time, each part's by themselves.

    `starts` (w,) in microseconds, `parts` (w,) what the rows were (0 where there is one part), `rows`
    (w,), `counts` (w, codes) as in a profile's `counts`.
    """

    span: int
    starts: NDArray[np.int64]
    parts: NDArray[np.int64]
    rows: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """The same for the wire."""

    span: int
    starts: wire.Packed
    parts: wire.Packed
    rows: wire.Packed
    counts: wire.Packed


def of(found: Sequence[tuple[int, int, Profile]], span: int) -> Windows:
    """The windows of (part, start, profile), at least one."""
    ordered = sorted(found, key=lambda one: (one[1], one[0]))
    return Windows(
        span=span,
        starts=np.array([start for _, start, _ in ordered], dtype=np.int64),
        parts=np.array([part for part, _, _ in ordered], dtype=np.int64),
        rows=np.array([one.rows for _, _, one in ordered], dtype=np.int64),
        counts=np.stack([one.counts for _, _, one in ordered]).astype(np.int64),
    )


def pack(windows: Windows) -> Packed:
    """Windows for the wire."""
    return Packed(
        span=windows.span,
        starts=wire.pack(windows.starts),
        parts=wire.pack(windows.parts),
        rows=wire.pack(windows.rows),
        counts=wire.pack(windows.counts),
    )


def unpack(packed: Packed, codes: int) -> Windows:
    """The inverse; raises IntegrityError where the arrays are not of one length, or not of `codes`."""
    starts, parts, rows, counts = map(
        wire.integers, (packed.starts, packed.parts, packed.rows, packed.counts)
    )
    if not starts.shape == parts.shape == rows.shape or counts.shape != (len(starts), codes):
        raise IntegrityError(
            "the windows of a reference differ in number or in their cells",
            hint="package the model again",
        )
    return Windows(packed.span, starts, parts, rows, counts)
