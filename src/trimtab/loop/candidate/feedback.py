"""What production taught: logged inputs joined with late labels, published as a data version."""

from __future__ import annotations

from typing import Any

from trimtab import ids
from trimtab.config import duration
from trimtab.deploy import local
from trimtab.errors import DataError
from trimtab.loop.candidate import selected
from trimtab.loop.project import Project
from trimtab.loop.releases import release
from trimtab.model import registry
from trimtab.model.signature import Signature
from trimtab.monitor.log import catalogue, traffic
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.outcomes import joined, quality
from trimtab.store import versions
from trimtab.store.records import Version


def count(project: Project, endpoint: str, since: int) -> int:
    """How many of the champion's answers since a moment of event time have their label."""
    champion = release.champion_of(project, endpoint)
    if champion is None:
        return 0
    signed = registry.signature_of(project.ws, champion.digest)
    span = duration(project.config.monitor.window)
    with catalogue.open_catalogue(local.folder(project.ws, endpoint)) as index:
        return joined.count(index, champion.digest, signed, since, span)


def obstacle(project: Project, endpoint: str) -> str:
    """Why the log cannot teach the champion's successor; "" where it can."""
    champion = release.champion_of(project, endpoint)
    if champion is None:
        return ""
    signed = registry.signature_of(project.ws, champion.digest)
    rules = project.config.serve.pii
    kept_back = [f"{c.name} ({rules[c.name]})" for c in signed.inputs if c.name in rules]
    if not kept_back:
        return ""
    return (
        f"{champion.label} cannot be retrained on the prediction log: [serve] pii keeps "
        f"{', '.join(kept_back)} out of it"
    )


def publish(project: Project, endpoint: str, since: int, *, run: str = "") -> Version:
    """Publish the labelled rows since a moment as the next version of the project's source.

    Columns of the source that were neither logged nor labelled are null, and so is context that
    `[serve] pii` has altered. Raises DataError where no row has a label, or an input was not logged
    as it was.
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
    blocked = obstacle(project, endpoint)
    if blocked:
        raise DataError(
            blocked,
            hint="retrain on data of your own with `trimtab data add` and `trimtab run`",
        )
    signed = registry.signature_of(project.ws, champion.digest)
    rows, labels = quality.labelled(project.ws, endpoint, champion, signed, since=since)
    if not rows.rows:
        raise DataError(f"no answer of {champion.label} since {ids.iso(since)} has a label")
    _check_inputs(rows, signed, champion)
    source = project.config.data[name]
    columns: dict[str, Any] = {
        column: pl.Series(column, values.tolist(), strict=False).fill_nan(None)
        if values.dtype.kind == "f"
        else pl.Series(column, values.tolist(), strict=False)
        for column, values in rows.columns.items()
        if column not in project.config.serve.pii
        and (traffic.is_told(values) or column not in labels[0].extra)
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
            "method": selected.METHOD,
            "endpoint": endpoint,
            "model": champion.digest,
            "since": ids.iso(since),
            "rows": rows.rows,
            "absent": [one["name"] for one in before if one["name"] not in frame.columns],
        },
        run=run,
    )


def _check_inputs(rows: Answers, signed: Signature, champion: Version) -> None:
    """Inputs of an earlier time may have been kept back by rules that are gone."""
    for column in signed.inputs:
        values = rows.columns[column.name]
        is_text = values.dtype.kind == "O" and any(isinstance(one, str) for one in values)
        if (not column.nullable and not traffic.is_told(values)) or (
            is_text and column.kind != "text"
        ):
            raise DataError(
                f"the log of {champion.label} does not hold {column.name!r} as it was sent: "
                "[serve] pii kept it back",
                hint="retrain on data of your own with `trimtab data add` and `trimtab run`",
            )
