"""The SQL tables, as SQLAlchemy Core. Every table carries its project; docs/architecture.md says why.

Columns bear the names of the fields of `records`. Concurrency is decided here, by primary keys and
unique (partial) indexes, and nowhere else.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from trimtab.store.columns import Number
from trimtab.store.made_tables import artifacts as artifacts
from trimtab.store.made_tables import changes as changes
from trimtab.store.made_tables import integer_column as _integer
from trimtab.store.made_tables import json_column as _json
from trimtab.store.made_tables import leases as leases
from trimtab.store.made_tables import links as links
from trimtab.store.made_tables import metadata as metadata
from trimtab.store.made_tables import metric_batches as metric_batches
from trimtab.store.made_tables import metric_chunks as metric_chunks
from trimtab.store.made_tables import metric_marks as metric_marks
from trimtab.store.made_tables import project_column as _project
from trimtab.store.made_tables import projects as projects
from trimtab.store.made_tables import refs as refs
from trimtab.store.made_tables import runs as runs
from trimtab.store.made_tables import steps as steps
from trimtab.store.made_tables import text_column as _text
from trimtab.store.made_tables import versions as versions
from trimtab.store.tracked_tables import experiments as experiments
from trimtab.store.tracked_tables import logged_models as logged_models
from trimtab.store.tracked_tables import registered_models as registered_models
from trimtab.store.tracked_tables import registered_versions as registered_versions
from trimtab.store.tracked_tables import stored_files as stored_files
from trimtab.store.tracked_tables import tracked_runs as tracked_runs

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
    Column("acknowledged_at", BigInteger, nullable=False, server_default="0"),
    Column("acknowledged_by", String, nullable=False, server_default=""),
    Column("reopened", BigInteger, nullable=False, server_default="0"),
    Index(
        "ux_incidents_open",
        "project",
        "key",
        unique=True,
        sqlite_where=text("state = 'open'"),
    ),
)

sightings = Table(
    "sightings",
    metadata,
    _project(),
    _text("incident", key=True),
    _integer("occurrences"),
    _integer("seen_at"),
    _integer("updated_at"),
)

alerts = Table(
    "alerts",
    metadata,
    _project(),
    _text("id", key=True),
    _text("incident"),
    _text("event"),
    _text("channel"),
    _json("body"),
    _text("state"),
    _integer("attempts"),
    _integer("next_at"),
    _text("error"),
    _text("receipt"),
    _integer("created_at"),
    _integer("sent_at"),
    Index("ix_alerts_state", "project", "state", "next_at"),
    Index("ix_alerts_incident", "project", "incident"),
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

label_changes = Table(
    "label_changes",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _text("prediction"),
    _json("before"),
    _json("value"),
    _integer("labelled_at"),
    _integer("received_at"),
    Column("kept", Integer, nullable=False),
    Index("ix_label_changes_prediction", "project", "prediction"),
)

label_requests = Table(
    "label_requests",
    metadata,
    _text("id", key=True),
    _project(key=False),
    _text("endpoint"),
    _text("model"),
    _text("state"),
    _text("reason"),
    _integer("since"),
    _integer("until"),
    _integer("wanted"),
    _integer("answered"),
    _json("detail"),
    _integer("opened_at"),
    _integer("closed_at"),
    _text("resolution"),
    Index(
        "ux_label_requests_open",
        "project",
        "endpoint",
        unique=True,
        sqlite_where=text("state = 'open'"),
    ),
)

label_request_rows = Table(
    "label_request_rows",
    metadata,
    _project(),
    _text("request", key=True),
    _integer("place", key=True),
    _text("prediction"),
    _text("stratum"),
    Column("probability", Number, nullable=False),
    sqlite_with_rowid=False,
)

estimates = Table(
    "estimates",
    metadata,
    _project(),
    _text("endpoint", key=True),
    _text("model", key=True),
    _text("metric", key=True),
    _integer("start", key=True),
    _integer("end"),
    Column("value", Number, nullable=False),
    Column("lo", Number, nullable=False),
    Column("hi", Number, nullable=False),
    Column("level", Number, nullable=False),
    _integer("n"),
    _text("method"),
    _text("note"),
    _text("untrusted"),
    Column("effective", Number, nullable=False),
    _integer("measured_at"),
    Column("realised", Number, nullable=True),
    Column("realised_lo", Number, nullable=True),
    Column("realised_hi", Number, nullable=True),
    _integer("labels"),
    _integer("checked_at"),
    sqlite_with_rowid=False,
)

episodes = Table(
    "episodes",
    metadata,
    _project(),
    _text("endpoint", key=True),
    _text("model", key=True),
    _text("kind", key=True),
    _integer("since", key=True),
    _integer("until"),
    _text("form"),
    _json("features"),
)
