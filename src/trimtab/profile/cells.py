"""The frozen cells of one feature: where its reference cut the number line or listed its levels.

`NumberCells` and `CategoryCells` give every value exactly one cell, missing and broken ones too.
They are plain data; `coder.py` applies them and `fit.py` makes them.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import ClassVar, Final

import msgspec

MAX_CELLS: Final = 256
MAX_ATOMS: Final = 16
MAX_LEVELS: Final = 1_000
MAX_TAIL: Final = 65_536
_APART: Final = 10_000
_LARGE: Final = 1e15
_MAX: Final = 1.7976931348623157e308
SCORE_SCALE: Final = 128
"""Normal scores are kept as integers in steps of 1/128, so that their products add exactly."""


class NumberCells(msgspec.Struct, frozen=True, kw_only=True, tag="number", tag_field="kind"):
    """Cells of a numeric feature in value order.

    `bounds` ascends; cell i is [bounds[i], bounds[i+1]) and the last bound is one step above the
    reference's maximum. An atom (`atoms`, cell indexes) is the cell of a single value that holds
    over 1 % of the reference. The full order of codes: -inf, far below, below, the cells, above,
    far above, +inf, missing, NaN, mistyped. Far means beyond one whole reference range.
    `scores` is the normal score of each code times `SCORE_SCALE`.
    """

    name: str
    bounds: tuple[float, ...]
    atoms: tuple[int, ...]
    scores: tuple[int, ...]

    FIRST: ClassVar[int] = 3

    @property
    def inner(self) -> int:
        """The number of cells between the reference's minimum and maximum."""
        return len(self.bounds) - 1

    @property
    def size(self) -> int:
        """The number of codes."""
        return self.inner + 9

    @property
    def ordered(self) -> slice:
        """The codes of values that lie on the number line, in order."""
        return slice(0, self.inner + 6)

    @property
    def low(self) -> float:
        """The reference's smallest finite value; infinite where it had none."""
        return self.bounds[0]

    @property
    def high(self) -> float:
        """The reference's largest finite value; infinite where it had none."""
        return self.bounds[-1] if self.inner == 0 else math.nextafter(self.bounds[-1], -math.inf)

    @property
    def edges(self) -> tuple[float, ...]:
        """Ascending edges (NaN last); a value's code is the number of edges at or below it."""
        span = self.high - self.low if self.inner else 0.0
        far_low = max(self.low - span, -_MAX)
        far_high = math.nextafter(min(self.high + span, _MAX), math.inf)
        return (-_MAX, far_low, *self.bounds, max(far_high, self.bounds[-1]), math.inf, math.nan)

    def groups(self) -> dict[str, tuple[int, ...]]:
        """Codes by the defect that they count."""
        c = self.inner
        return {
            "missing": (c + 6, c + 7),
            "mistyped": (c + 8,),
            "infinite": (0, c + 5),
            "far": (1, c + 4),
            "outside": (1, 2, c + 3, c + 4),
        }

    def label(self, code: int) -> str:
        """A code in words."""
        cell = code - self.FIRST
        if 0 <= cell < self.inner:
            if cell in self.atoms:
                return f"the value {_figure(self.bounds[cell])}"
            return f"{_figure(self.bounds[cell])} to {_figure(self.bounds[cell + 1])}"
        low, high = _figure(self.low), _figure(self.high)
        front = ("-infinity", f"far below {low}", f"below {low}")
        back = (f"above {high}", f"far above {high}", "+infinity")
        rest = (*back, "missing", "NaN", "mistyped")
        return front[code] if cell < 0 else rest[cell - self.inner]


class CategoryCells(msgspec.Struct, frozen=True, kw_only=True, tag="category", tag_field="kind"):
    """Levels of a categorical feature, most frequent first, then other, unseen, missing, mistyped.

    `tail` holds the sorted 8-byte hashes of the reference's further levels, which count as other;
    `complete` is False where there were too many to keep, and then nothing counts as unseen.
    `once` and `twice` are the numbers of levels seen once and twice: they say how many unseen
    levels to expect (Good 1953). `scores` as in `NumberCells`, levels taken in their order here.
    """

    name: str
    levels: tuple[str, ...]
    tail: bytes
    complete: bool
    once: int
    twice: int
    scores: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of codes."""
        return len(self.levels) + 4

    @property
    def ordered(self) -> slice:
        """The codes of levels that the reference had: the listed ones and other."""
        return slice(0, len(self.levels) + 1)

    def groups(self) -> dict[str, tuple[int, ...]]:
        """Codes by the defect that they count."""
        k = len(self.levels)
        return {"missing": (k + 2,), "mistyped": (k + 3,), "unseen": (k + 1,)}

    def label(self, code: int) -> str:
        """A code in words."""
        if code < len(self.levels):
            return repr(self.levels[code])
        return ("other levels", "unseen levels", "missing", "mistyped")[code - len(self.levels)]


Cells = NumberCells | CategoryCells


def _figure(value: float) -> str:
    """A bound for people: six digits, large ones whole, with their thousands apart."""
    if not _APART <= abs(value) < _LARGE:
        return f"{value:.6g}"
    return f"{value:,.0f}" if value.is_integer() or abs(value) >= 10 * _APART else f"{value:,.6g}"


def level_hash(level: str) -> int:
    """The 8-byte BLAKE2b of a level's UTF-8 bytes, as a little-endian integer."""
    raw = level.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")
