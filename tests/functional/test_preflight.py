"""Preflight before a local cloud: each fault is told by the check that is about it, and a healthy world fails none.

The accounts are entered with a session of preflight's own role, narrowed to its reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from alibabacloud_sts20150401.models import AssumeRoleRequest
from Tea.exceptions import TeaException

from localcloud.worldfile import REGIONS
from shared.cloud.calls import Calls, Trail
from shared.cloud.keys import Keys
from shared.cloud.spoke import Spoke as SpokeCloud
from shared.cloud.survey import LOOK_ONLY, Survey
from shared.errors import LedgerError, PermissionMissing
from shared.loop.preflight import SECONDS, Preflight
from shared.messages.forms import GrantKey
from shared.rules.checked import CheckResult, PreflightCheck, Report
from shared.rules.looked import EcrSeen, InstanceSeen, Unread
from shared.rules.looked import World as Seen
from shared.rules.preflight import preflight
from shared.rules.shown import content, differences, digest, snapshot, unseen
from shared.settings import Settings
from tests.configured import CONFIG_KEYS_TEXT
from tests.functional.preflight_faults import generated
from tests.functional.preflight_worlds import KINDS, NOT_REACHED, VPC, World, healthy, sound
from tests.functional.world import HUB, PREFLIGHT_FUNCTION, REGION, Key, Stage
from tests.localcloud.harness import Key as HarnessKey
from tests.localcloud.harness import LocalCloud

RUNNER = Key("LTAI-example-runner", "example-secret-of-the-runner")
MOST_CALLS = 12


@dataclass
class House:
    """A local cloud with all worlds in it."""

    cloud: LocalCloud
    faulty: list[World]
    sound: list[World]
    loose: Iterator[World]
    keys: Keys

    def calls(self, world: World, policy: str | None = LOOK_ONLY) -> Calls:
        """Calls with a session of preflight's role."""
        endpoints = {f"{name}_ENDPOINT": self.cloud.url for name in ("MNS", "STS", "VPC", "ECR")}
        settings = Settings.model_validate(
            {"FC_REGION": REGION, "LEDGER_URL": "sqlite://", "CONFIG_KEYS": CONFIG_KEYS_TEXT, **endpoints}
        )
        return Calls(settings, lambda: world.inventory, self.keys, session_policy=policy)

    def look(self, world: World, accounts: Survey | None = None, seconds: float = SECONDS) -> Seen:
        """One look at a world."""
        looker = Preflight(accounts or Survey(self.calls(world)), world.inventory, seconds=seconds)
        return looker.look(world.asked, world.looking)


@dataclass(frozen=True)
class Told:
    """What people would be told of a world, and how many calls it took."""

    world: World
    report: Report
    calls: int


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One local cloud for all; what administrators prepare is done."""
    stage = Stage()
    faulty, good = list(generated(stage)), list(sound(stage))
    loose = [healthy(stage, kind, f"{kind}: loose") for _ in range(4) for kind in KINDS]
    stage.file["quotas"] = {
        "sts:AssumeRole": None
    }  # each look has calls of its own, whose pace knows nothing of the others
    stage.file["ecr_regions"] = sorted(REGIONS - {NOT_REACHED})
    arn = f"acs:ram::{HUB}:role/{PREFLIGHT_FUNCTION}"
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [arn]}]}
    stage.hub["users"]["runner"] = {"access_key": {"id": RUNNER.id, "secret": RUNNER.secret}, "policies": {"a": policy}}
    principal = {"RAM": [f"acs:ram::{HUB}:user/runner"]}
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    stage.role(HUB, PREFLIGHT_FUNCTION)["trust"]["Statement"].append(trusted)
    cloud = LocalCloud(stage.file).start()
    try:
        for world in (*faulty, *good):
            world.prepare(cloud)
        request = AssumeRoleRequest(role_arn=arn, role_session_name="preflight-tests")
        given = cloud.sts(HarnessKey(RUNNER.id, RUNNER.secret)).assume_role(request).body.credentials
        keys = Keys(given.access_key_id, given.access_key_secret, given.security_token)
        yield House(cloud, faulty, good, iter(loose), keys)
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def told(house: House) -> list[Told]:
    """Every world is looked at once."""
    found = []
    for world in (*house.faulty, *house.sound):
        calls = house.calls(world)
        report = preflight(world.asked, house.look(world, Survey(calls)))
        found.append(Told(world, report, calls.made))
    return found


def test_every_fault_is_told_by_the_check_that_is_about_it(
    told: list[Told], record_property: Callable[[str, object], None]
) -> None:
    """At least 95 in a hundred; what no documented read shows is told as unknown, never as passed."""
    faulty = [one for one in told if one.world.expected is not None]
    missed = [one for one in faulty if one.world.expected not in one.report.of(CheckResult.FAIL)]
    record_property("misconfigured worlds", f"{len(faulty)}, caught by the right check: {len(faulty) - len(missed)}")
    assert len(faulty) >= 45
    assert [one.world.name for one in missed] == [one.world.name for one in faulty if not one.world.seen]
    assert all(one.world.expected in one.report.of(CheckResult.UNKNOWN) for one in missed)
    assert len(missed) <= 0.05 * len(faulty)


def test_one_fault_fails_one_check(told: list[Told]) -> None:
    """What follows from it is unknown at most, so nobody has to guess which of several is the cause."""
    also = {one.world.name: set(one.report.of(CheckResult.FAIL)) - {one.world.expected} for one in told}
    assert {name: checks for name, checks in also.items() if checks} == {}


def test_no_healthy_world_fails_a_check(told: list[Told]) -> None:
    """Twenty and more, and nothing is said to be in the way."""
    sound = [one for one in told if one.world.expected is None]
    assert len(sound) >= 20
    assert {one.world.name for one in sound if one.report.of(CheckResult.FAIL)} == set()


def test_what_is_wrong_comes_with_what_to_do(told: list[Told]) -> None:
    """Every check says what was found, in a sentence, and one that fails what to do."""
    for one in told:
        assert all(each.found.endswith(".") for each in one.report.checks)
        assert all(each.advice for each in one.report.checks if each.result is CheckResult.FAIL)


def test_a_look_takes_few_calls(told: list[Told]) -> None:
    """However much is on a router."""
    assert max(one.calls for one in told) <= MOST_CALLS


def test_a_look_is_bounded_however_many_accounts_are_listed(house: House) -> None:
    """An instance that is nowhere is not looked for in all of them."""
    world = next(one for one in house.faulty if one.expected is PreflightCheck.INSTANCE_EXISTS)
    crowd = replace(world, others=sorted({one.spoke.uid for one in house.faulty} - {world.spoke.uid}))
    assert len(crowd.others) > 60
    calls = house.calls(crowd)
    house.look(crowd, Survey(calls))
    assert calls.made <= MOST_CALLS + 20


def test_its_sessions_are_narrowed_to_exactly_what_it_reads(house: House, told: list[Told]) -> None:
    """Nothing in the policy is idle, and nothing that is read is missing in it."""
    assert told
    [statement] = json.loads(LOOK_ONLY)["Statement"]
    used = {
        entry["decision"]["action"]
        for entry in house.cloud.journal()
        if entry["caller"].get("session") == "ecr-grants" and entry["decision"]
    }
    assert used == set(statement["Action"])


def test_its_sessions_cannot_write_with_a_role_that_may(house: House) -> None:
    """The same role, entered in the same way but for the session policy, grants."""
    world = next(house.loose)
    with pytest.raises(PermissionMissing, match="GrantInstanceToExpressConnectRouter is missing"):
        SpokeCloud(house.calls(world)).grant(world.asked.key, "token-1", Trail())
    SpokeCloud(house.calls(world, policy=None)).grant(world.asked.key, "token-1", Trail())


@pytest.mark.parametrize(
    ("operation", "service", "checks"),
    [
        ("AssumeRole", "sts", {PreflightCheck.ROLE_A, PreflightCheck.ROLE_B, PreflightCheck.ECR_EXISTS}),
        ("DescribeVpcAttribute", "vpc", {PreflightCheck.INSTANCE_EXISTS, PreflightCheck.OVERLAP}),
        ("DescribeExpressConnectRouter", "ecr", {PreflightCheck.ECR_EXISTS, PreflightCheck.ECR_USABLE}),
        ("ListExpressConnectRouterSupportedRegion", "ecr", {PreflightCheck.ECR_REGION}),
        ("DescribeExpressConnectRouterAssociation", "ecr", {PreflightCheck.ASSOCIATED, PreflightCheck.QUOTA}),
        ("DescribeVpcGrantRulesToEcr", "vpc", {PreflightCheck.GRANTED}),
    ],
)
def test_what_cannot_be_read_is_unknown_and_stops_nothing_else(
    house: House, operation: str, service: str, checks: set[PreflightCheck]
) -> None:
    """The platform fails one operation: its checks are unknown with the reason, nothing fails, the report is whole."""
    world = house.sound[0]
    whole = preflight(world.asked, house.look(world))
    fault = house.cloud.admin.plan(kind="server_error", service=service, operation=operation, status=500, times=None)
    try:
        seen = house.look(world)
    finally:
        house.cloud.admin.clear(fault["number"])
    report = preflight(world.asked, seen)
    assert [each.check for each in report.checks] == [each.check for each in whole.checks]
    assert checks <= set(report.of(CheckResult.UNKNOWN))
    assert report.of(CheckResult.FAIL) == ()
    reasons = [each.found for each in report.checks if each.check in checks]
    assert all(operation in reason for reason in reasons)


class Faulty(Survey):
    """One whose reads of the instance meet a fault of ours."""

    def __init__(self, calls: Calls, error: Exception) -> None:
        super().__init__(calls)
        self._error = error

    def instance(self, key: GrantKey) -> InstanceSeen | None:  # noqa: ARG002
        """It does not come to an answer."""
        raise self._error


def test_a_fault_of_ours_is_unknown_and_said(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is contained like any trouble; only the ledger's goes on."""
    world = house.sound[0]
    seen = house.look(world, Faulty(house.calls(world), KeyError("x")))
    assert seen.instance == Unread("unexpected KeyError")
    assert "preflight.failed" in "".join(capsys.readouterr())  # wherever somebody before us had the log go
    assert isinstance(seen.ecr, EcrSeen)
    with pytest.raises(LedgerError):
        house.look(world, Faulty(house.calls(world), LedgerError("away")))


def test_a_look_that_has_no_time_left_begins_no_read(house: House) -> None:
    """Everything is unknown, and says why; no call is made."""
    world = house.sound[0]
    calls = house.calls(world)
    seen = house.look(world, Survey(calls), seconds=0.0)
    assert calls.made == 0
    assert seen.role_a == seen.ecr == seen.instance == Unread("it was not looked at: 0 s were over")


def test_the_snapshot_is_the_same_until_something_that_lasts_changes(house: House) -> None:
    """What comes and goes is not in it; an address range is, and what changed is said."""
    world = next(one for one in house.loose if one.kind is VPC)
    before = content(world.asked, house.look(world))
    assert unseen(before) == ()
    World.prepare(replace(world, granted=[(world.hub, world.spoke, world.instance["id"], ())]), house.cloud)
    world.own = {"grant_ours": True, "ahead": 7}
    assert content(world.asked, house.look(world)) == before

    _, spec = house.cloud.cloud.network.vpcs[world.instance["id"]]
    spec.secondary_cidrs.append("172.20.0.0/16")
    now = content(world.asked, house.look(world))
    assert digest(now) == snapshot(world.asked, house.look(world)) != digest(before)
    cidr = world.instance["cidr"]
    assert differences(json.loads(before), json.loads(now)) == (
        f"the instance's address ranges, before: {cidr}; now: {cidr}, 172.20.0.0/16",
    )


REFUSED = {
    PreflightCheck.INSTANCE_USABLE,
    PreflightCheck.ECR_USABLE,
    PreflightCheck.ECR_REGION,
    PreflightCheck.ROUTE_SOURCE,
    PreflightCheck.VBR_ASN,
    PreflightCheck.VBR_MP_BGP,
    PreflightCheck.CROSS_ACCOUNT,
}
"""What the platform itself refuses, when the grant and the association are tried."""


def test_the_platform_agrees_with_what_is_told(house: House, told: list[Told]) -> None:
    """Grant and association go through in healthy worlds, and are refused in those where the platform would mind the fault.

    The last test of the file, since it changes the worlds.
    """
    assert told
    free = [one for one in house.sound if not one.linked and one.router.get("status") is None]
    minded = [one for one in house.faulty if one.expected in REFUSED and "biz_status" not in one.router]
    assert len(free) >= 15
    assert len(minded) >= 18
    for world in free:
        _make(house, world)
    for world in minded:
        with pytest.raises(TeaException):
            _make(house, world)


def _make(house: House, world: World) -> None:
    """Grant and associate what is asked for, as both accounts' administrators."""
    link = (world.hub, world.spoke, world.instance["id"], world.prefixes)
    World.prepare(replace(world, granted=[], linked=[link]), house.cloud)
