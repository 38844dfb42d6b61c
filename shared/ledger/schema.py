"""The ledger's schema: made by one command, and changed in two halves, one on each side of a deployment.

A revision of the schema belongs to a revision of the code. What older code can live with comes *before* the new code, what only
the new code can live with comes *after* it, when nothing older runs. Alembic notes the revision that a ledger is wholly at; the
range of code that it accepts says where between two of them it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import LedgerError
from shared.ledger.revision import CODE, UPGRADE, check_accepted
from shared.ledger.tables import accepts
from shared.ledger.transactions import Ledger, away, is_file, place, queue_up

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

MIGRATIONS = Path(__file__).parent / "migrations"

UNRELEASED = ("0001",)
"""Revisions of before the first release: they are not brought up to date."""

# Any number, as long as it is ours: whoever upgrades holds it.
_UPGRADE_LOCK = 20_230_901

_ACCEPTS = sql.select(accepts.c.oldest, accepts.c.newest).where(accepts.c.name == "code")


class Half(StrEnum):
    """Which half of a change to make."""

    BEFORE = "before"  # what older code can live with
    AFTER = "after"  # what only this code can live with


@dataclass(frozen=True)
class Schema:
    """Where a ledger stands: the revision that it is wholly at, and the oldest and newest code that may work on it."""

    revision: str
    oldest: int | None
    newest: int | None


def upgrade_schema(
    ledger: Ledger, half: Half | None = None, *, code: int = CODE, migrations: Path = MIGRATIONS
) -> Schema:
    """Make the tables of a ledger that has none, or one half of what is to change in one that has. Returns where it stands.

    Safe to repeat, and to run from several places at once. Raises LedgerError for a schema that this code does not know, for one
    that is more than one revision behind, and, without a ``half``, for one that is behind: it says what to do.
    """
    # Imported here, because functions only check, and a cold start should not wait for it.
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(migrations))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    try:
        with ledger.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sql.text("SELECT pg_advisory_xact_lock(:ours)").bindparams(ours=_UPGRADE_LOCK))
                connection.execute(sql.text("SET LOCAL statement_timeout = 0"))  # an index takes as long as it takes
            config.attributes["connection"] = connection
            found = schema_of(connection)
            if found is None:
                for script in scripts:
                    _before(connection, script)
                    _after(config, script)
            else:
                queue_up(connection)  # before anything else is locked, as whoever writes does
                pending = scripts[_position(found.revision, scripts) + 1 :]
                _change(config, found, pending, half, code)
            made = schema_of(connection)
    except SQLAlchemyError as error:
        raise away(ledger.engine.url, error) from error
    assert made is not None  # noqa: S101  # there are migrations
    check_accepted(code, made.oldest, made.newest)
    return made


def _change(config: Config, found: Schema, pending: list[Script], half: Half | None, code: int) -> None:
    """One half of what is to change in a ledger with which somebody may be working."""
    connection: Connection = config.attributes["connection"]
    if half is Half.AFTER:
        for script in pending:
            if found.newest is None or found.newest < _code(script):
                _before(connection, script)
            _after(config, script)
    elif not pending:
        return
    elif half is None:
        raise LedgerError(
            f"the ledger is in use (revision {found.revision}, code {found.oldest} to {found.newest}) and this code is {code}:"
            f" {UPGRADE} --before, deploy, and once nothing older runs {UPGRADE.removeprefix('run ')} --after"
        )
    elif len(pending) > 1:
        raise LedgerError(
            f"the ledger is at revision {found.revision}, more than one behind {pending[-1].revision}: deploy the versions"
            f" between one after the other, or stop everything and {UPGRADE} --after"
        )
    elif found.newest is None or found.newest < _code(pending[0]):
        _before(connection, pending[0])


def _before(connection: Connection, script: Script) -> None:
    """What a revision needs before its code: from then on the ledger accepts that code, too."""
    from alembic.migration import MigrationContext  # noqa: PLC0415 - as above
    from alembic.operations import Operations  # noqa: PLC0415 - as above

    before = getattr(script.module, "before", None)
    if before is None:  # the first one: there was no code before it
        return
    with Operations.context(MigrationContext.configure(connection)):
        before()
    connection.execute(accepts.update().where(accepts.c.name == "code").values(newest=_code(script)))


def _after(config: Config, script: Script) -> None:
    """What a revision leaves for when only its code runs: from then on the ledger accepts nothing older."""
    from alembic import command  # noqa: PLC0415 - as above

    command.upgrade(config, script.revision)
    connection: Connection = config.attributes["connection"]
    connection.execute(accepts.update().where(accepts.c.name == "code").values(oldest=_code(script)))


def _code(script: Script) -> int:
    """The revision of the code that a revision of the schema belongs to (``revision.REVISION`` is the way back)."""
    return int(script.revision)


def _position(revision: str, scripts: list[Script]) -> int:
    """Where a revision stands among ours. One that we do not know was made by newer code."""
    known = [script.revision for script in scripts]
    if revision not in known:
        raise LedgerError(
            f"the ledger is at revision {revision}, which is newer than this code ({known[-1]}): deploy newer code"
        )
    return known.index(revision)


def check_schema(ledger: Ledger, code: int = CODE) -> Schema:
    """Raise LedgerError unless the ledger has tables and accepts this revision of the code. Returns where it stands.

    For a cold start and for commands. Every write asks once more, within its own transaction.
    """
    url = ledger.engine.url
    none_yet = f"the ledger has no tables yet: {UPGRADE}"
    if is_file(url) and not Path(str(url.database)).exists():  # connecting would make an empty one
        raise LedgerError(f"{none_yet} ({place(url)}: no such file)")
    found = ledger.read(schema_of)
    if found is None:
        raise LedgerError(f"{none_yet} ({place(url)})")
    check_accepted(code, found.oldest, found.newest)
    return found


def schema_of(connection: Connection) -> Schema | None:
    """Where a ledger stands; None where there is none. Raises LedgerError for one of before the first release.

    Alembic notes in ``alembic_version`` what it did last (Alembic's documentation, "alembic_version").
    """
    if not sql.inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(sql.text("SELECT version_num FROM alembic_version")).scalar()
    if revision is None:
        return None
    if revision in UNRELEASED:
        raise LedgerError(f"the ledger is at revision {revision}, of before the first release: start a new one")
    row = connection.execute(_ACCEPTS).one_or_none()
    return Schema(str(revision), None, None) if row is None else Schema(str(revision), row.oldest, row.newest)
