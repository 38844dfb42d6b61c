"""What the page looks at: open leases by their end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def before() -> None:
    """Code of before does not mind an index."""
    op.create_index(
        "approvals_ending",
        "approvals",
        ["ends_at", "approval_id"],
        unique=False,
        sqlite_where=sa.text("open = 1 AND ends_at IS NOT NULL"),
        postgresql_where=sa.text("open AND ends_at IS NOT NULL"),
    )


def upgrade() -> None:
    """Nothing is left to do."""
