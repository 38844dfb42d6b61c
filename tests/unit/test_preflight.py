"""The checks that people decide by, as plain functions: what was seen goes in, a result with a sentence comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.messages.consent import RequestKind
from shared.messages.forms import InstanceType
from shared.rules.checked import (
    NAMES_OTHERS,
    OF_ACCOUNT_A,
    Checked,
    CheckResult,
    PreflightCheck,
    Report,
    may_be_told,
)
from shared.rules.looked import (
    Asked,
    EcrSeen,
    GranterSeen,
    GrantSeen,
    InstanceSeen,
    Limits,
    NeighbourSeen,
    RoleSeen,
    RouteSource,
    World,
)
from shared.rules.preflight import preflight
from tests.unit.looks import (
    BLIND,
    ECR,
    NEIGHBOUR,
    NOW,
    REGION,
    SEEN,
    VBR_ASKED,
    VPC_ASKED,
    VPC_KEY,
    A,
    B,
    C,
    asking,
    grants,
    seen,
)

PASS, FAIL, UNKNOWN = CheckResult
K = PreflightCheck


def result(check: PreflightCheck, asked: Asked, looked: World) -> Checked:
    """One check of a report."""
    return next(each for each in preflight(asked, looked).checks if each.check is check)


def near(**changes: Any) -> tuple[NeighbourSeen, ...]:
    """The neighbour, changed."""
    return (replace(NEIGHBOUR, **changes),)


VBR = InstanceType.VBR
MINE = NeighbourSeen("VPC", "vpc-1", REGION, B, "ACTIVE")
THEIRS = GrantSeen("ecr-another1", None)
CASES: list[Any] = [
    # roles
    pytest.param(K.ROLE_A, VPC_ASKED, seen(role_a=BLIND), UNKNOWN, "not seen", id="STS is in trouble"),
    pytest.param(K.ROLE_A, VPC_ASKED, seen(role_a=RoleSeen("NoPermission")), FAIL, "NoPermission", id="A refuses"),
    pytest.param(K.ROLE_B, VPC_ASKED, seen(role_b=RoleSeen("NoPermission")), FAIL, f"account {B}", id="B refuses"),
    pytest.param(
        K.ROLE_B, VPC_ASKED, seen(role_b=RoleSeen(None, ("x is missing",))), FAIL, "x is missing", id="B lacks a read"
    ),
    # the instance
    pytest.param(
        K.INSTANCE_EXISTS, VPC_ASKED, seen(instance=BLIND), UNKNOWN, "no usable answer", id="existence not seen"
    ),
    pytest.param(
        K.INSTANCE_EXISTS,
        VPC_ASKED,
        seen(instance=InstanceSeen(None, None)),
        FAIL,
        "has no VPC vpc-1",
        id="no such VPC",
    ),
    pytest.param(K.INSTANCE_OWNER, VPC_ASKED, seen(instance=BLIND), UNKNOWN, "not seen", id="owner not seen"),
    pytest.param(
        K.INSTANCE_OWNER,
        VPC_ASKED,
        seen(instance=InstanceSeen(None, None)),
        UNKNOWN,
        "not found",
        id="owner of nothing",
    ),
    pytest.param(
        K.INSTANCE_OWNER,
        VPC_ASKED,
        seen(instance=InstanceSeen(C, REGION)),
        FAIL,
        f"account {C}'s",
        id="somebody else's",
    ),
    pytest.param(K.INSTANCE_REGION, VPC_ASKED, seen(instance=BLIND), UNKNOWN, "not seen", id="region not seen"),
    pytest.param(
        K.INSTANCE_REGION,
        VPC_ASKED,
        seen(instance=InstanceSeen(None, None)),
        UNKNOWN,
        "not found",
        id="place of nothing",
    ),
    pytest.param(
        K.INSTANCE_REGION, VPC_ASKED, seen(instance=InstanceSeen(B, "cn-beijing")), FAIL, "cn-beijing", id="elsewhere"
    ),
    pytest.param(
        K.INSTANCE_USABLE,
        VPC_ASKED,
        seen(instance=InstanceSeen(B, "cn-beijing")),
        UNKNOWN,
        "asked for",
        id="status elsewhere",
    ),
    pytest.param(K.INSTANCE_USABLE, VPC_ASKED, seen(instance_status=None), UNKNOWN, "no status", id="no status shown"),
    pytest.param(K.INSTANCE_USABLE, VPC_ASKED, seen(instance_status="Pending"), FAIL, "Pending", id="VPC pending"),
    pytest.param(
        K.INSTANCE_USABLE, VBR_ASKED, seen(VBR, instance_status="terminated"), FAIL, "terminated", id="VBR terminated"
    ),
    # the router
    pytest.param(K.ECR_EXISTS, VPC_ASKED, seen(ecr=BLIND), UNKNOWN, "not seen", id="router not seen"),
    pytest.param(
        K.ECR_EXISTS, VPC_ASKED, seen(ecr=BLIND, own_ecrs=frozenset()), FAIL, "lists no router", id="router not listed"
    ),
    pytest.param(K.ECR_EXISTS, VPC_ASKED, seen(ecr=EcrSeen(None)), FAIL, "Neither account", id="no such router"),
    pytest.param(K.ECR_OWNER, VPC_ASKED, seen(ecr=BLIND), UNKNOWN, "not seen", id="router's owner not seen"),
    pytest.param(K.ECR_OWNER, VPC_ASKED, seen(ecr=EcrSeen(None)), UNKNOWN, "not found", id="owner of no router"),
    pytest.param(K.ECR_OWNER, VPC_ASKED, seen(ecr=EcrSeen(C)), FAIL, f"account {C}'s", id="another's router"),
    pytest.param(K.ECR_REGION, VPC_ASKED, seen(regions=BLIND), UNKNOWN, "not seen", id="regions not seen"),
    pytest.param(
        K.ECR_REGION, VPC_ASKED, seen(regions=("cn-beijing",)), FAIL, "reaches no VPC", id="region not reached"
    ),
    pytest.param(K.ECR_USABLE, VPC_ASKED, seen(ecr=BLIND), UNKNOWN, "not seen", id="router's status not seen"),
    pytest.param(
        K.ECR_USABLE, VPC_ASKED, seen(ecr=EcrSeen(C)), UNKNOWN, "not found where", id="status of another's router"
    ),
    pytest.param(
        K.ECR_USABLE, VPC_ASKED, seen(ecr_business="FinancialLocked"), FAIL, "FinancialLocked", id="in arrears"
    ),
    pytest.param(K.ECR_USABLE, VPC_ASKED, seen(ecr_business=None), PASS, "ACTIVE", id="no business status shown"),
    pytest.param(K.ECR_USABLE, VPC_ASKED, seen(ecr_status=None), UNKNOWN, "no status", id="router without a status"),
    pytest.param(K.ECR_USABLE, VPC_ASKED, seen(ecr_status="Updating"), PASS, "passes by itself", id="router busy"),
    pytest.param(
        K.ECR_USABLE, VPC_ASKED, seen(ecr_status="LOCKED_ATTACHING"), FAIL, "LOCKED_ATTACHING", id="router locked"
    ),
    # what stands
    pytest.param(K.GRANTED, VPC_ASKED, seen(grants=BLIND), UNKNOWN, "not seen", id="grants not seen"),
    pytest.param(K.GRANTED, VPC_ASKED, seen(grants=grants()), FAIL, "not by us", id="granted by somebody"),
    pytest.param(
        K.GRANTED, VPC_ASKED, seen(grants=grants(owner=C)), PASS, "not granted", id="granted to one of that name"
    ),
    pytest.param(
        K.GRANTED, VPC_ASKED, seen(grants=grants(), own_grant_ours=True), PASS, "one more", id="granted by us"
    ),
    pytest.param(
        K.GRANTED, VPC_ASKED, seen(grants=grants(), own_grant_ours=None), UNKNOWN, "not asked", id="whose, nobody asked"
    ),
    pytest.param(
        K.GRANTED,
        asking(kind=RequestKind.REVOKE),
        seen(grants=grants()),
        PASS,
        "is granted to",
        id="a revoke of a grant",
    ),
    pytest.param(K.ASSOCIATED, VPC_ASKED, seen(use=BLIND), UNKNOWN, "not seen", id="associations not seen"),
    pytest.param(
        K.ASSOCIATED, VPC_ASKED, seen(use_neighbours=(MINE,)), FAIL, "not by us", id="account A shows it associated"
    ),
    pytest.param(
        K.ASSOCIATED,
        VPC_ASKED,
        seen(use=BLIND, instance_routers=grants()),
        FAIL,
        "not by us",
        id="account B shows it associated",
    ),
    pytest.param(
        K.ASSOCIATED,
        VPC_ASKED,
        seen(use_whole=False, instance=BLIND),
        UNKNOWN,
        "More is on",
        id="neither shows all there is",
    ),
    pytest.param(K.ASSOCIATED, VPC_ASKED, seen(use_whole=False), PASS, "not associated", id="B would show it"),
    pytest.param(K.ELSEWHERE, VPC_ASKED, seen(instance=BLIND), UNKNOWN, "not seen", id="other routers not seen"),
    pytest.param(
        K.ELSEWHERE, VPC_ASKED, seen(instance_routers=(THEIRS,)), FAIL, "ecr-another1", id="on another router"
    ),
    pytest.param(K.ELSEWHERE, VPC_ASKED, seen(instance_routers=grants()), PASS, "granted to none", id="on this router"),
    pytest.param(K.ELSEWHERE, VPC_ASKED, seen(grants=BLIND), UNKNOWN, "not seen", id="other grants not seen"),
    pytest.param(
        K.ELSEWHERE, VPC_ASKED, seen(grants=grants("ecr-another1")), FAIL, "does not list", id="granted to a stranger"
    ),
    pytest.param(
        K.ELSEWHERE,
        VPC_ASKED,
        seen(grants=grants("ecr-another1"), own_ecrs=frozenset({ECR, "ecr-another1"})),
        PASS,
        "granted to ecr-another1 too",
        id="granted to another of ours",
    ),
    # routes
    pytest.param(K.ROUTE_SOURCE, VPC_ASKED, seen(instance=BLIND), UNKNOWN, "not seen", id="sources not seen"),
    pytest.param(
        K.ROUTE_SOURCE,
        VPC_ASKED,
        seen(instance_sources=(RouteSource("TR", "tr-1", True),)),
        FAIL,
        "TR tr-1",
        id="a transit router",
    ),
    pytest.param(
        K.ROUTE_SOURCE,
        VPC_ASKED,
        seen(instance_sources=(RouteSource("TR", "tr-1", None),)),
        UNKNOWN,
        "TR tr-1",
        id="perhaps one",
    ),
    pytest.param(
        K.ROUTE_SOURCE,
        VPC_ASKED,
        seen(instance_sources=(RouteSource("VPN", "v-1", True),)),
        UNKNOWN,
        "VPN v-1",
        id="a VPN",
    ),
    pytest.param(
        K.ROUTE_SOURCE,
        VPC_ASKED,
        seen(instance_sources=(RouteSource("TR", "tr-1", False),)),
        PASS,
        "nothing but",
        id="not learning",
    ),
    pytest.param(
        K.ROUTE_SOURCE,
        VPC_ASKED,
        seen(instance_sources=(RouteSource("ECR", ECR, True),)),
        PASS,
        "nothing but",
        id="an ECR",
    ),
    pytest.param(K.OVERLAP, VPC_ASKED, seen(instance=BLIND), UNKNOWN, "not seen", id="ranges not seen"),
    pytest.param(K.OVERLAP, VPC_ASKED, seen(use=BLIND), UNKNOWN, "not seen", id="neighbours not seen"),
    pytest.param(
        K.OVERLAP, VPC_ASKED, seen(instance_cidrs=("fd00::/8",)), UNKNOWN, "no address range", id="no IPv4 range shown"
    ),
    pytest.param(
        K.OVERLAP,
        VPC_ASKED,
        seen(use_neighbours=near(cidrs=("10.0.0.0/8",))),
        FAIL,
        f"VPC vpc-9, account {C}",
        id="a wider neighbour",
    ),
    pytest.param(
        K.OVERLAP,
        VPC_ASKED,
        seen(use_neighbours=near(prefixes=("10.20.3.0/24",))),
        FAIL,
        "10.20.3.0/24",
        id="a neighbour's prefix",
    ),
    pytest.param(
        K.OVERLAP,
        VPC_ASKED,
        seen(use_neighbours=near(cidrs=None)),
        UNKNOWN,
        "vpc-9",
        id="a neighbour's ranges not seen",
    ),
    pytest.param(
        K.OVERLAP,
        VPC_ASKED,
        seen(use_neighbours=tuple(replace(NEIGHBOUR, name=f"vpc-{one}", cidrs=None) for one in range(2, 9))),
        UNKNOWN,
        "vpc-6 and others",
        id="many neighbours' ranges not seen",
    ),
    pytest.param(
        K.OVERLAP,
        VPC_ASKED,
        seen(use_neighbours=near(cidrs=None, prefixes=("10.40.0.0/16",))),
        PASS,
        "none of the 1",
        id="prefixes do",
    ),
    pytest.param(K.OVERLAP, VPC_ASKED, seen(use_whole=False), UNKNOWN, "not read any more", id="more than was read"),
    pytest.param(
        K.OVERLAP,
        VPC_ASKED,
        seen(use_neighbours=near(name="vpc-1", cidrs=("10.20.0.0/16",))),
        PASS,
        "the 0 networks",
        id="itself",
    ),
    pytest.param(
        K.OVERLAP, VPC_ASKED, seen(use_neighbours=near(kind="VBR", cidrs=None)), PASS, "the 0 networks", id="a VBR"
    ),
    pytest.param(K.PREFIXES, VPC_ASKED, seen(instance=BLIND), PASS, "all that the VPC has", id="no prefixes"),
    pytest.param(K.PREFIXES, asking(prefixes=("10.20.1.0/24",)), SEEN, PASS, "inside", id="inside"),
    pytest.param(
        K.PREFIXES, asking(prefixes=("10.20.1.0/24",)), seen(instance=BLIND), UNKNOWN, "not seen", id="outside of what"
    ),
    pytest.param(
        K.PREFIXES, asking(prefixes=("10.20.1.0/24",)), seen(instance_cidrs=()), UNKNOWN, "no address", id="of no range"
    ),
    pytest.param(K.PREFIXES, asking(prefixes=("10.20.0.0/15",)), SEEN, FAIL, "10.20.0.0/15 is outside", id="wider"),
    pytest.param(K.PREFIXES, asking(prefixes=("nonsense",)), SEEN, FAIL, "nonsense is outside", id="no prefix"),
    pytest.param(
        K.PREFIXES,
        asking(prefixes=("10.20.0.0/15",)),
        seen(instance_cidrs=("10.20.0.0/16", "10.21.0.0/16")),
        PASS,
        "inside",
        id="over two ranges side by side",
    ),
    # virtual border routers
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR, instance=BLIND), UNKNOWN, "not seen", id="VBR not seen"),
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR, instance_asns=BLIND), UNKNOWN, "not seen", id="BGP groups not seen"),
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR, ecr=BLIND), UNKNOWN, f"ASN of {ECR}", id="the router's ASN not seen"),
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR, ecr_asn=None), UNKNOWN, "not shown", id="the router's ASN not shown"),
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR, instance_asns=(45104, 64999)), FAIL, "64999", id="another ASN"),
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR, instance_asns=()), PASS, "no BGP group yet", id="no BGP group"),
    pytest.param(K.VBR_ASN, VBR_ASKED, seen(VBR), PASS, "45104", id="the same ASN"),
    pytest.param(K.VBR_MP_BGP, VBR_ASKED, seen(VBR, instance=BLIND), UNKNOWN, "not seen", id="MP-BGP of nothing seen"),
    pytest.param(K.VBR_MP_BGP, VBR_ASKED, seen(VBR), UNKNOWN, "no documented call", id="MP-BGP is not shown"),
    pytest.param(
        K.VBR_MP_BGP,
        VBR_ASKED,
        seen(VBR, instance_routers=grants()),
        PASS,
        "supports MP-BGP",
        id="MP-BGP has been used",
    ),
    # across accounts
    pytest.param(
        K.CROSS_ACCOUNT,
        replace(VPC_ASKED, key=replace(VPC_KEY, instance_owner_uid=A)),
        SEEN,
        PASS,
        "One account",
        id="one account",
    ),
    pytest.param(K.CROSS_ACCOUNT, VPC_ASKED, seen(use=BLIND), UNKNOWN, "not seen", id="enterprises not seen"),
    pytest.param(K.CROSS_ACCOUNT, VPC_ASKED, SEEN, PASS, "of the enterprise 26842", id="one enterprise"),
    pytest.param(
        K.CROSS_ACCOUNT, VPC_ASKED, seen(use_granted=()), UNKNOWN, "not shown", id="nothing shows the enterprise"
    ),
    pytest.param(
        K.CROSS_ACCOUNT,
        VPC_ASKED,
        seen(use_granted=(GranterSeen("vpc-9", REGION, C, "26842"), GranterSeen("vpc-2", REGION, B, "99999"))),
        FAIL,
        "99999",
        id="two enterprises",
    ),
    pytest.param(
        K.CROSS_ACCOUNT,
        VPC_ASKED,
        seen(
            use_neighbours=near(status="CREATING"),
            use_granted=(GranterSeen("vpc-9", REGION, C, "1"), GranterSeen("vpc-2", REGION, B, "2")),
        ),
        UNKNOWN,
        "not shown",
        id="what does not work yet proves nothing",
    ),
    pytest.param(
        K.CROSS_ACCOUNT, VPC_ASKED, seen(use_neighbours=near(owner=B)), PASS, "is ACTIVE", id="another VPC of B works"
    ),
    pytest.param(K.CROSS_ACCOUNT, VBR_ASKED, seen(VBR), UNKNOWN, "off by default", id="no VBR of B yet"),
    pytest.param(
        K.CROSS_ACCOUNT,
        VBR_ASKED,
        seen(VBR, use_neighbours=near(kind="VBR", owner=B)),
        PASS,
        "is ACTIVE",
        id="another VBR of B works",
    ),
    # quotas and time
    pytest.param(K.QUOTA, asking(prefixes=("10.20.0.0/24",) * 4), SEEN, FAIL, "takes 3", id="too many prefixes"),
    pytest.param(K.QUOTA, VPC_ASKED, seen(use=BLIND), UNKNOWN, "not seen", id="room not seen"),
    pytest.param(
        K.QUOTA, VPC_ASKED, seen(use_neighbours=(MINE,), own_limits=Limits(1)), PASS, "nothing more", id="on it already"
    ),
    pytest.param(K.QUOTA, VPC_ASKED, seen(own_limits=Limits()), UNKNOWN, "does not publish", id="no limit known"),
    pytest.param(K.QUOTA, VBR_ASKED, seen(VBR), UNKNOWN, "0 VBRs", id="VBRs have no known limit"),
    pytest.param(K.QUOTA, VPC_ASKED, seen(own_limits=Limits(1)), FAIL, "takes 1", id="full"),
    pytest.param(K.QUOTA, VPC_ASKED, seen(use_whole=False), UNKNOWN, "or more", id="more than was counted"),
    pytest.param(K.QUOTA, VPC_ASKED, SEEN, PASS, "1 VPCs", id="room left"),
    pytest.param(K.TIME, VPC_ASKED, SEEN, PASS, "up to 330 s", id="half a minute of others ahead"),
    pytest.param(K.TIME, asking(ends_at=NOW + 330_000), SEEN, PASS, "up to 330 s", id="just in time"),
    pytest.param(K.TIME, asking(ends_at=NOW + 329_999), SEEN, FAIL, "its end is in 329 s", id="too late"),
    pytest.param(K.TIME, asking(ends_at=NOW - 5), SEEN, FAIL, "its end is in 0 s", id="past its end"),
    pytest.param(K.TIME, asking(ends_at=NOW, kind=RequestKind.REVOKE), SEEN, PASS, "up to", id="a revoke has no end"),
    pytest.param(K.TIME, VPC_ASKED, seen(own_ahead=None), UNKNOWN, "not counted", id="what waits was not counted"),
]


@pytest.mark.parametrize(("check", "asked", "looked", "expected", "fragment"), CASES)
def test_a_check(check: PreflightCheck, asked: Asked, looked: World, expected: CheckResult, fragment: str) -> None:
    """What was seen decides, and the sentence has the facts."""
    found = result(check, asked, looked)
    assert (found.result, fragment in found.found) == (expected, True), found
    assert found.found.endswith(".")
    assert found.advice or expected is not FAIL


@pytest.mark.parametrize(("asked", "looked"), [(VPC_ASKED, SEEN), (VBR_ASKED, seen(VBR))], ids=["VPC", "VBR"])
def test_a_healthy_world_fails_nothing_and_passes_what_can_be_seen(asked: Asked, looked: World) -> None:
    """The rest is unknown by nature."""
    report = preflight(asked, looked)
    assert report.of(FAIL) == ()
    by_nature = () if asked is VPC_ASKED else (K.VBR_MP_BGP, K.CROSS_ACCOUNT, K.QUOTA)
    assert report.of(UNKNOWN) == by_nature


def test_a_report_has_each_check_that_applies_once_and_in_order() -> None:
    """What is about VPCs is not told of a VBR, nor the other way round."""
    vpc, vbr = ([each.check for each in preflight(asked, SEEN).checks] for asked in (VPC_ASKED, VBR_ASKED))
    assert [check for check in K if check in vpc or check in vbr] == sorted({*vpc, *vbr}, key=list(K).index)
    assert set(vpc) ^ set(vbr) == {K.ROUTE_SOURCE, K.OVERLAP, K.PREFIXES, K.VBR_ASN, K.VBR_MP_BGP}
    assert vpc == sorted(vpc, key=list(K).index)
    assert vbr == sorted(vbr, key=list(K).index)


def test_nothing_seen_makes_everything_unknown_and_nothing_wrong() -> None:
    """Trouble of the platform is no fault of the request."""
    blind = World(BLIND, BLIND, BLIND, BLIND, BLIND, BLIND, BLIND, replace(SEEN.own, limits=Limits(), ahead=None))
    for asked in (VPC_ASKED, VBR_ASKED):
        report = preflight(asked, blind)
        assert report.of(FAIL) == ()
        assert set(report.of(PASS)) <= {K.PREFIXES}


def test_what_is_said_of_account_a_tells_nothing_of_account_b() -> None:
    """Whatever account B shows, these sentences are the same, byte by byte."""
    shown = [
        [each for each in preflight(VPC_ASKED, looked).checks if each.check in OF_ACCOUNT_A]
        for looked in (
            SEEN,
            seen(instance=InstanceSeen(None, None), grants=BLIND, role_b=RoleSeen("no")),
            seen(instance=BLIND),
        )
    ]
    assert shown[0] == shown[1] == shown[2]
    assert not {K.ROLE_B, *(each for each in K if each.startswith("instance"))} & OF_ACCOUNT_A


def test_a_third_account_is_named_only_where_that_is_said() -> None:
    """Account C's names are in no other sentence."""
    looked = seen(ecr=EcrSeen(C), instance=InstanceSeen(C, REGION), use_neighbours=near(owner=C))
    overlapping = seen(use_neighbours=near(cidrs=("10.0.0.0/8",)))
    for each in (*preflight(VPC_ASKED, looked).checks, *preflight(VPC_ASKED, overlapping).checks):
        assert each.check in NAMES_OTHERS or (C not in each.found + each.advice and "vpc-9" not in each.found)


def test_a_report_survives_being_kept_as_json() -> None:
    """It is kept with the request."""
    report = preflight(VPC_ASKED, SEEN)
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(("grant", "associate"), [(True, True), (True, False), (False, True), (False, False)])
def test_who_is_told_what(*, grant: bool, associate: bool) -> None:
    """Everything to whoever sees both accounts; results to whoever sees one; of account B nothing to whoever sees neither."""
    checks = [{"check": one, "result": "fail", "found": f"secret {one}"} for one in PreflightCheck]
    told, whole = may_be_told(checks, grant=grant, associate=associate)
    assert whole == (grant and associate)
    assert {one["check"] for one in told} == set(PreflightCheck if grant or associate else OF_ACCOUNT_A)
    for one in told:
        assert one["found"].startswith("secret") == (whole or one["check"] not in NAMES_OTHERS)
