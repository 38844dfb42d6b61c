"""A made-up change of the version after this one: each grant says which revision of the code made it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def before() -> None:
    """What the version before can live with: a column that it does not know and need not fill."""
    op.add_column("grants", sa.Column("made_by", sa.Integer(), nullable=True))


def upgrade() -> None:
    """What only the new version can live with: no grant without it."""
    op.execute("UPDATE grants SET made_by = 2 WHERE made_by IS NULL")
    if op.get_bind().dialect.name == "sqlite":  # which cannot change a column
        op.execute(
            "CREATE TRIGGER grants_made_by BEFORE INSERT ON grants WHEN NEW.made_by IS NULL"
            " BEGIN SELECT RAISE(ABORT, 'made_by is missing'); END"
        )
    else:
        op.alter_column("grants", "made_by", nullable=False)
