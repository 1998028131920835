"""A frame made by the platform as a new version of a named table: labelled traffic, for one.

The frame is written as one Parquet file whose bytes depend on the frame alone, and is held against
the roles and the last schema like any other batch. Where it came from is its provenance, by digest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from trimtab import hashing, ids
from trimtab.config import Config, DataConfig
from trimtab.data import columns, quarantine, reader, snapshot
from trimtab.data.record import UNKNOWN, FileRecord, SourceRecord
from trimtab.data.schema import Schema
from trimtab.errors import DataError
from trimtab.store import trees
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace

FILE: Final = "published.parquet"
_ROWS: Final = 131_072


def publish(
    ws: Workspace,
    config: Config,
    name: str,
    frame: pl.DataFrame,
    *,
    provenance: dict[str, Any],
    run: str = "",
) -> Version:
    """Number `frame` as `NAME@vN`; equal rows in equal order published before keep their number.

    A column of the last version that `frame` lacks must be nullable or listed in
    `provenance["absent"]`; it is null in the new version. `provenance` is JSON of digests and
    settings. Raises DataError (the frame is then in quarantine) and NotFoundError for an unknown
    name.
    """
    data = snapshot.settings(config, name)
    absent = set(provenance.get("absent", ()))
    before = snapshot.schema_before(ws, name)
    uri = f"published://{name}"
    with tempfile.TemporaryDirectory(prefix="trimtab-") as scratch:
        path = Path(scratch) / FILE
        try:
            conformed = conform(frame, before, absent, config.project.timezone)
            write(conformed, path)
            read = snapshot.check(_table(conformed, path), _roles(data, absent), name, before)
        except DataError as error:
            files = {FILE: path} if path.exists() or _spilled(frame, path) else {}
            kept = quarantine.keep(ws.root, name, files, error, uri)
            quarantine.note(error, kept, ws.root)
            raise
        made = FileRecord(
            name=FILE,
            size=path.stat().st_size,
            digest=hashing.file_digest(path),
            mtime=ids.now(),
        )
        ws.blobs.put_file(path)
    digest = trees.put_files(ws.blobs, {FILE: made.digest})
    source = _record(data, uri, made, provenance)
    return snapshot.commit(ws, name, digest, read, source, config, run=run).version


def conform(
    frame: pl.DataFrame, before: Schema | None, absent: set[str], zone: str = "UTC"
) -> pl.DataFrame:
    """A frame in the five types and in the column order of `before`, new columns last.

    Types are held against the schema as those of a Parquet file are; columns that may be missing
    are added as nulls. Raises DataError naming the column.
    """
    made: dict[str, pl.Series] = {}
    for values in frame.get_columns():
        known = before.get(values.name) if before else None
        declared = known.type if known is not None and not known.empty else None
        _, done = reader.column(values, declared, "parquet", zone)
        if done.bad >= 0:
            raise DataError(
                f"row {done.bad + 1}, column {values.name!r}: {values[done.bad]!r} does not fit"
            )
        row = columns.infinite(done.values)
        if row >= 0:
            raise DataError(f"row {row + 1}, column {values.name!r}: a number cannot be infinite")
        made[values.name] = done.values.alias(values.name)
    for column in before.columns if before else ():
        if column.name not in made:
            if not column.nullable and column.name not in absent:
                raise DataError(
                    f"the table lacks column {column.name!r}, which was never missing before",
                    hint='name it in provenance["absent"] if it cannot be known',
                )
            made[column.name] = pl.Series(
                column.name, [None] * frame.height, dtype=columns.DTYPES[column.type]
            )
    order = [name for name in before.types if name in made] if before else []
    return pl.DataFrame([made[name] for name in dict.fromkeys((*order, *made))])


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet whose bytes depend on its rows, not on how it lies in memory."""
    frame.rechunk().write_parquet(
        path, compression="zstd", compression_level=3, statistics=True, row_group_size=_ROWS
    )


def _spilled(frame: pl.DataFrame, path: Path) -> bool:
    """Write a refused frame as it is; False where it holds what Parquet cannot."""
    try:
        frame.write_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        path.unlink(missing_ok=True)
        return False
    return True


def _table(frame: pl.DataFrame, path: Path) -> reader.Table:
    if not frame.height:
        raise DataError("the table has no rows", hint="publish at least one row")
    part = reader.Part(FILE, path, "parquet", frame.height, tuple(frame.columns))
    return reader.Table(frame, (part,))


def _roles(data: DataConfig, absent: set[str]) -> DataConfig:
    """The roles without those whose column is known to be absent."""
    return msgspec.structs.replace(
        data,
        key="" if data.key in absent else data.key,
        time="" if data.time in absent else data.time,
    )


def _record(
    data: DataConfig, uri: str, made: FileRecord, provenance: dict[str, Any]
) -> SourceRecord:
    days = data.retention_days
    return SourceRecord(
        uri=uri,
        scheme="published",
        fetched_at=made.mtime,
        files=(made,),
        licence=data.licence or UNKNOWN,
        collector=data.collector or UNKNOWN,
        method="published",
        pii=data.pii,
        retention=UNKNOWN if days is None else f"{days} days",
        provenance=provenance,
    )
