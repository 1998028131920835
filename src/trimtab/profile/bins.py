"""The frozen reference bins of a whole table: one `Cells` per feature and the layout of the counts.

`Bins` never changes once fitted; every profile of it names its digest, so that only profiles on
equal bins are merged or compared.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from trimtab.errors import NotFoundError
from trimtab.profile import wire
from trimtab.profile.cells import CategoryCells, Cells, NumberCells
from trimtab.profile.columns import Column, Columns
from trimtab.profile.derived import Projection, TextParts, expand
from trimtab.profile.scales import SCALES

MAX_PAIRED: Final = 200
_MAGIC: Final = b"trimtabB"


class Joint(msgspec.Struct, frozen=True, kw_only=True):
    """A slice whose rows are counted jointly with a feature: every (slice cell, group).

    `groups` says of each code of `feature` which group it is in.
    """

    slice: NumberCells | CategoryCells
    feature: str
    groups: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Codes of the slice, and groups."""
        return self.slice.size, max(self.groups) + 1


class Bins(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The cells of every feature in column order. The first 200 features have co-moments.

    `derived` make features from text and embedding columns, `joints` are slices of the predictions.
    What a table does not use is left out of the bytes, and so out of the digest.
    """

    features: tuple[NumberCells | CategoryCells, ...]
    derived: tuple[TextParts | Projection, ...] = ()
    joints: tuple[Joint, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names in order."""
        return tuple(cells.name for cells in self.features)

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns that a table must have, and then those it may have."""
        more = [joint.slice.name for joint in self.joints]
        return tuple(dict.fromkeys([*self.needed, *more, *SCALES]))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        made = {name for one in self.derived for name in one.names}
        plain = [name for name in self.names if name not in made]
        return (*plain, *(one.column for one in self.derived))

    def expanded(self, columns: Columns) -> dict[str, Column]:
        """The columns, and the features made from those of them that are text or embeddings."""
        return expand((one for one in self.derived if one.column in columns), columns)

    def made_of(self, columns: Collection[str]) -> set[str]:
        """The names of columns, and of the features that are made from them."""
        return {*columns, *(n for one in self.derived if one.column in columns for n in one.names)}

    @property
    def categories(self) -> tuple[int, ...]:
        """The places of the categorical features."""
        return tuple(
            place for place, cells in enumerate(self.features) if isinstance(cells, CategoryCells)
        )

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
