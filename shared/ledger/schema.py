"""The ledger's schema: brought up to date by one command, checked at every start."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import LedgerError
from shared.ledger.transactions import Ledger

REVISIONS = ("0001",)
"""The revisions that ``migrations`` makes one after the other; the last is what this code was written for."""

# Any number, as long as it is ours: whoever upgrades holds it.
_UPGRADE_LOCK = 20_230_901


def upgrade_schema(ledger: Ledger) -> str:
    """Bring the schema to what this code wants, from nothing or from any earlier revision. Returns the revision.

    Safe to repeat, and to run from several places at once. Raises LedgerError for a schema from the future.
    """
    # Imported here, because functions only check, and a cold start should not wait for it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with ledger.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sql.text("SELECT pg_advisory_xact_lock(:ours)").bindparams(ours=_UPGRADE_LOCK))
            _refuse_future(_revision(connection))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger cannot be brought up to date: {type(error).__name__}") from error
    return check_schema(ledger)


def check_schema(ledger: Ledger) -> str:
    """Raise LedgerError unless the schema is exactly the one this code was written for. Returns its revision."""
    try:
        with ledger.engine.connect() as connection:
            found = _revision(connection)
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger is away: {type(error).__name__}") from error
    if found is None:
        raise LedgerError("the ledger has no tables yet: run `ecr-grants ledger upgrade`")
    _refuse_future(found)
    if found != REVISIONS[-1]:
        raise LedgerError(
            f"the ledger is at revision {found}, this code wants {REVISIONS[-1]}: run `ecr-grants ledger upgrade`"
        )
    return found


def _revision(connection: Connection) -> str | None:
    """Where Alembic noted what it did last; None on an empty database (Alembic's documentation, "alembic_version")."""
    if not sql.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sql.text("SELECT version_num FROM alembic_version")).scalar()


def _refuse_future(found: str | None) -> None:
    """A revision that this code does not know was made by newer code."""
    if found is not None and found not in REVISIONS:
        raise LedgerError(
            f"the ledger is at revision {found}, which is newer than this code ({REVISIONS[-1]}): deploy newer code"
        )
