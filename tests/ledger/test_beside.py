"""Writers that go side by side, and older ones that do not, on one PostgreSQL: before an upgrade's second half, and after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.revision import CODE, SIDE_BY_SIDE
from shared.ledger.tables import accepts, approvals, grants
from shared.ledger.transactions import Ledger
from tests.ledger.conftest import wipe
from tests.ledger.kit import NOW, Database, opening

# Before revision 3 whoever writes does this first of all.
BEFORE_3 = "SELECT chain.seq FROM chain FOR UPDATE"


@pytest.fixture
def beside_older(shared_database: Database) -> Iterator[Ledger]:
    """A ledger on PostgreSQL that also accepts code whose writers go one after another, with one lease."""
    wipe(shared_database)
    ledger = Ledger(shared_database.url)
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    with shared_database.connected() as connection:
        connection.execute(accepts.update().values(oldest=SIDE_BY_SIDE - 1))
    yield ledger
    ledger.close()
    with shared_database.connected() as connection:
        connection.execute(accepts.update().values(oldest=CODE))


def test_writers_beside_an_older_version_go_one_after_another(beside_older: Ledger, shared_database: Database) -> None:
    """They wait where it waits, before anything else is locked: so neither can stand in the other's way, nor read what the
    other is about to change.
    """
    done: list[bool] = []

    def write() -> None:
        done.append(beside_older.write(admit, opening("REQ-2"), "message-2", NOW, beside_older.timing).new)

    thread = threading.Thread(target=write)
    with shared_database.connected() as older:
        older.exec_driver_sql(BEFORE_3)
        thread.start()
        time.sleep(0.3)  # it waits for the older one by now; where it does not yet, the truth is the same
        older.execute(sql.select(grants).with_for_update())
        assert older.execute(sql.select(sql.func.count()).select_from(approvals)).scalar_one() == 1
    thread.join()
    assert done == [True]


def test_waiting_for_older_writers_ends_with_them(beside_older: Ledger, shared_database: Database) -> None:
    """It is one statement more, and none once nothing older is accepted."""
    asked: list[str] = []
    beside_older.write(lambda _: None)
    with shared_database.connected() as connection:
        sql.event.listen(beside_older.engine, "before_cursor_execute", lambda _c, _k, said, *_: asked.append(str(said)))
        beside_older.write(lambda _: None)
        connection.execute(accepts.update().values(oldest=SIDE_BY_SIDE))
    beside_older.write(lambda _: None)
    assert ["FOR UPDATE" in one for one in asked] == [False, True, False]
