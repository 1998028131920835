"""The frozen reference bins of a whole table: one `Cells` per feature and the layout of the counts.

`Bins` never changes once fitted; every profile of it names its digest, so that only profiles on
equal bins are merged or compared.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab.errors import NotFoundError
from trimtab.profile import wire
from trimtab.profile.cells import CategoryCells, Cells, NumberCells

MAX_PAIRED: Final = 200
_MAGIC: Final = b"trimtabB"


class Bins(msgspec.Struct, frozen=True, kw_only=True):
    """The cells of every feature in column order. The first 200 features have co-moments."""

    features: tuple[NumberCells | CategoryCells, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names in order."""
        return tuple(cells.name for cells in self.features)

    @property
    def paired(self) -> int:
        """How many features, from the first on, take part in the co-moments."""
        return min(len(self.features), MAX_PAIRED)

    def spans(self) -> dict[str, slice]:
        """Where each feature's counts lie in a profile's count vector."""
        spans, start = {}, 0
        for cells in self.features:
            spans[cells.name] = slice(start, start + cells.size)
            start += cells.size
        return spans

    @property
    def size(self) -> int:
        """The length of a profile's count vector."""
        return sum(cells.size for cells in self.features)

    def feature(self, name: str) -> Cells:
        """The cells of a feature. Raises NotFoundError."""
        for cells in self.features:
            if cells.name == name:
                return cells
        raise NotFoundError(
            f"there is no feature {name!r} in these bins", hint=f"there are {', '.join(self.names)}"
        )


def digest(bins: Bins) -> str:
    """32 hex digits that name the bins: equal bins, equal digest."""
    return wire.checksum(msgspec.msgpack.encode(bins)).hex()


def encode(bins: Bins) -> bytes:
    """The bins as bytes (docs/formats/profile.md)."""
    return wire.frame(_MAGIC, msgspec.msgpack.encode(bins))


def decode(data: bytes) -> Bins:
    """The inverse of `encode`. Raises IntegrityError."""
    bins: Bins = wire.decode_payload(wire.unframe(_MAGIC, data), Bins)
    return bins
