"""Requests and decisions: what people say, in a chain of its own, and how each request stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OPEN = sa.text("due_at IS NOT NULL")
_LEASES = sa.text("action = 'grant'")


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
    _before_lists()


def _before_lists() -> None:
    """What people look at, by an index each. Code of before leaves an approval's accounts empty: until this version's code runs
    alone such a lease is listed for no account, and ``ledger verify`` names it.
    """
    owners = ("ecr_owner_uid", "instance_owner_uid")
    for name in owners:
        op.add_column("approvals", sa.Column(name, sa.String(length=20), nullable=True))
    _fill_in_accounts()
    newest = ["open", "admitted_at", "approval_id"]
    for name, columns in (
        ("leases_newest", newest),
        ("leases_of_instance_owner", ["instance_owner_uid", *newest]),
        ("leases_of_ecr_owner", ["ecr_owner_uid", *newest]),
    ):
        op.create_index(name, "approvals", columns, unique=False, sqlite_where=_LEASES, postgresql_where=_LEASES)
    op.create_index(
        "leases_of_request",
        "approvals",
        ["request_id"],
        unique=False,
        sqlite_where=_LEASES,
        postgresql_where=_LEASES,
        postgresql_ops={"request_id": "varchar_pattern_ops"},
    )
    for name, columns in (("instance", ["instance_id"]), ("ecr", ["ecr_id", "grant_id"])):
        begins = {f"{name}_id": "varchar_pattern_ops"}
        op.create_index(f"grants_of_{name}", "grants", columns, unique=False, postgresql_ops=begins)
    for name in owners:
        what = name.removesuffix("_uid")
        op.create_index(f"grants_of_{what}", "grants", [name, "grant_id"], unique=False)
    for name in ("requester", *owners):
        what = name.removesuffix("_uid")
        op.create_index(f"requests_of_{what}", "requests", [name, "asked_at", "request_id"], unique=False)


def _fill_in_accounts() -> None:
    mine = "(SELECT {0} FROM grants WHERE grants.grant_id = approvals.grant_id)"
    values = ", ".join(f"{name} = {mine.format(name)}" for name in ("ecr_owner_uid", "instance_owner_uid"))
    op.execute(f"UPDATE approvals SET {values} WHERE ecr_owner_uid IS NULL")  # noqa: S608  # of our own names


def upgrade() -> None:
    """The accounts of what code of before has admitted meanwhile."""
    _fill_in_accounts()
