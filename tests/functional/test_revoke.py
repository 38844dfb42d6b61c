"""Closing: account A lets go first, then account B revokes; leases that overlap keep each other's grant up."""

from __future__ import annotations

import pytest

from tests.functional.approvals import approval, now, request_id, revocation
from tests.functional.deployment import Deployment, Json
from tests.functional.world import HUB, HUB_ECR, Spoke

UNDOING = {"vpc": "DeleteExpressConnectRouterAssociation", "vbr": "DetachExpressConnectRouterChildInstance"}
REVOKE = "RevokeInstanceFromExpressConnectRouter"


def up(deployed: Deployment, document: Json, spoke: Spoke) -> tuple[int, int]:
    """How many grants and associations there are on the instance."""
    return len(deployed.granted(document, spoke)), len(deployed.associated(document))


def instance(spoke: Spoke, kind: str) -> str:
    """A fresh instance of this kind."""
    return next({"vpc": spoke.vpcs, "vbr": spoke.vbrs}[kind])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("vpc", id="a VPC, which was associated"),
        pytest.param("vbr", id="a VBR, which was attached"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "all"])
def test_a_revoke_takes_down_the_association_and_then_the_grant(
    deployed: Deployment, spoke: Spoke, kind: str, named: bool
) -> None:
    """Whether it names the lease or says all; both sides are gone afterwards, and were undone in that order."""
    document = approval(spoke.uid, instance(spoke, kind))
    deployed.settled(document)
    assert up(deployed, document, spoke) == (1, 1)

    answer = deployed.settled(revocation(document, [document["request_id"]] if named else "all"))

    assert (answer["event"], answer["reason"]["text"]) == ("done", "dissociated and revoked")
    assert up(deployed, document, spoke) == (0, 0)
    undone = [entry["operation"] for entry in deployed.journal(document) if entry["operation"] == REVOKE]
    assert undone == [REVOKE]
    numbers = {
        operation: entry["number"]
        for operation in (UNDOING[kind], REVOKE)
        for entry in deployed.journal(operation=operation)
        if entry["effect"] and (operation != REVOKE or document["instance"]["id"] in entry["params"].values())
    }
    assert numbers[UNDOING[kind]] < numbers[REVOKE]
    deployed.quiet()
    kinds = deployed.kinds(document)
    assert kinds[:5] == ["admitted", "granted", "associated", "done", "admitted"]
    assert kinds[5:] == ["unwanted", "dissociated", "revoked", "done"]


def test_of_two_leases_the_last_one_to_close_takes_the_grant_down(deployed: Deployment, spoke: Spoke) -> None:
    """Closing one of them changes nothing on the cloud, and says so."""
    first = approval(spoke.uid, next(spoke.vpcs))
    second = {**first, "request_id": request_id()}
    deployed.settled(first)
    deployed.settled(second)

    closed = deployed.settled(revocation(first, [first["request_id"]]))

    assert (closed["event"], closed["reason"]["text"]) == ("done", "closed; other leases keep the grant up")
    assert up(deployed, first, spoke) == (1, 1)
    assert deployed.calls(first, REVOKE) == 0

    last = deployed.settled(revocation(first, [second["request_id"]]))

    assert last["reason"]["text"] == "dissociated and revoked"
    assert up(deployed, first, spoke) == (0, 0)


def test_two_leases_have_the_prefixes_of_both(deployed: Deployment, spoke: Spoke) -> None:
    """A second approval widens the standing association without taking it away; closing it narrows it again."""
    first = approval(spoke.uid, next(spoke.vpcs), allowed_prefixes=["10.20.0.0/16"])
    second = {**first, "request_id": request_id(), "allowed_prefixes": ["10.30.0.0/16"]}
    deployed.settled(first)
    assert deployed.settled(second)["event"] == "done"
    assert deployed.associated(first) == [("ACTIVE", ("10.20.0.0/16", "10.30.0.0/16"))]

    deployed.settled(revocation(first, [first["request_id"]]))

    assert deployed.associated(first) == [("ACTIVE", ("10.30.0.0/16",))]
    assert deployed.calls(first, "CreateExpressConnectRouterAssociation") == 1


def test_a_close_that_comes_before_its_open_is_remembered(deployed: Deployment, spoke: Spoke) -> None:
    """The approval that arrives late is rejected as closed, and nothing is put up."""
    document = approval(spoke.uid, next(spoke.vpcs))
    closed = deployed.settled(revocation(document, [document["request_id"]]))
    assert closed["event"] == "done"

    answer = deployed.settled(document)

    assert (answer["event"], answer["reason"]["code"]) == ("rejected", "Closed")
    assert up(deployed, document, spoke) == (0, 0)
    deployed.quiet()
    assert deployed.calls(document, "GrantInstanceToExpressConnectRouter") == 0


@pytest.mark.parametrize("named", [True, False], ids=["named", "all"])
def test_an_old_approval_redelivered_after_a_revoke_grants_nothing(
    deployed: Deployment, spoke: Spoke, named: bool
) -> None:
    """Closing is final: the same message again, however late, changes nothing."""
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.settled(document)
    deployed.settled(revocation(document, [document["request_id"]] if named else "all"))
    assert up(deployed, document, spoke) == (0, 0)

    deployed.send(document)
    deployed.quiet()

    assert up(deployed, document, spoke) == (0, 0)
    assert deployed.calls(document, "GrantInstanceToExpressConnectRouter") == 1
    deployed.quiet()


def test_all_covers_what_was_approved_before_it_and_is_still_on_its_way(deployed: Deployment, spoke: Spoke) -> None:
    """A lease that was approved earlier and arrives later is dead on arrival."""
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.settled(document)
    deployed.settled(revocation(document, "all", approved_at=now(minutes=10)))
    late = {**document, "request_id": request_id(), "approved_at": now(minutes=30)}
    assert deployed.settled(late)["event"] == "rejected"
    assert up(deployed, document, spoke) == (0, 0)

    fresh = {**document, "request_id": request_id(), "approved_at": now()}
    assert deployed.settled(fresh)["event"] == "done"
    assert deployed.granted(document, spoke) == [(HUB_ECR, HUB)]


def test_revoking_what_nobody_granted_is_done_and_touches_nothing(deployed: Deployment, spoke: Spoke) -> None:
    """The answer says that nothing of ours was up; no write is made."""
    document = approval(spoke.uid, next(spoke.vpcs))
    answer = deployed.settled(revocation(document, "all"))
    assert (answer["event"], answer["reason"]["text"]) == ("done", "closed; nothing of ours was up any more")
    assert deployed.calls(document, REVOKE) == 0


def test_one_issuer_cannot_close_another_issuers_lease(deployed: Deployment, spoke: Spoke) -> None:
    """A lease is named by its issuer too."""
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.settled(document)
    answer = deployed.settled(revocation(document, [document["request_id"]], issuer="tickets"))
    nothing = "nothing by that name was open on this grant, and the close stands for when it comes"
    assert (answer["event"], answer["reason"]["text"]) == ("done", f"{nothing}; other leases keep the grant up")
    assert up(deployed, document, spoke) == (1, 1)
