"""The SQL tables, as SQLAlchemy Core. Every table carries its project; docs/architecture.md says why.

Columns bear the names of the fields of `records`. Concurrency is decided here, by primary keys and
unique (partial) indexes, and nowhere else.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from trimtab.store.columns import Json, Number

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)


def _project(*, key: bool = True) -> Column[str]:
    return Column("project", String(32), primary_key=key, nullable=False)


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, String, primary_key=key, nullable=False)


def _integer(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Json(nullable=nullable), nullable=nullable)


projects = Table(
    "projects",
    metadata,
    Column("project", String(32), primary_key=True),
    Column("name", String, nullable=False, unique=True),
    _integer("created_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _project(),
    _text("digest", key=True),
    _text("kind"),
    _integer("size"),
    _json("meta"),
    _text("run"),
    _integer("created_at"),
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    metadata,
    _project(),
    _text("kind", key=True),
    _text("name", key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("digest"),
    _text("run"),
    _json("meta"),
    _integer("created_at"),
    Index("ux_versions_digest", "project", "kind", "name", "digest", unique=True),
)

refs = Table(
    "refs",
    metadata,
    _project(),
    _text("kind", key=True),
    _text("name", key=True),
    _text("digest"),
    _integer("updated_at"),
)

runs = Table(
    "runs",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _text("kind"),
    _text("name"),
    _text("status"),
    _text("parent"),
    _text("key"),
    _json("cause"),
    _json("params"),
    _json("tags"),
    _text("code"),
    _text("environment"),
    _text("concurrency_key"),
    _integer("pid"),
    _integer("started_at"),
    _integer("heartbeat_at"),
    _integer("ended_at"),
    _integer("peak_bytes"),
    _json("error", nullable=True),
    Index("ix_runs_parent", "project", "parent"),
    Index("ix_runs_kind", "project", "kind", "id"),
    Index(
        "ux_runs_concurrency",
        "project",
        "concurrency_key",
        unique=True,
        sqlite_where=text("status = 'running' AND concurrency_key <> ''"),
        postgresql_where=text("status = 'running' AND concurrency_key <> ''"),
    ),
)

links = Table(
    "links",
    metadata,
    _project(),
    _text("run", key=True),
    _text("direction", key=True),
    _text("name", key=True),
    _text("digest", key=True),
    Index("ix_links_digest", "project", "digest"),
    sqlite_with_rowid=False,
)

metric_batches = Table(
    "metric_batches",
    metadata,
    _project(),
    _text("run", key=True),
    _integer("seq", key=True),
    Column("body", LargeBinary, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    _project(),
    _text("key", key=True),
    _text("run"),
    _text("name"),
    _json("outputs"),
    _json("codecs"),
    _json("components"),
    _json("observed"),
    _json("weak"),
    _integer("created_at"),
    Index("ix_steps_name", "project", "name", "created_at"),
)

leases = Table(
    "leases",
    metadata,
    _project(),
    _text("name", key=True),
    _text("holder"),
    _integer("expires_at"),
)

ledger = Table(
    "ledger",
    metadata,
    _project(),
    _integer("seq", key=True),
    _integer("time"),
    _text("kind"),
    Column("body", Text, nullable=False),
    _text("previous"),
    _text("hash"),
)

ledger_heads = Table(
    "ledger_heads",
    metadata,
    Column("project", String(32), primary_key=True),
    _integer("seq"),
    _text("hash"),
)

evidence = Table(
    "evidence",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _integer("seq"),
    _text("metric"),
    _text("statistic"),
    _text("subject"),
    _text("slice"),
    _text("window"),
    Column("value", Number, nullable=False),
    Column("lo", Number, nullable=False),
    Column("hi", Number, nullable=False),
    _integer("n"),
    Column("level", Number, nullable=False),
    _text("method"),
    _text("validity"),
    _text("run"),
    _integer("measured_at"),
    _json("details"),
    Index("ix_evidence_subject", "project", "subject", "metric"),
)

verdicts = Table(
    "verdicts",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _integer("seq"),
    _text("requirement"),
    _text("text"),
    _text("metric"),
    _text("statistic"),
    _text("subject"),
    _text("place"),
    _text("status"),
    Column("provisional", Integer, nullable=False),
    _text("reason"),
    Column("value", Number, nullable=True),
    Column("lo", Number, nullable=True),
    Column("hi", Number, nullable=True),
    _integer("n"),
    _json("evidence"),
    _json("details"),
    _text("config"),
    _text("run"),
    _integer("decided_at"),
    Index("ix_verdicts_subject", "project", "subject", "place"),
)

endpoints = Table(
    "endpoints",
    metadata,
    _project(),
    _text("name", key=True),
    _text("target"),
    _text("state"),
    _integer("pid"),
    Column("pid_started", Float, nullable=False),
    _text("host"),
    _integer("port"),
    _text("folder"),
    _json("routes"),
    _integer("created_at"),
    _integer("updated_at"),
)

rollouts = Table(
    "rollouts",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _text("endpoint"),
    _text("candidate"),
    _text("champion"),
    _json("stages"),
    Column("stage", Integer, nullable=False),
    _text("state"),
    _text("reason"),
    _json("cause"),
    _integer("opened_at"),
    _integer("staged_at"),
    _integer("closed_at"),
    Index(
        "ux_rollouts_open",
        "project",
        "endpoint",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)

incidents = Table(
    "incidents",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _text("kind"),
    _text("key"),
    _text("endpoint"),
    _text("title"),
    _text("severity"),
    _text("state"),
    _json("detail"),
    _integer("opened_at"),
    _integer("resolved_at"),
    _integer("since"),
    _text("resolution"),
    Index(
        "ux_incidents_open",
        "project",
        "key",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)

actions = Table(
    "actions",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _text("kind"),
    _text("key"),
    _text("state"),
    _json("cause"),
    _json("result"),
    _integer("created_at"),
    _integer("updated_at"),
    Index("ux_actions_key", "project", "key", unique=True),
)

windows = Table(
    "windows",
    metadata,
    _project(),
    _text("endpoint", key=True),
    _text("model", key=True),
    _text("role", key=True),
    _integer("start", key=True),
    _integer("end"),
    _integer("rows"),
    _text("profile"),
    _json("findings"),
    _json("features"),
    _integer("judged_at"),
)

labels = Table(
    "labels",
    metadata,
    _project(),
    _text("prediction", key=True),
    _json("value"),
    _integer("labelled_at"),
    _integer("received_at"),
    _json("extra"),
)

states = Table(
    "states",
    metadata,
    _project(),
    _text("name", key=True),
    _json("body"),
    _integer("updated_at"),
)
