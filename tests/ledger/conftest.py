"""Fixtures of the ledger's contract: the same tests on SQLite and on a real PostgreSQL, alone and in a crowd of processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.ledger.admission import admit
from shared.ledger.intents import saw
from shared.ledger.record import START_OF_CHAIN
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import accepts, chain, metadata
from shared.ledger.transactions import Ledger
from shared.messages.completion import EventKind
from shared.rules.facts import Seen, Side
from tests.ledger.crowd import Crowd
from tests.ledger.kit import NOW, Database, opening, read, settle_side
from tests.ledger.postgres import Postgres, running

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that all tests share."""
    with running(autovacuum="off") as server:  # what the planner knows of tables stays as each test has it
        yield server


@pytest.fixture(scope="session")
def shared_database(postgres: Postgres) -> Iterator[Database]:
    """One PostgreSQL database with the ledger's tables, emptied for every test that wants them."""
    url = postgres.address(postgres.new_database())
    _with_tables(url)
    made = Database("postgresql", url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the ledger's tables and nothing in them, to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    _with_tables(f"sqlite:///{path}")
    return path


def _with_tables(url: str) -> None:
    ledger = Ledger(url)
    upgrade_schema(ledger)
    ledger.close()


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of its own without any table."""
    if request.param == "sqlite":
        made = Database("sqlite", f"sqlite:///{tmp_path / 'ledger.db'}")
        yield made
        made.close()
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.new_database()
    made = Database("postgresql", server.address(name))
    yield made
    made.close()
    server.drop(name)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with the ledger's tables and nothing in them."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "ledger.db")
        made = Database("sqlite", f"sqlite:///{tmp_path / 'ledger.db'}")
        yield made
        made.close()
        return
    shared: Database = request.getfixturevalue("shared_database")
    wipe(shared)
    yield shared


def wipe(database: Database) -> None:
    """Empty a PostgreSQL ledger, whatever a test before has left: its tables, and its connections."""
    with database.connected() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
        emptied = {table.name for table in metadata.sorted_tables} - {chain.name, accepts.name}
        connection.exec_driver_sql(f"TRUNCATE {', '.join(sorted(emptied))}")
        connection.execute(chain.update().values(seq=0, hash=START_OF_CHAIN))


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    """A ledger with nothing in it."""
    made = Ledger(database.url)
    yield made
    made.close()


@pytest.fixture
def admitted(ledger: Ledger) -> Ledger:
    """A ledger with one lease."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    return ledger


@pytest.fixture
def standing(admitted: Ledger) -> Ledger:
    """A ledger with one lease whose grant and association stand, made by us."""
    routes = ("10.20.0.0/16",)
    for side, seen in (
        (Side.GRANT, Seen("present", ours=True)),
        (Side.ASSOCIATE, Seen("ACTIVE", ours=True, association_id="assoc-1", prefixes=routes)),
    ):
        admitted.write(saw, read(admitted, side), seen, NOW)
        assert settle_side(admitted, side, EventKind.GRANTED if side is Side.GRANT else EventKind.ASSOCIATED)
    return admitted


@pytest.fixture(scope="session")
def crowd() -> Iterator[Crowd]:
    """Eight processes that do things at the same time."""
    made = Crowd(8)
    yield made
    made.close()
