"""World files: what is wrong is said with its path, and nothing that means nothing is accepted."""

from pathlib import Path
from typing import Any

import pytest

from localcloud.worldfile import WorldError, check_world, parse_world, read_world
from tests.localcloud.harness import HANGZHOU, allow, stage, trust

EXAMPLE = Path(__file__).parents[2] / "examples" / "world.yaml"


def test_the_example_is_fine() -> None:
    """The world file that people copy is valid, and its keys are obviously fake."""
    world = read_world(EXAMPLE)

    keys = [user.access_key for account in world.accounts.values() for user in account.users.values()]
    assert world.deploy is not None
    assert all("example" in key.id and "example" in key.secret for key in keys if key is not None)


def problems(change: Any) -> list[str]:
    """What is wrong with a good world after a change."""
    at = stage(region=HANGZHOU)
    world: dict[str, Any] = {"version": 1, **at.world}
    change(world, world["accounts"][at.hub], world["accounts"][at.spoke])
    with pytest.raises(WorldError) as caught:
        check_world(world)
    return [problem.replace(at.hub, "HUB").replace(at.spoke, "SPOKE") for problem in caught.value.problems]


def put(**entries: Any) -> Any:
    """Change the top level of a world."""
    return lambda world, _hub, _spoke: world.update(entries)


def hub_with(**entries: Any) -> Any:
    """Change account A."""
    return lambda _world, hub, _spoke: hub.update(entries)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (put(version=2), "version: Input should be 1; found 2"),
        (put(colour="blue"), "colour: unknown key (value 'blue')"),
        (put(region="cn-nowhere"), "region: unknown region 'cn-nowhere'"),
        (put(deploy={"account": "1234567890123456"}), "deploy.account: no such account '1234567890123456'"),
        (put(switches={"grant_twice": "maybe"}), "switches.grant_twice: Input should be 'success' or 'conflict'"),
        (put(switches={"colour": "blue"}), "switches.colour: unknown key"),
        (put(quotas={"ecr:Everything": {"limit": 1, "seconds": 1}}), "quotas.ecr:Everything: unknown quota"),
        (put(quotas={"sts:AssumeRole": {"limit": 0, "seconds": 1}}), "quotas.sts:AssumeRole.limit: "),
        (put(faults=[{"kind": "slow"}]), "faults.0: Value error, a slow fault needs seconds"),
        (put(faults=[{"kind": "explode"}]), "faults.0.kind: "),
        (put(settle={"association_seconds": -1}), "settle.association_seconds: "),
        (put(accounts={"12": {}}), "accounts.12: String should match pattern"),
        (hub_with(colour="blue"), "accounts.HUB.colour: unknown key"),
        (hub_with(vpcs=[{"id": "vpc-1", "cidr": "10.0.0.0/8"}]), "accounts.HUB.vpcs.0.region: is missing"),
        (
            hub_with(vpcs=[{"id": "vpc-1", "cidr": "10.0.0.0/8", "region": "moon"}]),
            "accounts.HUB.vpc-1.region: unknown region 'moon'",
        ),
        (
            hub_with(vpcs=[{"id": "vpc-1", "cidr": "10.0.0.1/8", "region": HANGZHOU}]),
            "accounts.HUB.vpcs.vpc-1.cidr: 10.0.0.1/8 has host bits set",
        ),
        (hub_with(ecrs=[{"id": "ecr-assoc-123456"}]), "accounts.HUB.ecrs.0.id: "),
        (hub_with(queues={"bad_name": {}}), "accounts.HUB.queues.bad_name: "),
        (
            hub_with(queues={"work": {"dead_letter": {"queue": "nowhere"}}}),
            "accounts.HUB.queues.work.dead_letter.queue: no queue 'nowhere' in this account",
        ),
        (
            hub_with(topics={"news": {"subscriptions": {"s": {"queue": "nowhere"}}}}),
            "accounts.HUB.topics.news.subscriptions.s.queue: no queue 'nowhere' in this account",
        ),
        (
            hub_with(roles={"r": {"trust": trust(service="fc.aliyuncs.com"), "policies": {"p": allow("nonsense")}}}),
            "accounts.HUB.roles.r.policies.p.Statement[0].Action: 'nonsense' is not <product>:<operation>",
        ),
        (
            hub_with(
                roles={
                    "r": {
                        "trust": trust(service="fc.aliyuncs.com"),
                        "policies": {"p": allow("*", Condition={"StringIs": {"acs:SourceIp": "x"}})},
                    }
                }
            ),
            "accounts.HUB.roles.r.policies.p.Statement[0].Condition.StringIs: unknown condition operator",
        ),
        (
            hub_with(roles={"r": {"trust": allow("*")}}),
            "accounts.HUB.roles.r.trust.Statement[0].Resource: unknown element",
        ),
        (hub_with(roles={"r": {}}), "accounts.HUB.roles.r.trust: is missing"),
    ],
)
def test_a_problem_is_named_with_its_path(change: Any, found: str) -> None:
    """Each kind of mistake is reported with the path and what was found there."""
    assert any(problem.startswith(found) for problem in problems(change)), problems(change)


def test_all_problems_are_reported_at_once() -> None:
    """A file with three mistakes needs one round, not three."""

    def change(world: dict[str, Any], hub: dict[str, Any], spoke: dict[str, Any]) -> None:
        world["region"] = "moon"
        hub["queues"] = {"work": {"dead_letter": {"queue": "nowhere"}}}
        spoke["vpcs"][0]["region"] = "mars"

    assert len(problems(change)) == 3


def test_ids_are_unique_in_the_whole_world() -> None:
    """An instance or a key that appears twice is a mistake, wherever."""

    def change(world: dict[str, Any], hub: dict[str, Any], spoke: dict[str, Any]) -> None:
        hub["vpcs"] = [dict(spoke["vpcs"][0])]
        hub["users"]["twin"] = dict(hub["users"]["hub-admin"])

    found = problems(change)
    assert len(found) == 2
    assert all("is used at accounts." in problem for problem in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("version: 1\naccounts: {1000000000000001: {}}", "line 2: the key 1000000000000001 must be a string: quote it"),
        ("version: 1\nversion: 1", "line 2: the key 'version' is given twice"),
        ("version: [", "line 1: not YAML"),
        ("- 1", "line 1: (the file): "),
        ("version: 1\naccounts: {}\nswitches: {freeze: off, queue_slices: on}", None),
        (
            "version: 1\ndeploy: {account: 1000000000000001}\naccounts: {}",
            "line 2: deploy.account: Input should be a valid",
        ),
        ("version: 1\naccounts: {}\nc: {<<: 1}", "line 3: c: not YAML: << wants a mapping"),
        ("version: 1\naccounts: !!python/object:os.system {}", "line 2: accounts: not YAML that can be read here: "),
    ],
)
def test_the_text_itself(text: str, found: str | None) -> None:
    """YAML's traps are closed: duplicate keys, numbers as keys, on and off as words."""
    if found is None:
        assert parse_world(text).switches == {"freeze": "off", "queue_slices": "on"}
        return
    with pytest.raises(WorldError) as caught:
        parse_world(text)
    assert any(problem.startswith(found) for problem in caught.value.problems), caught.value.problems


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and a file that is not text are problems like others."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "binary"):
        with pytest.raises(WorldError, match=name):
            read_world(tmp_path / name)
