"""A data version as a table, read from a Parquet cache that is derived from its source bytes.

The cache lies under `.trimtab/cache/tables`, keyed by tree digest, reader version and the types in
the version's schema. It may be deleted at any time; a damaged file in it is made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from trimtab import hashing, ids
from trimtab.data import reader
from trimtab.data.checks import near
from trimtab.data.columns import Type
from trimtab.data.schema import Schema
from trimtab.errors import NotFoundError, StorageError
from trimtab.store import trees, versions
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace


def read(
    ws: Workspace, version: Version | str, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """The table of a data version, label (`loans@v1`, `loans@latest`) or digest.

    Columns have the five types of `trimtab.data.columns`: Float64, Int64, Boolean, String and
    Datetime in UTC microseconds. Raises NotFoundError for an unknown version or column.
    """
    found = resolve(ws, version)
    wanted = None if columns is None else _known(columns, found)
    path = cache_path(ws, found)
    if path.is_file():
        try:
            return pl.read_parquet(path, columns=wanted, glob=False, memory_map=False)
        except (pl.exceptions.PolarsError, OSError):
            path.unlink(missing_ok=True)  # damaged: the source bytes still say it all
    frame = _from_source(ws, found)
    save(path, frame)
    return frame if wanted is None else frame.select(wanted)


def scan(ws: Workspace, version: Version | str) -> pl.LazyFrame:
    """The same table, lazily; raises StorageError where the cache cannot be written."""
    found = resolve(ws, version)
    path = cache_path(ws, found)
    if not path.is_file() and not save(path, _from_source(ws, found)):
        raise StorageError(f"cannot write {path}", hint="free some space and try again")
    return pl.scan_parquet(path, glob=False)


def schema(ws: Workspace, version: Version | str) -> Schema:
    """The schema that was stored with a data version."""
    return msgspec.convert(resolve(ws, version).meta["schema"], Schema)


def resolve(ws: Workspace, version: Version | str) -> Version:
    """The data version that a label or digest means; raises NotFoundError."""
    return versions.get(ws, "data", version) if isinstance(version, str) else version


def cache_path(ws: Workspace, version: Version) -> Path:
    """Where the version's table is cached, whether it is there or not."""
    key = hashing.object_digest(
        "key", [version.digest, reader.VERSION, _types(version), version.meta["timezone"]]
    )
    return ws.root / "cache" / "tables" / f"{key.removeprefix(hashing.PREFIX)}.parquet"


def save(path: Path, frame: pl.DataFrame) -> bool:
    """Write a cache file whole or not at all; False where the disk refuses."""
    staged = path.with_name(f".{ids.new_id()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(staged, compression="lz4")
        staged.rename(path)
    except (pl.exceptions.PolarsError, OSError):
        return False
    finally:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
    return True


def _types(version: Version) -> Mapping[str, Type]:
    return msgspec.convert(version.meta["schema"], Schema).types


def _from_source(ws: Workspace, version: Version) -> pl.DataFrame:
    entries = trees.walk(ws.blobs, version.digest)
    files = [(name, ws.blobs.path(entry.digest)) for name, entry in entries.items()]
    types = _types(version)
    return reader.read(files, types, version.meta["timezone"]).frame.select(list(types))


def _known(columns: Sequence[str], version: Version) -> list[str]:
    known = list(_types(version))
    for column in columns:
        if column not in known:
            raise NotFoundError(
                f"{version.label} has no column {column!r}{near(column, known)}",
                hint=f"columns: {', '.join(known)}",
            )
    return list(columns)
