"""The database of a workspace: engine, transactions and migrations.

SQLite in WAL mode by default. A commit survives the death of every process; with
`synchronous=NORMAL` the last commits may be lost when the machine loses power, never torn.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from trimtab.errors import ConflictError, StorageError
from trimtab.store.records import Record

HEAD: Final = "0001"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_open: ContextVar[tuple[sa.Engine, sa.Connection] | None] = ContextVar("open", default=None)
R = TypeVar("R", bound=Record)


def connect(url: str) -> sa.Engine:
    """An engine on `url`; SQLite gets WAL, foreign settings and explicit transactions."""
    engine = sa.create_engine(url, poolclass=sa.pool.QueuePool, pool_size=8, max_overflow=16)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling starts a write transaction late, as a read that is
    # upgraded, which another writer can make fail; BEGIN IMMEDIATE below waits its turn instead.
    connection.isolation_level = None
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A write transaction; one inside another joins it, so the outermost commits all or nothing."""
    current = _open.get()
    if current is not None and current[0] is engine:
        yield current[1]
        return
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            token = _open.set((engine, connection))
            try:
                yield connection
                _commit(engine, connection)
            except BaseException:
                _rollback(engine, connection)
                raise
            finally:
                _open.reset(token)
    except OperationalError as error:
        raise _readable(error) from error


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to read with: the open transaction's, or a fresh one."""
    current = _open.get()
    if current is not None and current[0] is engine:
        yield current[1]
        return
    try:
        with engine.connect() as connection:
            yield connection
    except OperationalError as error:
        raise _readable(error) from error


def _commit(engine: sa.Engine, connection: sa.Connection) -> None:
    if engine.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT")
    connection.commit()


def _rollback(engine: sa.Engine, connection: sa.Connection) -> None:
    if engine.dialect.name == "sqlite":
        raw: Any = connection.connection.dbapi_connection
        if raw is not None and raw.in_transaction:
            raw.execute("ROLLBACK")
    connection.rollback()


def _readable(error: OperationalError) -> StorageError | ConflictError:
    reason = str(error.orig)
    if "locked" in reason or "busy" in reason:
        return ConflictError(
            "the store was locked by another process for more than 30 s",
            hint="see `trimtab status` for what is running, then try again",
        )
    if "full" in reason:
        return StorageError("the disk is full: the store could not write", hint="free some space")
    return StorageError(f"the store's database refused: {reason}")


def migrate(engine: sa.Engine, lock: Path) -> None:
    """Bring the schema to `HEAD` under a lock; an older SQLite file is copied aside first.

    Raises ConflictError where the database was written by a newer trimtab.
    """
    if _revision(engine) == HEAD:
        return
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        found = _revision(engine)
        if found == HEAD:
            return
        # alembic takes a quarter of a second to import and is needed only here.
        from alembic.command import upgrade
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        settings = Config()
        settings.set_main_option("script_location", str(_MIGRATIONS))
        known = {
            script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()
        }
        if found and found not in known:
            raise ConflictError(
                f"the store has schema {found}, which this trimtab does not know (it knows {HEAD})",
                hint="a newer trimtab wrote it: upgrade trimtab",
            )
        path = engine.url.database
        if found and engine.dialect.name == "sqlite" and path:
            with transaction(engine):
                shutil.copy2(path, f"{path}.{found}.backup")
        with engine.begin() as connection:
            settings.attributes["connection"] = connection
            upgrade(settings, "head")


def _revision(engine: sa.Engine) -> str:
    with reading(engine) as connection:
        try:
            row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        except (OperationalError, sa.exc.ProgrammingError):
            return ""
    return str(row[0]) if row else ""


def to_row(record: Record, **extra: Any) -> dict[str, Any]:
    """A record as the values of its table's columns."""
    return {field: getattr(record, field) for field in record.__struct_fields__} | extra


def from_row(kind: type[R], row: Any) -> R:
    """A table row as a record; columns that the record does not have are dropped."""
    mapping = row._mapping
    fields = {field: mapping[field] for field in kind.__struct_fields__}
    return msgspec.convert(fields, kind, strict=False)


def insert_new(engine: sa.Engine, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert a row unless a unique key holds it already; says whether it did."""
    from sqlalchemy.dialects import postgresql, sqlite  # both are small parts of sqlalchemy

    make: Callable[[sa.Table], Any] = (
        sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    )
    with transaction(engine) as tx:
        return bool(tx.execute(make(table).values(**values).on_conflict_do_nothing()).rowcount)
