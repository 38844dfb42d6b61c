"""A made-up change with both halves: each grant says which revision of the code made it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def before() -> None:
    """What the version before can live with: a column that it does not know and need not fill."""
    op.add_column("grants", sa.Column("made_by", sa.Integer(), nullable=True))


def upgrade() -> None:
    """What only the new version can live with: no grant without it."""
    made_by = sa.column("made_by", sa.Integer())
    op.execute(sa.table("grants", made_by).update().where(made_by.is_(None)).values(made_by=int(down_revision)))
    if op.get_bind().dialect.name == "sqlite":  # which cannot change a column
        op.execute(
            "CREATE TRIGGER grants_made_by BEFORE INSERT ON grants WHEN NEW.made_by IS NULL"
            " BEGIN SELECT RAISE(ABORT, 'made_by is missing'); END"
        )
    else:
        op.alter_column("grants", "made_by", nullable=False)
