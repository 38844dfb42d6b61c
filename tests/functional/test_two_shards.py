"""Two shards that enter the same account B: each paces itself as if it were alone, and meets the other in its quota."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.tables import sides
from shared.loop.frame import Function
from shared.rules.facts import Side
from tests.functional.approvals import approval, wake
from tests.functional.deployment import Json, configure
from tests.functional.inprocess import Context, InProcess, events, in_process
from tests.functional.launch import new_ledger
from tests.functional.mailbox import as_sent
from tests.functional.waiting import until
from tests.functional.world import Spoke, Stage

GRANT = "GrantInstanceToExpressConnectRouter"
WAKES = "ecr-grants-wakes"
EACH = 4
"""What each shard has to grant, far within its own budget; together it is more than the platform lets through here."""


@pytest.fixture
def spoke() -> list[Spoke]:
    """The account that both enter."""
    return []


@pytest.fixture
def shards(tmp_path: Path, spoke: list[Spoke]) -> Iterator[tuple[InProcess, InProcess]]:
    """Two frames, each with a ledger of its own, before one cloud."""
    stage = Stage()
    spoke += [stage.new_spoke()]
    with in_process(stage, tmp_path) as one, pytest.MonkeyPatch.context() as patch:
        (tmp_path / "two").mkdir()
        ledger = new_ledger(tmp_path / "two")
        configure(ledger, stage.configuration)
        patch.setenv("LEDGER_URL", ledger)
        two = InProcess(one.cloud, Function().open(Context("second")))
        yield one, two
        two.frame.ledger.close()


def batch(documents: list[Json]) -> bytes:
    """Approvals in one event."""
    return events([(f"M-{one['request_id']}", as_sent(one)) for one in documents])


def test_who_shares_an_account_meets_its_quota_and_says_so(
    shards: tuple[InProcess, InProcess], spoke: list[Spoke]
) -> None:
    """What the platform refuses since the other shard spent the quota is no outcome: it says why and where, and is done later.

    The quota is smaller here than the published one, and so is the load; either shard alone would have found room.
    """
    (account,) = spoke
    one, two = shards
    one.cloud.admin.quota(**{f"ecr:{GRANT}": {"limit": EACH + 1, "seconds": 3600, "window": "sliding"}})
    instances = [*account.vpcs, *account.vbrs]
    first, second = ([approval(account.uid, each) for each in some] for some in (instances[:EACH], instances[EACH:]))
    assert one.handle(batch(first)) == {"settled": len(first)}
    assert two.handle(batch(second)) == {"settled": 1, "later": len(second) - 1}

    refused = [call for call in one.cloud.journal(operation=GRANT) if call["code"] == "Throttling.User"]
    assert len(refused) == len(second) - 1
    waiting = unsettled(two)
    assert [(side.attempts, side.dead_at) for side in waiting] == [(1, None)] * len(refused)
    for side in waiting:
        reason = json.loads(side.trouble)
        assert reason["code"] == "Throttling.User"
        assert f"{GRANT} in account {account.uid}" in reason["text"]
    assert unsettled(one) == []

    one.cloud.admin.quota(**{f"ecr:{GRANT}": None})
    woken = events([(f"W-{side.grant_id}", json.dumps(wake(side.grant_id))) for side in waiting], queue=WAKES)
    until(lambda: two.handle(woken) and not unsettled(two), "both shards have granted what they had to")


def unsettled(shard: InProcess) -> list[sql.Row[Any]]:
    """Account B's sides in a shard's ledger that have something to do."""
    mine = sql.select(sides).where(sides.c.unsettled, sides.c.side == Side.GRANT)
    with shard.frame.ledger.engine.connect() as connection:
        return list(connection.execute(mine).all())
