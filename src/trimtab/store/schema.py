"""The schema of a workspace's database: made, moved to the newest revision, never half of either.

A new SQLite file gets the statements of `migrations/first.sql`, which are what the migrations come to: to
walk through them costs a quarter of a second and 10 MB. A test holds the two together, and
`first_statements` writes that file anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import time
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, ProgrammingError

from trimtab.errors import ConflictError, StorageError
from trimtab.store.database import PATIENCE, reading, transaction
from trimtab.store.place import HEAD

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_END: Final = ";\n\n"


def migrate(engine: sa.Engine, lock: Path) -> None:
    """Bring the schema to `HEAD` under a lock; an older SQLite file is copied aside first.

    The schema changes as a whole or, where the process dies, not at all. Raises ConflictError where
    the database was written by a newer trimtab.
    """
    if _revision(engine) == HEAD and _has_wal(engine):
        return
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _set_wal(engine)
        before = found = _revision(engine)
        if not found and engine.dialect.name == "sqlite":
            with transaction(engine) as connection:
                for statement in first_statements():
                    connection.exec_driver_sql(statement)
            found = _revision(engine)
        if found == HEAD:
            return
        # alembic takes a quarter of a second to import and is needed only here.
        from alembic.command import upgrade  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.script import ScriptDirectory  # noqa: PLC0415

        settings = Config()
        settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        known = {
            script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()
        }
        if found and found not in known:
            raise ConflictError(
                f"the store has schema {found}, which this trimtab does not know (it knows {HEAD})",
                hint="a newer trimtab wrote it: upgrade trimtab",
            )
        with transaction(engine) as connection:
            if before and engine.dialect.name == "sqlite":
                _back_up(engine, before)
            # alembic ends a transaction that it had to begin.
            if not connection.in_transaction():
                connection.begin()
            settings.attributes["connection"] = connection
            upgrade(settings, "head")


def first_statements(engine: sa.Engine | None = None) -> list[str]:
    """What makes a new database: as it was written down, or as that of `engine` was made."""
    if engine is None:
        text = (_MIGRATIONS / "first.sql").read_text(encoding="utf-8")
        return text.removesuffix(_END).split(_END)
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'trigger', type DESC, name"
    with reading(engine) as connection:
        made = [str(row[0]).replace(" \n", "\n") for row in connection.exec_driver_sql(query)]
    revision = f"INSERT INTO alembic_version VALUES ('{_revision(engine)}')"  # noqa: S608 - our own
    return [*made, revision]


def _has_wal(engine: sa.Engine) -> bool:
    if engine.dialect.name != "sqlite":
        return True
    with reading(engine) as connection:
        return connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def _set_wal(engine: sa.Engine) -> None:
    # The file remembers the mode. Setting it fails at once, without the usual patience, while
    # somebody else opens or closes the file: so it is done once, under the lock, and tried again.
    end = time.monotonic() + PATIENCE
    while not _has_wal(engine):
        try:
            with reading(engine) as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        except ConflictError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _back_up(engine: sa.Engine, revision: str) -> None:
    # A copy of the file alone would lack what is still in the write-ahead log. The connection is a
    # second one, because SQLite copies nothing for the one that holds the write lock.
    whole = Path(f"{engine.url.database}.{revision}.backup")
    partial = Path(f"{whole}.partial")
    try:
        partial.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(str(engine.url.database))) as source,
            contextlib.closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
        partial.rename(whole)
    except (sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"cannot back the store up to {whole}: {error}",
            hint="free some space: an older store is changed only after a backup",
        ) from error


def _revision(engine: sa.Engine) -> str:
    with reading(engine) as connection:
        try:
            row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        except (OperationalError, ProgrammingError) as error:
            if "no such table" in str(error.orig) or isinstance(error, ProgrammingError):
                return ""
            raise
    return str(row[0]) if row else ""
