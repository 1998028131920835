"""What production taught: logged inputs joined with late labels, published as a data version."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab import ids
from trimtab.errors import DataError
from trimtab.loop import release
from trimtab.loop.project import Project
from trimtab.model import registry
from trimtab.monitor import quality, traffic
from trimtab.monitor.traffic import Answers
from trimtab.store import versions
from trimtab.store.records import Label, Version


def count(project: Project, endpoint: str, since: int) -> int:
    """How many of the champion's answers since a moment of event time have their label."""
    champion = release.champion_of(project, endpoint)
    if champion is None:
        return 0
    rows, _ = _rows(project, endpoint, champion)
    return int((rows.times >= since).sum())


def publish(project: Project, endpoint: str, since: int, *, run: str = "") -> Version:
    """Publish the labelled rows since a moment as the next version of the project's source.

    Columns of the source that were neither logged nor labelled are null. Raises DataError where no
    row has a label.
    """
    # polars and the publisher: the controller's own process never gets here, its job does.
    import polars as pl  # noqa: PLC0415

    from trimtab.data import publish as publishing  # noqa: PLC0415

    champion = release.champion_of(project, endpoint)
    name = next((name for name, one in project.config.data.items() if one.target), "")
    if champion is None or not name:
        raise DataError(
            f"endpoint {endpoint!r} has no champion or the project no source with a target"
        )
    rows, labels = _rows(project, endpoint, champion)
    index = np.flatnonzero(rows.times >= since).tolist()
    if not index:
        raise DataError(f"no answer of {champion.label} since {ids.iso(since)} has a label")
    rows, labels = rows.take(index), [labels[i] for i in index]
    source = project.config.data[name]
    columns: dict[str, Any] = {
        column: pl.Series(column, values.tolist(), strict=False).fill_nan(None)
        if values.dtype.kind == "f"
        else pl.Series(column, values.tolist(), strict=False)
        for column, values in rows.columns.items()
        if traffic.is_told(values) or column not in labels[0].extra
    }
    for column in {key for label in labels for key in label.extra} - columns.keys():
        columns[column] = pl.Series(
            column, [label.extra.get(column) for label in labels], strict=False
        )
    columns[source.target] = pl.Series(
        source.target, [label.value for label in labels], strict=False
    )
    if source.time:
        moments = pl.Series(source.time, rows.times, dtype=pl.Int64)
        columns[source.time] = moments.cast(pl.Datetime("us", "UTC"))
    if source.key:
        given = columns.get(source.key)
        if given is None or given.null_count():
            columns[source.key] = pl.Series(source.key, rows.ids)
    frame = pl.DataFrame(columns)
    before = versions.get(project.ws, "data", name).meta["schema"]["columns"]
    return publishing.publish(
        project.ws,
        project.config,
        name,
        frame,
        provenance={
            "method": "prediction log joined with labels",
            "endpoint": endpoint,
            "model": champion.digest,
            "since": ids.iso(since),
            "rows": len(index),
            "absent": [one["name"] for one in before if one["name"] not in frame.columns],
        },
        run=run,
    )


def _rows(project: Project, endpoint: str, champion: Version) -> tuple[Answers, list[Label]]:
    signed = registry.signature_of(project.ws, champion.digest)
    return quality.labelled(project.ws, endpoint, champion, signed)
