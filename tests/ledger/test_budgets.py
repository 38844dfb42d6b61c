"""What one grant may cost the ledger, both sides together: counted on a real PostgreSQL, and never timed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from bench.desk import created, furnished
from bench.ledger import Counted, counted, on_postgresql
from tests.ledger.postgres import Postgres

BURST = 100
STATEMENTS, WRITING, TRIPS = 30, 10, 60
"""For each grant of a burst: statements (BEGIN and COMMIT apart), transactions that write, and round trips."""
ALONE = 20
ALONE_STATEMENTS, ALONE_WRITING, ALONE_TRIPS = 52, 11, 76
"""For each grant whose approval comes in an event of its own. Before there were seals, a policy and versions of a configuration
it was one statement less, and one round trip."""


@pytest.fixture(scope="module")
def both(postgres: Postgres) -> Iterator[tuple[Counted, Counted]]:
    """A burst through both frames, published and all; and approvals one by one."""
    before, logs = dict(os.environ), structlog.get_config()
    try:
        with on_postgresql(postgres) as (pair, far):
            yield counted(pair, far, BURST), counted(pair, far, ALONE, at_once=1)
    finally:
        os.environ.clear()
        os.environ |= before
        structlog.configure(**logs)


@pytest.fixture(scope="module")
def cost(both: tuple[Counted, Counted]) -> Counted:
    """Of the burst."""
    return both[0]


def test_an_approval_of_its_own_keeps_its_budgets(both: tuple[Counted, Counted]) -> None:
    """Which version is the newest is asked once, behind the lock of its admission, and nowhere else by itself."""
    alone = both[1]
    assert alone.statements / ALONE <= ALONE_STATEMENTS, alone.words.most_common()
    assert alone.writing / ALONE <= ALONE_WRITING
    assert 0 < alone.trips / ALONE <= ALONE_TRIPS
    asked = [often for words, often in alone.words.items() if "settings" in words]
    assert asked == [ALONE]


def test_a_burst_keeps_its_budget_of_statements(cost: Counted) -> None:
    """Record, outbox and publishing included."""
    assert cost.statements / BURST <= STATEMENTS, cost.words.most_common()


def test_a_burst_keeps_its_budget_of_transactions(cost: Counted) -> None:
    """What locks a row counts as writing."""
    assert cost.writing / BURST <= WRITING


def test_a_burst_keeps_its_budget_of_round_trips(cost: Counted) -> None:
    """As the relay in between sees them: BEGIN and COMMIT are two of each transaction."""
    assert 0 < cost.trips / BURST <= TRIPS


ASKING = 12
"""Statements of a request that is asked at the desk, counting who calls and looking for a newer configuration included."""


def test_asking_keeps_its_budget_of_statements(postgres: Postgres) -> None:
    """Over HTTP, signed in; what they are is shown where there are more."""
    url = postgres.address(postgres.new_database())
    furnished(url, 10)
    sent = created(url)
    assert 0 < len(sent) <= ASKING, sent
    assert sum("INSERT INTO consent" in one for one in sent) == 1
