"""The reference by season: hour of the day, day of the week, or any small key that recurs.

A window is compared with the rows of its own season, several windows together with their seasons in
the windows' proportions. Which key a window has follows from its start through a `Calendar`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.profile.bins import Bins
from trimtab.profile.cells import NumberCells
from trimtab.profile.columns import Columns, take
from trimtab.profile.dispersion import LEAST_ROWS, Dispersion
from trimtab.profile.distance import anderson_darling, pearson
from trimtab.profile.profile import Counter, Profile

LEAST_CYCLES: Final = 4
MAX_KEYS: Final = 400
PERIODS: Final = {"day": 86_400_000_000, "week": 7 * 86_400_000_000}
_CLEAR: Final = 15.0
_LESS: Final = 2.0


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that recur: the number of a span of `span` microseconds within its period, in UTC.

    Periods begin with the epoch, so that day 0 of a week is a Thursday.
    """

    period: int
    span: int

    def keys(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The key of every time in microseconds."""
        found: NDArray[np.int64] = (times % self.period) // self.span
        return found

    def key(self, start: int, end: int) -> int | None:
        """The key of a window; None where it is longer than a span and has no single one."""
        if end - start > self.span:
            return None
        return (start % self.period) // self.span


@dataclass(frozen=True, eq=False)
class Seasons:
    """`profiles[i]` counted the reference's rows of season `keys[i]`; keys ascend.

    `calendar` is None where the caller gives the keys of windows. `dispersion` says how chunks of
    one season differ.
    """

    keys: tuple[int, ...]
    profiles: tuple[Profile, ...]
    calendar: Calendar | None = None
    dispersion: Dispersion | None = None


@dataclass(frozen=True, eq=False)
class Base:
    """What windows are held against: reference counts in the windows' seasons.

    `counts`, `moments` and `joints` sum to `rows` rows, which are as many as carry the same information; not
    whole numbers where several seasons are mixed.
    """

    counts: NDArray[Any]
    moments: NDArray[Any]
    rows: float
    joints: tuple[NDArray[Any], ...] = ()


def whole(profile: Profile) -> Base:
    """All rows of a reference."""
    return Base(profile.counts, profile.moments, float(profile.rows), profile.joints)


def mix(profile: Profile, seasons: Seasons, rows: Mapping[int | None, int]) -> Base:
    """The reference in the proportions of `rows` (key -> window rows); an unknown key means all.

    Shares are the weighted mean of the seasons' shares. Its variance is that of
    1 / sum(weight^2 / rows of the season) rows, which `Base.rows` says: a whole week of a pooled
    reference's own proportions is worth the whole reference.
    """
    known = dict(zip(seasons.keys, seasons.profiles, strict=True))
    weights: dict[int | None, int] = {}
    for key, n in rows.items():
        place = key if key in known and known[key].rows else None
        weights[place] = weights.get(place, 0) + n
    total = sum(weights.values())
    if not total or list(weights) == [None]:
        return whole(profile)
    parts = [(profile if key is None else known[key], n / total) for key, n in weights.items()]
    worth = 1 / sum(weight**2 / part.rows for part, weight in parts)
    scales = [(part, worth * weight / part.rows) for part, weight in parts]
    return Base(
        np.sum([part.counts * scale for part, scale in scales], axis=0),
        np.sum([part.moments * scale for part, scale in scales], axis=0),
        worth,
        tuple(
            np.sum([part.joints[place] * scale for part, scale in scales], axis=0)
            for place in range(len(profile.joints))
        ),
    )


def fit_seasons(
    bins: Bins,
    columns: Columns,
    chunks: NDArray[Any],
    keys: NDArray[np.int64],
    calendar: Calendar | None = None,
) -> Seasons | None:
    """Seasons of a table whose rows have `chunks` and `keys`.

    None below two keys, or where a key has fewer than 4 chunks or 50 rows. Raises DataError for
    over 400 keys.
    """
    known, rows = np.unique(keys, return_counts=True)
    if len(known) > MAX_KEYS:
        raise DataError(
            f"{len(known)} seasons are too many", hint=f"use up to {MAX_KEYS}, such as hours"
        )
    pairs = np.unique(np.stack([keys, chunks.astype(np.int64)]), axis=1)
    _, cycles = np.unique(pairs[0], return_counts=True)
    if len(known) < 2 or min(cycles) < LEAST_CYCLES or min(rows) < LEAST_ROWS:
        return None
    order = np.argsort(keys, kind="stable")
    parts = np.split(order, np.cumsum(rows)[:-1])
    counter = Counter(bins)
    profiles = tuple(counter.count(take(columns, bins.sources, part)) for part in parts)
    return Seasons(tuple(known.tolist()), profiles, calendar)


def clear(bins: Bins, profile: Profile, seasons: Seasons) -> bool:
    """Whether seasons differ by far more than the chunks of one season do.

    Splitting a reference costs power, so a season that nothing shows is not worth it. The
    Anderson-Darling statistic of some season against the others must be 15 times what ordinary
    variation within seasons makes it on average: by chance once in about 50,000.
    """
    stack = np.stack([part.counts for part in seasons.profiles])
    rest = profile.counts - stack
    for place, (cells, span) in enumerate(zip(bins.features, bins.spans().values(), strict=True)):
        phi = float(seasons.dispersion.shape[place]) if seasons.dispersion else 1.0
        own, others = stack[:, span][:, cells.ordered], rest[:, span][:, cells.ordered]
        for a, b in zip(own, others, strict=True):
            if isinstance(cells, NumberCells):
                strength = float(anderson_darling(a, b)[0])
            else:
                freedom = max(int(((a + b) > 0).sum()) - 1, 1)
                strength = (float(pearson(a, b)[0]) - freedom) / np.sqrt(2 * freedom)
            if strength > _CLEAR * phi:
                return True
    return False


def finer(seasons: Seasons, coarser: Seasons) -> bool:
    """Whether chunks of one of these seasons differ far less than those of a coarser key."""
    if seasons.dispersion is None or coarser.dispersion is None:
        return False
    return bool((coarser.dispersion.shape > _LESS * seasons.dispersion.shape).any())
