"""The inventory: what is not listed is refused, and a faulty file is told with every fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import NotAllowed, SettingsError
from shared.messages.forms import GrantKey
from shared.rules.inventory import Association, Inventory
from shared.settings import read_inventory
from tests.unit.conftest import MakeApproval

EXAMPLE = Path(__file__).parents[2] / "examples" / "accounts.yaml"
HUB, SPOKE = "1000000000000001", "2000000000000002"


@pytest.fixture
def key(approve: MakeApproval) -> GrantKey:
    """The grant that the example approval is about."""
    return approve().grant


def changed(tmp_path: Path, uid: str, **fields: Any) -> Path:
    """The example file with some fields of an account replaced; None removes one."""
    document = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    account = document["accounts"].setdefault(uid, {})
    for name, value in fields.items():
        account[name] = value
        if value is None:
            del account[name]
    path = tmp_path / "accounts.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def with_top(path: Path, **fields: Any) -> Path:
    """The file with some of its top-level fields replaced; None removes one."""
    document = yaml.safe_load(path.read_text("utf-8")) | fields
    path.write_text(yaml.safe_dump({name: value for name, value in document.items() if value is not None}), "utf-8")
    return path


def test_the_example_allows_the_example(key: GrantKey) -> None:
    """Both accounts are listed, the router under its owner, and the association is ours to make."""
    inventory = read_inventory(EXAMPLE)
    inventory.check(key)
    assert inventory.association(key) is Association.OURS
    assert inventory.account(SPOKE, "instance.owner_uid").external_id == f"ecr-grants:demo:{SPOKE}"


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
        read_inventory(EXAMPLE).check(dataclasses.replace(key, **changes))  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_an_association_can_be_account_as_own(tmp_path: Path, key: GrantKey) -> None:
    """Then the request ends with the grant."""
    path = changed(tmp_path, HUB, ecrs={key.ecr_id: {"association": "theirs"}})
    assert read_inventory(path).association(key) is Association.THEIRS


def test_nobody_makes_the_association_of_a_router_that_is_not_listed(key: GrantKey) -> None:
    """Not ours and not theirs: that an ECR was taken off the inventory is a case of its own, not an error."""
    inventory = read_inventory(EXAMPLE)
    for changes in ({"ecr_id": "ecr-another"}, {"ecr_owner_uid": "9999999999999999"}, {"ecr_owner_uid": SPOKE}):
        assert inventory.association(dataclasses.replace(key, **changes)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uid", "fields", "told"),
    [
        pytest.param(SPOKE, {"owner": None}, f"accounts.{SPOKE}.owner: is missing", id="a field is missing"),
        pytest.param(
            SPOKE, {"colour": "red"}, f"accounts.{SPOKE}.colour: is not a known field", id="a field that nobody knows"
        ),
        pytest.param(SPOKE, {"role": "no such/role"}, f"accounts.{SPOKE}.role: ", id="no name that a role can have"),
        pytest.param(
            SPOKE, {"external_id": "x"}, f"accounts.{SPOKE}.external_id: ", id="no external id that a role can ask for"
        ),
        pytest.param(HUB, {"ecrs": {"router": {}}}, "must be the id of a router", id="no id that a router can have"),
        pytest.param(
            HUB,
            {"ecrs": {"ecr-another": {"association": "somebody's"}}},
            "association: ",
            id="nobody can own the association but us or them",
        ),
        pytest.param("12", {"name": "x"}, "must be an account uid", id="no uid that an account can have"),
    ],
)
def test_a_faulty_entry_is_told_by_its_path(tmp_path: Path, uid: str, fields: dict[str, Any], told: str) -> None:
    """File and field are named."""
    path = changed(tmp_path, uid, **fields)
    with pytest.raises(SettingsError) as caught:
        read_inventory(path)
    assert str(caught.value).startswith(f"ACCOUNTS_FILE={path}: ")
    assert told in str(caught.value)


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """Two accounts, two faults, one error."""
    path = changed(tmp_path, HUB, name=None)
    path.write_text(path.read_text("utf-8").replace("version: 1", "version: 2"), "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_inventory(path)
    assert "version: " in str(caught.value)
    assert f"accounts.{HUB}.name: is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(None, "cannot be read", id="no file"),
        pytest.param("a: [", "is not YAML", id="broken YAML"),
        pytest.param("- 1", "the message: ", id="a list"),
        pytest.param("", "the message: ", id="an empty file"),
    ],
)
def test_a_file_that_is_no_inventory_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    """Missing, broken, or something else."""
    path = tmp_path / "accounts.yaml"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_inventory(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


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
def test_special_addresses_are_routed_only_where_the_inventory_says_so(
    tmp_path: Path, key: GrantKey, prefix: str, kind: str
) -> None:
    """Not by default; and where it does, exactly that prefix, for that account's instances."""
    with pytest.raises(NotAllowed) as caught:
        read_inventory(EXAMPLE).check_prefixes(key, ["10.0.0.0/8", prefix])
    assert str(caught.value).startswith(f"allowed_prefixes: {prefix} holds ")
    assert kind in str(caught.value)
    assert f"special_prefixes of account {SPOKE}" in str(caught.value)
    inventory = read_inventory(changed(tmp_path, SPOKE, special_prefixes=[prefix]))
    inventory.check_prefixes(key, ["10.0.0.0/8", prefix])
    with pytest.raises(NotAllowed):
        inventory.check_prefixes(key, ["127.0.0.0/16"])
    of_the_hub = read_inventory(changed(tmp_path, HUB, special_prefixes=[prefix]))
    with pytest.raises(NotAllowed):
        of_the_hub.check_prefixes(key, [prefix])


def test_every_special_prefix_of_a_request_is_named(key: GrantKey) -> None:
    """Nobody mends one to be told of the next."""
    with pytest.raises(NotAllowed, match=r"127\.0\.0\.0/8 holds loopback .*; 224\.0\.0\.0/4 holds multicast"):
        read_inventory(EXAMPLE).check_prefixes(key, ["127.0.0.0/8", "224.0.0.0/4"])


@pytest.mark.parametrize(
    "prefix",
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.2.0/24", "1.0.0.0/8", "64.0.0.0/3"],
)
def test_all_other_addresses_need_no_listing(key: GrantKey, prefix: str) -> None:
    """Private, shared or public: what is routed is the approvers' business."""
    read_inventory(EXAMPLE).check_prefixes(key, [prefix])


@pytest.mark.parametrize(
    ("top", "of_account", "allowed"),
    [
        pytest.param(None, None, True, id="nothing listed: any region"),
        pytest.param(["cn-hangzhou", "cn-beijing"], None, True, id="listed for all"),
        pytest.param(["cn-beijing"], None, False, id="others are listed for all"),
        pytest.param(["cn-beijing"], ["cn-hangzhou"], True, id="the account's own list counts"),
        pytest.param(
            ["cn-hangzhou"], ["cn-beijing"], False, id="the account's own list counts, also where it is narrower"
        ),
    ],
)
def test_a_region_is_refused_where_regions_are_listed(
    tmp_path: Path, key: GrantKey, top: list[str] | None, of_account: list[str] | None, allowed: bool
) -> None:
    """A misspelt one would be asked for in vain for hours."""
    path = changed(tmp_path, SPOKE, **({} if of_account is None else {"regions": of_account}))
    inventory = read_inventory(with_top(path, regions=top))
    if allowed:
        inventory.check_region(key)
    else:
        with pytest.raises(NotAllowed, match=r"instance.region: cn-hangzhou is not among .*cn-beijing"):
            inventory.check_region(key)
        inventory.check(key)  # what closes is never refused for its region


def test_some_issuers_may_close_everyones_leases(tmp_path: Path) -> None:
    """Only those that the inventory says so of."""
    path = changed(tmp_path, SPOKE)
    inventory = read_inventory(with_top(path, issuers={"tickets": {"everyone": True}, "portal": {}}))
    asked = {issuer: inventory.may_close_everyone(issuer) for issuer in ("tickets", "portal", "another")}
    assert asked == {"tickets": True, "portal": False, "another": False}
    inventory.check_closes("tickets", "everyone")
    inventory.check_closes("portal", "all")
    inventory.check_closes("portal", ["everyone"])  # a request may be called so
    with pytest.raises(NotAllowed, match="closes: portal may not close everyone's leases"):
        inventory.check_closes("portal", "everyone")
    with pytest.raises(SettingsError, match=r"issuers\.tickets\.everyone: "):
        read_inventory(with_top(path, issuers={"tickets": {"everyone": "sometimes"}}))


def test_a_router_has_one_owner(tmp_path: Path, key: GrantKey) -> None:
    """Listed under two accounts, it is not known whose it is."""
    path = changed(tmp_path, SPOKE, ecrs={key.ecr_id: {}})
    with pytest.raises(
        SettingsError, match=f"each router has one owner: {key.ecr_id} is listed under {HUB} and {SPOKE}"
    ):
        read_inventory(path)


ACCOUNT = "{name: a, owner: o, environment: e, role: r, external_id: SECRET-ONE"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            f'version: 1\naccounts:\n  "{HUB}": {ACCOUNT}}}\n  "{HUB}": {ACCOUNT}}}\n',
            f"line 4: {HUB} is there twice (first in line 3)",
            id="an account",
        ),
        pytest.param(
            f"version: 1\naccounts:\n  \"{HUB}\": {ACCOUNT}}}\n  '{HUB}': {ACCOUNT}}}\n",
            f"line 4: {HUB} is there twice (first in line 3)",
            id="an account, quoted in another way",
        ),
        pytest.param("version: 1\nversion: 1\naccounts: {}\n", "line 2: version is there twice", id="the version"),
        pytest.param("version: 1\naccounts: {}\naccounts: {}\n", "line 3: accounts is there twice", id="all accounts"),
        pytest.param(
            f'version: 1\naccounts:\n  "{HUB}": {ACCOUNT}, role: s}}\n', "line 3: role is there twice", id="a field"
        ),
        pytest.param(
            f'version: 1\naccounts:\n  "{HUB}": {ACCOUNT}, ecrs: {{ecr-aaaaaa: {{}}, ecr-aaaaaa: {{}}}}}}\n',
            "line 3: ecr-aaaaaa is there twice",
            id="a router of one account",
        ),
    ],
)
def test_what_is_there_twice_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    """YAML would let the later one win in silence: another role, another owner."""
    path = tmp_path / "accounts.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_inventory(path)
    assert told in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("external_id: SECRET with blanks", id="not the form of an external id"),
        pytest.param("external_id: [SECRET]", id="a list"),
        pytest.param("external_id: {a: SECRET}", id="an object"),
        pytest.param("external_id: *SECRET-ALIAS", id="an alias"),
        pytest.param("external_id: 'SECRET", id="a quote without its end"),
        pytest.param("external_id: SECRET: x", id="a colon too many"),
        pytest.param("external_id: !!python/name:SECRET x", id="a tag"),
        pytest.param("external_id: \tSECRET\n  \tx", id="tabs"),
        pytest.param("- external_id: SECRET", id="a list for an account"),
        pytest.param("external_id: SECRET\x00", id="a NUL"),
        pytest.param("externalid: SECRET", id="a field by a wrong name"),
    ],
)
def test_no_fault_shows_an_external_id(tmp_path: Path, entry: str) -> None:
    """It is a shared secret of a kind, and logs are read by many."""
    path = tmp_path / "accounts.yaml"
    path.write_text(f'version: 1\naccounts:\n  "{HUB}":\n    {entry}\n', "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_inventory(path)
    assert str(caught.value).startswith(f"ACCOUNTS_FILE={path}: ")
    assert "SECRET" not in str(caught.value)


def test_a_syntax_fault_has_its_line(tmp_path: Path) -> None:
    """Without the line's own text."""
    path = tmp_path / "accounts.yaml"
    path.write_text("version: 1\naccounts: {\n", "utf-8")
    with pytest.raises(SettingsError, match=r"is not YAML \(line 3, column 1: "):
        read_inventory(path)
    path.write_bytes("version: 1\n# für\n".encode("latin-1"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        read_inventory(path)


def test_uids_are_text() -> None:
    """An 18-digit number would not survive every reader, so it is refused as a key."""
    with pytest.raises(ValueError, match="valid string"):
        Inventory.model_validate({"version": 1, "accounts": {1000000000000001: {}}})
