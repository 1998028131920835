"""The tables of runs that other tools' clients log: experiments, their runs, logged and registered models.

A row is its key and a body, the rest of the record as JSON. The run itself is a row of `runs`, its
points are metric batches: here is only what an ordinary run does not have.
"""

from __future__ import annotations

from sqlalchemy import Index, Table, text

from trimtab.store.made_tables import (
    integer_column,
    json_column,
    metadata,
    project_column,
    text_column,
)

experiments = Table(
    "experiments",
    metadata,
    project_column(),
    integer_column("id", key=True),
    text_column("name"),
    text_column("stage"),
    json_column("body"),
    Index(
        "ux_experiments_name",
        "project",
        "name",
        unique=True,
        sqlite_where=text("stage = 'active'"),
    ),
    sqlite_with_rowid=False,
)

tracked_runs = Table(
    "tracked_runs",
    metadata,
    project_column(),
    text_column("run", key=True),
    integer_column("experiment"),
    text_column("stage"),
    json_column("body"),
    Index("ix_tracked_runs_experiment", "project", "experiment"),
    sqlite_with_rowid=False,
)

logged_models = Table(
    "logged_models",
    metadata,
    project_column(),
    text_column("id", key=True),
    integer_column("experiment"),
    text_column("stage"),
    json_column("body"),
    sqlite_with_rowid=False,
)

registered_models = Table(
    "registered_models",
    metadata,
    project_column(),
    text_column("name", key=True),
    json_column("body"),
    sqlite_with_rowid=False,
)

registered_versions = Table(
    "registered_versions",
    metadata,
    project_column(),
    text_column("name", key=True),
    integer_column("number", key=True),
    json_column("body"),
    sqlite_with_rowid=False,
)

stored_files = Table(
    "stored_files",
    metadata,
    project_column(),
    text_column("path", key=True),
    text_column("digest"),
    integer_column("size"),
    integer_column("updated_at"),
    sqlite_with_rowid=False,
)
