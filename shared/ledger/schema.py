"""The ledger's schema: brought up to date by one command, checked at every start."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import LedgerError
from shared.ledger.store import Ledger


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade_schema(ledger: Ledger) -> str:
    """Bring the schema to what this code wants, from nothing or from any earlier revision. Returns the revision."""
    config = _config()
    try:
        with ledger.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger cannot be brought up to date: {type(error).__name__}") from error
    return check_schema(ledger)


def check_schema(ledger: Ledger) -> str:
    """Raise LedgerError unless the schema is exactly the one this code was written for. Returns its revision."""
    script = ScriptDirectory.from_config(_config())
    wanted = script.get_current_head()
    try:
        with ledger.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger is away: {type(error).__name__}") from error
    if found == wanted and found is not None:
        return found
    known = {revision.revision for revision in script.walk_revisions()}
    if found is None:
        raise LedgerError("the ledger has no tables yet: run `ecr-grants ledger upgrade`")
    if found in known:
        raise LedgerError(
            f"the ledger is at revision {found}, this code wants {wanted}: run `ecr-grants ledger upgrade`"
        )
    raise LedgerError(f"the ledger is at revision {found}, which is newer than this code ({wanted}): deploy newer code")
