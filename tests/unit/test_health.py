"""The rules of `ecr-grants doctor`: two values in, one verdict out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.rules.health import (
    Check,
    Transport,
    Verdict,
    clock_finding,
    dead_letters_finding,
    differences,
    elsewhere,
    misspelt,
    named,
    tls_finding,
)


@pytest.mark.parametrize(
    ("transport", "verdict", "words"),
    [
        pytest.param(Transport(True, "prefer", False), Verdict.OK, "on this machine", id="nothing leaves this machine"),
        pytest.param(Transport(False, "prefer", False), Verdict.WRONG, "not encrypted", id="plain text"),
        pytest.param(Transport(False, "require", True), Verdict.WRONG, "nobody checks", id="encrypted, to anybody"),
        pytest.param(Transport(False, "prefer", True), Verdict.WRONG, "nobody checks", id="encrypted by chance"),
        pytest.param(Transport(False, "verify-ca", True), Verdict.OK, "verify-ca", id="of a known authority"),
        pytest.param(Transport(False, "verify-full", True), Verdict.OK, "verify-full", id="of a known server"),
    ],
)
def test_the_way_to_the_database(transport: Transport, verdict: Verdict, words: str) -> None:
    """Nobody on the way can read it, and nobody can answer in the database's place."""
    finding = tls_finding("ledger", transport)
    assert (finding.verdict, words in finding.text) == (verdict, True)
    assert bool(finding.remedy) is (verdict is Verdict.WRONG)


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (60, "ok"), (-60, "ok"), (61, "wrong"), (-61, "wrong")])
def test_clocks_may_differ_by_a_minute(seconds: float, verdict: str) -> None:
    """In either direction."""
    assert clock_finding("STS", seconds).verdict == verdict


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("SETTEL_SECONDS", "SETTLE_SECONDS", id="two letters changed places"),
        pytest.param("LEDGER_ULR", "LEDGER_URL", id="a short one"),
        pytest.param("ACCOUNT_FILE", "ACCOUNTS_FILE", id="a letter is missing"),
        pytest.param("NODE", None, id="another program's, however short"),
        pytest.param("ECS_ENDPOINT", None, id="another product's endpoint"),
        pytest.param("MODES", None, id="meant is already there"),
    ],
)
def test_a_name_that_is_nearly_a_setting(name: str, meant: str | None) -> None:
    """Where the setting itself is not given."""
    settings = {"SETTLE_SECONDS", "LEDGER_URL", "ACCOUNTS_FILE", "MODE", "ECR_ENDPOINT"}
    assert misspelt([name, "MODE"], settings) == ([(name, meant)] if meant else [])


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("https://1000000000000001.mns.cn-hangzhou.aliyuncs.com", None),
        ("https://1000000000000001.mns.cn-hangzhou-internal.aliyuncs.com", None),
        ("https://{uid}.mns.{region}.aliyuncs.com", None),
        ("https://sts.aliyuncs.com", None),
        ("http://127.0.0.1:4000", None),
        ("https://sts.cn-hangzhou.example.com", None),
        ("https://sts.cn-shanghai.aliyuncs.com", "region cn-shanghai"),
        ("https://1000000000000001.ap-southeast-1.fc.aliyuncs.com:443", "region ap-southeast-1"),
        ("https://2000000000000002.mns.cn-hangzhou.aliyuncs.com", "account 2000000000000002"),
    ],
)
def test_an_address_of_another_region_or_account(address: str, what: str | None) -> None:
    """By the labels of the vendor's host names."""
    found = list(elsewhere({"MNS_ENDPOINT": address}, "cn-hangzhou", "1000000000000001"))
    assert found == ([("MNS_ENDPOINT", what)] if what else [])


def test_what_is_wanted_is_compared_and_nothing_else() -> None:
    """Inside of what is inside, too; a role whatever its case."""
    wanted = {"timeout": 300, "role": "acs:ram::1:role/Grant", "hooks": {"initializer": {"timeout": 30}}, "on": True}
    found = {"timeout": 60, "role": "acs:ram::1:role/grant", "hooks": {}, "on": False, "memorySize": 512}
    assert [str(one) for one in differences(wanted, found)] == [
        "timeout is 60, should be 300",
        "hooks.initializer.timeout is not set, should be 30",
        "on is false, should be true",
    ]


@pytest.mark.parametrize(
    ("seen", "more", "words"),
    [
        (0, False, "no message"),
        (1, False, "1 message waits"),
        (3, False, "3 messages"),
        (16, True, "16 or more messages"),
    ],
)
def test_dead_letters_are_told_by_what_can_be_seen(seen: int, more: bool, words: str) -> None:
    """A queue's own counts are not asked."""
    finding = dead_letters_finding("ecr-approvals-dead", seen, more=more)
    assert finding.check is Check.DEAD_LETTERS
    assert (words in finding.text, finding.verdict is Verdict.OK) == (True, not seen)


def test_of_many_names_the_first_are_told() -> None:
    """With how many there are beside them."""
    assert named(["b", "a"]) == "a, b"
    assert named(f"{number:02d}" for number in range(23)).endswith("19 and 3 more")


def test_every_check_stands_in_the_documents() -> None:
    """In the order in which it is told, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    table = text[text.index("| check | what is looked at") :].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [check.value for check in Check]
