"""The tables of what is made: projects, artifacts, versions, runs, steps; and how columns are declared.

`tables` has these and all others; everybody reads them there. What only makes a table, such as the
predicate of a partial index on PostgreSQL, stands in the migrations: to name a dialect here loads it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)

from trimtab.store.columns import Json

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)


def project_column(*, key: bool = True) -> Column[str]:
    """The project that a row belongs to."""
    return Column("project", String(32), primary_key=key, nullable=False)


def text_column(name: str, *, key: bool = False) -> Column[str]:
    """A text that is always there."""
    return Column(name, String, primary_key=key, nullable=False)


def integer_column(name: str, *, key: bool = False) -> Column[int]:
    """A 64-bit integer that is always there."""
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def json_column(name: str, *, nullable: bool = False) -> Column[Any]:
    """A value as JSON text."""
    return Column(name, Json(nullable=nullable), nullable=nullable)


projects = Table(
    "projects",
    metadata,
    Column("project", String(32), primary_key=True),
    Column("name", String, nullable=False, unique=True),
    integer_column("created_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    project_column(),
    text_column("digest", key=True),
    text_column("kind"),
    integer_column("size"),
    json_column("meta"),
    text_column("run"),
    integer_column("created_at"),
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    metadata,
    project_column(),
    text_column("kind", key=True),
    text_column("name", key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    text_column("digest"),
    text_column("run"),
    json_column("meta"),
    integer_column("created_at"),
    Index("ux_versions_digest", "project", "kind", "name", "digest", unique=True),
)

refs = Table(
    "refs",
    metadata,
    project_column(),
    text_column("kind", key=True),
    text_column("name", key=True),
    text_column("digest"),
    integer_column("updated_at"),
)

runs = Table(
    "runs",
    metadata,
    text_column("id", key=True),
    project_column(key=False),
    text_column("kind"),
    text_column("name"),
    text_column("status"),
    text_column("parent"),
    text_column("key"),
    json_column("cause"),
    json_column("params"),
    json_column("tags"),
    text_column("code"),
    text_column("environment"),
    text_column("concurrency_key"),
    integer_column("pid"),
    integer_column("started_at"),
    integer_column("heartbeat_at"),
    integer_column("ended_at"),
    integer_column("peak_bytes"),
    json_column("error", nullable=True),
    Index("ix_runs_parent", "project", "parent"),
    Index("ix_runs_kind", "project", "kind", "id"),
    Index(
        "ux_runs_concurrency",
        "project",
        "concurrency_key",
        unique=True,
        sqlite_where=text("status = 'running' AND concurrency_key <> ''"),
    ),
)

changes = Table(
    "changes",
    metadata,
    project_column(key=False),
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    text_column("what"),
    text_column("run"),
    Column("tx", BigInteger, nullable=False, server_default="0"),
)
"""Filled by triggers of the tables of runs; `changes` reads it."""

links = Table(
    "links",
    metadata,
    project_column(),
    text_column("run", key=True),
    text_column("direction", key=True),
    text_column("name", key=True),
    text_column("digest", key=True),
    Index("ix_links_digest", "project", "digest"),
    sqlite_with_rowid=False,
)

metric_batches = Table(
    "metric_batches",
    metadata,
    project_column(),
    text_column("run", key=True),
    integer_column("seq", key=True),
    Column("body", LargeBinary, nullable=False),
)

metric_chunks = Table(
    "metric_chunks",
    metadata,
    project_column(),
    text_column("run", key=True),
    text_column("key", key=True),
    integer_column("level", key=True),
    integer_column("place", key=True),
    Column("summary", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

metric_marks = Table(
    "metric_marks",
    metadata,
    project_column(),
    text_column("run", key=True),
    integer_column("through"),
    sqlite_with_rowid=False,
)

steps = Table(
    "steps",
    metadata,
    project_column(),
    text_column("key", key=True),
    text_column("run"),
    text_column("name"),
    json_column("outputs"),
    json_column("codecs"),
    json_column("components"),
    json_column("observed"),
    json_column("weak"),
    integer_column("created_at"),
    Index("ix_steps_name", "project", "name", "created_at"),
)

leases = Table(
    "leases",
    metadata,
    project_column(),
    text_column("name", key=True),
    text_column("holder"),
    integer_column("expires_at"),
)
