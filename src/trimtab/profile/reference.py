"""The reference that windows are judged against: bins, the profile on them, ordinary variation.

It is part of a model's artifact. A model's own outputs (`__score__`, `__decision__`) are features
like any other. Raw rows are not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, IntegrityError
from trimtab.profile import bins as binning
from trimtab.profile import profile as profiles
from trimtab.profile import windows as past_windows
from trimtab.profile import wire
from trimtab.profile.bins import Bins
from trimtab.profile.cells import NumberCells
from trimtab.profile.columns import Column, Columns, Kind, embeddings, row_count, take
from trimtab.profile.dispersion import (
    Dispersion,
    chunk_profiles,
    cluster_profiles,
    dated_profiles,
    fit_dispersion,
    joined,
)
from trimtab.profile.distance import CONTINUOUS, anderson_law
from trimtab.profile.fit import fit
from trimtab.profile.pairs import Pairs, fit_pairs
from trimtab.profile.profile import Profile
from trimtab.profile.seasons import MAX_KEYS, PERIODS, Calendar, Seasons, clear, finer, fit_seasons
from trimtab.profile.windows import Windows

_MAGIC: Final = b"trimtabR"
_MOST_SPANS: Final = 1_000


@dataclass(frozen=True, eq=False)
class Reference:
    """What ordinary data look like.

    `dispersion` says how chunks differ, `clusters` how groups of whole entities do; None where they
    were not given or are too few. `laws` (features x 2) are the tails of the Anderson-Darling
    statistic (`distance.anderson_law`), empty in files of version 1. `windows` are the counts of each
    window that `dispersion` was learnt from, None where rows have no times.
    """

    bins: Bins
    profile: Profile
    pairs: Pairs
    dispersion: Dispersion | None = None
    clusters: Dispersion | None = None
    seasons: Seasons | None = None
    laws: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    windows: Windows | None = None

    def law(self, place: int) -> tuple[float, float]:
        """The scale and factor of a feature's Anderson-Darling statistic."""
        if not len(self.laws):
            return CONTINUOUS
        scale, factor = self.laws[place].tolist()
        return scale, factor


@dataclass(frozen=True, eq=False)
class Past:
    """Rows that show ordinary variation: `chunks` and `entities` one per row.

    `parts` (int, one per row) keep apart what would differ by itself, such as rows that a model was
    fitted to and rows that it never saw: only rows of one part are compared.
    """

    columns: Columns
    chunks: NDArray[Any] | None = None
    entities: Column | None = None
    parts: NDArray[np.int64] | None = None


class _Dispersion(msgspec.Struct, frozen=True, kw_only=True):
    chunks: int
    rows: float
    shape: wire.Packed
    cells: wire.Packed
    rates: wire.Packed
    pairs: float


class _Seasons(msgspec.Struct, frozen=True, kw_only=True):
    keys: tuple[int, ...]
    profiles: tuple[bytes, ...]
    calendar: Calendar | None
    dispersion: _Dispersion | None


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    bins: bytes
    profile: bytes
    variance: wire.Packed
    kurtosis: wire.Packed
    dispersion: _Dispersion | None
    clusters: _Dispersion | None = None
    seasons: _Seasons | None = None
    laws: wire.Packed | None = None
    windows: past_windows.Packed | msgspec.UnsetType = msgspec.UNSET


def fit_reference(
    columns: Columns,
    chunks: NDArray[Any] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    *,
    seasons: NDArray[Any] | None = None,
    entities: Column | None = None,
    slices: Collection[str] = (),
    past: Past | None = None,
) -> Reference:
    """The reference of a table.

    `chunks` (int, one per row: day, batch) says which rows came together; from 8 chunks of 50 rows
    on their ordinary variation is kept and judging allows for it. `seasons` (int, one per row: day
    of the week, hour) splits the reference by a key that recurs, if each key has 4 chunks and more.
    `entities` (one per row: user, session) says which rows are no independent witnesses. `slices`
    are columns whose values are counted jointly with the model's score, and not judged. `past`
    holds other rows to learn ordinary variation from, in place of `chunks` and `entities`. Raises
    DataError on no rows, and on keys that do not pair up with rows.
    """
    rows = row_count(columns, embeddings(kinds))
    for name, keys in (("chunk", chunks), ("season", seasons), ("entity", entities)):
        if keys is not None and len(keys) != rows:
            raise DataError(
                f"there are {len(keys)} {name} numbers for {rows} rows",
                hint="give every row the number of its day or batch",
            )
    if seasons is not None and chunks is None:
        raise DataError(
            "seasons recur from chunk to chunk, and there are no chunks",
            hint="give the number of its day or batch for every row as well",
        )
    bins = fit(columns, kinds, slices=slices)
    found = _pooled(bins, columns, past or Past(columns, chunks, entities))
    if seasons is None or chunks is None:
        return found
    keys = _whole_numbers(seasons)
    parts = fit_seasons(bins, columns, chunks, keys)
    if parts is None:
        return found
    keyed = chunk_profiles(bins, columns, chunks, keys)
    within = replace(parts, dispersion=fit_dispersion(bins, keyed, found.pairs))
    return replace(found, seasons=within)


def fit_on(bins: Bins, columns: Columns) -> Reference:
    """The reference of a table on bins that another one made, so that both can be compared.

    Raises DataError where a column is absent, or on no rows.
    """
    if not row_count(columns, [one.column for one in bins.derived]):
        raise DataError("a reference needs rows and this table has none")
    return _pooled(bins, columns, Past(columns))


def fit_dated(
    columns: Columns,
    times: NDArray[np.int64],
    *,
    span: int,
    season: str = "auto",
    kinds: Mapping[str, Kind] | None = None,
    slices: Collection[str] = (),
    past: Past | None = None,
    past_times: NDArray[np.int64] | None = None,
) -> Reference:
    """The reference of a table whose rows have `times` (microseconds), for windows of `span`.

    Chunks are the spans of the windows to come. `season` is "day", "week", "none" or "auto": the
    day if it recurs 4 times and shows, the week if it does and explains more; none of over 400 spans.
    `past` may hold other rows to learn ordinary variation from, at `past_times` (default: the
    table's own).
    """
    bins = fit(columns, kinds, slices=slices)
    other = past or Past(columns)
    moments = times if past_times is None else past_times
    windows = _windows(bins, other, moments, span)
    found = _pooled(bins, columns, replace(other, chunks=None), burst_chunks=moments // span)
    plain = joined((part, one) for part, _, one in windows)
    found = replace(
        found,
        dispersion=fit_dispersion(bins, plain, found.pairs),
        windows=past_windows.of(windows, span),
    )
    best: Seasons | None = None
    for name in ("day", "week") if season == "auto" else (season,):
        period = PERIODS.get(name, 0)
        if period <= span or period % span or period // span > MAX_KEYS:
            continue
        calendar = Calendar(period=period, span=span)
        seasons = fit_seasons(bins, columns, times // span, calendar.keys(times), calendar)
        if seasons is None:
            continue
        within = joined((_key(calendar, start, part), one) for part, start, one in windows)
        seasons = replace(seasons, dispersion=fit_dispersion(bins, within, found.pairs))
        if season != "auto" or (
            clear(bins, found.profile, seasons) and (best is None or finer(seasons, best))
        ):
            best = seasons
    return replace(found, seasons=best)


def _windows(
    bins: Bins, past: Past, times: NDArray[np.int64], span: int
) -> list[tuple[int, int, Profile]]:
    """(part, start, profile) of every span of time that holds rows of a part; the newest 1,000."""
    starts = np.unique(times // span)
    recent = times // span >= starts[-_MOST_SPANS:][0]
    if not recent.all():
        rows = np.flatnonzero(recent)
        parts = None if past.parts is None else past.parts[rows]
        columns = take(past.columns, bins.sources, rows)
        return _windows(bins, Past(columns, parts=parts), times[rows], span)
    if past.parts is None:
        return [(0, *one) for one in dated_profiles(bins, past.columns, times, span)]
    found: list[tuple[int, int, Profile]] = []
    for part in np.unique(past.parts).tolist():
        rows = np.flatnonzero(past.parts == part)
        columns = take(past.columns, bins.sources, rows)
        found += [(part, *one) for one in dated_profiles(bins, columns, times[rows], span)]
    return found


def _key(calendar: Calendar, start: int, part: int = 0) -> int:
    """A span's season, apart for every part."""
    return (start % calendar.period) // calendar.span + part * MAX_KEYS


def _pooled(
    bins: Bins, columns: Columns, past: Past, burst_chunks: NDArray[Any] | None = None
) -> Reference:
    pairs = fit_pairs(bins, columns)
    dispersion = clusters = None
    if past.chunks is not None:
        keyed = chunk_profiles(bins, past.columns, past.chunks, past.parts)
        dispersion = fit_dispersion(bins, keyed, pairs)
    if past.entities is not None:
        together = past.chunks if burst_chunks is None else burst_chunks
        groups = cluster_profiles(bins, past.columns, past.entities, together, past.parts)
        clusters = fit_dispersion(bins, groups, pairs)
    counted = profiles.count(bins, columns)
    laws = [
        anderson_law(counted.counts[span][cells.ordered])
        if isinstance(cells, NumberCells)
        else CONTINUOUS
        for cells, span in zip(bins.features, bins.spans().values(), strict=True)
    ]
    return Reference(bins, counted, pairs, dispersion, clusters, laws=np.array(laws))


def _whole_numbers(keys: NDArray[Any]) -> NDArray[np.int64]:
    if keys.dtype.kind not in "iub":
        raise DataError(
            f"seasons are whole numbers, not {keys.dtype}",
            hint="number them: day of the week 0 to 6, hour 0 to 23",
        )
    return keys.astype(np.int64)


def encode(reference: Reference) -> bytes:
    """The reference as bytes (docs/formats/profile.md)."""
    content = _Wire(
        bins=binning.encode(reference.bins),
        profile=profiles.encode(reference.profile),
        variance=wire.pack(reference.pairs.variance.astype(np.float32)),
        kurtosis=wire.pack(reference.pairs.kurtosis.astype(np.float32)),
        dispersion=_pack(reference.dispersion),
        clusters=_pack(reference.clusters),
        seasons=_pack_seasons(reference.seasons),
        laws=wire.pack(reference.laws),
        windows=past_windows.pack(reference.windows) if reference.windows else msgspec.UNSET,
    )
    return wire.frame(_MAGIC, msgspec.msgpack.encode(content))


def decode(data: bytes) -> Reference:
    """The inverse of `encode`. Raises IntegrityError, also where bins and profile do not match."""
    content: _Wire = wire.decode_payload(wire.unframe(_MAGIC, data), _Wire)
    bins, profile = binning.decode(content.bins), profiles.decode(content.profile)
    seasons = _unpack_seasons(content.seasons)
    parts = () if seasons is None else seasons.profiles
    if {one.bins for one in (profile, *parts)} != {binning.digest(bins)}:
        raise IntegrityError(
            "a reference's profile was counted on other bins than it holds",
            hint="package the model again",
        )
    pairs = Pairs(wire.floats(content.variance), wire.floats(content.kurtosis))
    return Reference(
        bins,
        profile,
        pairs,
        _unpack(content.dispersion),
        _unpack(content.clusters),
        seasons,
        np.empty((0, 2)) if content.laws is None else wire.floats(content.laws),
        past_windows.unpack(content.windows, len(profile.counts)) if content.windows else None,
    )


def _pack_seasons(seasons: Seasons | None) -> _Seasons | None:
    if seasons is None:
        return None
    return _Seasons(
        keys=seasons.keys,
        profiles=tuple(map(profiles.encode, seasons.profiles)),
        calendar=seasons.calendar,
        dispersion=_pack(seasons.dispersion),
    )


def _unpack_seasons(packed: _Seasons | None) -> Seasons | None:
    if packed is None:
        return None
    if len(packed.keys) != len(packed.profiles):
        raise IntegrityError("a reference's seasons and their keys differ in number")
    return Seasons(
        packed.keys,
        tuple(map(profiles.decode, packed.profiles)),
        packed.calendar,
        _unpack(packed.dispersion),
    )


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
