"""Work that has to wait for the quota: it says how long, spends nothing meanwhile, and stops nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from shared.ledger.transactions import now_ms
from tests.functional.approvals import approval
from tests.functional.deployment import Json
from tests.functional.inprocess import InProcess, events, in_process
from tests.functional.mailbox import as_sent
from tests.functional.world import HUB, Spoke, Stage

GRANT = "GrantInstanceToExpressConnectRouter"


@pytest.fixture(scope="module")
def spokes() -> list[Spoke]:
    """Accounts of these tests."""
    return []


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, spokes: list[Spoke]) -> Iterator[InProcess]:
    """Account B's side in this process."""
    stage = Stage()
    spokes += [stage.new_spoke() for _ in range(6)]
    with in_process(stage, tmp_path_factory.mktemp("paced")) as made:
        yield made


def use_up(here: InProcess, spoke: Spoke) -> None:
    """Spend the whole budget of an account, as 120 grants would."""
    for _ in range(120):
        here.frame.calls._pace.take(spoke.uid, "", GRANT)


def batch(documents: list[Json]) -> bytes:
    """Approvals in one event."""
    return events([(f"M-{one['request_id']}", as_sent(one)) for one in documents])


def test_a_used_up_budget_of_one_account_stops_no_other(here: InProcess, spokes: list[Spoke]) -> None:
    """In one batch: what has room is settled, what has none is left for later without a single call for it."""
    hot, *cold = spokes[:3]
    use_up(here, hot)
    waiting = [approval(hot.uid, next(hot.vpcs)) for _ in range(3)]
    others = [approval(spoke.uid, next(spoke.vpcs)) for spoke in cold for _ in range(2)]
    assert here.handle(batch([*waiting, *others])) == {"later": 3, "settled": 4}
    for document in waiting:
        assert here.cloud.journal(document) == []
    for document in others:
        assert here.cloud.calls(document, GRANT) == 1


def test_who_has_to_wait_is_told_how_long(here: InProcess, spokes: list[Spoke]) -> None:
    """The ledger has a time for each, one place after the other; none of it counts as a failed attempt; a wake is on its way."""
    hot = spokes[3]
    use_up(here, hot)
    waiting = [approval(hot.uid, next(hot.vpcs)) for _ in range(3)]
    before = now_ms()
    here.handle(batch(waiting))
    rows = here.cloud.rows(
        "SELECT next_at, attempts, trouble, sides.grant_id FROM sides JOIN grants USING (grant_id) "
        "WHERE side = 'grant' AND instance_owner_uid = :uid ORDER BY next_at",
        uid=hot.uid,
    )
    assert len(rows) == 3
    for row in rows:
        assert 30_000 < row.next_at - before < 75_000
        reason = json.loads(row.trouble)
        assert (row.attempts, reason["code"]) == (0, "Paced")
        assert "there is room in about" in reason["text"]
        assert "调用预算" in reason["text_zh"]
    [queue] = [
        one
        for one in here.cloud.admin.world()["mns"]["queues"]
        if (one["account"], one["name"]) == (HUB, "ecr-grants-wakes")
    ]
    woken = [one["body"] for one in queue["messages"] if one["state"] == "delayed"]
    assert len(woken) >= 3


def test_a_second_copy_of_a_message_neither_waits_again_nor_calls(here: InProcess, spokes: list[Spoke]) -> None:
    """Who has a place keeps it: another wake for the same grant promises no second one."""
    hot = spokes[4]
    use_up(here, hot)
    document = approval(hot.uid, next(hot.vpcs))
    assert here.handle(batch([document])) == {"later": 1}
    time = "SELECT next_at FROM sides JOIN grants USING (grant_id) WHERE side = 'grant' AND instance_id = :id"
    first = here.cloud.rows(time, id=document["instance"]["id"])
    assert here.handle(batch([document])) in ({"later": 1}, {})
    assert here.cloud.rows(time, id=document["instance"]["id"]) == first
    assert here.cloud.journal(document) == []
