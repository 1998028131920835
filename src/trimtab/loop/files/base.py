"""The reference that a file is held against: a packaged model's, or one made of a table.

A table that has times and, where `[monitor] entity` names them, entities shows its own ordinary variation,
seasons and bursts, as the rows that a model is packaged with do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.config import Config, duration
from trimtab.data import tables
from trimtab.errors import DataError, NotFoundError
from trimtab.monitor import files
from trimtab.monitor.files import Table
from trimtab.monitor.watched import Watched, watched
from trimtab.profile import reference as references
from trimtab.profile.columns import Column, take
from trimtab.profile.reference import Past, Reference
from trimtab.store import versions
from trimtab.store.workspace import Workspace

_PAST: Final = 200_000


@dataclass(frozen=True)
class Base:
    """A reference with where it came from; `model` where that is a packaged model, `notes` on what its
    table's columns count as.
    """

    label: str
    digest: str
    reference: Reference
    model: Watched | None = None
    notes: tuple[str, ...] = ()


def base_of(ws: Workspace, reference: str, config: Config, window: str = "") -> Base:
    """The reference of a model version, or else of a data version; raises NotFoundError."""
    try:
        version = versions.get(ws, "model", reference)
    except NotFoundError as error:
        try:
            data = versions.get(ws, "data", reference)
        except NotFoundError as other:
            name = reference.partition("@")[0]
            if versions.find(ws, "model", name):
                raise error from None
            if versions.find(ws, "data", name):
                raise other from None
            names = sorted(
                {one.name for one in (*versions.find(ws, "model"), *versions.find(ws, "data"))}
            )
            raise NotFoundError(
                f"there is no file, model or data version called {reference!r}",
                hint=f"there is: {', '.join(names) or 'no version yet'}",
            ) from None
        known = config.data.get(data.name)
        left = {known.key, known.target} if known else set()
        frame = tables.read(ws, data)
        table = {name: one for name, one in files.split(frame).items() if name not in left}
        found = fit(table, config, known.time if known else "", window)
        same = bool(versions.find(ws, "model", data.name))
        label = f"data {data.label}" if same else data.label
        notes = said(label, table, config, known.time if known else "")
        return Base(label, data.digest, found, notes=notes)
    model = watched(ws, version)
    if model is None:
        raise NotFoundError(
            f"{version.label} has no reference profile to compare with",
            hint="name a data version or a file instead",
        )
    return Base(version.label, version.digest, model.reference, model)


def said(label: str, table: Table, config: Config, time: str = "") -> tuple[str, ...]:
    """Which columns that a reference is fitted to hold words among numbers, and what they count as."""
    return tuple(f"{label}: {one}" for one in files.mixed(_plain(table, config, time)))


def fit(table: Table, config: Config, time: str = "", window: str = "") -> Reference:
    """The reference of a table; times and nested columns are left out, and so is the entity.

    Its column `time`, where it has one, says which rows came in one window (default: `[monitor] window`),
    and rows without a time are left out. Raises DataError where nothing can be compared.
    """
    who = config.monitor.entity if config.monitor.entity in table else ""
    kinds, _ = files.kinds(_plain(table, config, time))
    if not kinds:
        raise DataError("the reference has no column of numbers or words to compare")
    columns: dict[str, Column] = {
        name: files.column(table[name], kind) for name, kind in kinds.items()
    }
    entities = files.column(table[who], "category") if who else None
    dated = _times(table, time, config)
    if dated is None:
        return references.fit_reference(columns, kinds=kinds, entities=entities)
    times, rows = dated
    if len(rows) < files.rows(table):
        columns, times = take(columns, columns, rows), times[rows]
        entities = None if entities is None else entities[rows]
    newest = np.argsort(times, kind="stable")[-_PAST:]
    return references.fit_dated(
        columns,
        times,
        span=duration(window or config.monitor.window),
        season=config.monitor.season,
        kinds=kinds,
        past=_past(columns, entities, newest),
        past_times=times[newest],
    )


def _plain(table: Table, config: Config, time: str) -> Table:
    """A table without the columns that say when a row was and whose it is."""
    left = (time, config.monitor.entity)
    return {name: values for name, values in table.items() if name not in left}


def _past(columns: dict[str, Column], entities: Column | None, rows: NDArray[np.intp]) -> Past:
    return Past(take(columns, columns, rows), entities=None if entities is None else entities[rows])


def _times(
    table: Table, time: str, config: Config
) -> tuple[NDArray[np.int64], NDArray[np.intp]] | None:
    """The times of all rows (microseconds) and the rows that have one; None where there are none."""
    if time not in table:
        return None
    try:
        times, known = files.moments(time, table[time], config.project.timezone)
    except DataError:
        return None
    return times, np.flatnonzero(known)
