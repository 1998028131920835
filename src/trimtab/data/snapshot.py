"""Adding data: the bytes of a source become a numbered, immutable version.

A version's identity is its source bytes: the same bytes are the same version. Everything is read
and checked before anything is stored, and nothing is visible before the version's row is committed;
a batch that breaks its schema goes to quarantine and changes nothing else.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.config import Config, DataConfig
from trimtab.data import checks, outline, quarantine, reader, sources, statistics, tables
from trimtab.data import record as records
from trimtab.data import schema as schemas
from trimtab.data.columns import Type
from trimtab.data.record import FileRecord, SourceRecord
from trimtab.data.schema import Change, Schema
from trimtab.errors import ConfigError, ConflictError, DataError, NotFoundError, StorageError
from trimtab.store import artifacts, trees, versions
from trimtab.store.records import Artifact, Version
from trimtab.store.workspace import Workspace

Progress = Callable[[str, int, int], None]
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What `add` did. `new` is False where these bytes had a version already.

    `schema_changes` are those accepted against the version before, `notes` what a person should
    know, `quarantined` the reasons of all batches of this name that lie in quarantine.
    """

    version: Version
    new: bool
    rows: int
    columns: int
    record: SourceRecord
    schema_changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    quarantined: tuple[quarantine.Reason, ...] = ()


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A table that was read and found good, with all that its version will say of it."""

    table: reader.Table
    schema: Schema
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def add(
    ws: Workspace,
    config: Config,
    name: str,
    *,
    run: str = "",
    on_progress: Progress | None = None,
) -> Added:
    """Read `[data.NAME]` from its source and number it as `NAME@vN`.

    `on_progress` is called with a stage ("hash", "read", "store"), files done and files in all.
    Raises NotFoundError where the source has nothing, DataError where the table is refused (the
    batch is then in quarantine), ConflictError where a file changed meanwhile, StorageError where
    a file cannot be read or the disk is full.
    """
    tell = on_progress or _silent
    data = settings(config, name)
    with tempfile.TemporaryDirectory(prefix="trimtab-") as scratch:
        fetched = sources.fetch(data.source, ws.project_dir, Path(scratch))
        files = _hashed(fetched, tell)
        known = _same(ws, name, files)
        if known is not None:
            return _unchanged(ws, known, data)
        before = _latest(ws, name)
        tell("read", 0, len(files))
        try:
            source = records.make(data, fetched, files, ids.now())
            read = _read(fetched, data, name, before, config.project.timezone)
        except DataError as error:
            batch = _batch(fetched, files, before)
            kept = quarantine.keep(ws.root, name, batch, error, source_uri(data))
            quarantine.note(error, kept, ws.root)
            raise
        tell("read", len(files), len(files))
        digest = _store(ws, fetched, files, tell)
        return commit(ws, name, digest, read, source, config, run=run)


def settings(config: Config, name: str) -> DataConfig:
    """`[data.NAME]`; raises NotFoundError with the nearest name."""
    if name not in config.data:
        near = difflib.get_close_matches(name, list(config.data), n=1)
        raise NotFoundError(
            f"there is no [data.{name}]" + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"known: {', '.join(config.data) or 'none yet'}",
        )
    if not _NAME.match(name):
        raise ConfigError(f"[data.{name}]: a name is letters, digits, '_', '.' and '-'")
    return config.data[name]


def source_uri(data: DataConfig) -> str:
    """The source as it may be recorded: without credentials."""
    return sources.public(data.source)


def commit(
    ws: Workspace,
    name: str,
    digest: str,
    read: Read,
    source: SourceRecord,
    config: Config,
    *,
    run: str,
) -> Added:
    """Number stored bytes that were read and checked; the last step, and the only visible one."""
    frame = read.table.frame
    before = _latest(ws, name)
    label = f"{name}@v{before.number + 1 if before else 1}"
    meta: dict[str, Any] = {
        "rows": frame.height,
        "columns": frame.width,
        "schema": msgspec.to_builtins(read.schema),
        "source": msgspec.to_builtins(source),
        "statistics": statistics.of(frame),
        "profile": outline.keep(ws, label, frame, settings(config, name), before),
        "parents": [before.digest] if before else [],
        "timezone": config.project.timezone,
        "schema_changes": msgspec.to_builtins(read.changes),
        "notes": list(read.notes),
    }
    meta = msgspec.json.decode(msgspec.json.encode(meta))  # as it will be read back
    size = sum(file.size for file in source.files)
    draft = Version(kind="data", name=name, number=0, digest=digest, meta=meta)
    tables.save(tables.cache_path(ws, draft), frame)
    ws.blobs.flush()  # the bytes survive a loss of power before anything names them
    with ws.transaction():
        artifacts.record(
            ws,
            Artifact(
                digest=digest,
                kind="data",
                size=size,
                meta={"rows": frame.height},
                run=run,
                created_at=ids.now(),
            ),
        )
        version = versions.add(ws, "data", name, digest, run=run, meta=meta)
    return Added(
        version=version,
        new=True,
        rows=frame.height,
        columns=frame.width,
        record=source,
        schema_changes=read.changes,
        notes=read.notes,
        quarantined=tuple(quarantine.find(ws.root, name)),
    )


def check(table: reader.Table, data: DataConfig, name: str, before: Schema | None) -> Read:
    """Hold a table against its roles and the schema before it; raises DataError."""
    found = schemas.infer(table.frame)
    changes = schemas.compare(before, found, data.allow) if before else ()
    schemas.refuse(changes, name)
    checks.roles(found, data, name)
    checks.files(table, data.allow)
    notes = checks.rows(table, data)
    return Read(
        table=table,
        schema=schemas.follow(before, found),
        changes=changes,
        notes=(*table.notes, *notes),
    )


def schema_before(ws: Workspace, name: str) -> Schema | None:
    """The schema of the latest version of a name, None where there is none yet."""
    before = _latest(ws, name)
    return tables.schema(ws, before) if before else None


def _read(
    fetched: sources.Fetched, data: DataConfig, name: str, before: Version | None, zone: str
) -> Read:
    known = msgspec.convert(before.meta["schema"], Schema) if before else None
    types: dict[str, Type] = {
        column.name: column.type
        for column in (known.columns if known else ())
        if column.name not in data.allow and not column.empty
    }
    if data.time:
        types[data.time] = "time"
    table = reader.read([(file.name, file.path) for file in fetched.files], types, zone)
    return check(table, data, name, known)


def _hashed(fetched: sources.Fetched, tell: Progress) -> tuple[FileRecord, ...]:
    found = []
    for done, file in enumerate(fetched.files):
        tell("hash", done, len(fetched.files))
        try:
            size, digest = file.path.stat().st_size, hashing.file_digest(file.path)
        except OSError as error:
            raise StorageError(f"cannot read {file.path}: {error.strerror}") from error
        found.append(FileRecord(name=file.name, size=size, digest=digest, mtime=file.mtime))
    tell("hash", len(found), len(found))
    return tuple(found)


def _store(
    ws: Workspace, fetched: sources.Fetched, files: tuple[FileRecord, ...], tell: Progress
) -> str:
    for done, (file, wanted) in enumerate(zip(fetched.files, files, strict=True)):
        tell("store", done, len(files))
        if ws.blobs.put_file(file.path) != wanted.digest:
            raise ConflictError(
                f"{file.name} changed while it was read",
                hint="add it again when nothing writes to it any more",
            )
    tell("store", len(files), len(files))
    return trees.put_files(ws.blobs, {file.name: file.digest for file in files})


def _same(ws: Workspace, name: str, files: tuple[FileRecord, ...]) -> Version | None:
    wanted = [(file.name, file.digest) for file in files]
    for version in versions.find(ws, "data", name):
        known = msgspec.convert(version.meta["source"], SourceRecord)
        if [(file.name, file.digest) for file in known.files] == wanted:
            return version
    return None


def _unchanged(ws: Workspace, version: Version, data: DataConfig) -> Added:
    source = msgspec.convert(version.meta["source"], SourceRecord)
    checks.roles(tables.schema(ws, version), data, version.name)
    return Added(
        version=version,
        new=False,
        rows=version.meta["rows"],
        columns=version.meta["columns"],
        record=source,
        notes=tuple(version.meta["notes"]),
        quarantined=tuple(quarantine.find(ws.root, version.name)),
    )


def _latest(ws: Workspace, name: str) -> Version | None:
    return max(versions.find(ws, "data", name), key=lambda found: found.number, default=None)


def _batch(
    fetched: sources.Fetched, files: tuple[FileRecord, ...], before: Version | None
) -> dict[str, Path]:
    """The files that are new or changed since the version before: what the refusal is about."""
    known = msgspec.convert(before.meta["source"], SourceRecord).files if before else ()
    old = {(file.name, file.digest) for file in known}
    paths = {file.name: file.path for file in fetched.files}
    new = {file.name: paths[file.name] for file in files if (file.name, file.digest) not in old}
    return new or paths


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody listens."""
