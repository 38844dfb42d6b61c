"""The gate: configurations, and what an approval was sealed as and admitted under.

There were no users before it: leases that were not sealed are not carried over, and stand only until they are closed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def before() -> None:
    """Code of before writes rows without these columns, so they say what is not: nothing was sealed, nothing decided."""
    op.create_table(
        "configurations",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
        sa.Column("applied_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.add_column("approvals", sa.Column("seal", sa.Text(), server_default="", nullable=False))
    op.add_column("approvals", sa.Column("configuration", sa.Integer(), server_default="0", nullable=False))
    op.add_column("intents", sa.Column("configuration", sa.Integer(), server_default="0", nullable=False))


def upgrade() -> None:
    """Nothing more."""
