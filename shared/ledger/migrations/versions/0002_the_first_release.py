"""The ledger of the first release: leases that keep, confined closes, marks, holds, and a record that proves what decides."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accepts",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("oldest", sa.Integer(), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "chain",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("grant_id", sa.String(length=40), nullable=True),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("event_id"),
    )
    op.create_index("events_grant", "events", ["grant_id", "seq"], unique=False)
    op.create_table(
        "grants",
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("ecr_id", sa.String(length=64), nullable=False),
        sa.Column("ecr_owner_uid", sa.String(length=20), nullable=False),
        sa.Column("instance_type", sa.String(length=8), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("instance_region", sa.String(length=64), nullable=False),
        sa.Column("instance_owner_uid", sa.String(length=20), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id"),
    )
    op.create_index(
        "grants_shown",
        "grants",
        ["grant_id"],
        unique=False,
        sqlite_where=sa.text("shown = 1"),
        postgresql_where=sa.text("shown"),
    )
    op.create_table(
        "holds",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("everything", sa.Boolean(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "approvals",
        sa.Column("approval_id", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("on_end", sa.String(length=16), nullable=False),
        sa.Column("allowed_prefixes", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("message_id", sa.String(length=200), nullable=False),
        sa.Column("admitted_at", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=True),
        sa.Column("early_until", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.String(length=64), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("warned_at", sa.BigInteger(), nullable=True),
        sa.Column("overdue_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("outcome_at", sa.BigInteger(), nullable=True),
        sa.Column("asked_again", sa.String(length=200), nullable=True),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["grants.grant_id"],
        ),
        sa.PrimaryKeyConstraint("approval_id"),
        sa.UniqueConstraint("issuer", "request_id", "digest"),
    )
    op.create_index(
        "approvals_closed",
        "approvals",
        ["closed_by"],
        unique=False,
        sqlite_where=sa.text("closed_by IS NOT NULL"),
        postgresql_where=sa.text("closed_by IS NOT NULL"),
    )
    op.create_index(
        "approvals_due",
        "approvals",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("approvals_of_grant", "approvals", ["grant_id", "admitted_at"], unique=False)
    op.create_index(
        "approvals_open",
        "approvals",
        ["grant_id"],
        unique=False,
        sqlite_where=sa.text("open = 1"),
        postgresql_where=sa.text("open"),
    )
    op.create_index("approvals_request", "approvals", ["issuer", "request_id"], unique=False)
    op.create_index(
        "approvals_waiting",
        "approvals",
        ["grant_id", "admitted_at", "approval_id"],
        unique=False,
        sqlite_where=sa.text("waits = 1"),
        postgresql_where=sa.text("waits"),
    )
    op.create_table(
        "closes",
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("closed_by", sa.String(length=64), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["grants.grant_id"],
        ),
        sa.PrimaryKeyConstraint("grant_id", "issuer", "request_id"),
    )
    op.create_table(
        "intents",
        sa.Column("intent_id", sa.String(length=64), nullable=False),
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("operation", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("prefixes", sa.Text(), nullable=False),
        sa.Column("served", sa.Text(), nullable=True),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.Column("matters", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["grants.grant_id"],
        ),
        sa.PrimaryKeyConstraint("intent_id"),
    )
    op.create_index("intents_generation", "intents", ["grant_id", "generation"], unique=False)
    op.create_index(
        "intents_matter",
        "intents",
        ["grant_id"],
        unique=False,
        sqlite_where=sa.text("matters = 1"),
        postgresql_where=sa.text("matters"),
    )
    op.create_table(
        "marks",
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["grants.grant_id"],
        ),
        sa.PrimaryKeyConstraint("grant_id", "issuer"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("taken_until", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["seq"],
            ["events.seq"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "sides",
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("observed_generation", sa.Integer(), nullable=False),
        sa.Column("observed_wanted", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("ours", sa.Boolean(), nullable=True),
        sa.Column("association_id", sa.String(length=64), nullable=True),
        sa.Column("prefixes", sa.Text(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("unsettled", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("waiting_since", sa.BigInteger(), nullable=True),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("knocks", sa.Integer(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("dead_at", sa.BigInteger(), nullable=True),
        sa.Column("drift", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["grants.grant_id"],
        ),
        sa.PrimaryKeyConstraint("grant_id", "side"),
    )
    op.create_index(
        "sides_dead",
        "sides",
        ["dead_at"],
        unique=False,
        sqlite_where=sa.text("dead_at IS NOT NULL"),
        postgresql_where=sa.text("dead_at IS NOT NULL"),
    )
    op.create_index(
        "sides_unsettled",
        "sides",
        ["waiting_since", "grant_id"],
        unique=False,
        sqlite_where=sa.text("unsettled = 1"),
        postgresql_where=sa.text("unsettled"),
    )
    # The chain starts from nothing; its one row is the lock that keeps the events in order.
    op.execute(sa.text("INSERT INTO chain (name, seq, hash) VALUES ('events', 0, :start)").bindparams(start="0" * 64))
    # Which revisions of the code may work on this ledger.
    op.execute(sa.text("INSERT INTO accepts (name, oldest, newest) VALUES ('code', 2, 2)"))
