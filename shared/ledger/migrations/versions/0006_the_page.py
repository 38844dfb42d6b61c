"""What operators say at the desk, what reconcile found last, and open leases by their end, for whoever looks there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = sa.text("carried_out_at IS NULL")
_DRIFTED = sa.text("drift IS NOT NULL")


def before() -> None:
    """Code of before knows nothing of these tables. It takes an operator's word for a fact that it cannot read, and says so; the
    word waits until this version's code carries it out.
    """
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.String(length=22), nullable=False),
        sa.Column("word", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=True),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=True),
        sa.Column("everything", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("said_at", sa.BigInteger(), nullable=False),
        sa.Column("ecr_owner_uid", sa.String(length=20), nullable=True),
        sa.Column("instance_owner_uid", sa.String(length=20), nullable=True),
        sa.Column("carried_out_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operation_id"),
    )
    said = ["said_at", "operation_id"]
    op.create_index("operations_open", "operations", said, unique=False, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("operations_said", "operations", said, unique=False)
    for name in ("who", "instance_owner_uid", "ecr_owner_uid"):
        index = f"operations_of_{name.removesuffix('_uid')}"
        op.create_index(index, "operations", [name, *said], unique=False)
    op.create_table(
        "told",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(
        "sides_drifted",
        "sides",
        ["grant_id", "side"],
        unique=False,
        sqlite_where=_DRIFTED,
        postgresql_where=_DRIFTED,
    )
    op.create_index(
        "approvals_ending",
        "approvals",
        ["ends_at", "approval_id"],
        unique=False,
        sqlite_where=sa.text("open = 1 AND ends_at IS NOT NULL"),
        postgresql_where=sa.text("open AND ends_at IS NOT NULL"),
    )


def upgrade() -> None:
    """Nothing is left for when only this version's code runs."""
