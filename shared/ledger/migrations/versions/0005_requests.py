"""Requests and decisions: what people say, in a chain of its own, and how each request stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OPEN = sa.text("due_at IS NOT NULL")


def before() -> None:
    """Code of before knows nothing of these tables."""
    op.create_table(
        "consent",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fact_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("fact_id"),
    )
    op.create_index("consent_request", "consent", ["request_id", "seq"], unique=False)
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("batch", sa.String(length=128), nullable=True),
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("ecr_owner_uid", sa.String(length=20), nullable=False),
        sa.Column("instance_owner_uid", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("requester", sa.String(length=200), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("reminded", sa.Integer(), nullable=False),
        sa.Column("heard", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("review_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("request_id"),
    )
    for name, columns in (("requests_due", ["due_at"]), ("requests_open", ["grant_id"])):
        op.create_index(name, "requests", columns, unique=False, sqlite_where=_OPEN, postgresql_where=_OPEN)
    unreviewed = sa.text("review_at IS NOT NULL")
    op.create_index(
        "requests_reviewed",
        "requests",
        ["grant_id"],
        unique=False,
        sqlite_where=unreviewed,
        postgresql_where=unreviewed,
    )
    op.create_index("requests_of_batch", "requests", ["batch", "request_id"], unique=False)
    op.create_index("requests_asked", "requests", ["asked_at", "request_id"], unique=False)
    op.create_table(
        "used",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("often", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    op.create_index("used_until", "used", ["until"], unique=False)


def upgrade() -> None:
    """Nothing more."""
