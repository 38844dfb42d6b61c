"""A lease that replaces others closes them in the moment in which it opens: a change without a gap, in any order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sql

from bench.calm import CalmCloud
from shared.ledger.passing import let_time_pass
from shared.ledger.proof import first_fault
from shared.ledger.record import START_OF_CHAIN
from shared.ledger.tables import accepts, approvals, chain, events, metadata
from shared.ledger.transactions import Ledger
from shared.messages.approval import GrantApproval
from shared.messages.seal import approval_from
from shared.rules.configuration import Configuration
from shared.rules.facts import Side
from tests.configured import PERMITS
from tests.ledger.gated import Gated, apply, content
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, opening, outcomes, read

DAY = 24 * HOUR
OLD, NEW = ("10.20.0.0/16",), ("10.30.0.0/16",)


def replacing(names: list[str], request_id: str = "REQ-2", vpc: str = "vpc-1", **more: Any) -> GrantApproval:
    """A lease with other routes in place of these."""
    usual = opening(request_id, vpc, **({"prefixes": NEW} | more))
    made = approval_from(usual.model_dump(mode="json", by_alias=True) | {"replaces": names})
    assert isinstance(made, GrantApproval)
    return made


@pytest.fixture
def gated(ledger: Ledger) -> Gated:
    """The ledger behind its gate."""
    apply(ledger)
    return Gated(ledger)


def live(database: Database) -> set[str]:
    """The requests whose leases count."""
    return {row.request_id for row in database.rows(sql.select(approvals).where(approvals.c.live))}


def test_a_change_has_no_gap(gated: Gated, database: Database) -> None:
    """One generation later the new routes are wanted and the old are not; the association is changed, and never gone."""
    cloud = CalmCloud()
    gated.enter(opening())
    for side in Side:
        gated.visit(cloud, side)
    (before,) = cloud.associations.values()
    generation = read(gated.ledger).generation

    gated.enter(replacing(["REQ-1"]))

    work = read(gated.ledger)
    assert (work.generation, work.wanted.up, work.wanted.prefixes) == (generation + 1, True, NEW)
    for side in Side:
        gated.visit(cloud, side)
    (after,) = cloud.associations.values()
    assert (after.association_id, after.prefixes) == (before.association_id, NEW)
    assert outcomes(database) == [("REQ-1", "done"), ("REQ-2", "done")]
    check_order(gated.ledger, database)


def test_what_waits_is_told_that_it_was_replaced(gated: Gated, database: Database) -> None:
    """A request that had no answer yet gets one, with the name of what took its place."""
    gated.enter(opening())
    gated.enter(replacing(["REQ-1"]))
    assert outcomes(database) == [("REQ-1", "rejected")]
    (row,) = database.rows(sql.select(events.c.body).where(events.c.kind == "rejected"))
    assert "replaced by the request REQ-2 of tests" in row.body
    check_order(gated.ledger, database)


def test_only_its_own_issuers_leases_on_its_own_grant_are_closed(gated: Gated, database: Database) -> None:
    """As with a revoke: a name belongs to who gave it, and to the grant that it was given for."""
    gated.enter(opening())
    gated.enter(opening("REQ-1", issuer="another"), message_id="m-2")
    gated.enter(opening("REQ-1", "vpc-2"), message_id="m-3")
    gated.enter(replacing(["REQ-1"]))
    found = database.rows(sql.select(approvals).where(approvals.c.live).order_by(approvals.c.admitted_at))
    kept = {(row.request_id, row.issuer, row.grant_id == read(gated.ledger).grant_id) for row in found}
    assert kept == {("REQ-2", "tests", True), ("REQ-1", "another", True), ("REQ-1", "tests", False)}
    check_order(gated.ledger, database)


def _advance(gated: Gated) -> None:
    """The date of what is early comes."""
    gated.now = NOW + 2 * DAY
    let_time_pass(gated.ledger, gated.now, gated.judge)


MAKE: dict[str, Callable[[Gated], object]] = {
    "old": lambda gated: gated.enter(opening()),
    "new": lambda gated: gated.enter(replacing(["REQ-1"])),
    "revoke of the new": lambda gated: gated.enter(closing(["REQ-2"], "END-2")),
    "revoke of the old": lambda gated: gated.enter(closing(["REQ-1"], "END-1")),
    "early": lambda gated: gated.enter(replacing(["REQ-1"], approved_at=NOW + DAY)),
    "past its end": lambda gated: gated.enter(
        replacing(["REQ-1"], approved_at=NOW - 2 * HOUR, ends_at=NOW - HOUR, on_end="teardown")
    ),
    "newer": lambda gated: gated.enter(replacing(["REQ-2"], "REQ-3", prefixes=("10.40.0.0/16",))),
}


@pytest.mark.parametrize(
    ("what", "then"),
    [
        (("old", "new"), {"REQ-2"}),
        (("old", "new", "revoke of the new"), set()),
        (("old", "new", "revoke of the old"), {"REQ-2"}),
        (("old", "past its end"), set()),
        (("old", "new", "newer"), {"REQ-3"}),
        (("old", "early"), {"REQ-2"}),
        (("old", "early", "revoke of the old"), {"REQ-2"}),
        (("old", "early", "revoke of the new"), set()),  # what it replaces goes at its date all the same
    ],
    ids=lambda value: " + ".join(value) if isinstance(value, tuple) else "",
)
def test_no_order_matters(gated: Gated, database: Database, what: tuple[str, ...], then: set[str]) -> None:
    """Whichever comes first, the same leases count at last, and the record comes to what the tables say at every step."""
    for number, order in enumerate(itertools.permutations(what)):
        if number:
            _begin_again(gated, database)
        for one in order:
            MAKE[one](gated)
            assert gated.ledger.read(first_fault, [], None) is None, (order, one)
        _advance(gated)
        assert live(database) == then, order
        assert gated.ledger.read(first_fault, [], None) is None, order
        check_order(gated.ledger, database)


def _begin_again(gated: Gated, database: Database) -> None:
    """An empty ledger with its configuration."""
    with database.connected() as connection:
        for table in reversed(metadata.sorted_tables):
            if table not in (accepts, chain):
                connection.execute(table.delete())
        connection.execute(chain.update().values(seq=0, hash=START_OF_CHAIN))
    gated.now = NOW
    apply(gated.ledger)
    gated.gate = gated.opened()


def test_an_early_one_replaces_when_it_takes_effect(gated: Gated, database: Database) -> None:
    """Until then the old one stands; a day later the change has no gap either."""
    gated.enter(opening())
    gated.enter(replacing(["REQ-1"], approved_at=NOW + DAY))
    assert live(database) == {"REQ-1"}
    _advance(gated)
    assert live(database) == {"REQ-2"}
    assert read(gated.ledger, now=gated.now).wanted.prefixes == NEW
    check_order(gated.ledger, database)


def test_what_is_refused_replaces_nothing(gated: Gated, database: Database) -> None:
    """An early one that may not take effect when its date comes leaves the old one as it is."""
    gated.enter(opening())
    gated.enter(replacing(["REQ-1"], approved_at=NOW + DAY))
    apply(gated.ledger, refusing())
    gated.gate.refresh()
    _advance(gated)
    assert live(database) == {"REQ-1"}
    assert outcomes(database) == [("REQ-2", "rejected")]
    check_order(gated.ledger, database)


def refusing() -> Configuration:
    """A configuration whose policy lets nothing be opened."""
    rule = '@id("nothing") @advice("You must wait.") forbid (principal, action == Action::"vouch", resource);'
    return content(policy=f"{PERMITS}\n{rule}")
