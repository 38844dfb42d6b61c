"""A small storm: every approval has exactly one end, nothing is left anywhere, and the cloud is as approved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from localcloud.faults import Kind
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from tests.chaos.storm import storm, troubles, weather
from tests.ledger import postgres


def test_the_trouble_is_of_every_kind_the_local_cloud_can_make() -> None:
    """A kind that is added to the local cloud has to be added to the storm. Nobody signs in there."""
    assert {plan["kind"] for plan in troubles(0.1, 1, 1)} == set(get_args(Kind)) - {"wrong_token"}


def test_a_seed_gives_the_same_storm() -> None:
    """What failed once can be looked at again."""
    first, again, other = weather(200, 10, 1), weather(200, 10, 1), weather(200, 10, 2)
    assert len(first.sent) == 200
    assert [one.bad for one in first.sent] == [one.bad for one in again.sent]
    assert [one.bad for one in first.sent] != [one.bad for one in other.sent]


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The address of a fresh ledger on PostgreSQL; None for the file that every deployment brings."""
    if request.param == "sqlite":
        yield None
        return
    with postgres.running() as server:
        url = server.address(server.new_database())
        with contextlib.closing(Ledger(url)) as made:
            upgrade_schema(made)
        yield url


@pytest.mark.timeout(600)
def test_a_small_storm_adds_up(ledger: str | None, tmp_path: Path) -> None:
    """Two approvals for each account with a tenth of trouble; killed workers are the crash points' and the large one's."""
    accounts = 20 if ledger is None else 10  # the second database need not be as long at it
    with storm(2 * accounts, accounts, 7, tmp_path, lambda _: None, ledger=ledger) as found:
        found.play(0.1, 7, 0, limit=60, rest=240)
        assert found.faults() == []
        assert sum(found.struck.values()) > 0
