"""How many calls a grant may take in account B, by the local cloud's journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest

from tests.functional.approvals import approval
from tests.functional.deployment import Json
from tests.functional.inprocess import InProcess, events, in_process
from tests.functional.mailbox import as_sent
from tests.functional.world import REGION, Spoke, Stage

_numbers = count(1)


@pytest.fixture(scope="module")
def spokes() -> list[Spoke]:
    """Accounts of these tests."""
    return []


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, spokes: list[Spoke]) -> Iterator[InProcess]:
    """Account B's side in this process, and five accounts with twenty VPCs more each."""
    stage = Stage()
    spokes += [stage.new_spoke() for _ in range(6)]
    for spoke in spokes:
        more = [{"id": f"vpc-many{spoke.uid[-2:]}x{one}", "region": REGION, "cidr": "10.1.0.0/16"} for one in range(20)]
        stage.file["accounts"][spoke.uid]["vpcs"] += more
    with in_process(stage, tmp_path_factory.mktemp("calls"), QUOTA_SECONDS="0.1") as made:
        yield made


def calls(here: InProcess, documents: list[Json]) -> Counter[str]:
    """What handling these approvals calls, by operation."""
    before = here.cloud.admin.call("GET", "journal", query={"limit": 1, "after": 10**9})["last"]
    mail = [(f"M-{next(_numbers)}", as_sent(one)) for one in documents]
    assert here.handle(events(mail)) == {"settled": len(documents)}
    found = [entry for service in ("sts", "vpc", "ecr") for entry in here.cloud.admin.journal(service=service)]
    return Counter(entry["operation"] for entry in found if entry["number"] > before)


def test_a_lone_grant_takes_five_calls_and_four_when_its_account_is_known(here: InProcess, spokes: list[Spoke]) -> None:
    """The role, account B's view of the VPC, the grants, the grant, and the grants again."""
    spoke = spokes[0]
    first = calls(here, [approval(spoke.uid, next(spoke.vpcs))])
    assert (first.total(), first["AssumeRole"]) == (5, 1)
    assert calls(here, [approval(spoke.uid, next(spoke.vpcs))]).total() == 4


def test_a_burst_looks_grants_up_by_page(here: InProcess, spokes: list[Spoke]) -> None:
    """A hundred over five accounts: each VPC is looked at and each grant asked for once; all are read back, many at a time."""
    documents = [approval(spoke.uid, f"vpc-many{spoke.uid[-2:]}x{one}") for one in range(20) for spoke in spokes[1:]]
    found = sum((calls(here, documents[start : start + 50]) for start in (0, 50)), Counter[str]())

    assert found["DescribeVpcAttribute"] == found["GrantInstanceToExpressConnectRouter"] == 100
    assert found["AssumeRole"] == 5
    assert found.total() <= 230, found
