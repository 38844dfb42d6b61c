"""What the desk may do in the database, as PostgreSQL's own rights: it adds words, and changes nothing.

Whoever takes the desk over holds this role, and no other. Its locks are advisory ones, which take no right (PostgreSQL,
"Advisory Locks").
"""

from __future__ import annotations

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import SettingsError
from shared.ledger.tables import consent, metadata, operations, requests, used
from shared.ledger.transactions import Ledger, away

READ_BY_NOBODY = frozenset({"intents"})
"""What the desk has no need to see."""
CONNECTIONS = 40
STATEMENT_SECONDS = 10


def desk_rights(role: str, schema: str = "public") -> list[str]:
    """The statements that give a role that exists the desk's rights in a schema, and take every other away."""
    quoted = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
    whom, where = quoted(role), quoted(schema)

    def named(*tables: sql.Table) -> str:
        return ", ".join(f"{where}.{quoted(table.name)}" for table in tables)

    readable = [table for table in metadata.sorted_tables if table.name not in READ_BY_NOBODY]
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {where} FROM {whom}",
        f"REVOKE CREATE ON SCHEMA {where} FROM {whom}",
        f"GRANT USAGE ON SCHEMA {where} TO {whom}",
        f"GRANT SELECT ON {named(*readable)}, {where}.alembic_version TO {whom}",
        f"GRANT INSERT ON {named(consent, requests, operations)} TO {whom}",
        f"GRANT INSERT, UPDATE, DELETE ON {named(used)} TO {whom}",
        f"ALTER ROLE {whom} CONNECTION LIMIT {CONNECTIONS}",
        f"ALTER ROLE {whom} SET statement_timeout = '{STATEMENT_SECONDS}s'",
    ]


def limit_desk(ledger: Ledger, role: str) -> str:
    """Give a role that exists the desk's rights, and no other, in the schema that the ledger's address chooses; all or nothing.
    Returns the schema.

    Safe to repeat. Raises LedgerError with the database's reason, SettingsError for a ledger without roles.
    """
    if ledger.engine.dialect.name != "postgresql":
        raise SettingsError("LEDGER_URL: SQLite has no roles: whoever has the file has everything")
    try:
        with ledger.engine.begin() as connection:
            schema = str(connection.scalar(sql.text("SELECT current_schema()")))
            for statement in desk_rights(role, schema):
                connection.exec_driver_sql(statement)
    except SQLAlchemyError as error:
        raise away(ledger.engine.url, error) from error
    return schema
