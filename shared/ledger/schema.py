"""The ledger's schema: brought up to date by one command, checked at every start."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sql
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import LedgerError
from shared.ledger.store import Ledger

# Any number, as long as it is ours: whoever upgrades holds it.
_UPGRADE_LOCK = 20_230_901


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade_schema(ledger: Ledger) -> str:
    """Bring the schema to what this code wants, from nothing or from any earlier revision. Returns the revision.

    Safe to repeat, and to run from several places at once. Raises LedgerError for a schema from the future.
    """
    config = _config()
    try:
        with ledger.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sql.text("SELECT pg_advisory_xact_lock(:ours)").bindparams(ours=_UPGRADE_LOCK))
            _refuse_future(MigrationContext.configure(connection).get_current_revision())
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger cannot be brought up to date: {type(error).__name__}") from error
    return check_schema(ledger)


def check_schema(ledger: Ledger) -> str:
    """Raise LedgerError unless the schema is exactly the one this code was written for. Returns its revision."""
    wanted = ScriptDirectory.from_config(_config()).get_current_head()
    try:
        with ledger.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger is away: {type(error).__name__}") from error
    if found == wanted and found is not None:
        return found
    if found is None:
        raise LedgerError("the ledger has no tables yet: run `ecr-grants ledger upgrade`")
    _refuse_future(found)
    raise LedgerError(f"the ledger is at revision {found}, this code wants {wanted}: run `ecr-grants ledger upgrade`")


def _refuse_future(found: str | None) -> None:
    """A revision that this code does not know was made by newer code."""
    script = ScriptDirectory.from_config(_config())
    if found is None or found in {revision.revision for revision in script.walk_revisions()}:
        return
    wanted = script.get_current_head()
    raise LedgerError(f"the ledger is at revision {found}, which is newer than this code ({wanted}): deploy newer code")
