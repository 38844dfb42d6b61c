"""A folder is read at once, and each fault of it is pointed at: file, line, column, what was found, what was meant."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.config_folder import read_folder
from cli.places import Fault
from examples.keys import ISSUER, key
from shared.errors import SettingsError
from shared.messages.configuration import KeyState, SealKey, public_x

EXAMPLE = Path(__file__).parents[2] / "examples" / "config"
SCHEMA = (EXAMPLE / "policy.cedarschema").read_text("utf-8")


def fine(text: str) -> Iterator[Fault]:
    """A judge of policy who finds nothing wrong."""
    yield from ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example's folder, to be spoilt."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config"))


def faults(folder: Path) -> list[str]:
    """Every fault as people read it."""
    return [one.text for one in read_folder(folder, fine, SCHEMA).faults]


def spoilt(folder: Path, file: str, old: str, new: str) -> list[str]:
    """The faults after one change of a file."""
    text = (folder / file).read_text("utf-8")
    assert text.count(old) >= 1
    (folder / file).write_text(text.replace(old, new, 1), "utf-8")
    return faults(folder)


def test_the_example_has_no_faults(folder: Path) -> None:
    """The twin of all those below: two accounts, one issuer with one key, whose private half everybody has."""
    read = read_folder(folder, fine, SCHEMA)
    assert read.faults == []
    assert read.configuration is not None
    x = public_x(key(ISSUER))
    assert read.configuration.seal_keys == {ISSUER: SealKey(ISSUER, "self-service", x, KeyState.ACTIVE)}
    assert read.configuration.policy == (EXAMPLE / "policy.cedar").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        pytest.param(
            "accounts.yaml",
            "    lead: network-leads",
            "    laed: network-leads",
            ["accounts.yaml:10:5: accounts.1000000000000001.laed: is not a known field; meant was probably lead"],
            id="a field that is misspelt",
        ),
        pytest.param(
            "accounts.yaml",
            "    name: network-hub\n",
            "",
            ["accounts.yaml:7:3: accounts.1000000000000001.name: is missing"],
            id="a field that is missing",
        ),
        pytest.param(
            "accounts.yaml",
            "version: 1\n",
            "",
            ["accounts.yaml:4:1: version: is missing"],
            id="a field that the file lacks",
        ),
        pytest.param(
            "accounts.yaml",
            "    owner: network-team",
            "    owner: network-taem",
            [
                (
                    "accounts.yaml:9:12: accounts.1000000000000001.owner: no group of people.yaml has the name network-taem;"
                    " meant was probably network-team"
                )
            ],
            id="a group that nobody listed",
        ),
        pytest.param(
            "accounts.yaml",
            '"2000000000000002":',
            "2000000000000002:",
            [
                (
                    "accounts.yaml:17:3: 2000000000000002 is read as YAML's int, not as a text;"
                    ' meant was probably "2000000000000002"'
                )
            ],
            id="a key that is a number",
        ),
        pytest.param(
            "accounts.yaml",
            '"2000000000000002":',
            '"200":',
            [
                ("accounts.yaml:17:3: accounts.200: must be an account uid: a text of 15 to 20 digits (found '200')"),
            ],
            id="a key of the wrong form",
        ),
        pytest.param(
            "accounts.yaml",
            "{association: ours}",
            "{association: our}",
            [
                (
                    "accounts.yaml:16:45: accounts.1000000000000001.ecrs.ecr-7vrbqv9lcgvzqbwwkm.association:"
                    " Input should be 'ours' or 'theirs' (found 'our'); meant was probably ours"
                )
            ],
            id="a word that is none of two",
        ),
        pytest.param(
            "accounts.yaml",
            "    environment: demo\n",
            "    environment: demo\n    environment: test\n",
            ["accounts.yaml:12:5: environment is there twice (first in line 11)"],
            id="a field twice",
        ),
        pytest.param(
            "accounts.yaml",
            "[10.20.0.0/15]",
            "[10.20.0.0/15, 10.21.0.0/16]",
            [
                (
                    "accounts.yaml:25:31: accounts.2000000000000002.supernets: 10.21.0.0/16 lies within 10.20.0.0/15, which is"
                    " listed beside it: leave one of them out"
                )
            ],
            id="a range within another",
        ),
        pytest.param(
            "accounts.yaml",
            "version: 1",
            "version: 1\nissuers: {tickets: {everyone: true}}",
            ["accounts.yaml:4:1: issuers: is not a known field"],
            id="issuers in the wrong file",
        ),
        pytest.param(
            "issuers.yaml",
            "accounts: any",
            "accounts: [2000000000000002]",
            [
                (
                    "issuers.yaml:9:16: issuers.self-service.accounts.0: Input should be a valid string"
                    ' (found 2000000000000002); meant was probably "2000000000000002", in quotes'
                )
            ],
            id="a number for a text",
        ),
        pytest.param(
            "issuers.yaml",
            "accounts: any",
            'accounts: ["2000000000000003"]',
            [
                (
                    "issuers.yaml:9:16: issuers.self-service.accounts: no account of accounts.yaml is 2000000000000003;"
                    " meant was probably 2000000000000002"
                )
            ],
            id="an account that nobody listed",
        ),
        pytest.param(
            "issuers.yaml",
            "accounts: any",
            "accounts: all",
            ["issuers.yaml:9:15: issuers.self-service.accounts: Input should be 'any' (found 'all')"],
            id="a word for everything that is not the word",
        ),
        pytest.param(
            "issuers.yaml",
            "state: active",
            "state: retird",
            [
                (
                    "issuers.yaml:8:112: issuers.self-service.keys.keys.0.state: Input should be 'active', 'retired' or"
                    " 'compromised' (found 'retird'); meant was probably retired"
                )
            ],
            id="a state that is none",
        ),
        pytest.param(
            "issuers.yaml",
            "state: active",
            "d: PRIVATE, state: active",
            [
                (
                    "issuers.yaml:8:105: issuers.self-service.keys.keys.0.d: is not a known field: it is a private key, which"
                    " belongs in no configuration; take it for compromised"
                )
            ],
            id="a private key",
        ),
        pytest.param(
            "issuers.yaml",
            "  self-service:",
            "  desk:",
            [
                "issuers.yaml:4:3: issuers.desk: desk is built in and may not be listed: no system speaks for people",
            ],
            id="a system that speaks for people",
        ),
        pytest.param(
            "people.yaml",
            "orders-leads: [orders-lead]",
            "orders-leads: [orderslead]",
            [
                "people.yaml:20:18: groups.orders-leads: no person has the name orderslead; meant was probably orders-lead"
            ],
            id="a member who is nobody",
        ),
        pytest.param(
            "people.yaml",
            "self-service:approver@example.com",
            "self-service:requester@example.com",
            [
                (
                    "people.yaml:7:16: persons.approver.subjects.0: self-service:requester@example.com belongs to requester:"
                    " one name belongs to one person"
                )
            ],
            id="a name of two people",
        ),
        pytest.param(
            "people.yaml",
            "self-service:approver@example.com",
            "self-servise:approver@example.com",
            [
                (
                    "people.yaml:7:16: persons.approver.subjects.0: self-servise is no issuer's name, though nearly one;"
                    " meant was probably self-service"
                )
            ],
            id="an issuer that is misspelt, perhaps",
        ),
        pytest.param(
            "people.yaml",
            "version: 1",
            "version: &one 1",
            ["people.yaml:2:10: anchors and aliases are not read here: write out what is meant"],
            id="an anchor",
        ),
        pytest.param(
            "people.yaml", "version: 1", "version: !!int 1", ["people.yaml:2:10: tags are not read here"], id="a tag"
        ),
        pytest.param(
            "people.yaml",
            "version: 1",
            "? [version]\n: 1",
            ["people.yaml:2:1: version: is missing", "people.yaml:2:3: must be a text, since it is a key"],
            id="a key that is a list",
        ),
        pytest.param(
            "people.yaml",
            "version: 1",
            f"version: {'9' * 5000}",
            [f"people.yaml:2:10: version: Input should be 1 (found '{'9' * 77}...')"],
            id="a number of thousands of digits",
        ),
        pytest.param(
            "people.yaml",
            "groups:",
            "groups: [",
            ["people.yaml:18:3: is not YAML: expected ',' or ']', but got '<scalar>'"],
            id="no YAML",
        ),
        pytest.param(
            "people.yaml",
            "version: 1",
            "version: 1 # \x07",
            ["people.yaml:2:14: is not YAML: the character 0x07 may not stand in it"],
            id="a bell",
        ),
        pytest.param(
            "people.yaml",
            "version: 1",
            f"version: {'[' * 1200}{']' * 1200}",
            ["people.yaml:1:1: is not YAML (RecursionError)"],
            id="nested deeply",
        ),
    ],
)
def test_a_fault_is_pointed_at(folder: Path, file: str, old: str, new: str, told: list[str]) -> None:
    """One fault, one line, at its place."""
    assert spoilt(folder, file, old, new) == told


def test_odd_is_not_refused(folder: Path) -> None:
    """What may be meant is told, and stops nothing; a file that nobody reads is named with the one that was meant."""
    (folder / "account.yaml").write_text("", "utf-8")
    (folder / "notes.md").write_text("", "utf-8")
    (folder / ".hidden.yaml").write_text("", "utf-8")
    read = read_folder(folder, fine, SCHEMA)
    assert read.configuration is not None
    assert read.refused == []
    assert read.faults == [
        Fault("account.yaml", 1, 1, "no such file is read: account.yaml", "accounts.yaml", odd=True),
    ]


def test_everything_is_told_at_once(folder: Path) -> None:
    """A file that is not there, one that is empty, one that is no text, and what the policy's judge says: in order."""
    (folder / "accounts.yaml").unlink()
    (folder / "issuers.yaml").write_text("# nothing\n", "utf-8")
    (folder / "people.yaml").write_bytes(b"version: 1\n# \xb5\n")
    (folder / "policy.cedarschema").write_text(SCHEMA + "// ours\n", "utf-8")
    wrong = Fault("policy.cedar", 3, 7, "rule short is impossible", "longest")
    read = read_folder(folder, lambda _: [wrong], SCHEMA)
    assert read.configuration is None
    assert [one.text for one in read.faults] == [
        "accounts.yaml:1:1: cannot be read (No such file or directory)",
        "issuers.yaml:1:1: is empty",
        "people.yaml:2:3: is not UTF-8 (byte 13)",
        "policy.cedar:3:7: rule short is impossible; meant was probably longest",
        (
            f"policy.cedarschema:{len(SCHEMA.splitlines()) + 1}:1: is not the schema of this version, which alone counts;"
            " `ecr-grants config init` writes it anew"
        ),
    ]


def test_a_policy_that_says_nothing_is_told(folder: Path) -> None:
    """It would refuse everything."""
    (folder / "policy.cedar").write_text("\n", "utf-8")
    assert faults(folder) == ["policy.cedar:1:1: is empty: what nothing permits is refused"]


def test_no_external_id_is_told(folder: Path) -> None:
    """Of a file that is read by many."""
    found = spoilt(folder, "accounts.yaml", "external_id: ecr-grants:demo:1000000000000001", "external_id: [SECRET]")
    assert len(found) == 1
    assert "accounts.yaml:13:18: accounts.1000000000000001.external_id: " in found[0]
    assert "SECRET" not in found[0]
    again = spoilt(folder, "accounts.yaml", "external_id: [SECRET]", "external_id: 'SECRET-SECRET' x")
    assert len(again) == 1
    assert "SECRET" not in again[0]


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(SettingsError, match=r"is not a folder; `ecr-grants config init .*` makes one"):
        read_folder(tmp_path / "nowhere", fine, SCHEMA)
