"""The inventory: what is not listed is refused, and a faulty file is told with every fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import NotAllowed, SettingsError
from shared.messages.forms import GrantKey
from shared.rules.inventory import Inventory
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


def test_the_example_allows_the_example(key: GrantKey) -> None:
    """Both accounts are listed, the router under its owner, and the association is ours to make."""
    inventory = read_inventory(EXAMPLE)
    inventory.check(key)
    assert inventory.association_is_ours(key)
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
    assert not read_inventory(path).association_is_ours(key)


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


def test_uids_are_text() -> None:
    """An 18-digit number would not survive every reader, so it is refused as a key."""
    with pytest.raises(ValueError, match="valid string"):
        Inventory.model_validate({"version": 1, "accounts": {1000000000000001: {}}})
