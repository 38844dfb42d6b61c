"""Behind a pooler in transaction mode: each transaction may meet another session, so nothing of ours may stay in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy as sql

from shared.errors import LedgerError
from shared.ledger.operating import said_mode, set_mode
from shared.ledger.proof import first_fault
from shared.ledger.schema import Half, check_schema, upgrade_schema
from shared.ledger.transactions import Ledger
from shared.rules.facts import Mode
from tests.ledger.kit import NOW
from tests.ledger.lives import live_everything
from tests.ledger.pooler import PGBOUNCER, POOLERS, session
from tests.ledger.postgres import Postgres

_SESSIONS = 3


@pytest.fixture(params=POOLERS)
def behind(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[tuple[Ledger, int, str]]:
    """A ledger behind a pooler, the pooler's port, and the database."""
    if request.param == "PgBouncer" and not PGBOUNCER:
        pytest.skip("this machine has no PgBouncer")
    database = postgres.new_database()
    with POOLERS[request.param](postgres) as port:
        address = sql.make_url(postgres.address(database)).set(
            host="127.0.0.1", port=port, query={"sslmode": "disable", "prepare_threshold": "none"}
        )
        ledger = Ledger(address.render_as_string(hide_password=False))
        yield ledger, port, database
        ledger.close()
    postgres.drop(database)


def asked_of_each(database: str, port: int, question: str) -> set[str]:
    """What so many sessions answer at the same time; made first, where there are fewer."""
    with ExitStack() as stack:
        clients = [stack.enter_context(session(database, port)) for _ in range(_SESSIONS)]
        for client in clients:
            client.execute("BEGIN")
        found = {str(row[0]) for client in clients for row in client.execute(question)}
        for client in clients:
            client.execute("COMMIT")
        return found


def test_a_whole_life_behind_a_pooler(behind: tuple[Ledger, int, str]) -> None:
    """The tables are made, everything that can happen happens, several at once, and the record is proven."""
    ledger, port, database = behind
    made = upgrade_schema(ledger)
    assert asked_of_each(database, port, "SELECT 1") == {"1"}
    live_everything(ledger)

    assert upgrade_schema(ledger, Half.AFTER) == check_schema(ledger) == made
    assert ledger.read(first_fault, [], None) is None


def test_nothing_of_ours_stays_in_a_session(behind: tuple[Ledger, int, str]) -> None:
    """No prepared statement, and no limit of ours for whoever gets the session next; inside a transaction they hold."""
    ledger, port, database = behind
    upgrade_schema(ledger)
    for number in range(30):  # the driver prepares what it has seen five times, unless it is told not to
        ledger.write(set_mode, Mode.OBSERVE if number % 2 else Mode.FULL, "operator", NOW + number)
        ledger.read(said_mode)
        ledger.glance(said_mode)

    assert asked_of_each(database, port, "SELECT name FROM pg_prepared_statements") == set()
    assert asked_of_each(database, port, "SHOW lock_timeout") == {"0"}
    limits = ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
    with ledger.transaction() as connection:
        within = [connection.exec_driver_sql(f"SHOW {one}").scalar() for one in limits]
    assert within == ["30s", "30s", "1min"]


def test_the_pooler_gives_each_transaction_another_session(postgres: Postgres) -> None:
    """Else the two above would prove nothing: what somebody leaves in a session is met by somebody else."""
    database = postgres.new_database()
    with POOLERS["ours"](postgres) as port, session(database, port) as one, session(database, port):
        seen = {one.execute("SELECT pg_backend_pid()").fetchone() for _ in range(4)}
        assert len(seen) == 2
        with pytest.raises(psycopg.Error, match="does not exist"):
            one.execute("SELECT %s::int", (1,), prepare=True)
    postgres.drop(database)


@pytest.mark.parametrize("value", ["None", "-1", "soon"])
def test_a_threshold_that_is_none_is_refused_by_name(value: str) -> None:
    """Rather than handed to the driver, which compares it with a number in the middle of a transaction."""
    with pytest.raises(LedgerError, match="LEDGER_URL: prepare_threshold must be a whole number, or none"):
        Ledger(f"postgresql+psycopg://nobody@127.0.0.1:1/ledger?prepare_threshold={value}")
