"""Snapshots, as plain functions: what is bound by a decision, and how a change of it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.messages.consent import RequestKind
from shared.rules.looked import Asked, EcrSeen, InstanceSeen, Own, RoleSeen, World
from shared.rules.shown import content, differences, digest, snapshot, unseen
from tests.unit.looks import BLIND, NOW, REGION, SEEN, VBR_KEY, A, B, C, asking, grants, seen

ALSO = asking(prefixes=("10.20.1.0/24",), ends_at=NOW, also=(("reason", "a new link"),))


@pytest.mark.parametrize(
    "looked",
    [
        pytest.param(seen(instance_status="Pending"), id="the instance's status"),
        pytest.param(seen(ecr_status="UPDATING", ecr_business="FinancialLocked"), id="the router's status"),
        pytest.param(seen(grants=grants(), use_neighbours=(), use_whole=False, regions=BLIND), id="what others do"),
        pytest.param(seen(own=Own(NOW + 1, ahead=9)), id="what this deployment knows"),
        pytest.param(seen(role_a=BLIND, role_b=RoleSeen(None, ("x",))), id="the roles"),
        pytest.param(seen(instance_cidrs=("10.20.0.0/16", "10.20.0.0/16")), id="the same range twice"),
    ],
)
def test_nothing_volatile_is_in_a_snapshot(looked: World) -> None:
    """It comes and goes while people decide."""
    assert snapshot(ALSO, looked) == snapshot(ALSO, SEEN)


@pytest.mark.parametrize(
    ("asked", "looked", "said"),
    [
        pytest.param(
            ALSO, seen(instance_cidrs=("10.20.0.0/16", "10.9.0.0/16")), "10.9.0.0/16, 10.20.0.0/16", id="ranges"
        ),
        pytest.param(ALSO, seen(instance=InstanceSeen(C, REGION)), f"owner, before: {B}; now: {C}", id="owner"),
        pytest.param(
            ALSO,
            seen(instance=InstanceSeen(B, "cn-beijing")),
            "region, before: cn-hangzhou; now: cn-beijing",
            id="region",
        ),
        pytest.param(ALSO, seen(instance=InstanceSeen(None, None)), f"owner, before: {B}; now: none", id="deleted"),
        pytest.param(ALSO, seen(ecr=EcrSeen(None)), f"router's owner, before: {A}; now: none", id="router deleted"),
        pytest.param(ALSO, seen(ecr_asn=64512), "ASN, before: 45104; now: 64512", id="router's ASN"),
        pytest.param(ALSO, seen(instance=BLIND), "ranges, before: 10.20.0.0/16; now: not seen", id="not seen any more"),
        pytest.param(ALSO, seen(ecr=BLIND), "now: not seen", id="router not seen any more"),
        pytest.param(ALSO, seen(instance_asns=(45104,)), "BGP groups, before: none; now: 45104", id="a BGP group"),
        pytest.param(
            ALSO, seen(instance_asns=BLIND), "BGP groups, before: none; now: not seen", id="BGP groups not seen"
        ),
        pytest.param(
            replace(ALSO, prefixes=()), SEEN, "asked prefixes, before: 10.20.1.0/24; now: none", id="prefixes"
        ),
        pytest.param(replace(ALSO, ends_at=None), SEEN, f"end that is asked for, before: {NOW}; now: none", id="end"),
        pytest.param(replace(ALSO, also=(("reason", "y"),)), SEEN, "reason, before: a new link; now: y", id="reason"),
        pytest.param(replace(ALSO, also=()), SEEN, "reason, before: a new link; now: none", id="no reason"),
        pytest.param(replace(ALSO, kind=RequestKind.REVOKE), SEEN, "before: grant; now: revoke", id="kind"),
        pytest.param(replace(ALSO, key=VBR_KEY), SEEN, "before: vpc-1; now: vbr-1", id="instance"),
    ],
)
def test_what_lasts_changes_the_snapshot_and_is_told(asked: Asked, looked: World, said: str) -> None:
    """In words, from the two contents that were kept."""
    before, now = content(ALSO, SEEN), content(asked, looked)
    assert snapshot(asked, looked) == digest(now) != digest(before) == snapshot(ALSO, SEEN)
    assert any(said in line for line in differences(json.loads(before), json.loads(now))), differences(
        json.loads(before), json.loads(now)
    )
    assert differences(json.loads(before), json.loads(before)) == ()


def test_a_content_is_canonical_json() -> None:
    """Whoever recomputes the hash gets the same bytes."""
    kept = content(ALSO, SEEN)
    assert json.dumps(json.loads(kept), sort_keys=True, separators=(",", ":")) == kept
    assert kept.isascii()
    assert content(replace(ALSO, also=(("reason", "原因"),)), SEEN).isascii()


def test_what_was_not_seen_is_named() -> None:
    """A comparison proves nothing about it: whoever compares looks again first."""
    assert unseen(content(ALSO, SEEN)) == ()
    assert unseen(content(ALSO, seen(ecr=BLIND))) == ("the router's ASN", "the router's owner")
