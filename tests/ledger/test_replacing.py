"""A lease in place of others: a change without a gap, and in whatever order its messages come."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.passing import let_time_pass
from shared.ledger.proof import first_fault
from shared.ledger.rows import leases_of
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger
from shared.messages.approval import GrantApproval, RevokeApproval
from tests.ledger.kit import HOUR, NOW, Database, closing, grant_id, opening

LATER = NOW + HOUR
OLD = opening("REQ-OLD", prefixes=("10.20.0.0/16",))


def _instead(approved_at: int, request_id: str = "REQ-NEW", replaces: str = "REQ-OLD") -> GrantApproval:
    made = opening(request_id, approved_at=approved_at, prefixes=("10.21.0.0/16",))
    return made.model_copy(update={"replaces": [replaces]})


def _bring(ledger: Ledger, one: GrantApproval | RevokeApproval, now: int = NOW) -> None:
    ledger.write(admit, one, f"message of {one.request_id}", now, ledger.timing)


def _counting(ledger: Ledger) -> set[str]:
    found = ledger.read(leases_of, grant_id())
    return {lease.request_id for lease in found}


def test_it_opens_and_closes_in_one_admission(ledger: Ledger) -> None:
    """There is no moment in which neither counts."""
    _bring(ledger, OLD)
    _bring(ledger, _instead(NOW))
    assert _counting(ledger) == {"REQ-NEW"}
    assert ledger.read(first_fault, (), None) is None


def test_what_waits_for_its_date_closes_nothing_before(ledger: Ledger) -> None:
    """The old lease counts until the new one does."""
    _bring(ledger, OLD)
    _bring(ledger, _instead(LATER))
    assert _counting(ledger) >= {"REQ-OLD"}
    let_time_pass(ledger, NOW + HOUR // 2)
    assert ledger.read(first_fault, (), None) is None
    let_time_pass(ledger, LATER)
    assert _counting(ledger) == {"REQ-NEW"}
    assert ledger.read(first_fault, (), None) is None


_ORDERS = list(itertools.permutations(range(3)))
_AFTER_IT = [
    order for order in _ORDERS if order.index(1) < order.index(2)
]  # what comes after a revoke of all is to count


@pytest.mark.parametrize(
    ("order", "how"), [*((order, ["REQ-NEW"]) for order in _ORDERS), *((order, "all") for order in _AFTER_IT)], ids=str
)
def test_no_order_matters_when_it_is_closed_itself(
    ledger: Ledger, database: Database, order: tuple[int, ...], how: list[str] | str
) -> None:
    """It closes what it replaces when its date comes, also where it was closed by then, and as if it had only come then."""
    messages: list[GrantApproval | RevokeApproval] = [OLD, _instead(LATER), closing(how, approved_at=NOW - 2 * HOUR)]
    for each in order:
        _bring(ledger, messages[each])
    let_time_pass(ledger, NOW + 1)
    assert _counting(ledger) == {"REQ-OLD"}
    let_time_pass(ledger, LATER)
    assert _counting(ledger) == set()
    [row] = database.rows(sql.select(approvals).where(approvals.c.request_id == "REQ-OLD"))
    [new] = database.rows(sql.select(approvals).where(approvals.c.request_id == "REQ-NEW"))
    assert row.closed_by == new.approval_id
    assert (new.outcome, new.early_until, new.due_at) == ("rejected", None, None)
    assert ledger.read(first_fault, (), None) is None


def test_one_that_replaces_another_before_its_date_leaves_it_to_close_its_own(ledger: Ledger) -> None:
    """A is to be replaced by B, and B, before its date, by C: in the end C counts alone."""
    _bring(ledger, OLD)
    _bring(ledger, _instead(LATER, "REQ-B"))
    _bring(ledger, _instead(NOW, "REQ-C", "REQ-B"))
    assert _counting(ledger) == {"REQ-OLD", "REQ-C"}
    assert ledger.read(first_fault, (), None) is None
    let_time_pass(ledger, LATER)
    assert _counting(ledger) == {"REQ-C"}
    assert ledger.read(first_fault, (), None) is None
