"""Writers no longer go one after another: no table changes, but what code locks first does, so the revisions say who is about."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def before() -> None:
    """Nothing: as long as the version before is accepted, this one locks as that does (``revision.SIDE_BY_SIDE``)."""


def upgrade() -> None:
    """Nothing: once nothing older is accepted, writers wait for nobody."""
