"""What is found over the desk: what ends, routers, ranges, what waits; each within what whoever looks may see."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.finding import COUNTED, EndsAsked, list_ends, list_routers, open_requests, ranges_of
from shared.ledger.tables import approvals, grants, requests, sides
from shared.ledger.transactions import Ledger
from tests.ledger.kit import HOUR, NOW, Database
from tests.ledger.test_bounded import plan, statements
from tests.ledger.test_seeing import ECR, OTHER_B, OTHER_ECR, SCOPES, A, B, world

__all__ = ["world"]
SOON = EndsAsked(NOW, NOW + 100 * HOUR)


def visible(database: Database, who: str) -> dict[str, Any]:
    """The open leases that somebody may see, by request, as the tables have them."""
    scope = SCOPES[who]
    with database.connected() as connection:
        rows = connection.execute(
            sql.select(approvals, grants.c.ecr_id)
            .join(grants, grants.c.grant_id == approvals.c.grant_id)
            .where(approvals.c.action == "grant", approvals.c.open)
        ).all()
        mine = set(
            connection.execute(sql.select(requests.c.request_id).where(requests.c.requester == scope.person)).scalars()
        )
    return {
        row.request_id: row
        for row in rows
        if scope.everything
        or scope.accounts & {row.ecr_owner_uid, row.instance_owner_uid}
        or (row.issuer == "desk" and row.request_id in mine)
    }


@pytest.mark.parametrize("who", SCOPES)
def test_what_ends_is_told_in_its_order(world: Ledger, database: Database, who: str) -> None:
    """Each once, page by page; no lease without an end, none of others."""
    rows = visible(database, who)
    expected = sorted(((row.ends_at, row.approval_id, name) for name, row in rows.items() if row.ends_at is not None))
    found: list[Any] = []
    behind = None
    while True:
        page = world.read(list_ends, SCOPES[who], SOON, behind, 2)
        found += page
        if len(page) < 2:
            break
        behind = page[-1].ends_at, page[-1].approval_id
    assert [one.request_id for one in found] == [name for _, _, name in expected]


def test_an_end_is_looked_for_from_a_time_until_another(world: Ledger) -> None:
    """The first one counts, the last one does not."""
    asked = EndsAsked(NOW + 5 * HOUR, NOW + 8 * HOUR)
    found = world.read(list_ends, SCOPES["auditor"], asked, None, 100)
    assert [one.request_id for one in found] == ["REQ-5", "REQ-6"]


@pytest.mark.parametrize("who", SCOPES)
def test_routers_are_those_that_something_seen_is_on(world: Ledger, database: Database, who: str) -> None:
    """With what of it may be seen, and no more."""
    rows = visible(database, who)
    found = {row.ecr_id: row for row in world.read(list_routers, SCOPES[who], None, 100)}
    assert {row.ecr_id for row in rows.values()} <= set(found) <= {ECR, OTHER_ECR}
    for name, row in found.items():
        ends = [one.ends_at for one in rows.values() if one.ecr_id == name and one.ends_at is not None]
        assert row.next_end == min(ends, default=None)
        assert row.shown >= len({one.grant_id for one in rows.values() if one.ecr_id == name})
        assert row.shown <= COUNTED
        assert not row.drifted


def test_a_routers_drift_and_what_is_up_are_counted(world: Ledger, database: Database) -> None:
    """Of those that may be seen."""
    with database.connected() as connection:
        there = sql.select(grants.c.grant_id).where(
            grants.c.ecr_id == OTHER_ECR, grants.c.instance_owner_uid == OTHER_B
        )
        connection.execute(
            sides.update().where(sides.c.grant_id.in_(there)).values(drift='{"class": "x"}', state="present")
        )
        many = len(connection.execute(there).all())
    by_all = {row.ecr_id: row for row in world.read(list_routers, SCOPES["auditor"], None, 100)}
    assert (by_all[OTHER_ECR].drifted, by_all[OTHER_ECR].up, by_all[ECR].drifted) == (True, many, False)
    by_b = {row.ecr_id: row for row in world.read(list_routers, SCOPES["owner of B"], None, 100)}
    assert not by_b[OTHER_ECR].drifted


@pytest.mark.parametrize("who", SCOPES)
def test_ranges_are_those_of_open_leases_that_may_be_seen(world: Ledger, database: Database, who: str) -> None:
    """On that router alone."""
    rows = visible(database, who)
    found = world.read(ranges_of, SCOPES[who], ECR, 100)
    assert {one.request_id for one in found} == {name for name, row in rows.items() if row.ecr_id == ECR}
    assert all(one.ends_at == rows[one.request_id].ends_at for one in found)


def test_open_requests_are_told_the_oldest_first(world: Ledger) -> None:
    """Of the accounts that are named, whichever side they are."""
    found = [row.request_id for row in world.read(open_requests, {A, B}, 100)]
    assert set(found) >= {"r-3"} - {"r-2"}
    assert "r-2" not in found
    assert world.read(open_requests, set(), 100) == []


def test_what_ends_goes_by_its_index(world: Ledger, database: Database) -> None:
    """And not through all that is open."""
    with statements(world) as sent:
        world.read(list_ends, SCOPES["auditor"], SOON, None, 10)
    [(statement, parameters)] = [one for one in sent if "ends_at" in one[0]]
    assert "approvals_ending" in plan(database, statement, parameters)
