"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}  # four digits: the revision of the code that it belongs to
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def before() -> None:
    """What the version before can live with: made while it runs."""


def upgrade() -> None:
    """What only this version can live with: made when nothing older runs."""
    ${upgrades if upgrades else "pass"}
