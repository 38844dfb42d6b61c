"""The ledger's schema: brought up to date by one command, checked at every event.

The ledger names the oldest and the newest revision of the code that may work on it, so that a new version and the one before it
can stand beside each other while one replaces the other.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import LedgerError
from shared.ledger.tables import accepts
from shared.ledger.transactions import Ledger, away, is_file, place

CODE = 2
"""The revision of this code, as ledgers speak of it: raised when code needs other tables, or other rules over them."""

REVISIONS = ("0002",)
"""The revisions that ``migrations`` makes one after the other; the last is what this code was written for."""

BEFORE = ("0001",)
"""Revisions of before the first release: they are not brought up to date."""

# Any number, as long as it is ours: whoever upgrades holds it.
_UPGRADE_LOCK = 20_230_901

_ACCEPTS = sql.select(accepts.c.oldest, accepts.c.newest).where(accepts.c.name == "code")


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
            _refuse_unknown(revision_of(connection))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise away(ledger.engine.url, error) from error
    return check_schema(ledger)


def check_schema(ledger: Ledger) -> str:
    """Raise LedgerError unless the schema is exactly the one this code was written for. Returns its revision."""
    url = ledger.engine.url
    none_yet = "the ledger has no tables yet: run `ecr-grants ledger upgrade`"
    if is_file(url) and not Path(str(url.database)).exists():  # connecting would make an empty one
        raise LedgerError(f"{none_yet} ({place(url)}: no such file)")
    found = ledger.read(revision_of)
    if found is None:
        raise LedgerError(f"{none_yet} ({place(url)})")
    _refuse_unknown(found)
    if found != REVISIONS[-1]:
        raise LedgerError(
            f"the ledger is at revision {found}, this code wants {REVISIONS[-1]}: run `ecr-grants ledger upgrade`"
        )
    check_code(ledger)
    return found


def check_code(ledger: Ledger, code: int = CODE) -> None:
    """Raise LedgerError unless the ledger accepts this revision of the code. Asked at every event: one statement."""
    range_ = ledger.read(_accepted)
    if range_ is None:
        raise LedgerError("the ledger names no revision of the code that it accepts: run `ecr-grants ledger upgrade`")
    oldest, newest = range_
    if not oldest <= code <= newest:
        what = "deploy newer code" if code < oldest else "run `ecr-grants ledger upgrade`, or deploy older code"
        raise LedgerError(f"the ledger accepts code of revision {oldest} to {newest}, this is {code}: {what}")


def _accepted(connection: Connection) -> tuple[int, int] | None:
    row = connection.execute(_ACCEPTS).one_or_none()
    return None if row is None else (row.oldest, row.newest)


def revision_of(connection: Connection) -> str | None:
    """Where Alembic noted what it did last; None on an empty database (Alembic's documentation, "alembic_version")."""
    if not sql.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sql.text("SELECT version_num FROM alembic_version")).scalar()


def _refuse_unknown(found: str | None) -> None:
    """A revision that this code does not know was made by newer code, or by what was there before the first release."""
    if found in BEFORE:
        raise LedgerError(f"the ledger is at revision {found}, of before the first release: start a new one")
    if found is not None and found not in REVISIONS:
        raise LedgerError(
            f"the ledger is at revision {found}, which is newer than this code ({REVISIONS[-1]}): deploy newer code"
        )
