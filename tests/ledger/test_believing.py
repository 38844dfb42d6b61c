"""What a gate believes while versions of the configuration come that it cannot verify, and after that is mended."""

from __future__ import annotations

import pytest
import sqlalchemy as sql

from shared.errors import NotAllowed
from shared.ledger.admission import Judged, admit
from shared.ledger.configuration import Kept, apply_version, newest_versions
from shared.ledger.proof import first_fault
from shared.ledger.tables import configurations, grants
from shared.ledger.transactions import Ledger
from shared.ledger.work import read_work
from shared.loop.gate import Gate
from shared.messages.configuration import payload
from shared.rules.configuration import Configuration, digest_of
from shared.rules.facts import Mode, Side
from tests.configured import CONFIG_KEYS, DEPLOYMENT, apply, bundle, configuration
from tests.ledger.kit import NOW, Database, grant_id, opening

A, B = "1000000000000001", "2000000000000002"


def _account(name: str, *ecrs: str) -> dict[str, object]:
    entry = {"name": name, "owner": "network", "environment": "test", "role": name, "external_id": f"example:{name}"}
    return {**entry, "ecrs": {ecr: {} for ecr in ecrs}}


BOTH = configuration({A: _account("hub", "ecr-ledgertests"), B: _account("spoke")})
A_ALONE = configuration({A: _account("hub", "ecr-ledgertests")})


def _gate(ledger: Ledger) -> Gate:
    return Gate(ledger, CONFIG_KEYS, 1, lambda: NOW)


def _event(gate: Gate) -> None:
    """What a gate does at an event: it looks, and the work that it reads has the newest version's number."""
    gate.look()
    gate.overtaken()


def _apply_unsigned(ledger: Ledger, content: Configuration) -> str:
    """A version that a stranger signed. Returns what it should have been."""
    number, _, found = ledger.read(newest_versions, 0)
    digest = digest_of(payload(number + 1, found[-1].digest, content.content))
    text = bundle(content, number + 1, found[-1].digest, signer="stranger-1")
    kept = Kept(number + 1, digest, found[-1].digest, text, NOW, "tests")
    ledger.write(apply_version, kept, signers=["stranger-1"], difference=["any"], deployment=DEPLOYMENT)
    return bundle(content, number + 1, found[-1].digest)


@pytest.mark.parametrize("versions", [1, 2], ids=["one version", "two in a row"])
def test_a_successor_mends_what_nobody_could_believe(ledger: Ledger, versions: int) -> None:
    """A gate that has believed a version before believes again what follows, as one that starts then does."""
    apply(ledger, BOTH)
    gate = _gate(ledger)
    _event(gate)
    for _ in range(versions):
        _apply_unsigned(ledger, A_ALONE)
        _event(gate)
        assert gate.standing.fault is not None
        assert set(gate.inventory.accounts) == {A, B}
    number = apply(ledger, A_ALONE)
    for one in (gate, _gate(ledger)):
        _event(one)
        assert one.standing.fault is None
        assert (one.standing.number, set(one.inventory.accounts)) == (number, {A})


def test_a_row_that_is_put_right_is_read_again(ledger: Ledger, database: Database) -> None:
    """The number stays the same, and the gate looks all the same."""
    apply(ledger, BOTH)
    gate = _gate(ledger)
    _event(gate)
    right = _apply_unsigned(ledger, A_ALONE)
    _event(gate)
    assert gate.standing.fault is not None
    with database.connected() as connection:
        connection.execute(configurations.update().where(configurations.c.number == 2).values(bundle=right))
    _event(gate)
    standing = gate.standing
    assert standing.fault is None
    assert (standing.number, set(gate.inventory.accounts)) == (2, {A})


def test_a_number_that_was_lowered_is_not_believed(ledger: Ledger, database: Database) -> None:
    """An older version that is made the newest one again in the database is a fault, and what was believed stays so."""
    apply(ledger, BOTH)
    apply(ledger, A_ALONE)
    gate = _gate(ledger)
    _event(gate)
    with database.connected() as connection:
        connection.execute(configurations.delete().where(configurations.c.number == 2))
        connection.execute(sql.text("UPDATE settings SET value = '1' WHERE name = 'configuration'"))
    _event(gate)
    assert gate.standing.fault is not None
    assert set(gate.inventory.accounts) == {A}


def test_nothing_is_made_for_an_account_that_is_not_listed_any_more(ledger: Ledger) -> None:
    """It was listed when the visit began, and the transaction that commits to making something sees that it is no more."""
    apply(ledger, BOTH)
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing, Judged(configuration=1))
    gate = _gate(ledger)
    _event(gate)
    gate.check(opening().grant)
    apply(ledger, A_ALONE)
    _event(gate)
    held = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing, Mode.FULL)
    assert held is not None
    less, why = gate.proven(held)
    assert isinstance(why, NotAllowed)
    assert "instance.owner_uid" in str(why)
    assert not less.wanted.up


def test_what_is_refused_leaves_no_trace_of_its_grant(ledger: Ledger, database: Database) -> None:
    """A grant that nobody may ask for is not in the ledger, and one that is there stays as it was; a repeated approval, too."""
    apply(ledger, BOTH)
    good, refused = Judged(configuration=1), Judged(configuration=1, refused=NotAllowed("no"))
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing, good)
    with pytest.raises(NotAllowed):
        ledger.write(admit, opening(vpc="vpc-2"), "message-2", NOW, ledger.timing, refused)
    with pytest.raises(NotAllowed):
        ledger.write(admit, opening("REQ-2"), "message-3", NOW, ledger.timing, refused)
    assert not ledger.write(admit, opening(), "message-1", NOW, ledger.timing, refused).new
    assert database.rows(sql.select(grants.c.grant_id)) == [(grant_id(),)]
    assert ledger.read(first_fault, (), None) is None
