"""Features made from columns that have no cells of their own: free text and embeddings.

A text becomes its length and the class of its characters, an embedding its projections on 64 fixed
directions. They are ordinary features from there on: every count, test and picture applies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from hashlib import shake_256
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.profile.columns import Column, Columns, texts

DIRECTIONS: Final = 64
MAX_WIDTH: Final = 8_192
_FINE: Final = 30
_CLIP: Final = float(1 << 39)
"""8,192 terms of up to 2^39 steps stay under 2^53, so that a projection adds exactly in any order."""


class TextParts(msgspec.Struct, frozen=True, kw_only=True, tag="text", tag_field="kind"):
    """A text column's features: `COLUMN:length` in characters, `COLUMN:characters` their class.

    Classes: empty, blank, digits, ascii, latin (below U+0250), other. A value that is no text is
    mistyped there, and its length is missing.
    """

    column: str

    @property
    def names(self) -> tuple[str, ...]:
        """The features it makes."""
        return (f"{self.column}:length", f"{self.column}:characters")

    def expand(self, column: Column) -> dict[str, NDArray[Any]]:
        """The features of some rows."""
        values = texts(column)
        length = [len(one) if isinstance(one, str) else math.nan for one in values]
        classes = np.empty(len(values), dtype=object)
        classes[:] = [_class(one) if isinstance(one, str) else one for one in values]
        return dict(zip(self.names, (np.array(length, dtype=np.float64), classes), strict=True))


class Projection(msgspec.Struct, frozen=True, kw_only=True, tag="projection", tag_field="kind"):
    """An embedding column's features: `COLUMN:00` to `COLUMN:63`.

    Entries are rounded to whole `step`s (a power of two, 2^-30 of the reference's largest) and
    clipped at 512 times the largest; direction j has entries +-1/sqrt(width), the bits of SHAKE-256
    of `trimtab directions SEED` (random signs keep distances: Achlioptas 2003). A row of another
    width, or with an entry that is not finite, is missing.
    """

    column: str
    width: int
    step: float
    seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The features it makes."""
        return tuple(f"{self.column}:{j:02}" for j in range(DIRECTIONS))

    def expand(self, column: Column) -> dict[str, NDArray[Any]]:
        """The features of some rows."""
        rows = matrix(self.column, column, self.width)
        bad = np.asarray(~np.isfinite(rows).all(axis=1))
        with np.errstate(over="ignore"):
            whole = np.clip(np.rint(np.where(bad[:, None], 0.0, rows) / self.step), -_CLIP, _CLIP)
        found = (whole @ _signs(self.width, self.seed)) * (self.step / math.sqrt(self.width))
        found[bad] = np.nan
        return {name: found[:, j] for j, name in enumerate(self.names)}


def expand(derived: Iterable[TextParts | Projection], columns: Columns) -> dict[str, Column]:
    """The columns, and the features that are made from them."""
    values = dict(columns)
    for one in derived:
        values |= one.expand(columns[one.column])
    return values


def fit_projection(name: str, column: Column) -> Projection:
    """The projection of an embedding column. Raises DataError where there is no vector."""
    width = _width(name, column)
    rows = matrix(name, column, width)
    sound = rows[np.isfinite(rows).all(axis=1)]
    largest = float(np.abs(sound).max(initial=0.0))
    exponent = math.frexp(largest)[1] if largest else 0
    return Projection(column=name, width=width, step=math.ldexp(1.0, max(exponent - _FINE, -1000)))


def matrix(name: str, column: Column, width: int) -> NDArray[np.float64]:
    """An embedding column as rows x `width`; NaN in rows that are no vector of that width.

    Raises DataError on a two-dimensional array of another width.
    """
    if column.ndim == 2:
        found = np.asarray(column, dtype=np.float64)
        if found.shape[1] != width:
            raise DataError(
                f"embedding {name!r} has {found.shape[1]} entries and had {width} in the reference",
                hint="another encoder needs another reference",
            )
        return found
    rows = np.full((len(column), width), np.nan)
    for place, value in enumerate(column.tolist()):
        vector = _vector(value)
        if vector is not None and len(vector) == width:
            rows[place] = vector
    return rows


def _width(name: str, column: Column) -> int:
    if column.ndim == 2:
        width = int(np.asarray(column).shape[1])
    else:
        vectors = (_vector(value) for value in column.tolist())
        width = next((len(one) for one in vectors if one is not None), 0)
    if not 0 < width <= MAX_WIDTH:
        raise DataError(
            f"embedding {name!r} has vectors of {width} entries",
            hint=f"an embedding has from 1 to {MAX_WIDTH:,} numbers a row",
        )
    return width


def _vector(value: Any) -> NDArray[np.float64] | None:
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.ndim == 1 else None


@lru_cache(maxsize=8)
def _signs(width: int, seed: int) -> NDArray[np.float64]:
    """The directions' signs (width x 64)."""
    raw = shake_256(f"trimtab directions {seed}".encode()).digest(width * DIRECTIONS // 8)
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8))
    return bits.reshape(width, DIRECTIONS).astype(np.float64) * 2 - 1


def _class(text: str) -> str:
    if not text:
        return "empty"
    if text.isspace():
        return "blank"
    if text.isascii():
        return "digits" if text.isdigit() else "ascii"
    return "latin" if max(text) < "\u0250" else "other"
