"""What the cloud lists and nobody can read: said as it was seen, compared with nothing, and in nobody's way."""

from __future__ import annotations

from types import SimpleNamespace as Row
from typing import Any, cast

import pytest
import sqlalchemy as sql

from shared.cloud.calls import Calls
from shared.cloud.pace import Busiest
from shared.cloud.pages import Pages
from shared.ledger.tables import events, grants
from shared.ledger.transactions import Ledger
from shared.loop.reconcile import Reconcile, Report, Surroundings
from shared.messages.completion import EventKind
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import HOUR, NOW, Database, key

B, ECR = key().instance_owner_uid, key().ecr_id
REGION = key().instance_region


def granted(**odd: Any) -> Row:
    """A row of what is granted to the router; keyword arguments replace fields."""
    usual = {"node_type": "VPC", "node_id": "vpc-9", "node_region_id": REGION, "node_owner_uid": int(B)}
    return Row(**(usual | odd))


def associated(**odd: Any) -> Row:
    """A row of the router's associations; keyword arguments replace fields."""
    usual = {"vpc_id": "vpc-9", "region_id": REGION, "vpc_owner_id": int(B), "status": "ACTIVE"}
    return Row(**(usual | {"association_id": "ecr-assoc-1", "allowed_prefixes": ["10.20.0.0/16"]} | odd))


class Answers:
    """Calls that are answered from lists of rows."""

    made = 0
    settings = Row(region=REGION)

    def __init__(self, grants: list[Row], associations: list[Row]) -> None:
        self._pages = {
            "DescribeInstanceGrantedToExpressConnectRouter": Row(ecr_granted_instance_list=grants),
            "DescribeExpressConnectRouterAssociation": Row(association_list=associations),
            "DescribeExpressConnectRouterChildInstance": Row(child_instance_list=[]),
            "DescribeVpcGrantRulesToEcr": Row(grant_rule_models=[]),
        }

    def busiest(self) -> Busiest:
        """No budget."""
        return Busiest()

    def pages(self, _account: str, operation: str, *_request: Any, **_region: Any) -> list[Row]:
        """One page of each listing."""
        return [self._pages[operation]]

    def read(self, operation: str, *_call: Any) -> Row:
        """The router is there, and the instances."""
        if operation == "DescribeExpressConnectRouter":
            return Row(ecr_list=[Row(ecr_id=ECR)])
        return Row(vpcs=Row(vpc=[Row(vpc_id="vpc-1")]))


def passed(ledger: Ledger, grants: list[Row], associations: list[Row]) -> Report:
    """One pass over a cloud that shows these rows."""
    apply(ledger)
    settings = Row(settle_seconds=1, drift_repair=frozenset())
    frame = Row(ledger=ledger, gate=Gated(ledger).gate, settings=settings, publish=lambda: None, wake=lambda *_: None)
    pages = Pages(cast("Calls", Answers(grants, associations)))
    return Reconcile(cast("Surroundings", frame), pages, clock=lambda: NOW + HOUR).run()


ODD = [
    pytest.param({"region": None}, "no region", id="no region"),
    pytest.param({"owner": None}, "account no owner", id="no owner"),
    pytest.param({"instance": None}, "VPC no instance", id="no instance"),
    pytest.param({"instance": "vpc-\x00" + "x" * 100}, "VPC vpc-?xxx", id="an instance that no column takes"),
    pytest.param({"region": "cn-\x1b" + "x" * 100}, "shown in cn-?xxx", id="a region that no column takes"),
    pytest.param({"owner": "9" * 40}, "account 9999999999999999999…", id="an owner that no column takes"),
]


@pytest.mark.parametrize(("odd", "said"), ODD)
def test_a_row_that_nobody_can_read_is_said_and_stops_nothing(
    ledger: Ledger, database: Database, odd: dict[str, Any], said: str
) -> None:
    """Neither the rows beside it nor the pass."""
    names = {"region": ("node_region_id", "region_id"), "owner": ("node_owner_uid", "vpc_owner_id")}
    names["instance"] = ("node_id", "vpc_id")
    ((what, value),) = odd.items()
    ours, theirs = names[what]
    found = passed(ledger, [granted(**{ours: value}), granted()], [associated(**{theirs: value}), associated()])
    assert len(found.trouble) == 2
    assert all(said in line and "compared with nothing" in line for line in found.trouble)
    assert found.drift == {"foreign-grant": 1, "foreign-association": 1}
    assert database.count(grants) == 1


def test_what_may_be_one_of_ours_is_not_said_to_be_missing(standing: Ledger, database: Database) -> None:
    """An association whose row has lost its region is no other association, and ours is not gone."""
    found = passed(standing, [granted(node_id="vpc-1")], [associated(vpc_id="vpc-1", region_id=None)])
    assert len(found.trouble) == 1
    assert found.drift == {}
    assert database.count(events, events.c.kind == EventKind.DRIFT_FOUND) == 0


@pytest.mark.parametrize(
    ("status", "kept"), [(None, "NO STATUS"), ("", "NO STATUS"), ("act\x00ive", "ACT?IVE"), ("x" * 99, "X" * 31 + "…")]
)
def test_a_status_is_kept_as_it_was_seen(ledger: Ledger, database: Database, status: str | None, kept: str) -> None:
    """Whatever it is, and on every database."""
    assert passed(ledger, [], [associated(status=status)]).drift == {"foreign-association": 1}
    with database.connected() as connection:
        states = connection.execute(sql.text("SELECT state FROM sides WHERE side = 'associate'")).scalars().all()
    assert states == [kept]
