"""A seeded world of parcels in which, over weeks, everything happens that a model must live through.

A story is a list of chapters by day: other parcels, another meaning of the same parcels, a column
that breaks upstream, labels that do not come. All randomness comes from the seed and the day, so a
day is the same however often it is asked for. It neither trains nor sends anything.

**What is sent.** Every day has a weekday's and an hour's load, all draws independent::

    distance = exp(4.5 + D + 0.7 e1)                 km; D is 0, or 0.45 where other parcels come
    weight   = Gamma(shape 2, scale 2)               kg
    load     = 10 + 2 [Mon-Fri] - 3 [Sat, Sun] + 1.5 sin(pi hour / 12) + 2 e2     lorries waiting
    service  ~ economy 0.3, standard 0.5, express 0.2; where other parcels come 0.4, 0.35, 0.25
    depot    ~ east, north, south, west, evenly

**What is late.** With z = (ln distance - 4.5) / 0.7, (weight - 4) / 2.8, (load - 10.6) / 3.2 (0 where load is
left out, which it is with probability 0.01)::

    log odds of late = c + c_distance z + c_weight z + c_load z + service's effect

with the coefficients of a law (`LAWS`). While a change is gradual each parcel follows the new law
with a probability that rises by the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal[
    "sudden", "gradual", "covariate", "nulls", "unit", "no labels", "kill", "deploy", "kill job"
]

DAY: Final = 86_400_000_000
NUMBERS: Final = ("distance", "weight", "load")
WORDS: Final = ("service", "depot")
SERVICES: Final = {"economy": 0.6, "standard": 0.0, "express": -0.8}
_DEPOTS: Final = ("east", "north", "south", "west")
_ROWS, _TIMES, _TRUTH, _LAW, _DELAY, _BROKEN = range(6)


class Law(NamedTuple):
    """What makes a parcel late: c, c_distance, c_weight, c_load and the share of service's effect."""

    constant: float
    distance: float
    weight: float
    load: float
    service: float


LAWS: Final = {
    "roads": Law(-0.8, 1.3, 0.2, 0.9, 1.0),
    "motorway": Law(-0.6, -0.9, 1.3, 0.3, -0.5),
    "strike": Law(-0.4, 0.5, -0.6, 1.5, -1.2),
}
"""Each can be learnt about as well; what was learnt of one is of little use under another."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """Something that happens from day `begin` until before day `end`; a law's change stays."""

    kind: Kind
    begin: int
    end: int
    law: str = ""
    column: str = ""

    @property
    def title(self) -> str:
        """The chapter in a few words."""
        return {
            "sudden": f"concept: {self.law} from one day to the next",
            "gradual": f"concept: {self.law}, little by little",
            "covariate": "other parcels, the same law",
            "nulls": f"{self.column} arrives empty, mostly",
            "unit": f"{self.column} arrives in metres",
            "no labels": "no labels come",
            "kill": "the endpoint is killed",
            "kill job": "a retrain is killed",
            "deploy": "a person deploys the first model again",
        }[self.kind]


TWENTY: Final = (
    Chapter(kind="sudden", begin=14, end=15, law="motorway"),
    Chapter(kind="kill job", begin=14, end=36),
    Chapter(kind="covariate", begin=38, end=52),
    Chapter(kind="gradual", begin=58, end=72, law="strike"),
    Chapter(kind="no labels", begin=90, end=98),
    Chapter(kind="nulls", begin=101, end=103, column="load"),
    Chapter(kind="unit", begin=105, end=106, column="distance"),
    Chapter(kind="sudden", begin=112, end=113, law="roads"),
    Chapter(kind="deploy", begin=126, end=127),
    Chapter(kind="kill", begin=130, end=131),
)
"""Twenty weeks; what is left between the chapters is calm. `roads` comes back on day 112."""
SIX: Final = (
    Chapter(kind="nulls", begin=6, end=8, column="load"),
    Chapter(kind="sudden", begin=14, end=15, law="motorway"),
    Chapter(kind="kill", begin=30, end=31),
    Chapter(kind="no labels", begin=34, end=40),
)
"""Six weeks for a quicker look."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Parcels from `start` (microseconds, a midnight) on; days before it, history, are negative."""

    seed: int
    start: int
    story: Sequence[Chapter] = TWENTY
    a_day: int = 360

    def day(self, day: int) -> pl.DataFrame:
        """A day's parcels in order of time, as they are in truth.

        Columns: parcel_id, sent_at, distance, weight, load, service, depot, late, known_at; the
        last is when the truth becomes known, null where it never does.
        """
        weekend = self.weekday(day) >= 5
        count = int(self._stream(_TIMES, day).poisson(self.a_day * (0.75 if weekend else 1.1)))
        moments = np.sort(self._stream(_TIMES, day).beta(1.6, 1.6, count)) * DAY
        table = self._parcels(self._stream(_ROWS, day), moments, day)
        names = [f"P{day:+05d}-{number:04d}" for number in range(count)]
        return table.select(
            pl.Series("parcel_id", names),
            pl.Series("sent_at", self.midnight(day) + moments.astype(np.int64)).cast(
                pl.Datetime("us", "UTC")
            ),
            *NUMBERS,
            *WORDS,
            self._late(table, day, (_TRUTH, _LAW)),
            self._known_at(day, moments),
        )

    def present(self, day: int, rows: int = 20_000) -> pl.DataFrame:
        """Fresh parcels of a day's world, with their truth: what a model's risk is taken on."""
        stream = np.random.default_rng([self.seed, 99, day + 10_000])
        table = self._parcels(stream, stream.beta(1.6, 1.6, rows) * DAY, day)
        return table.with_columns(self._late(table, day, (_TRUTH + 10, _LAW + 10)))

    def as_sent(self, rows: pl.DataFrame, day: int) -> pl.DataFrame:
        """A day's parcels as they reach the endpoint: with what broke upstream."""
        for one in self.during(day, "nulls"):
            gone = pl.Series(self._stream(_BROKEN, day).random(len(rows)) < 0.7)
            kept = pl.when(~gone).then(one.column).alias(one.column)
            rows = rows.with_columns(kept)
        for one in self.during(day, "unit"):
            rows = rows.with_columns(pl.col(one.column) * 1_000)
        return rows

    def history(self, days: int) -> pl.DataFrame:
        """The days before the story, in order of time, without `known_at`."""
        return pl.concat([self.day(day) for day in range(-days, 0)]).drop("known_at")

    def during(self, day: int, *kinds: Kind) -> list[Chapter]:
        """The chapters of these kinds that a day belongs to."""
        return [one for one in self.story if one.kind in kinds and one.begin <= day < one.end]

    def midnight(self, day: int) -> int:
        """When a day begins, in microseconds."""
        return self.start + day * DAY

    def weekday(self, day: int) -> int:
        """0 is Monday."""
        return (self.midnight(day) // DAY + 3) % 7

    def _parcels(self, stream: np.random.Generator, moments: Floats, day: int) -> pl.DataFrame:
        rows, other = len(moments), bool(self.during(day, "covariate"))
        distance = np.exp(4.5 + 0.45 * other + 0.7 * stream.standard_normal(rows))
        weight = stream.gamma(2.0, 2.0, rows)
        of_day = -3.0 if self.weekday(day) >= 5 else 2.0
        of_hour = 1.5 * np.sin(np.pi * moments / DAY * 2)
        load = 10 + of_day + of_hour + 2 * stream.standard_normal(rows)
        shares = (0.4, 0.35, 0.25) if other else (0.3, 0.5, 0.2)
        table = pl.DataFrame(
            {
                "distance": np.round(distance, 1),
                "weight": np.round(weight, 2),
                "load": np.maximum(np.round(load), 0.0),
                "service": stream.choice(list(SERVICES), rows, p=shares),
                "depot": stream.choice(_DEPOTS, rows),
            }
        )
        known = pl.Series(stream.random(rows) >= 0.01)
        return table.with_columns(load=pl.when(known).then("load"))

    def _late(self, table: pl.DataFrame, day: int, streams: tuple[int, int]) -> pl.Series:
        before, after, share = self._law(day)
        new = self._stream(streams[1], day).random(len(table)) < share
        odds = np.where(new, log_odds(table, LAWS[after]), log_odds(table, LAWS[before]))
        draw = self._stream(streams[0], day).random(len(table))
        return pl.Series("late", draw < 1 / (1 + np.exp(-odds)))

    def _law(self, day: int) -> tuple[str, str, float]:
        """The law that was, the one that comes, and the share of parcels that follow it already."""
        before = after = "roads"
        share = 1.0
        for one in self.story:
            if one.kind in ("sudden", "gradual") and one.begin <= day:
                before, after = after, one.law
                share = min(1.0, (day - one.begin + 1) / (one.end - one.begin))
        return before, after, share

    def _known_at(self, day: int, moments: Floats) -> pl.Series:
        """Half are known after a day and a half, 19 of 20 after three and a half, 1 of 33 never."""
        stream = self._stream(_DELAY, day)
        delay = stream.lognormal(np.log(1.5), 0.5, len(moments)) * DAY
        never = stream.random(len(moments)) < 0.03
        known = self.midnight(day) + (moments + delay).astype(np.int64)
        silent = bool(self.during(day, "no labels"))
        cells = pl.Series("known_at", known).cast(pl.Datetime("us", "UTC"))
        return cells.set(pl.Series(never | silent), None)

    def _stream(self, what: int, day: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, what, day + 10_000])


def log_odds(table: pl.DataFrame, law: Law) -> Floats:
    """The true log odds of being late of each row (n,)."""
    distance = (np.log(table["distance"].to_numpy()) - 4.5) / 0.7
    weight = (table["weight"].to_numpy() - 4) / 2.8
    load = ((table["load"] - 10.6) / 3.2).fill_null(0.0).to_numpy()
    service = table["service"].replace_strict(SERVICES, return_dtype=pl.Float64).to_numpy()
    odds = law.constant + law.distance * distance + law.weight * weight + law.load * load
    known: Floats = odds + law.service * service
    return known
