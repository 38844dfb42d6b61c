"""The inventory: what is not listed is refused, and an entry that makes no sense is told."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from shared.errors import NotAllowed
from shared.messages.forms import GrantKey
from shared.rules.inventory import Association, Inventory
from tests.unit.conftest import MakeApproval
from tests.unit.issuing import revoke

EXAMPLE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "examples/config/accounts.yaml").read_text("utf-8")
)
HUB, SPOKE = "1000000000000001", "2000000000000002"


@pytest.fixture
def key(approve: MakeApproval) -> GrantKey:
    """The grant that the example approval is about."""
    return approve().grant


def inventory(uid: str = SPOKE, top: dict[str, Any] | None = None, **fields: Any) -> Inventory:
    """The example's, with some fields of an account, or of the whole, replaced; None removes one. Raises ValidationError."""
    document = copy.deepcopy(EXAMPLE) | (top or {})
    document["accounts"].setdefault(uid, {}).update(fields)
    for part in (document, document["accounts"][uid]):
        for name in [name for name, value in part.items() if value is None]:
            del part[name]
    return Inventory.model_validate(document)


def test_the_example_allows_the_example(key: GrantKey) -> None:
    """Both accounts are listed, the router under its owner, and the association is ours to make."""
    listed = inventory()
    listed.check(key)
    assert listed.association(key) is Association.OURS
    assert listed.account(SPOKE, "instance.owner_uid").external_id == f"ecr-grants:demo:{SPOKE}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {"instance_owner_uid": "9999999999999999"},
            "instance.owner_uid: account 9999999999999999 is not listed in the inventory",
            id="nobody listed account B",
        ),
        pytest.param(
            {"ecr_owner_uid": "9999999999999999"},
            "ecr.owner_uid: account 9999999999999999 is not listed in the inventory",
            id="nobody listed account A",
        ),
        pytest.param(
            {"ecr_id": "ecr-another"},
            f"ecr.id: ecr-another is not listed in the inventory for account {HUB}",
            id="the router is not listed",
        ),
        pytest.param(
            {"ecr_owner_uid": SPOKE},
            f"is not listed in the inventory for account {SPOKE}",
            id="account B's uid is listed, but has no routers",
        ),
    ],
)
def test_what_is_not_listed_is_refused_by_its_field(key: GrantKey, changes: dict[str, str], told: str) -> None:
    """Well formed is not enough; a listed router under another account does not count either."""
    with pytest.raises(NotAllowed) as caught:
        inventory().check(dataclasses.replace(key, **changes))  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_an_association_can_be_account_as_own(key: GrantKey) -> None:
    """Then the request ends with the grant."""
    assert inventory(HUB, ecrs={key.ecr_id: {"association": "theirs"}}).association(key) is Association.THEIRS


def test_nobody_makes_the_association_of_a_router_that_is_not_listed(key: GrantKey) -> None:
    """Not ours and not theirs: that an ECR was taken off the inventory is a case of its own, not an error."""
    for changes in ({"ecr_id": "ecr-another"}, {"ecr_owner_uid": "9999999999999999"}, {"ecr_owner_uid": SPOKE}):
        assert inventory().association(dataclasses.replace(key, **changes)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uid", "fields", "told"),
    [
        pytest.param(SPOKE, {"owner": None}, ("accounts", SPOKE, "owner"), id="a field is missing"),
        pytest.param(SPOKE, {"colour": "red"}, ("accounts", SPOKE, "colour"), id="a field that nobody knows"),
        pytest.param(SPOKE, {"role": "no such/role"}, ("accounts", SPOKE, "role"), id="no name that a role can have"),
        pytest.param(SPOKE, {"external_id": "x"}, ("accounts", SPOKE, "external_id"), id="no external id"),
        pytest.param(
            HUB, {"ecrs": {"router": {}}}, ("accounts", HUB, "ecrs", "router", "[key]"), id="no id of a router"
        ),
        pytest.param(
            HUB,
            {"ecrs": {"ecr-another": {"association": "somebody's"}}},
            ("accounts", HUB, "ecrs", "ecr-another", "association"),
            id="nobody can own the association but us or them",
        ),
        pytest.param(SPOKE, {"supernets": ["10.0.0.1/8"]}, ("accounts", SPOKE, "supernets", 0), id="no range"),
    ],
)
def test_a_faulty_entry_is_told_by_its_path(uid: str, fields: dict[str, Any], told: tuple[str, ...]) -> None:
    """And nothing else is."""
    with pytest.raises(ValidationError) as caught:
        inventory(uid, **fields)
    assert [fault["loc"] for fault in caught.value.errors()] == [told]


SPECIAL = [
    pytest.param("0.0.0.0/0", "this network", id="everything"),
    pytest.param("0.0.0.0/8", "this network", id="this network"),
    pytest.param("0.1.2.3/32", "this network", id="one address of it"),
    pytest.param("0.0.0.0/1", "loopback", id="half of everything, loopback in it"),
    pytest.param("96.0.0.0/3", "loopback", id="a wide prefix around loopback"),
    pytest.param("127.0.0.0/8", "loopback", id="loopback"),
    pytest.param("127.0.0.1/32", "loopback", id="one loopback address"),
    pytest.param("169.254.0.0/16", "link-local", id="link-local"),
    pytest.param("169.254.169.254/32", "link-local", id="one link-local address"),
    pytest.param("168.0.0.0/6", "link-local", id="a wide prefix around link-local"),
    pytest.param("224.0.0.0/4", "multicast", id="multicast"),
    pytest.param("239.1.0.0/16", "multicast", id="some of multicast"),
    pytest.param("192.0.0.0/2", "multicast", id="a quarter of everything, multicast in it"),
    pytest.param("240.0.0.0/4", "reserved", id="reserved"),
    pytest.param("255.255.255.255/32", "reserved", id="broadcast"),
]


@pytest.mark.parametrize(("prefix", "kind"), SPECIAL)
def test_special_addresses_are_routed_only_where_the_inventory_says_so(key: GrantKey, prefix: str, kind: str) -> None:
    """Not by default; and where it does, exactly that prefix, for that account's instances."""
    with pytest.raises(NotAllowed) as caught:
        inventory().check_prefixes(key, ["10.0.0.0/8", prefix])
    assert str(caught.value).startswith(f"allowed_prefixes: {prefix} holds ")
    assert kind in str(caught.value)
    assert str(caught.value).endswith(f"; the inventory has to list it under special_prefixes of account {SPOKE}")
    listed = inventory(special_prefixes=[prefix])
    listed.check_prefixes(key, ["10.0.0.0/8", prefix])
    with pytest.raises(NotAllowed):
        listed.check_prefixes(key, ["127.0.0.0/16"])
    of_the_hub = inventory(HUB, special_prefixes=[prefix])
    with pytest.raises(NotAllowed):
        of_the_hub.check_prefixes(key, [prefix])


def test_every_special_prefix_of_a_request_is_named(key: GrantKey) -> None:
    """Nobody mends one to be told of the next."""
    with pytest.raises(NotAllowed, match=r"127\.0\.0\.0/8 holds loopback .*; 224\.0\.0\.0/4 holds multicast"):
        inventory().check_prefixes(key, ["127.0.0.0/8", "224.0.0.0/4"])


def test_every_kind_of_a_wide_prefix_is_named(key: GrantKey) -> None:
    """By its range, so that whoever asked sees what they would route."""
    with pytest.raises(NotAllowed) as caught:
        inventory().check_prefixes(key, ["128.0.0.0/1"])
    assert str(caught.value) == (
        "allowed_prefixes: 128.0.0.0/1 holds link-local addresses (169.254.0.0/16), multicast addresses (224.0.0.0/4), "
        "reserved addresses (240.0.0.0/4); the inventory has to list it under special_prefixes of account "
        f"{SPOKE}"
    )


@pytest.mark.parametrize(
    "prefix",
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.2.0/24", "1.0.0.0/8", "64.0.0.0/3"],
)
def test_all_other_addresses_need_no_listing(key: GrantKey, prefix: str) -> None:
    """Private, shared or public: what is routed is the approvers' business."""
    inventory().check_prefixes(key, [prefix])


def test_nothing_is_known_of_an_account_that_is_not_listed(key: GrantKey) -> None:
    """Neither its regions nor its prefixes: it is refused, by the field."""
    stranger, listed = dataclasses.replace(key, instance_owner_uid="9999999999999999"), inventory()
    told = "^instance.owner_uid: account 9999999999999999 is not listed in the inventory$"
    with pytest.raises(NotAllowed, match=told):
        listed.check_region(stranger)
    with pytest.raises(NotAllowed, match=told):
        listed.check_prefixes(stranger, ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"instance__owner_uid": "9999999999999999"}, "instance.owner_uid: account 9999", id="an account"),
        pytest.param({"ecr__id": "ecr-another"}, "ecr.id: ecr-another is not listed", id="a router"),
        pytest.param({"instance__region": "cn-beijing"}, "instance.region: cn-beijing is not among", id="a region"),
        pytest.param(
            {"allowed_prefixes": ["10.0.0.0/8", "127.0.0.0/8"]},
            "allowed_prefixes: 127.0.0.0/8 holds loopback",
            id="a special prefix",
        ),
    ],
)
def test_what_opens_a_lease_is_allowed_where_all_of_it_is_listed(
    approve: MakeApproval, changes: dict[str, Any], told: str
) -> None:
    """Of what closes one nothing is asked: what was taken off the inventory can still be closed."""
    listed = inventory(top={"regions": ["cn-hangzhou"]})
    listed.allow(approve())
    with pytest.raises(NotAllowed, match=f"^{told}"):
        listed.allow(approve(**changes))
    listed.allow(revoke(**{name: value for name, value in changes.items() if name != "allowed_prefixes"}))


@pytest.mark.parametrize(
    ("top", "of_account", "told"),
    [
        pytest.param(None, None, None, id="nothing listed: any region"),
        pytest.param(["cn-hangzhou", "cn-beijing"], None, None, id="listed for all"),
        pytest.param(["cn-beijing", "cn-shanghai"], None, ": cn-beijing, cn-shanghai", id="others are listed for all"),
        pytest.param(["cn-beijing"], ["cn-hangzhou"], None, id="the account's own list counts"),
        pytest.param(
            ["cn-hangzhou"],
            ["cn-beijing"],
            f" for account {SPOKE}: cn-beijing",
            id="the account's own list counts, also where it is narrower",
        ),
    ],
)
def test_a_region_is_refused_where_regions_are_listed(
    key: GrantKey, top: list[str] | None, of_account: list[str] | None, told: str | None
) -> None:
    """A misspelt one would be asked for in vain for hours. It is said whose list that is, and what stands in it."""
    listed = inventory(top={"regions": top}, regions=of_account)
    if told is None:
        listed.check_region(key)
    else:
        with pytest.raises(NotAllowed) as caught:
            listed.check_region(key)
        regions = "instance.region: cn-hangzhou is not among the regions that the inventory lists"
        assert str(caught.value) == regions + told
        listed.check(key)  # what closes is never refused for its region


def test_a_router_has_one_owner(key: GrantKey) -> None:
    """Listed under two accounts, it is not known whose it is."""
    with pytest.raises(ValueError, match=f"each router has one owner: {key.ecr_id} is listed under {HUB} and {SPOKE}"):
        inventory(ecrs={key.ecr_id: {}})


def test_uids_are_text() -> None:
    """An 18-digit number would not survive every reader, so it is refused as a key."""
    with pytest.raises(ValueError, match="valid string"):
        Inventory.model_validate({"version": 1, "accounts": {1000000000000001: {}}})
