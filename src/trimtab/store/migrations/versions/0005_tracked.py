"""What other tools' clients log beside runs and points."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "experiments",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_experiments")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ux_experiments_name",
        "experiments",
        ["project", "name"],
        unique=True,
        sqlite_where=sa.text("stage = 'active'"),
        postgresql_where=sa.text("stage = 'active'"),
    )
    op.create_table(
        "tracked_runs",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("experiment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "run", name=op.f("pk_tracked_runs")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tracked_runs_experiment", "tracked_runs", ["project", "experiment"])
    op.create_table(
        "logged_models",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("experiment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_logged_models")),
        sqlite_with_rowid=False,
    )
    _registry()


def _registry() -> None:
    op.create_table(
        "registered_models",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", name=op.f("pk_registered_models")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "registered_versions",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", "number", name=op.f("pk_registered_versions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stored_files",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("project", "path", name=op.f("pk_stored_files")),
        sqlite_with_rowid=False,
    )
