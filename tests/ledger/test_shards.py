"""Two shards on one database: a schema each, and nothing that one could stop the other with."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.operating import set_mode
from shared.ledger.record import lock_end
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger
from shared.messages.completion import EventKind
from shared.rules.facts import Mode, Side
from tests.functional.waiting import PATIENCE
from tests.ledger.kit import NOW, Database, check_order, opening, settle_side
from tests.ledger.postgres import Postgres


@pytest.fixture
def shards(postgres: Postgres) -> Iterator[tuple[Database, Database]]:
    """One database with two schemas, each with a ledger's tables: as LEDGER_URL chooses them."""
    name = postgres.new_database()
    with postgres.connect(name) as connection:
        connection.execute("CREATE SCHEMA one")
        connection.execute("CREATE SCHEMA two")
    made = []
    for schema in ("one", "two"):
        url = f"{postgres.address(name)}&options=-csearch_path%3D{schema}"
        ledger = Ledger(url)
        upgrade_schema(ledger)
        ledger.close()
        made.append(Database("postgresql", url))
    yield made[0], made[1]
    for one in made:
        one.close()
    postgres.drop(name)


def test_a_stopped_transaction_in_one_stops_nothing_in_the_other(shards: tuple[Database, Database]) -> None:
    """One shard's chain is locked by somebody who does not go on, and its grant, and what people say; the other works on."""
    one, two = shards
    stopped, working = Ledger(one.url), Ledger(two.url)
    done: list[bool] = []

    def work() -> None:
        working.write(set_mode, Mode.FULL, "somebody", NOW)
        working.write(admit, opening(), "message-1", NOW, working.timing)
        done.append(settle_side(working, Side.GRANT, EventKind.GRANTED))

    stopped.write(admit, opening(), "message-1", NOW, stopped.timing)
    thread = threading.Thread(target=work)
    try:
        with stopped.writing() as run:
            run(set_mode, Mode.PAUSE_ALL, "somebody", NOW)
            run(lock_end)
            thread.start()
            thread.join(PATIENCE)
            assert done == [True]
        check_order(working, two)
        check_order(stopped, one)
    finally:
        thread.join(PATIENCE)
        stopped.close()
        working.close()


def test_neither_knows_of_the_other(shards: tuple[Database, Database]) -> None:
    """The same request under the same name is one of each; a chain of events, too."""
    for number, shard in enumerate(shards, 1):
        ledger = Ledger(shard.url)
        for each in range(number):
            ledger.write(admit, opening(f"REQ-{each}", f"vpc-{each}"), f"message-{each}", NOW, ledger.timing)
        check_order(ledger, shard)
        ledger.close()

    assert [shard.count(approvals) for shard in shards] == [1, 2]
    assert [len(shard.kinds()) for shard in shards] == [1, 2]
    assert [shard.rows(sql.select(sql.func.current_schema()))[0][0] for shard in shards] == ["one", "two"]
