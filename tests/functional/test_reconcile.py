"""The timer's function as it is deployed: ends, and differences that somebody else has made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr_models

from shared.cloud.pages import READ_ONLY
from tests.functional.approvals import approval
from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment, Json
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import ASSOCIATE_FUNCTION, GRANT_FUNCTION, RECONCILE_FUNCTION, REGION, Hub, Spoke


def soon(seconds: float) -> str:
    """A time that will have come before long."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


@dataclass
class Drifted:
    """Grants that were right, until administrators changed the cloud; afterwards one reconcile."""

    hub: Hub
    spoke: Spoke
    ungranted: Json
    unassociated: Json
    widened: Json
    foreign: Json


@pytest.fixture(scope="module")
def drifted(deployed: Deployment, cast: Cast) -> Drifted:
    """Account B's administrator revokes and grants, account A's dissociates and changes prefixes."""
    hub, spoke, other = cast.drifting, cast.spoke(), cast.spoke()
    router = {"ecr": {"id": hub.ecr_id, "owner_uid": hub.uid}}
    ungranted, unassociated, widened = (approval(spoke.uid, next(spoke.vpcs), **router) for _ in range(3))
    known = approval(other.uid, next(other.vpcs), **router)
    foreign = approval(other.uid, next(other.vpcs), **router)
    deployed.send(ungranted, unassociated, widened, known)
    for document in (ungranted, unassociated, widened, known):
        assert deployed.answer(document)["event"] == "done"
    deployed.reconcile()
    a, b = deployed.ecr(hub.admin), deployed.ecr(spoke.admin)
    b.revoke_instance_from_express_connect_router(
        ecr_models.RevokeInstanceFromExpressConnectRouterRequest(**natural_key(ungranted))
    )
    a.delete_express_connect_router_association(
        ecr_models.DeleteExpressConnectRouterAssociationRequest(
            ecr_id=hub.ecr_id, association_id=deployed.event(unassociated, "associated")["association_id"]
        )
    )
    a.modify_express_connect_router_association_allowed_prefix(
        ecr_models.ModifyExpressConnectRouterAssociationAllowedPrefixRequest(
            ecr_id=hub.ecr_id,
            association_id=deployed.event(widened, "associated")["association_id"],
            allowed_prefixes=["10.20.0.0/16", "172.16.0.0/12"],
        )
    )
    deployed.ecr(other.admin).grant_instance_to_express_connect_router(
        ecr_models.GrantInstanceToExpressConnectRouterRequest(**natural_key(foreign))
    )
    found: set[str] = set()

    def all_found() -> bool:
        found.update(deployed.reconcile()["drift"])
        return {"grant-missing", "association-missing", "prefixes-differ", "foreign-grant"} <= found

    until(all_found, "passes that find all of it")  # a look may be older than it seems, so one is not always enough
    deployed.reconcile()
    return Drifted(hub, spoke, ungranted, unassociated, widened, foreign)


def natural_key(document: Json) -> Json:
    """What names a grant, as the SDK's models take it."""
    return {
        "ecr_id": document["ecr"]["id"],
        "ecr_owner_ali_uid": int(document["ecr"]["owner_uid"]),
        "instance_id": document["instance"]["id"],
        "instance_type": document["instance"]["type"],
        "instance_region_id": REGION,
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("ungranted", "grant-missing", id="account B's administrator revoked the grant"),
        pytest.param("unassociated", "association-missing", id="account A's administrator dissociated"),
        pytest.param("widened", "prefixes-differ", id="account A's administrator allows other prefixes"),
    ],
)
def test_what_leases_want_is_put_right(deployed: Deployment, drifted: Drifted, name: str, kind: str) -> None:
    """Found, told, and mended by the acting functions; the repair is told too."""
    document: Json = getattr(drifted, name)
    assert deployed.event(document, "drift-found")["reason"]["code"] == kind
    assert deployed.event(document, "drift-repaired")["reason"]["code"] == kind
    assert deployed.granted(document, drifted.spoke) == [(drifted.hub.ecr_id, drifted.hub.uid)]
    assert deployed.associated(document, drifted.hub.admin) == [("ACTIVE", ("10.20.0.0/16",))]


def test_what_somebody_else_granted_is_reported_and_left_alone(deployed: Deployment, drifted: Drifted) -> None:
    """No lease of ours rests on it, and nobody adopted it."""
    found = deployed.event(drifted.foreign, "drift-found")
    assert found["reason"]["code"] == "foreign-grant"
    deployed.quiet()
    assert "revoked" not in deployed.kinds(drifted.foreign)
    effects = [entry["operation"] for entry in deployed.journal(drifted.foreign) if entry["effect"]]
    assert effects == ["GrantInstanceToExpressConnectRouter"]


def test_a_difference_is_told_once(deployed: Deployment, drifted: Drifted) -> None:
    """Later passes find it again and say nothing new."""
    kinds = [deployed.kinds(one) for one in (drifted.ungranted, drifted.unassociated, drifted.widened, drifted.foreign)]
    assert [one.count("drift-found") for one in kinds] == [1, 1, 1, 1]


def put_up_until(deployed: Deployment, spoke: Spoke, on_end: str) -> Json:
    """A grant whose lease ends soon, but not before it was put up; how soon that can be depends on the machine."""
    for seconds in (2, 10, 30):
        document = approval(spoke.uid, next(spoke.vpcs), ends_at=soon(seconds), on_end=on_end)
        if deployed.settled(document)["event"] == "done":
            deployed.event(document, "ending")
            return document
    pytest.fail("no lease lived long enough to be put up")


def test_an_end_tears_down_or_is_reported_as_was_approved(deployed: Deployment, cast: Cast, spoke: Spoke) -> None:
    """What was approved to end is taken down in order; what was approved to be reported stays up and is overdue."""
    torn = put_up_until(deployed, spoke, "teardown")
    kept = put_up_until(deployed, another := cast.spoke(), "report")

    def has_ended() -> bool:
        deployed.reconcile()
        return {"ended", "overdue"} <= {*deployed.kinds(torn), *deployed.kinds(kept)}

    until(has_ended, "both ends have come", 2 * PATIENCE)
    deployed.event(torn, "revoked")
    assert deployed.granted(torn, spoke) == []
    assert deployed.associated(torn) == []
    assert len(deployed.granted(kept, another)) == 1
    assert [status for status, _ in deployed.associated(kept)] == ["ACTIVE"]
    deployed.quiet()
    assert deployed.kinds(kept).count("overdue") == 1


def test_an_approval_from_the_future_is_held(deployed: Deployment, spoke: Spoke) -> None:
    """Dated further ahead than clocks may differ, it is on record and has no effect yet."""
    document = approval(spoke.uid, next(spoke.vpcs), approved_at=soon(3600))
    deployed.send(document)
    deployed.event(document, "early")
    deployed.reconcile()
    deployed.quiet()
    assert deployed.kinds(document) == ["early"]
    assert deployed.granted(document, spoke) == []


def test_it_enters_accounts_with_a_policy_that_only_reads(deployed: Deployment, spoke: Spoke) -> None:
    """As deployed: whatever its roles may there, its sessions cannot write; the acting functions' sessions can."""
    document = approval(spoke.uid, next(spoke.vpcs))
    assert deployed.settled(document)["event"] == "done"
    deployed.reconcile()
    policies: dict[str, set[str]] = {}
    for entry in deployed.journal(operation="AssumeRole"):
        policies.setdefault(entry["caller"].get("function"), set()).add(entry["params"].get("Policy", ""))
    assert policies[RECONCILE_FUNCTION] == {READ_ONLY}
    assert policies[GRANT_FUNCTION] == policies[ASSOCIATE_FUNCTION] == {""}
