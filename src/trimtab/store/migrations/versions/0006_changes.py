"""What changed of which run, noted by the database itself whoever writes."""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
_KEPT: Final = 16384
_AT_ONCE: Final = 1024


class _Watch(NamedTuple):
    """A trigger of a table: what its rows say of which run; `only` is a condition on such a row."""

    table: str
    what: str
    run: str
    events: str = "INSERT UPDATE DELETE"
    columns: str = ""
    only: str = ""


_STATE: Final = "substr({row}.name, 1, 8) = 'deleted:'"
_WATCHED: Final = (
    _Watch(
        "runs", "run", "{row}.id", "INSERT UPDATE",
        columns="kind, name, status, parent, cause, params, tags, code, environment, pid, started_at,"
        " ended_at, peak_bytes, error",
    ),
    _Watch("runs", "gone", "{row}.id", "DELETE"),
    _Watch("tracked_runs", "run", "{row}.run"),
    _Watch("states", "run", "substr({row}.name, 9)", "INSERT DELETE", only=_STATE),
    # what compaction takes away is there still, as chunks
    _Watch("metric_batches", "points", "{row}.run", "INSERT"),
    _Watch("links", "links", "{row}.run", "INSERT DELETE"),
    _Watch("versions", "versions", "''", "INSERT DELETE"),
)  # fmt: skip


def upgrade() -> None:
    """Make the table and the triggers that fill it."""
    op.create_table(
        "changes",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("tx", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_changes")),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for watch in _WATCHED:
        for event in watch.events.split():
            (_on_sqlite if is_sqlite else _on_postgresql)(watch, event)
    if is_sqlite:
        op.execute(
            f"CREATE TRIGGER keep_changes AFTER INSERT ON changes WHEN NEW.seq % {_AT_ONCE} = 0 BEGIN\n"
            f"\tDELETE FROM changes WHERE seq <= NEW.seq - {_KEPT};\nEND"
        )
    else:
        op.create_index("ix_changes_tx", "changes", ["tx"])
        _keep_on_postgresql()


def _on_sqlite(watch: _Watch, event: str) -> None:
    row = "OLD" if event == "DELETE" else "NEW"
    of = f" OF {watch.columns}" if watch.columns and event == "UPDATE" else ""
    when = f" WHEN {watch.only.format(row=row)}" if watch.only else ""
    op.execute(
        f"CREATE TRIGGER note_{watch.table}_{event.lower()} AFTER {event}{of} ON {watch.table}{when} BEGIN\n"
        "\tINSERT INTO changes (project, what, run) "
        f"VALUES ({row}.project, '{watch.what}', {watch.run.format(row=row)});\nEND"
    )


def _on_postgresql(watch: _Watch, event: str) -> None:
    # Transactions commit in another order than they count in: `tx` says which one noted it.
    row = "OLD" if event == "DELETE" else "NEW"
    of = f" OF {watch.columns}" if watch.columns and event == "UPDATE" else ""
    when = f" WHEN ({watch.only.format(row=row)})" if watch.only else ""
    name = f"note_{watch.table}_{event.lower()}"
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608 - ours
        "INSERT INTO changes (project, what, run, tx) "
        f"VALUES ({row}.project, '{watch.what}', {watch.run.format(row=row)}, "
        "pg_current_xact_id()::text::bigint); RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} AFTER {event}{of} ON {watch.table} FOR EACH ROW{when} "
        f"EXECUTE FUNCTION {name}()"
    )


def _keep_on_postgresql() -> None:
    # Only what is older than every open transaction goes, so that none can note anything older later.
    # One that another transaction takes away just now is left to it: nobody waits.
    op.execute(
        "CREATE FUNCTION keep_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608
        "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE tx < least("
        f"(SELECT max(tx) FROM changes WHERE seq <= NEW.seq - {_KEPT}), "
        "pg_snapshot_xmin(pg_current_snapshot())::text::bigint) FOR UPDATE SKIP LOCKED); "
        "RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER keep_changes AFTER INSERT ON changes FOR EACH ROW "
        f"WHEN (NEW.seq % {_AT_ONCE} = 0) EXECUTE FUNCTION keep_changes()"
    )
