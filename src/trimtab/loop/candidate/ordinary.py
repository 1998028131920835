"""What an endpoint's traffic ordinarily looks like, for the reference of a model made of a part of it.

A retrain learns from the labelled rows since a change, a few days of them. Its monitor must know
weekends too: so the reference counts the traffic before the change as well, as far back as the
inputs had not moved, and what has no label yet. Rows that the model was fitted to are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from trimtab import ids
from trimtab.config import Config
from trimtab.deploy import local
from trimtab.errors import NotFoundError
from trimtab.loop.alerts.incidents import GARBLED
from trimtab.loop.project import Project
from trimtab.model import registry
from trimtab.model.signature import Signature
from trimtab.monitor.findings import called
from trimtab.monitor.log import catalogue, history
from trimtab.monitor.log.traffic import Answers
from trimtab.store import operations
from trimtab.store.records import Window
from trimtab.tune.candidate import Candidate

_FIVE_WEEKS: Final = 35 * 86_400_000_000
_MOST: Final = 100_000


def rows(project: Project, cause: Mapping[str, Any], candidate: Candidate) -> pl.DataFrame | None:
    """Logged rows with the withheld rows' columns; None where the cause is no endpoint's traffic.

    Without a column of event time a row that was fitted cannot be told from one that was not, so
    there are none either.
    """
    endpoint, since = str(cause.get("endpoint", "")), int(cause.get("since") or 0)
    time = _time(project.config, candidate)
    if not endpoint or not since or not time or project.config.monitor.entity:
        return None  # bursts could not be told apart in a log that names no entity
    windows = [
        one for one in operations.windows(project.ws, endpoint=endpoint) if one.role != "shadow"
    ]
    ordinary = _ordinary(project, endpoint, windows, since)
    begin = min([since, *(one.start for one in ordinary)])
    known = set(candidate.train[time].dt.timestamp("us").to_list())
    known |= set(candidate.withheld[time].dt.timestamp("us").to_list())
    parts = []
    with catalogue.open_catalogue(local.folder(project.ws, endpoint)) as index:
        for model in dict.fromkeys(one.model for one in windows if one.end > begin):
            spans = [(one.start, one.end) for one in ordinary if one.model == model]
            signed = _signature(project, model)
            if signed is None or not _same_inputs(signed, candidate):
                continue
            found = history.read(index, signed, model, since=begin, tail=True)
            parts.append(_frame(_within(found, spans, since), signed, candidate, time))
    parts = [one.filter(~_micros(one, time).is_in(list(known))) for one in parts]
    whole = pl.concat(parts, how="vertical_relaxed") if parts else pl.DataFrame()
    return whole.sort(time).tail(_MOST) if len(whole) else None


def _ordinary(project: Project, endpoint: str, windows: list[Window], since: int) -> list[Window]:
    """Windows of the five weeks before `since` whose inputs were as they are now.

    Each is known by what it showed alone. Where those since then lie off their reference the
    population has moved, and only the run of windows that leads there is like them.
    """
    now = [_moved(one) for one in windows if one.start >= since]
    has_moved = sum(now) * 2 > len(now)
    broken = [
        (one.since or one.opened_at, one.resolved_at or ids.now())
        for one in operations.incidents(project.ws, endpoint=endpoint)
        if one.kind in GARBLED
    ]
    found = []
    for one in sorted(windows, key=lambda one: -one.start):
        if one.start >= since or one.start < since - _FIVE_WEEKS:
            continue
        if _moved(one) == has_moved:
            if not any(one.start < end and begin < one.end for begin, end in broken):
                found.append(one)
        elif has_moved:
            break
    return found


def _moved(window: Window) -> bool:
    """Whether an input of a window differed from its model's reference, taken by itself."""
    return any(called(name) == name for name in window.features.get("drifted") or ())


def _within(found: Answers, spans: list[tuple[int, int]], since: int) -> Answers:
    inside = found.times >= since
    for start, end in spans:
        inside |= (found.times >= start) & (found.times < end)
    return found.take(np.flatnonzero(inside).tolist())


def _micros(frame: pl.DataFrame, time: str) -> pl.Series:
    return frame[time].dt.timestamp("us")


def _time(config: Config, candidate: Candidate) -> str:
    for one in config.data.values():
        if one.target and one.time and one.time in candidate.withheld.columns:
            dtype = candidate.withheld[one.time].dtype
            return one.time if isinstance(dtype, pl.Datetime) else ""
    return ""


def _signature(project: Project, model: str) -> Signature | None:
    try:
        return registry.signature_of(project.ws, model)
    except NotFoundError:
        return None


def _same_inputs(signed: Signature, candidate: Candidate) -> bool:
    return {one.name for one in signed.inputs} == set(candidate.features)


def _frame(found: Answers, signed: Signature, candidate: Candidate, time: str) -> pl.DataFrame:
    """Logged rows as the withheld ones are; columns that were not logged are null."""
    columns: dict[str, pl.Series] = {}
    for name, dtype in candidate.withheld.schema.items():
        if name == time:
            moments = pl.Series(name, found.times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
            if getattr(dtype, "time_zone", None) is None:
                moments = moments.dt.replace_time_zone(None)
            columns[name] = moments.cast(dtype)
        elif name in found.columns and name != candidate.target:
            values = pl.Series(name, found.columns[name].tolist(), strict=False)
            if values.dtype.is_float():
                values = values.fill_nan(None)
            columns[name] = values.cast(dtype, strict=False)
        else:
            columns[name] = pl.Series(name, [None] * found.rows, dtype=dtype)
    return pl.DataFrame(columns)
