"""Closed segments of the prediction log become Parquet files by model, version and hour.

Files are written and flushed first, then count in one transaction, then the segments go: killed at
any point, every frame is in exactly one place and the next call goes on. A segment is taken only
when nobody writes it any more and every reader has passed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
import polars as pl

from trimtab import ids
from trimtab.errors import ConflictError
from trimtab.model.signature import Signature
from trimtab.monitor.log import catalogue, columnar
from trimtab.monitor.log.catalogue import FOLDER, HOUR, Catalogue, Stored
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged import log
from trimtab.serve.logged.frame import Frame
from trimtab.serve.process import started

BATCH_BYTES: Final = 64 << 20
_PIECE_BYTES: Final = 2 << 20
_SLACK: Final = 2_000_000
_HEADER_BYTES: Final = 64 << 10


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What one call did; `rows` count refusals too, `removed` are files that `keep` let go."""

    segments: int = 0
    rows: int = 0
    files: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    removed: int = 0


class _Target(NamedTuple):
    """One file to be: rows of one model and label that came in one hour (counted from 1970)."""

    label: str
    model: str
    hour: int


class _Segment(NamedTuple):
    """A segment to take: frames from `start` on; `size` is the file's, a torn tail included."""

    path: Path
    start: int
    size: int


def compact(
    index: Catalogue,
    signed: Callable[[str], Signature | None],
    passed: Mapping[str, int],
    *,
    keep: int = 0,
    now: int | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> Compacted:
    """Compact every closed segment that readers have passed, and let go what is older than `keep`.

    `passed` (segment -> byte) is the least that any reader but the catalogue has taken in, `signed`
    gives a model's signature or None, `keep` is in microseconds, 0 for ever. Raises ConflictError
    where another process is at it, IntegrityError where a segment was changed.
    """
    done = Compacted()
    with _alone(index.folder / FOLDER):
        _clean(index)
        for batch in _batches(ready(index, passed), batch_bytes):
            found = _compact(index, signed, batch)
            done = Compacted(
                segments=done.segments + found.segments,
                rows=done.rows + found.rows,
                files=done.files + found.files,
                bytes_before=done.bytes_before + found.bytes_before,
                bytes_after=done.bytes_after + found.bytes_after,
            )
        removed = _let_go(index, keep, ids.now() if now is None else now)
        _clean(index)
    return msgspec.structs.replace(done, removed=removed)


def ready(index: Catalogue, passed: Mapping[str, int]) -> list[_Segment]:
    """The segments that may be compacted now, oldest first."""
    taken, before = catalogue.taken(index), catalogue.covered(index)
    found = []
    for path in closed(index.log):
        start = before.get(path.name, 0)
        reached = min(max(taken.get(path.name, 0), start), passed.get(path.name, 0))
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            frames, _ = log.read_segment(path, reached, _PIECE_BYTES)
            if not frames and size > start:
                found.append(_Segment(path, start, size))
    return found


def closed(folder: Path) -> list[Path]:
    """Segments that nobody writes: all but the newest of each process that lives, oldest first."""
    newest: dict[int, Path] = {}
    paths = log.segments(folder)
    for path in paths:
        header = _header(path)
        if header is None:
            newest[-len(newest) - 1] = path  # being begun just now, or torn at its very start
        elif _lives(header.pid, header.created_at, path):
            newest[header.pid] = path
    written = set(newest.values())
    return [path for path in paths if path not in written]


def _header(path: Path) -> bytes_of.Header | None:
    try:
        with path.open("rb") as stream:
            found = bytes_of.unpack_header(stream.read(_HEADER_BYTES))
    except FileNotFoundError:
        return None
    return found[0] if found else None


def _lives(pid: int, created_at: int, path: Path) -> bool:
    """Whether the process that began a segment may still write it.

    Where the system says which files a process holds, that decides: a clock that was set forward
    makes a process younger than what it wrote. Elsewhere the pid's holder must be old enough.
    """
    since = started(pid)
    if Path("/proc/self/fd").exists():
        return bool(since) and _holds(pid, path)
    return 0 < since * 1e6 <= created_at + _SLACK


def _holds(pid: int, path: Path) -> bool:
    """Whether a process has a file open; a process that may not be asked counts as one that has."""
    try:
        wanted, held = path.stat(), list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    for one in held:
        with contextlib.suppress(OSError):
            found = one.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


def _batches(segments: Iterable[_Segment], limit: int) -> Iterator[list[_Segment]]:
    batch: list[_Segment] = []
    for one in segments:
        if batch and sum(each.size for each in batch) + one.size > limit:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _compact(
    index: Catalogue, signed: Callable[[str], Signature | None], batch: Sequence[_Segment]
) -> Compacted:
    tables: dict[_Target, list[pl.DataFrame]] = {}
    stops = {}
    for one in batch:
        stops[one.path.name] = _gather(one, tables)
    paths = {target: _path(target) for target in tables}
    with index.transaction():  # whoever finds these files and no such rows knows what they are
        index.db.executemany("INSERT INTO intents VALUES (?)", [(path,) for path in paths.values()])
    files = [
        _store(index.folder, path, target, tables.pop(target), signed)
        for target, path in paths.items()
    ]
    for folder in {(index.folder / path).parent for path in paths.values()}:
        _flush(folder, index.folder)
    with index.transaction():
        catalogue.add_batch(index, stops, files)
    for one in batch:
        with contextlib.suppress(FileNotFoundError):
            if one.path.stat().st_size == one.size:
                one.path.unlink()
    return Compacted(
        segments=len(batch),
        rows=sum(one.rows for one in files),
        files=len(files),
        bytes_before=sum(one.size for one in batch),
        bytes_after=sum(one.bytes for one in files),
    )


def _gather(segment: _Segment, tables: dict[_Target, list[pl.DataFrame]]) -> int:
    """Read a segment piece by piece into the tables; returns the byte after its last whole frame."""
    place = segment.start
    while True:
        frames, stop = log.read_segment(segment.path, place, _PIECE_BYTES)
        if stop == place:
            return place
        by_target: dict[_Target, list[Frame]] = {}
        for one in frames:
            target = _Target(one.label, one.model, one.received_at // HOUR)
            by_target.setdefault(target, []).append(one)
        for target, some in by_target.items():
            tables.setdefault(target, []).append(columnar.table(some))
        place = stop


def _store(
    folder: Path,
    path: str,
    target: _Target,
    tables: Sequence[pl.DataFrame],
    signed: Callable[[str], Signature | None],
) -> Stored:
    size = columnar.write(tables, folder / path, signed(target.model))
    names = [name for one in tables for name in one["prediction_id"].to_list() if name is not None]
    keys = [catalogue.key_of(name) for name in names]
    own = np.array([key for key in keys if key >= 0], dtype=np.int64)
    times = pl.concat([one["event_time"] for one in tables]).cast(pl.Int64)
    return Stored(
        path=path,
        model=target.model,
        label=target.label,
        hour=target.hour,
        rows=sum(one.height for one in tables),
        bytes=size,
        first_time=int(times.min()),  # type: ignore[arg-type]
        last_time=int(times.max()),  # type: ignore[arg-type]
        foreign_ids=len(own) < len(keys),
        hours=tuple(np.unique((own >> 16) // (HOUR // 1000)).tolist()),
    )


def _path(target: _Target) -> str:
    """history/NAME/VERSION/2026-01-31T09/ID.parquet; the hour is UTC."""
    name, _, version = target.label.partition("@")
    hour = ids.to_datetime(target.hour * HOUR).strftime("%Y-%m-%dT%H")
    return f"{FOLDER}/{_safe(name)}/{_safe(version)}/{hour}/{ids.new_id()}.parquet"


def _safe(text: str) -> str:
    found = quote(text, safe=" ")
    return "%2E" + found[1:] if found.startswith(".") else found or "_"


def _let_go(index: Catalogue, keep: int, now: int) -> int:
    if not keep:
        return 0
    with index.transaction():
        return len(catalogue.forget_before(index, (now - keep) // HOUR))


def _clean(index: Catalogue) -> None:
    """Remove what a killed call left: files that do not count, segments that no longer do."""
    for (path,) in index.db.execute("SELECT path FROM intents").fetchall():
        (index.folder / path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the hour holds other files
            (index.folder / path).parent.rmdir()
    gone = []
    covered = catalogue.covered(index)
    unwritten = closed(index.log) if covered else []
    for name, stop in covered.items():
        path = index.log / name
        if path in unwritten and not log.read_segment(path, stop, _PIECE_BYTES)[0]:
            path.unlink()
        if not path.exists():
            gone.append((name,))
    with index.transaction():
        index.db.execute("DELETE FROM intents")
        index.db.executemany("DELETE FROM covered WHERE segment = ?", gone)


def _flush(folder: Path, top: Path) -> None:
    """Make a folder's new names survive a loss of power, up to `top`."""
    for one in (folder, *folder.parents):
        handle = os.open(one, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if one == top:
            return


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                f"{folder} is being compacted already", hint="it ends by itself"
            ) from None
        yield
    finally:
        os.close(handle)
