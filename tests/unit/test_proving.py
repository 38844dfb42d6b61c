"""Nothing is made for a lease unless its seal says what the ledger says: who can write to the database approves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.messages.approval import GrantApproval, OnEnd
from shared.messages.configuration import KeyState
from shared.messages.forms import GrantKey
from shared.rules.leases import Lease
from shared.rules.proving import unproven
from tests.seals import APPROVAL, DEPLOYMENT, KEYS, NOW, REVOKE, compact, parts
from tests.unit.conftest import MakeApproval

HOUR = 3_600_000
APPROVED = "2026-11-20T08:00:00.123Z"
ENDING = {"approved_at": APPROVED, "ends_at": "2026-12-20T08:00:00.456Z", "on_end": "teardown"}


def millis(text: str) -> int:
    """A moment as the ledger has it."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def kept(approval: GrantApproval) -> Lease:
    """The lease that admission keeps of an approval."""
    ends_at = None if approval.ends_at is None else millis(approval.ends_at.isoformat())
    return Lease(
        approval_id="a",
        issuer=approval.issuer,
        request_id=approval.request_id,
        digest=approval.digest,
        approved_at=millis(approval.approved_at.isoformat()),
        ends_at=ends_at,
        on_end=approval.on_end,
        allowed_prefixes=tuple(approval.allowed_prefixes),
        admitted_at=NOW,
    )


def sealed(content: dict[str, Any] = APPROVAL, **header: Any) -> str:
    """A seal as the ledger keeps it."""
    return compact(parts(content, **header).form()).decode()


def proved(lease: Lease, grant: GrantKey, seal: str, *, deployment: str = DEPLOYMENT, until: int = NOW) -> str | None:
    """What is found against a lease."""
    return unproven(lease, grant, seal, KEYS, deployment=deployment, until=until)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="without an end"),
        pytest.param(ENDING, id="with an end, to the millisecond"),
        pytest.param({"allowed_prefixes": ["10.20.0.0/16", "10.3.0.0/16"]}, id="with two prefixes"),
    ],
)
def test_what_was_sealed_is_proved(approve: MakeApproval, changes: dict[str, Any]) -> None:
    """Everything the ledger says of it is what its seal says."""
    approval = approve(**changes)
    assert proved(kept(approval), approval.grant, sealed(APPROVAL | changes)) is None


def test_what_a_retired_key_sealed_stands(approve: MakeApproval) -> None:
    """A lease is not taken down because its issuer has a new key."""
    assert KEYS["self-service-0"].state is KeyState.RETIRED
    approval = approve()
    assert proved(kept(approval), approval.grant, sealed(kid="self-service-0")) is None


@pytest.mark.parametrize(
    ("seal", "told"),
    [
        pytest.param("", "it was never sealed", id="none"),
        pytest.param("{}", "payload: is missing", id="nothing in it"),
        pytest.param(sealed(REVOKE), "a revoke was sealed", id="of a revoke"),
        pytest.param(
            sealed(kid="self-service-x"),
            "the key self-service-x of self-service is compromised: have it sealed with another",
            id="of a key that somebody else may have",
        ),
        pytest.param(sealed(kid="nobody"), "the key nobody belongs to no issuer that is listed", id="of nobody's key"),
        pytest.param(
            sealed(aud="other"),
            f"it is sealed for the deployment other, this is {DEPLOYMENT}",
            id="for another deployment",
        ),
        pytest.param(
            sealed(private="change-desk-1"),
            "the seal is not that of key self-service-1, or was altered",
            id="forged",
        ),
    ],
)
def test_a_seal_that_proves_nothing(approve: MakeApproval, seal: str, told: str) -> None:
    """It is said why, for whoever has to have it sealed again."""
    approval = approve()
    found = proved(kept(approval), approval.grant, seal)
    assert found is not None
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"issuer": "change-desk"}, "issuer", id="whose it is"),
        pytest.param({"request_id": "REQ-2"}, "request_id", id="which request"),
        pytest.param({"digest": "0" * 64}, "digest", id="what was approved"),
        pytest.param({"approved_at": millis(APPROVED) - 1}, "approved_at", id="from when"),
        pytest.param({"ends_at": millis(ENDING["ends_at"]) + 1}, "ends_at", id="until when"),
        pytest.param({"ends_at": None}, "ends_at", id="that it ends"),
        pytest.param({"on_end": OnEnd.REPORT}, "on_end", id="what its end does"),
        pytest.param({"allowed_prefixes": ("0.0.0.0/0",)}, "allowed_prefixes", id="what is routed"),
        pytest.param(
            {"ends_at": None, "allowed_prefixes": ()}, "ends_at and allowed_prefixes", id="two at once: both are told"
        ),
    ],
)
def test_what_the_ledger_says_otherwise_than_was_sealed(
    approve: MakeApproval, changes: dict[str, Any], told: str
) -> None:
    """Each fact that anything is made from is held against the seal, and named."""
    approval = approve(**ENDING)
    found = proved(replace(kept(approval), **changes), approval.grant, sealed(APPROVAL | ENDING))
    assert found == f"the ledger has another {told} than was sealed"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ecr_id": "ecr-another00"}, id="another router"),
        pytest.param({"ecr_owner_uid": "1000000000000009"}, id="another account A"),
        pytest.param({"instance_id": "vpc-2"}, id="another instance"),
        pytest.param({"instance_region": "cn-beijing"}, id="another region"),
        pytest.param({"instance_owner_uid": "2000000000000009"}, id="another account B"),
    ],
)
def test_a_seal_proves_nothing_of_another_grant(approve: MakeApproval, changes: dict[str, Any]) -> None:
    """A lease that was moved in the ledger opens nothing elsewhere."""
    approval = approve()
    found = proved(kept(approval), replace(approval.grant, **changes), sealed())
    assert found == "the ledger has another grant than was sealed"


def test_what_is_dated_ahead_has_no_effect_yet(approve: MakeApproval) -> None:
    """Up to what is believed of clocks, to the millisecond."""
    approval = approve()
    lease = kept(approval)
    assert proved(lease, approval.grant, sealed(), until=lease.approved_at) is None
    found = proved(lease, approval.grant, sealed(), until=lease.approved_at - 1)
    assert found == "it is dated 2026-11-20T08:00:00+00:00, and has no effect yet"
