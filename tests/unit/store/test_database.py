"""Transactions, the schema and its migrations, and errors in words."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from trimtab import hashing
from trimtab.errors import ConflictError, IntegrityError, StorageError, UsageError
from trimtab.store import (
    database,
    evidence,
    ledger,
    runs,
    schema,
    statements,
    states,
    tables,
    versions,
)
from trimtab.store.records import Evidence
from trimtab.store.workspace import FOLDER, Workspace, open_workspace

DIGEST = hashing.digest("blob", b"model")
BEFORE = schema.HEAD


def measured(name: str) -> Evidence:
    return Evidence(
        id=name, metric="auc", subject=DIGEST, value=0.8, lo=0.7, hi=0.9, n=9, method="delong"
    )


def test_nested_transactions_commit_together(ws: Workspace) -> None:
    with pytest.raises(KeyError), ws.transaction():
        evidence.append(ws, [measured("e1")])
        versions.add(ws, "model", "loans", DIGEST)
        with ws.transaction():
            states.put(ws, "a", 1)
        assert states.get(ws, "a") == 1
        assert len(evidence.find(ws)) == 1
        raise KeyError
    assert evidence.find(ws) == []
    assert versions.find(ws, "model") == []
    assert states.get(ws, "a") is None
    assert ledger.verify(ws) == 0
    with ws.transaction():
        evidence.append(ws, [measured("e1")])
        versions.add(ws, "model", "loans", DIGEST)
    assert ledger.verify(ws) == 2


class Elsewhere:
    """A connection that tells, as one to PostgreSQL does, how many rows an insert has changed only
    where it is of one row and asked for.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.dialect = SimpleNamespace(name="another")

    def execute(self, statement: Any, given: Any, **asked: Any) -> Any:
        done = self.connection.execute(statement, given, **asked)
        is_asked = asked.get("execution_options", {}).get("preserve_rowcount", False)
        return done if isinstance(given, dict) and is_asked else SimpleNamespace(rowcount=-1)


def test_how_many_rows_an_insert_has_changed_is_known_of_every_database(ws: Workspace) -> None:
    rows = [{"project": ws.project, "name": name, "holder": "a", "expires_at": 1} for name in "xyz"]
    insert = database.insert_statement("sqlite", tables.leases)
    with ws.transaction() as tx:
        other: Any = Elsewhere(tx)
        written = [statements.write(other, insert, some) for some in (rows[:1], rows[:1], rows)]
    assert written == [1, 0, 2]


@pytest.mark.slow
def test_an_inner_failure_undoes_the_inner_part_alone(ws: Workspace) -> None:
    evidence.append(ws, [measured("e1")])
    with ws.transaction():
        states.put(ws, "before", 1)
        with pytest.raises(ConflictError):
            evidence.append(ws, [measured("e2"), measured("e1")])
        with pytest.raises(KeyError), ws.transaction():
            states.put(ws, "inner", 1)
            with ws.transaction():
                states.put(ws, "innermost", 1)
            raise KeyError
        states.put(ws, "after", 1)
    assert [states.get(ws, name) for name in ("before", "inner", "innermost", "after")] == [
        1,
        None,
        None,
        1,
    ]
    # Without that, the entry of the refused batch would stand in the chain without its rows.
    assert ledger.verify(ws) == 1


def test_a_transaction_that_the_database_gave_up_stores_nothing_more(ws: Workspace) -> None:
    with pytest.raises(StorageError), ws.transaction() as tx:
        states.put(ws, "before", 1)
        # What SQLite does by itself after some errors, a full disk among them.
        tx.exec_driver_sql("ROLLBACK")
        with pytest.raises(StorageError, match="gave this transaction up"):
            states.put(ws, "after", 1)
    assert states.get(ws, "before") is None
    assert states.get(ws, "after") is None


def test_two_stores_do_not_share_a_transaction(tmp_path: Path, ws: Workspace) -> None:
    elsewhere = open_workspace(tmp_path / "elsewhere", "demo")
    with pytest.raises(KeyError), ws.transaction():
        states.put(ws, "a", 1)
        states.put(elsewhere, "a", 1)
        raise KeyError
    assert states.get(ws, "a") is None
    assert states.get(elsewhere, "a") == 1
    elsewhere.close()


def test_a_reader_outside_sees_nothing_before_the_commit(ws: Workspace, other: Workspace) -> None:
    with ws.transaction():
        runs.start(ws, "flow", "train")
        with other.reading() as db:
            assert db.execute(sa.select(sa.func.count()).select_from(tables.runs)).scalar() == 0


def test_a_snapshot_sees_one_moment(ws: Workspace) -> None:
    states.put(ws, "a", 1)
    count = sa.select(sa.func.count()).select_from(tables.states)
    with database.snapshot(ws.engine) as db:
        assert db.execute(count).scalar() == 1
        states.put(ws, "b", 1)
        assert db.execute(count).scalar() == 1
    with ws.reading() as db:
        assert db.execute(count).scalar() == 2
    with ws.transaction(), database.snapshot(ws.engine) as db:
        states.put(ws, "c", 1)
        assert db.execute(count).scalar() == 3
    assert states.get(ws, "c") == 1


def test_a_lock_that_is_not_given_up_is_a_conflict(ws: Workspace) -> None:
    with closing(sqlite3.connect(ws.root / "store.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with ws.reading() as db:
            db.exec_driver_sql("PRAGMA busy_timeout=10")
        with pytest.raises(ConflictError, match="locked"):
            states.put(ws, "a", 1)
        writer.execute("ROLLBACK")
    states.put(ws, "a", 1)


def test_a_damaged_database_says_so(tmp_path: Path, ws: Workspace) -> None:
    for number in range(300):
        states.put(ws, f"state {number}", "x" * 100)
    ws.close()
    file = ws.root / "store.db"
    data = bytearray(file.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        states.get(open_workspace(tmp_path, "demo"), "state 1")
    assert "backup" in caught.value.hint


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "store.db").write_text("not a database, but long enough to be read" * 50)
    with pytest.raises(IntegrityError, match="not a database"):
        open_workspace(tmp_path, "demo")


def test_text_that_is_not_utf8_any_more_is_damage(ws: Workspace) -> None:
    runs.start(ws, "flow", "train")
    with ws.transaction() as tx:
        tx.exec_driver_sql("UPDATE runs SET name = CAST(x'ff' AS TEXT)")
    with pytest.raises(IntegrityError, match="damaged"):
        runs.find(ws)


@pytest.mark.parametrize("name", ["plain", "per%cent", "what?", "a#b", "café 1", "file:x"])
def test_a_project_may_lie_in_any_folder(tmp_path: Path, name: str) -> None:
    ws = open_workspace(tmp_path / name, "demo")
    states.put(ws, "a", 1)
    ws.close()
    assert (tmp_path / name / FOLDER / "store.db").is_file()
    assert (tmp_path / name / FOLDER / ".gitignore").read_text() == "*\n"
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file is in the way")
    with pytest.raises(StorageError, match=FOLDER):
        open_workspace(tmp_path, "demo")
    with pytest.raises(UsageError, match="not supported"):
        open_workspace(tmp_path, "demo", url="postgresql://host/db")


def test_a_project_keeps_its_id(tmp_path: Path, ws: Workspace, other: Workspace) -> None:
    again = open_workspace(tmp_path, "demo")
    assert again.project == ws.project != other.project
    again.close()


def test_the_migrated_schema_is_the_tables(ws: Workspace) -> None:
    with ws.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        # What the comparison leaves out: the conditions of the unique indexes.
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all()
    made = {row.name: row.sql for row in rows}
    for name in ("ux_runs_concurrency", "ux_rollouts_open", "ux_incidents_open"):
        assert " WHERE " in made[name]


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path, ws: Workspace) -> None:
    states.put(ws, "a", 1)
    with ws.transaction() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConflictError, match="9999") as caught:
        open_workspace(tmp_path, "demo")
    assert "upgrade" in caught.value.hint
    assert states.get(ws, "a") == 1
    assert list(ws.root.glob("*.backup")) == []


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trimtab whose schema is one revision further; returns the revision's file."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(schema.__file__).parent / "migrations", folder)
    script = folder / "versions" / "9000_next.py"
    script.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '9000'\n"
        f"down_revision = '{schema.HEAD}'\n\n\ndef upgrade() -> None:\n"
        "    op.create_table('more', sa.Column('a', sa.Integer()))\n"
    )
    monkeypatch.setattr(schema, "_MIGRATIONS", folder)
    monkeypatch.setattr(schema, "HEAD", "9000")
    return script


def test_an_older_database_is_backed_up_and_migrated(
    tmp_path: Path, ws: Workspace, next_revision: Path
) -> None:
    # The last commits are still in the write-ahead log: the backup must hold them.
    evidence.append(ws, [measured("e1")])
    assert (ws.root / "store.db-wal").stat().st_size > 0
    newer = open_workspace(tmp_path, "demo")
    assert ledger.verify(newer) == 1
    with newer.reading() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM more").scalar() == 0
    newer.close()
    backup = ws.root / f"store.db.{BEFORE}.backup"
    assert list(ws.root.glob("*.backup*")) == [backup]
    with closing(sqlite3.connect(backup)) as old:
        assert old.execute("SELECT version_num FROM alembic_version").fetchall() == [(BEFORE,)]
        assert old.execute("SELECT id FROM evidence").fetchall() == [("e1",)]
        with pytest.raises(sqlite3.OperationalError):
            old.execute("SELECT count(*) FROM more")


def test_a_migration_happens_whole_or_not_at_all(
    tmp_path: Path, ws: Workspace, next_revision: Path
) -> None:
    whole = next_revision.read_text()
    next_revision.write_text(whole + "    raise RuntimeError('half way')\n")
    states.put(ws, "a", 1)
    with pytest.raises(RuntimeError, match="half way"):
        open_workspace(tmp_path, "demo")
    assert states.get(ws, "a") == 1
    with ws.reading() as db:
        assert sa.inspect(db).has_table("states")
        assert not sa.inspect(db).has_table("more")
    next_revision.write_text(whole)
    open_workspace(tmp_path, "demo").close()


@pytest.mark.parametrize("way", ["written", "migrated"])
def test_the_first_schema_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    upgrade, statements = command.upgrade, schema.first_statements()

    def die(*args: object) -> None:
        upgrade(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    def torn() -> Iterator[str]:
        yield from statements[:20]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", die)
        patch.setattr(schema, "first_statements", torn if way == "written" else list)
        with pytest.raises(KeyboardInterrupt):
            open_workspace(tmp_path, "demo")
    with closing(sqlite3.connect(tmp_path / FOLDER / "store.db")) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    open_workspace(tmp_path, "demo").close()


def test_a_new_store_is_what_the_migrations_come_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a new revision: write `"".join(one + ";\\n\\n" for one in first_statements(engine))`
    of a store that was migrated to migrations/first.sql.
    """
    written = schema.first_statements()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "first_statements", list)
        migrated = open_workspace(tmp_path, "demo")
    assert schema.first_statements(migrated.engine) == written
    migrated.close()


def test_a_store_of_a_trimtab_whose_first_schema_is_older_goes_on_to_the_newest(
    tmp_path: Path, next_revision: Path
) -> None:
    made = open_workspace(tmp_path, "demo")
    with made.reading() as db:
        assert sa.inspect(db).has_table("more")
    assert list(made.root.glob("*.backup")) == []
    made.close()


def test_a_backup_that_fails_stops_the_migration(
    tmp_path: Path, ws: Workspace, next_revision: Path
) -> None:
    (ws.root / f"store.db.{BEFORE}.backup").mkdir()
    with pytest.raises(StorageError, match="back the store up"):
        open_workspace(tmp_path, "demo")
    with ws.reading() as db:
        assert not sa.inspect(db).has_table("more")


def test_records_are_importable_without_a_database() -> None:
    code = (
        "import sys, trimtab.store.records as records\n"
        "heavy = {'sqlalchemy', 'alembic', 'sqlite3', 'numpy', 'zstandard', 'blake3'}\n"
        "print(*sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.slow
def test_a_store_that_is_there_is_opened_without_alembic(tmp_path: Path, ws: Workspace) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from trimtab.store.workspace import open_workspace\n"
        "open_workspace(Path(sys.argv[1]), 'demo').close()\n"
        "print(*sorted({'alembic', 'numpy', 'polars'} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.slow
def test_a_lane_never_waits_and_never_brings_the_log_home(ws: Workspace, other: Workspace) -> None:
    lane = database.Lane(ws.engine)
    with lane.transaction():
        states.put(ws, "a", 1)
        with ws.transaction():  # joins it
            states.put(ws, "b", 1)
    with other.transaction(), pytest.raises(database.Busy), lane.transaction():
        pytest.fail("somebody else writes")
    log, data = ws.root / "store.db-wal", ws.root / "store.db"
    before = data.stat().st_mtime_ns
    for number in range(300):
        with lane.transaction():
            states.put(ws, "large", f"{number:04}" * 5000)
    assert log.stat().st_size > 1100 * 4096
    assert data.stat().st_mtime_ns == before
    with ws.transaction():
        states.put(ws, "c", 1)
    assert data.stat().st_mtime_ns > before
    with pytest.raises(ZeroDivisionError), lane.transaction():
        states.put(ws, "d", 1 / 0)
    assert sorted(states.find(ws, "")) == ["a", "b", "c", "large"]
