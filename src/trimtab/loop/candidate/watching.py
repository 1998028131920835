"""The reference that a packaged model's traffic will be held against, made from its candidate.

Withheld rows, which no fit has seen, say what ordinary data look like. How much windows differ, and
how much rows of one entity are alike, is learnt from the training rows as well: more windows say it
better. The model's answers to rows that it was fitted to are compared among themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.config import Config, duration
from trimtab.errors import ConfigError
from trimtab.model.load import LoadedModel
from trimtab.monitor.log import traffic
from trimtab.profile import reference as references
from trimtab.profile.columns import is_free_text
from trimtab.profile.reference import Past
from trimtab.tune.candidate import Candidate

Columns = dict[str, Any]

_WINDOWS: Final = 100
_FOUR_WEEKS: Final = 4 * 7 * 86_400_000_000
_MOST_WINDOWS: Final = 700
_ROWS: Final = 200_000
_PART: Final = "\0withheld"


def reference(
    config: Config,
    candidate: Candidate,
    model: LoadedModel,
    answered: Callable[[pl.DataFrame], Columns],
    more: pl.DataFrame | None = None,
) -> bytes:
    """The encoded reference; `answered` gives the inputs and outputs of some rows.

    `more` are rows that no fit has seen either, with the withheld rows' columns: they count as such.
    Raises ConfigError for a `[monitor] entity` that is no column.
    """
    withheld = candidate.withheld
    if more is not None:
        withheld = pl.concat([withheld, more], how="vertical_relaxed")
    time, entity = _time(config, withheld), _entity(config, candidate)
    slices = sorted(
        {one.across or one.by for one in config.require if one.across or one.by}
        & set(withheld.columns)
    )
    table = {name: _slice(withheld[name]) for name in slices} | answered(withheld)
    kinds = _kinds(model, table)
    if not time and not entity:
        return references.encode(references.fit_reference(table, kinds=kinds, slices=slices))
    past = _past(config, candidate.train, withheld, (time, entity))
    columns = answered(past)
    entities = _slice(past[entity]) if entity else None
    known = Past(columns, entities=entities, parts=past[_PART].to_numpy())
    if not time:
        found = references.fit_reference(table, kinds=kinds, slices=slices, past=known)
        return references.encode(found)
    found = references.fit_dated(
        table,
        _micros(withheld[time]),
        span=duration(config.monitor.window),
        season=config.monitor.season,
        kinds=kinds,
        slices=slices,
        past=known,
        past_times=_micros(past[time]),
    )
    return references.encode(found)


def _past(
    config: Config, train: pl.DataFrame, withheld: pl.DataFrame, names: tuple[str, str]
) -> pl.DataFrame:
    """The newest windows of all rows: 100 or four weeks of them, no more than 200,000 rows."""
    (time, _), both = names, (train, withheld)
    parts = [rows.with_columns(pl.lit(part).alias(_PART)) for part, rows in enumerate(both)]
    rows = pl.concat(parts, how="vertical_relaxed")
    if time:
        rows = rows.drop_nulls([time])
        span = duration(config.monitor.window)
        moments = _micros(rows[time])
        newest = int(moments.max()) // span if len(moments) else 0
        windows = max(_WINDOWS, min(_FOUR_WEEKS // span, _MOST_WINDOWS))
        rows = rows.filter(pl.Series(moments // span > newest - windows)).sort(time)
    # the newest ones as they are: thinning would cut bursts apart
    return rows.tail(_ROWS)


def _time(config: Config, rows: pl.DataFrame) -> str:
    """The event time's column, where every withheld row has one."""
    names = [one.time for one in config.data.values() if one.time]
    return next(
        (
            name
            for name in names
            if name in rows.columns
            and rows[name].dtype.is_temporal()
            and rows[name].dtype != pl.Time
            and not rows[name].null_count()
        ),
        "",
    )


def _entity(config: Config, candidate: Candidate) -> str:
    name = config.monitor.entity
    if name and name not in candidate.withheld.columns:
        raise ConfigError(
            f"[monitor] entity = {name!r} is no column of the training rows",
            hint=f"there are {', '.join(candidate.withheld.columns)}",
        )
    return name


def _micros(values: pl.Series) -> NDArray[np.int64]:
    return values.dt.timestamp("us").to_numpy()


def _slice(values: pl.Series) -> NDArray[Any]:
    found = np.empty(len(values), dtype=object)
    found[:] = values.to_list() if values.dtype.is_numeric() else values.cast(pl.String).to_list()
    return found


def _kinds(model: LoadedModel, table: Columns) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        column.name: "number"
        if column.kind != "text"
        else "text"
        if is_free_text(table[column.name])
        else "category"
        for column in model.signature.inputs
    }
    kinds[traffic.SCORE] = "number"
    if model.signature.task != "regression":
        kinds[traffic.DECISION] = "category"
    return kinds
