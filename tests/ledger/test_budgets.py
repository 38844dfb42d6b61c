"""What one grant may cost the ledger, both sides together: counted on a real PostgreSQL, and never timed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from bench.ledger import Counted, counted, on_postgresql
from tests.ledger.postgres import Postgres

BURST = 100
STATEMENTS, WRITING, TRIPS = 30, 10, 60
"""For each grant of a burst: statements (BEGIN and COMMIT apart), transactions that write, and round trips."""


@pytest.fixture(scope="module")
def cost(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    """A burst through both frames, published and all."""
    before, logs = dict(os.environ), structlog.get_config()
    try:
        with on_postgresql(postgres, tmp_path_factory.mktemp("budgets")) as (pair, far):
            yield counted(pair, far, BURST)
    finally:
        os.environ.clear()
        os.environ |= before
        structlog.configure(**logs)


def test_a_burst_keeps_its_budget_of_statements(cost: Counted) -> None:
    """Record, outbox and publishing included."""
    assert cost.statements / BURST <= STATEMENTS, cost.words.most_common()


def test_a_burst_keeps_its_budget_of_transactions(cost: Counted) -> None:
    """What locks a row counts as writing."""
    assert cost.writing / BURST <= WRITING


def test_a_burst_keeps_its_budget_of_round_trips(cost: Counted) -> None:
    """As the relay in between sees them: BEGIN and COMMIT are two of each transaction."""
    assert 0 < cost.trips / BURST <= TRIPS
