"""The reference that windows are judged against: bins, the profile on them, ordinary variation.

It is part of a model's artifact. A model's own outputs (`__score__`, `__decision__`) are features
like any other. Raw rows are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, IntegrityError
from trimtab.profile import bins as binning
from trimtab.profile import profile as profiles
from trimtab.profile import wire
from trimtab.profile.bins import Bins
from trimtab.profile.columns import Columns, Kind, row_count
from trimtab.profile.dispersion import Dispersion, chunk_profiles, fit_dispersion
from trimtab.profile.fit import fit
from trimtab.profile.pairs import Pairs, fit_pairs
from trimtab.profile.profile import Profile

_MAGIC: Final = b"trimtabR"


@dataclass(frozen=True, eq=False)
class Reference:
    """What ordinary data look like; `dispersion` is None where no chunks were given."""

    bins: Bins
    profile: Profile
    pairs: Pairs
    dispersion: Dispersion | None = None


class _Dispersion(msgspec.Struct, frozen=True, kw_only=True):
    chunks: int
    rows: float
    shape: wire.Packed
    cells: wire.Packed
    rates: wire.Packed
    pairs: float


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    bins: bytes
    profile: bytes
    variance: wire.Packed
    kurtosis: wire.Packed
    dispersion: _Dispersion | None


def fit_reference(
    columns: Columns,
    chunks: NDArray[Any] | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Reference:
    """The reference of a table.

    `chunks` (int, one per row: day, batch) says which rows came together; from 8 chunks of 50 rows
    on their ordinary variation is kept and judging allows for it. Raises DataError on no rows.
    """
    bins = fit(columns, kinds)
    pairs = fit_pairs(bins, columns)
    dispersion = None
    if chunks is not None:
        if len(chunks) != row_count(columns):
            raise DataError(
                f"there are {len(chunks)} chunk numbers for {row_count(columns)} rows",
                hint="give every row the number of its day or batch",
            )
        dispersion = fit_dispersion(bins, chunk_profiles(bins, columns, chunks), pairs)
    return Reference(bins, profiles.count(bins, columns), pairs, dispersion)


def encode(reference: Reference) -> bytes:
    """The reference as bytes (docs/formats/profile.md)."""
    content = _Wire(
        bins=binning.encode(reference.bins),
        profile=profiles.encode(reference.profile),
        variance=wire.pack(reference.pairs.variance.astype(np.float32)),
        kurtosis=wire.pack(reference.pairs.kurtosis.astype(np.float32)),
        dispersion=_pack(reference.dispersion),
    )
    return wire.frame(_MAGIC, msgspec.msgpack.encode(content))


def decode(data: bytes) -> Reference:
    """The inverse of `encode`. Raises IntegrityError, also where bins and profile do not match."""
    content: _Wire = wire.decode_payload(wire.unframe(_MAGIC, data), _Wire)
    bins, profile = binning.decode(content.bins), profiles.decode(content.profile)
    if profile.bins != binning.digest(bins):
        raise IntegrityError(
            "a reference's profile was counted on other bins than it holds",
            hint="package the model again",
        )
    pairs = Pairs(wire.floats(content.variance), wire.floats(content.kurtosis))
    return Reference(bins, profile, pairs, _unpack(content.dispersion))


def _pack(dispersion: Dispersion | None) -> _Dispersion | None:
    if dispersion is None:
        return None
    return _Dispersion(
        chunks=dispersion.chunks,
        rows=dispersion.rows,
        shape=wire.pack(dispersion.shape),
        cells=wire.pack(dispersion.cells),
        rates=wire.pack(dispersion.rates),
        pairs=dispersion.pairs,
    )


def _unpack(packed: _Dispersion | None) -> Dispersion | None:
    if packed is None:
        return None
    return Dispersion(
        chunks=packed.chunks,
        rows=packed.rows,
        shape=wire.floats(packed.shape),
        cells=wire.floats(packed.cells),
        rates=wire.floats(packed.rates),
        pairs=packed.pairs,
    )
