"""The database of a workspace: engine, transactions, rows as records and errors in words.

SQLite in WAL mode by default. A commit survives the death of every process; with
`synchronous=NORMAL` the last commits may be lost when the machine loses power, never torn.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import IntegrityError as Duplicate

from trimtab import ids
from trimtab.errors import ConflictError, IntegrityError, StorageError, TrimtabError
from trimtab.store import statements
from trimtab.store.records import Record

PATIENCE: Final = 30  # seconds that a writer waits for its turn
_open: ContextVar[tuple[sa.Engine, sa.Connection] | None] = ContextVar("open", default=None)
R = TypeVar("R", bound=Record)


def connect(url: str | sa.URL) -> sa.Engine:
    """An engine on `url`; SQLite gets explicit transactions. `schema.migrate` sets WAL."""
    engine = sa.create_engine(url, poolclass=sa.pool.QueuePool, pool_size=8, max_overflow=16)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling starts a write transaction late, as a read that is
    # upgraded, which another writer can make fail; BEGIN IMMEDIATE below waits its turn instead.
    connection.isolation_level = None
    for pragma in (f"busy_timeout={PATIENCE * 1000}", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A write transaction; one inside another joins it, so the outermost commits all or nothing.

    Where an inner one fails, what it did is undone, and whoever catches the error goes on with the
    rest. Raises StorageError, ConflictError or IntegrityError for what the database refuses.
    """
    current = _open.get()
    if current is not None and current[0] is engine:
        with _readable(), _savepoint(engine, current[1]):
            yield current[1]
        return
    with _readable(), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            _raw(connection).execute("BEGIN IMMEDIATE")
        else:
            connection.begin()
        with _begun(engine, connection):
            yield connection


class Busy(Exception):
    """Somebody else writes just now, and the caller does not wait."""


class Lane:
    """A connection of one's own for short transactions that never wait; for one thread at a time.

    They leave the write-ahead log as it is, so that they never take the disk's time: whoever uses a lane
    commits by `transaction` from time to time. Other databases than SQLite are always busy.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """As `database.transaction`; raises Busy where somebody else writes."""
        if self._engine.dialect.name != "sqlite":
            raise Busy
        with _readable():
            connection = self._connection or self._connect()
            try:
                _raw(connection).execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    raise Busy from None
                raise
            with _begun(self._engine, connection):
                yield connection

    def _connect(self) -> sa.Connection:
        connection = self._engine.connect()
        connection.detach()
        weakref.finalize(self, connection.close)
        for pragma in ("busy_timeout=0", "wal_autocheckpoint=0"):
            _raw(connection).execute(f"PRAGMA {pragma}")
        self._connection = connection
        return connection


@contextmanager
def _begun(engine: sa.Engine, connection: sa.Connection) -> Iterator[None]:
    token = _open.set((engine, connection))
    try:
        yield
        _commit(engine, connection)
    except BaseException:
        _rollback(engine, connection)
        raise
    finally:
        _open.reset(token)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A write transaction for one statement, which is whole or nothing by itself.

    Inside another transaction it is a part of that, without the cost of a savepoint.
    """
    current = _open.get()
    if current is None or current[0] is not engine:
        with transaction(engine) as connection:
            yield connection
        return
    _check_open(engine, current[1])
    with _readable():
        yield current[1]


def in_transaction(engine: sa.Engine) -> bool:
    """Whether the caller is inside a write transaction, so that what it does may still be undone."""
    current = _open.get()
    return current is not None and current[0] is engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to read with: the open transaction's, or a fresh one."""
    current = _open.get()
    if current is not None and current[0] is engine:
        yield current[1]
        return
    with _readable(), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose reads all see the store as it was at one moment.

    Text that is not UTF-8 any more arrives with lone surrogates instead of failing, so that an
    inspection can name the row.
    """
    with reading(engine) as connection:
        if engine.dialect.name != "sqlite":
            yield connection
            return
        raw = _raw(connection)
        begun = not raw.in_transaction
        if begun:
            connection.exec_driver_sql("BEGIN")
        raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        try:
            yield connection
        finally:
            raw.text_factory = str
            if begun:
                _rollback(engine, connection)


@contextmanager
def _savepoint(engine: sa.Engine, connection: sa.Connection) -> Iterator[None]:
    _check_open(engine, connection)
    name = f"inner_{ids.new_id()}"
    connection.exec_driver_sql(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException:
        if _in_transaction(engine, connection):
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")
            connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")
        raise
    connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")


def _check_open(engine: sa.Engine, connection: sa.Connection) -> None:
    if not _in_transaction(engine, connection):
        # SQLite gives a whole transaction up on its own, for example on a full disk. Going on would
        # store the rest without what came before.
        raise StorageError("the store gave this transaction up after an error; nothing was stored")


def _raw(connection: sa.Connection) -> Any:
    return connection.connection.dbapi_connection


def _in_transaction(engine: sa.Engine, connection: sa.Connection) -> bool:
    if engine.dialect.name != "sqlite":
        return connection.in_transaction()
    raw = _raw(connection)
    return raw is not None and bool(raw.in_transaction)


def _commit(engine: sa.Engine, connection: sa.Connection) -> None:
    if engine.dialect.name == "sqlite":
        _raw(connection).execute("COMMIT")
    connection.commit()


def _rollback(engine: sa.Engine, connection: sa.Connection) -> None:
    if engine.dialect.name == "sqlite" and _in_transaction(engine, connection):
        _raw(connection).execute("ROLLBACK")
    connection.rollback()


@contextmanager
def _readable() -> Iterator[None]:
    """The database's errors as ours."""
    try:
        yield
    except (OperationalError, Duplicate) as error:
        raise _translated(str(error.orig)) from error
    except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
        raise _translated(str(error)) from error
    except (DatabaseError, sqlite3.DatabaseError) as error:
        # The driver's plain DatabaseError says that the file itself is damaged; its other children
        # are mistakes in a program.
        if type(error) not in (DatabaseError, sqlite3.DatabaseError):
            raise
        raise _damaged(str(getattr(error, "orig", error))) from error


def _translated(reason: str) -> TrimtabError:
    if "locked" in reason or "busy" in reason:
        return ConflictError(
            f"the store was locked by another process for more than {PATIENCE} s",
            hint="see `trimtab status` for what is running, then try again",
        )
    if "full" in reason:
        return StorageError(
            "the disk is full: the store could not write",
            hint="free some space and run the command again: nothing half-written is visible",
        )
    if "disk I/O" in reason:
        return StorageError(
            "the disk that holds the store is full, or it fails",
            hint="free some space, or look into the system's log for what the disk says",
        )
    if "decode" in reason:
        return _damaged(reason)
    if "UNIQUE" in reason or "duplicate key" in reason:
        return ConflictError(f"the store holds this already: {reason}")
    return StorageError(
        f"the store's database refused: {reason}",
        hint="see that .trimtab is there and that you may write to it",
    )


def _damaged(reason: str) -> IntegrityError:
    return IntegrityError(
        f"the store's database is damaged: {reason}",
        hint="restore .trimtab/store.db from a backup; `trimtab doctor` says what is wrong",
    )


def to_row(record: Record, **extra: Any) -> dict[str, Any]:
    """A record as the values of its table's columns."""
    return {field: getattr(record, field) for field in record.__struct_fields__} | extra


def from_row(kind: type[R], row: Any) -> R:
    """A table row as a record; columns that the record does not have are dropped."""
    mapping = row._mapping  # noqa: SLF001 - public by its documentation
    fields = {field: mapping[field] for field in kind.__struct_fields__}
    return msgspec.convert(fields, kind, strict=False)


def insert_new(engine: sa.Engine, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert a row unless a unique key holds it already; says whether it did."""
    with writing(engine) as tx:
        statement = insert_statement(engine.dialect.name, table)
        return bool(statements.write(tx, statement, [values]))


@lru_cache(maxsize=128)
def insert_statement(dialect: str, table: sa.Table) -> Any:
    """The statement of `insert_new`, made once: making it anew costs more than the insert itself."""
    return insert(dialect, table).on_conflict_do_nothing()


def insert(dialect: str, table: sa.Table) -> Any:
    """An insert that can say what happens on a conflict."""
    # A dialect is loaded where its database is used: PostgreSQL's costs every process 3 MB.
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
