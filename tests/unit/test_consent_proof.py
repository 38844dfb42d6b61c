"""Whether a lease of the desk is still what people agreed to, by the facts of its request alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.messages.approval import GrantApproval, Instance
from shared.messages.consent import (
    AnyFact,
    Decided,
)
from shared.messages.forms import InstanceType
from shared.rules.consent import (
    approval_of,
    fold,
)
from shared.rules.facts import Side
from shared.rules.leases import Lease
from shared.rules.proving import unsaid, words_of
from tests.unit.consenting import (
    APPROVED,
    CLOSING,
    HOUR,
    ROUND_2,
    START,
    asked,
    looked,
    said,
    wish,
    withdrawn,
)
from tests.unit.issuing import B


def proof(*words_: Decided) -> str:
    """What the grant function keeps beside a lease: the words it rests on."""
    return json.dumps({"desk": {"words": words_of(words_)}})


def lease(approval: GrantApproval, **changes: Any) -> Lease:
    """The row that admission makes of an approval."""
    row = Lease(
        approval_id="a",
        issuer=approval.issuer,
        request_id=approval.request_id,
        digest=approval.digest,
        approved_at=millis(approval.approved_at),
        ends_at=None if approval.ends_at is None else millis(approval.ends_at),
        on_end=approval.on_end,
        allowed_prefixes=tuple(approval.allowed_prefixes),
        admitted_at=0,
    )
    return replace(row, **changes)


def millis(at: datetime) -> int:
    """Epoch milliseconds."""
    return round(at.timestamp() * 1000)


AGREED = said("own-b")
BEGUN: list[AnyFact] = [asked(), looked(), AGREED, said("own-b2", at=START + HOUR / 2)]
APPROVAL = approval_of(fold(BEGUN), [AGREED])
assert isinstance(APPROVAL, GrantApproval)
LEASE = lease(APPROVAL)
ADMITTED: list[AnyFact] = [*BEGUN, APPROVED.model_copy(update={"approval": APPROVAL.digest})]
UNTIL = millis(START + 5 * HOUR)


def test_what_people_agreed_to_is_proven() -> None:
    """By the words that it was admitted for; others that were said beside them, or later, are none of it."""
    grant = wish().grant
    assert unsaid(LEASE, grant, proof(AGREED), ADMITTED, until=UNTIL) is None
    later = [*ADMITTED, said("own-b", agrees=False, at=START + 6 * HOUR), withdrawn(START + 6 * HOUR)]
    assert unsaid(LEASE, grant, proof(AGREED), later, until=UNTIL) is None


UNPROVEN: dict[str, tuple[Lease, str, list[AnyFact], str]] = {
    "no proof": (LEASE, "", ADMITTED, "it does not name the words"),
    "a proof of something else": (LEASE, '{"payload": "e30"}', ADMITTED, "it does not name the words"),
    "nothing was said": (LEASE, proof(AGREED), [], "nothing that people said amounted to it"),
    "nothing amounted to it": (LEASE, proof(AGREED), BEGUN, "nothing that people said amounted to it"),
    "facts without their beginning": (LEASE, proof(AGREED), ADMITTED[2:], "begin with decided"),
    "a word that nobody said": (LEASE, proof(said("own-a", Side.ASSOCIATE)), ADMITTED, "never said so, or unsaid it"),
    "a word for another side": (LEASE, proof(said("own-b", Side.ASSOCIATE)), ADMITTED, "never said so, or unsaid it"),
    "a word of an earlier round": (
        LEASE,
        proof(AGREED),
        [*BEGUN, looked(ROUND_2), ADMITTED[-1]],
        "never said so, or unsaid it",
    ),
    "another word than it was admitted for": (LEASE, proof(BEGUN[3]), ADMITTED, "another digest and approved_at"),  # type: ignore[arg-type]  # a word
    "a longer end": (replace(LEASE, ends_at=None), proof(AGREED), ADMITTED, "another ends_at than people agreed to"),
    "another prefix": (
        replace(LEASE, allowed_prefixes=("10.0.0.0/8",)),
        proof(AGREED),
        ADMITTED,
        "another allowed_prefixes than people agreed to",
    ),
    "an end that cannot be": (
        LEASE,
        proof(AGREED),
        [asked(ends_at=START), *ADMITTED[1:]],
        "ends_at: must be later than approved_at",
    ),
    "a revoke": (LEASE, proof(AGREED), [asked(**CLOSING), *ADMITTED[1:]], "a revoke was asked for"),
}


@pytest.mark.parametrize("how", UNPROVEN)
def test_what_nobody_agreed_to_is_not(how: str) -> None:
    """Each with its reason."""
    row, kept, facts, why = UNPROVEN[how]
    found = unsaid(row, wish().grant, kept, facts, until=UNTIL)
    assert found is not None
    assert why in found


def test_another_grant_is_not_proven_by_it() -> None:
    """Nor is what is dated ahead, yet."""
    other = wish(instance=Instance(type=InstanceType.VPC, id="vpc-2", region="cn-hangzhou", owner_uid=B)).grant
    assert (
        unsaid(LEASE, other, proof(AGREED), ADMITTED, until=UNTIL)
        == "the ledger has another grant than people agreed to"
    )
    ahead = unsaid(LEASE, wish().grant, proof(AGREED), ADMITTED, until=millis(START))
    assert ahead is not None
    assert "has no effect yet" in ahead
