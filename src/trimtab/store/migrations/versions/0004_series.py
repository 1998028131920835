"""Compacted metric series."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "metric_chunks",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("level", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "project", "run", "key", "level", "place", name=op.f("pk_metric_chunks")
        ),
    )
    op.create_table(
        "metric_marks",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("through", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("project", "run", name=op.f("pk_metric_marks")),
        sqlite_with_rowid=False,
    )
