"""Acknowledged and reopened incidents, how often they were seen, and alerts on their way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns and make the tables."""
    with op.batch_alter_table("incidents") as table:
        table.add_column(
            sa.Column("acknowledged_at", sa.BigInteger(), nullable=False, server_default="0")
        )
        table.add_column(
            sa.Column("acknowledged_by", sa.String(), nullable=False, server_default="")
        )
        table.add_column(sa.Column("reopened", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "sightings",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("incident", sa.String(), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("project", "incident", name=op.f("pk_sightings")),
    )
    op.create_table(
        "alerts",
        sa.Column("project", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("incident", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("next_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("receipt", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sent_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_state", "alerts", ["project", "state", "next_at"], unique=False)
    op.create_index("ix_alerts_incident", "alerts", ["project", "incident"], unique=False)
