"""Estimates without labels, requests for labels, changed labels, and episodes that ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _json(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _project() -> sa.Column[str]:
    return sa.Column("project", sa.String(length=32), nullable=False)


def upgrade() -> None:
    """Make the tables of quality with and without labels."""
    op.create_table(
        "label_changes",
        _text("id"),
        _project(),
        _text("prediction"),
        _json("before"),
        _json("value"),
        _integer("labelled_at"),
        _integer("received_at"),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_changes")),
    )
    op.create_index("ix_label_changes_prediction", "label_changes", ["project", "prediction"])
    op.create_table(
        "label_requests",
        _text("id"),
        _project(),
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_requests")),
    )
    op.create_index(
        "ux_label_requests_open",
        "label_requests",
        ["project", "endpoint"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "label_request_rows",
        _project(),
        _text("request"),
        _integer("place"),
        _text("prediction"),
        _text("stratum"),
        _number("probability"),
        sa.PrimaryKeyConstraint("project", "request", "place", name=op.f("pk_label_request_rows")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "estimates",
        _project(),
        _text("endpoint"),
        _text("model"),
        _text("metric"),
        _integer("start"),
        _integer("end"),
        _number("value"),
        _number("lo"),
        _number("hi"),
        _number("level"),
        _integer("n"),
        _text("method"),
        _text("note"),
        _text("untrusted"),
        _number("effective"),
        _integer("measured_at"),
        _number("realised", nullable=True),
        _number("realised_lo", nullable=True),
        _number("realised_hi", nullable=True),
        _integer("labels"),
        _integer("checked_at"),
        sa.PrimaryKeyConstraint(
            "project", "endpoint", "model", "metric", "start", name=op.f("pk_estimates")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "episodes",
        _project(),
        _text("endpoint"),
        _text("model"),
        _text("kind"),
        _integer("since"),
        _integer("until"),
        _text("form"),
        _json("features"),
        sa.PrimaryKeyConstraint(
            "project", "endpoint", "model", "kind", "since", name=op.f("pk_episodes")
        ),
    )
