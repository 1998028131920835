"""Where every logged row is: an index beside an endpoint's prediction log, in SQLite.

It says which pieces of which segments were taken in, which Parquet files hold what, and by which
key a prediction is found. A Parquet file counts, and the segments that it was made from stop
counting, in one transaction: that is what makes segments and files one log to every reader.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.errors import ConflictError
from trimtab.serve.logged.frame import Frame

FOLDER: Final = "history"
FILE: Final = "index.db"
VERSION: Final = 1
HOUR: Final = 3_600_000_000
_BUSY_SECONDS: Final = 60.0
_AT_ONCE: Final = 500

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, segment TEXT NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL,
    lo INTEGER NOT NULL, hi INTEGER NOT NULL, foreign_ids INTEGER NOT NULL, batch INTEGER);
CREATE UNIQUE INDEX ux_blocks ON blocks (segment, start);
CREATE INDEX ix_blocks_open ON blocks (last_time) WHERE batch IS NULL;
CREATE INDEX ix_blocks_batch ON blocks (batch);
CREATE TABLE keys (key INTEGER, block INTEGER, PRIMARY KEY (key, block)) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER NOT NULL, path TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL, label TEXT NOT NULL, hour INTEGER NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL,
    foreign_ids INTEGER NOT NULL);
CREATE INDEX ix_files_model ON files (model, last_time);
CREATE INDEX ix_files_batch ON files (batch);
CREATE INDEX ix_files_hour ON files (hour);
CREATE TABLE spans (hour INTEGER, file INTEGER, PRIMARY KEY (hour, file)) WITHOUT ROWID;
CREATE TABLE covered (segment TEXT PRIMARY KEY, stop INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE intents (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE pending (prediction TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE orphans (prediction TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE odd (prediction TEXT, model TEXT, value TEXT, PRIMARY KEY (model, prediction))
    WITHOUT ROWID;
CREATE TABLE parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, shadow INTEGER NOT NULL,
    start INTEGER NOT NULL, rows INTEGER NOT NULL, total INTEGER NOT NULL,
    last_time INTEGER NOT NULL, last_received INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX ix_parts_window ON parts (model, shadow, start);
CREATE INDEX ix_parts_time ON parts (model, shadow, last_time);
CREATE TABLE detectors (model TEXT, start INTEGER, chain TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (model, start)) WITHOUT ROWID;
"""


class Block(NamedTuple):
    """A piece of a segment that was taken in: whole frames from byte `start` up to `stop`."""

    segment: str
    start: int
    stop: int


class Stored(NamedTuple):
    """A Parquet file, relative to the endpoint's folder; times are event times in microseconds."""

    path: str
    model: str
    label: str
    hour: int
    rows: int
    bytes: int
    first_time: int
    last_time: int
    foreign_ids: bool
    hours: tuple[int, ...]


class Place(NamedTuple):
    """Where rows may be: pieces of segments, and Parquet files with the ids to look for in each."""

    blocks: list[Block]
    files: dict[str, list[str]]


@dataclass(frozen=True)
class Catalogue:
    """An open index; `folder` is the endpoint's."""

    folder: Path
    db: sqlite3.Connection

    @property
    def log(self) -> Path:
        """Where the segments are."""
        return self.folder / "log"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction; an error takes everything back."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("COMMIT")


@contextlib.contextmanager
def open_catalogue(folder: Path) -> Iterator[Catalogue]:
    """Open the index of an endpoint's folder, made where there is none.

    Raises ConflictError where a newer trimtab wrote it.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(place / FILE, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        # Segments are removed on the strength of a commit, so a commit waits for the disk.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        found = Catalogue(folder, db)
        _prepare(found)
        yield found
    finally:
        db.close()


def _prepare(index: Catalogue) -> None:
    (version,) = index.db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ConflictError(
            f"{index.folder / FOLDER / FILE} has format {version}, this trimtab knows {VERSION}",
            hint="upgrade trimtab here",
        )
    if version:
        return
    with index.transaction():
        (version,) = index.db.execute("PRAGMA user_version").fetchone()
        if not version:
            for statement in _SCHEMA.split(";"):
                index.db.execute(statement)
            index.db.execute(f"PRAGMA user_version = {VERSION}")


def get(index: Catalogue, name: str) -> Any:
    """A small named value, or None."""
    row = index.db.execute("SELECT body FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else msgspec.json.decode(row[0])


def put(index: Catalogue, name: str, body: Any) -> None:
    """Replace a small named value."""
    text = msgspec.json.encode(body).decode()
    index.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))


def key_of(prediction: str) -> int:
    """The number by which an id is found: time-ordered for our own (UUIDv7), a hash for others.

    Ours are positive and hold the millisecond in their upper bits; others are negative. Several
    ids may share a key, so whoever finds a row compares its id.
    """
    if ids.is_id(prediction) and prediction[12] == "7" and prediction[0] < "8":
        return int(prediction[:16], 16)
    digest = blake2b(prediction.encode(), digest_size=8).digest()
    return -(int.from_bytes(digest) >> 1) - 1


def hour_of(key: int) -> int:
    """The hour, counted from 1970, in which one of our ids was made."""
    return (key >> 16) // (HOUR // 1000)


def taken(index: Catalogue) -> dict[str, int]:
    """The cursor: how far each segment was taken in."""
    return dict(index.db.execute("SELECT segment, MAX(stop) FROM blocks WHERE batch IS NULL "
                                 "GROUP BY segment"))  # fmt: skip


def add_block(index: Catalogue, block: Block, frames: Sequence[Frame]) -> None:
    """Note a piece of a segment and where its rows are; once more changes nothing."""
    keys = {key_of(name) for frame in frames for name in frame.ids}
    own = [key for key in keys if key >= 0]
    times = [moment for frame in frames for moment in (min(_times(frame)), max(_times(frame)))]
    index.db.execute(
        "DELETE FROM blocks WHERE segment = ? AND start >= ?", (block.segment, block.start)
    )
    added = index.db.execute(
        "INSERT INTO blocks (segment, start, stop, first_time, last_time, lo, hi, foreign_ids) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*block, min(times, default=0), max(times, default=0), min(own, default=0),
         max(own, default=-1), len(own) < len(keys)),
    )  # fmt: skip
    index.db.executemany(
        "INSERT OR IGNORE INTO keys VALUES (?, ?)", ((key, added.lastrowid) for key in sorted(keys))
    )


def _times(frame: Frame) -> Sequence[int]:
    return frame.event_times or [part.received_at for part in frame.requests()]


def places(index: Catalogue, predictions: Iterable[str]) -> Place:
    """Where rows of these ids may be; a place may turn out to hold none of them."""
    by_key: dict[int, list[str]] = {}
    for name in predictions:
        by_key.setdefault(key_of(name), []).append(name)
    blocks: set[Block] = set()
    files: dict[str, list[str]] = {}
    for some in _chunks(sorted(by_key)):
        for key, *block, batch in index.db.execute(
            "SELECT k.key, b.segment, b.start, b.stop, b.batch FROM json_each(?) wanted "
            "JOIN keys k ON k.key = wanted.value JOIN blocks b ON b.id = k.block",
            (msgspec.json.encode(some).decode(),),
        ):
            if batch is None:
                blocks.add(Block(*block))
            elif key < 0:
                for (path,) in index.db.execute(
                    "SELECT path FROM files WHERE batch = ? AND foreign_ids", (batch,)
                ):
                    files.setdefault(path, []).extend(by_key[key])
    by_hour: dict[int, list[str]] = {}
    for key, names in by_key.items():
        if key >= 0:
            by_hour.setdefault(hour_of(key), []).extend(names)
    for hour, names in by_hour.items():
        for (path,) in index.db.execute(
            "SELECT f.path FROM spans s JOIN files f ON f.id = s.file WHERE s.hour = ?", (hour,)
        ):
            files.setdefault(path, []).extend(names)
    return Place(sorted(blocks), {path: list(dict.fromkeys(n)) for path, n in files.items()})


def blocks_in(index: Catalogue, since: int, until: int) -> list[Block]:
    """Pieces of segments with event times in [since, until)."""
    rows = index.db.execute(
        "SELECT segment, start, stop FROM blocks "
        "WHERE batch IS NULL AND last_time >= ? AND first_time < ? ORDER BY segment, start",
        (since, until),
    )
    return [Block(*row) for row in rows]


def files_in(index: Catalogue, model: str, since: int, until: int) -> list[str]:
    """Parquet files of a model ("" for any) with event times in [since, until), oldest first."""
    if model:
        rows = index.db.execute(
            "SELECT path FROM files WHERE model = ? AND last_time >= ? AND first_time < ? "
            "ORDER BY hour, id",
            (model, since, until),
        )
    else:
        rows = index.db.execute(
            "SELECT path FROM files WHERE last_time >= ? AND first_time < ? ORDER BY hour, id",
            (since, until),
        )
    return [path for (path,) in rows]


def covered(index: Catalogue) -> dict[str, int]:
    """Segments whose frames up to a byte are in Parquet files and count there alone."""
    return dict(index.db.execute("SELECT segment, stop FROM covered"))


def generation(index: Catalogue) -> int:
    """A number that changes whenever frames moved from segments to files, or files went."""
    return int(get(index, "generation") or 0)


def add_batch(index: Catalogue, segments: Mapping[str, int], files: Sequence[Stored]) -> None:
    """Let files count instead of segments up to a byte; call it inside a transaction."""
    batch = generation(index) + 1
    put(index, "generation", batch)
    for one in files:
        added = index.db.execute(
            "INSERT INTO files (batch, path, model, label, hour, rows, bytes, first_time, "
            "last_time, foreign_ids) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (batch, *one[:-1]),
        )
        index.db.executemany(
            "INSERT INTO spans VALUES (?, ?)", ((hour, added.lastrowid) for hour in one.hours)
        )
        index.db.execute("DELETE FROM intents WHERE path = ?", (one.path,))
    for name, stop in segments.items():
        index.db.execute("INSERT OR REPLACE INTO covered VALUES (?, ?)", (name, stop))
        for block, lo, hi in index.db.execute(
            "SELECT id, lo, hi FROM blocks WHERE segment = ?", (name,)
        ).fetchall():
            index.db.execute(
                "DELETE FROM keys WHERE key BETWEEN ? AND ? AND block = ?", (lo, hi, block)
            )
        index.db.execute("DELETE FROM blocks WHERE segment = ? AND NOT foreign_ids", (name,))
        index.db.execute("UPDATE blocks SET batch = ? WHERE segment = ?", (batch, name))


def has_before(index: Catalogue, hour: int) -> bool:
    """Whether there are files of hours before `hour`."""
    return (
        index.db.execute("SELECT 1 FROM files WHERE hour < ? LIMIT 1", (hour,)).fetchone()
        is not None
    )


def forget_before(index: Catalogue, hour: int) -> list[str]:
    """Take files of hours (counted from 1970) before `hour` out of the log; returns their paths."""
    found = index.db.execute("SELECT id, path FROM files WHERE hour < ?", (hour,)).fetchall()
    if not found:
        return []
    put(index, "generation", generation(index) + 1)
    for file, path in found:
        index.db.execute("DELETE FROM files WHERE id = ?", (file,))
        index.db.execute("INSERT OR IGNORE INTO intents VALUES (?)", (path,))
    index.db.execute("DELETE FROM spans WHERE file NOT IN (SELECT id FROM files)")
    index.db.execute(
        "DELETE FROM blocks WHERE batch IS NOT NULL AND batch NOT IN (SELECT batch FROM files)"
    )
    index.db.execute("DELETE FROM keys WHERE block NOT IN (SELECT id FROM blocks)")
    return [path for _, path in found]


def _chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(values), _AT_ONCE):
        yield values[first : first + _AT_ONCE]
