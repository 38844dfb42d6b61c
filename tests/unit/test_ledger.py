"""The ledger's schema: made by one command, checked at every start. (Its contract is in tests/ledger.)"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

from shared.errors import LedgerError
from shared.ledger.admission import admit, reject_message
from shared.ledger.intents import carried_out, intend, resolve
from shared.ledger.outbox import mark_published, waiting_entries
from shared.ledger.outcomes import settle
from shared.ledger.proof import first_fault
from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.tables import accepts, metadata
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, read_work, release, unsettled
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Operation, Side
from tests.unit.conftest import MakeApproval

PASSWORD = "a-password-nobody-may-see"
NOW = 1_800_000_000_000  # later than the example was approved


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Ledger]:
    """A database in which nothing was made yet."""
    made = Ledger(f"sqlite:///{tmp_path / 'empty.db'}")
    yield made
    made.close()


def test_a_fresh_database_is_refused_until_it_is_upgraded(empty: Ledger) -> None:
    """The error is the command to run; upgrading twice is the same as once."""
    with pytest.raises(LedgerError, match="no tables yet: run `ecr-grants ledger upgrade`"):
        check_schema(empty)
    revision = upgrade_schema(empty)
    assert upgrade_schema(empty) == check_schema(empty) == revision


def test_migrations_make_the_tables_that_the_code_uses(ledger: Ledger) -> None:
    """Tables, columns and indexes: no model without its migration."""
    found = sql.inspect(ledger.engine)
    for table in metadata.sorted_tables:
        assert {one["name"] for one in found.get_columns(table.name)} == {one.name for one in table.columns}
        assert {one["name"] for one in found.get_indexes(table.name)} == {one.name for one in table.indexes}
    assert set(found.get_table_names()) == {*metadata.tables, "alembic_version"}


def test_a_newer_schema_is_refused(ledger: Ledger) -> None:
    """Old code must not write into a database whose rules it does not know."""
    with ledger.engine.begin() as connection:
        connection.execute(accepts.update().values(oldest=9999, newest=9999))
    with pytest.raises(LedgerError, match=r"accepts code of revision 9999 to 9999, this is \d+: deploy newer code"):
        check_schema(ledger)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("nonsense", id="no address at all"),
        pytest.param(f"user:{PASSWORD}@host", id="an address without its scheme"),
        pytest.param(
            f"postgresql+psycopg://u:{PASSWORD}@127.0.0.1:1/ledger?connect_timeout=1", id="nothing listens there"
        ),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_without_its_password(url: str) -> None:
    """Whether it is no address at all, or one where nothing listens."""
    with pytest.raises(LedgerError) as caught:
        check_schema(Ledger(url))
    assert PASSWORD not in str(caught.value)


def test_a_request_from_admission_to_its_answer(ledger: Ledger, approve: MakeApproval) -> None:
    """The whole path of one request in the words of the ledger: admitted, granted, associated, done; each once."""
    approval = approve()
    [grant_id] = ledger.write(admit, approval, "M-1", NOW, ledger.timing).touched
    for side, operation, kind in (
        (Side.GRANT, Operation.GRANT, EventKind.GRANTED),
        (Side.ASSOCIATE, Operation.ASSOCIATE, EventKind.ASSOCIATED),
    ):
        assert ledger.write(claim, grant_id, side, "worker", NOW, NOW + 1000)
        work = ledger.write(read_work, grant_id, side, NOW, ledger.timing)
        assert work is not None
        intent = ledger.write(intend, work, operation, NOW, ledger.timing)
        assert intent is not None
        ledger.write(carried_out, intent, [], NOW, refused=False)
        ledger.write(resolve, [intent], [], NOW)
        work = ledger.write(read_work, grant_id, side, NOW, ledger.timing)
        assert work is not None
        assert ledger.write(settle, work, kind, NOW, association_id=None, served=[], both_sides=True)
        assert ledger.write(release, grant_id, side, "worker", work.mine.knocks)
    assert [entry.tag for entry in ledger.read(waiting_entries, 10)] == ["admitted", "granted", "associated", "done"]
    ledger.write(reject_message, "M-2", "{", Reason(code="BadInput", text="no"), NOW)
    ledger.write(reject_message, "M-2", "{", Reason(code="BadInput", text="no"), NOW)
    letters = ledger.read(waiting_entries, 10)
    assert [entry.tag for entry in letters[4:]] == ["rejected"]
    for letter in letters:
        ledger.write(mark_published, [letter.seq])
    assert ledger.read(waiting_entries, 10) == []
    assert ledger.read(unsettled, NOW, 10) == []
    assert ledger.read(first_fault, [], None) is None
