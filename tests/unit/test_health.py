"""The rules of `ecr-grants doctor`: two values in, one verdict out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.rules.health import (
    Check,
    Finding,
    Transport,
    Verdict,
    clock_finding,
    dead_letters_finding,
    differences,
    elsewhere,
    misspelt,
    named,
    ok,
    tls_finding,
    unknown,
    wrong,
)


@pytest.mark.parametrize(
    ("finding", "facts"),
    [
        pytest.param(
            ok(Check.CHAIN, "ledger", "whole"),
            {"check": "chain", "about": "ledger", "verdict": "ok", "text": "whole"},
            id="all is well: nothing is to be done",
        ),
        pytest.param(
            wrong(Check.LOG, "grant", "no lines", "switch it on"),
            {"check": "log", "about": "grant", "verdict": "wrong", "text": "no lines", "do": "switch it on"},
            id="wrong: what to do stands there",
        ),
        pytest.param(
            unknown(Check.ROLES, "B", "refused"),
            {"check": "roles", "about": "B", "verdict": "unknown", "text": "refused"},
            id="not seen, and nothing can be done about it",
        ),
        pytest.param(
            unknown(Check.ROLES, "B", "refused", "ask B's owner"),
            {"check": "roles", "about": "B", "verdict": "unknown", "text": "refused", "do": "ask B's owner"},
            id="not seen, and somebody can do something about it",
        ),
    ],
)
def test_what_programs_read_of_a_finding(finding: Finding, facts: dict[str, str]) -> None:
    """Every member by its name; ``do`` only where there is something to be done."""
    assert finding.facts() == facts


CERTIFICATE = "sslmode=verify-full and sslrootcert=FILE (the certificate that the database's console gives)"
TO_ANYBODY = "the connection is encrypted, but nobody checks whose it is (sslmode={})"
CHECKED = "encrypted, and the server is checked (sslmode={})"


@pytest.mark.parametrize(
    ("transport", "verdict", "text", "remedy"),
    [
        pytest.param(
            Transport(True, "prefer", False),
            Verdict.OK,
            "on this machine: nothing leaves it",
            "",
            id="nothing leaves this machine",
        ),
        pytest.param(
            Transport(False, "prefer", False),
            Verdict.WRONG,
            "the connection is not encrypted, password included",
            f"switch TLS on at the database, and add {CERTIFICATE} to LEDGER_URL",
            id="plain text",
        ),
        pytest.param(
            Transport(False, "require", True),
            Verdict.WRONG,
            TO_ANYBODY.format("require"),
            f"add {CERTIFICATE} to LEDGER_URL",
            id="encrypted, to anybody",
        ),
        pytest.param(
            Transport(False, "prefer", True),
            Verdict.WRONG,
            TO_ANYBODY.format("prefer"),
            f"add {CERTIFICATE} to LEDGER_URL",
            id="encrypted by chance",
        ),
        pytest.param(
            Transport(False, "verify-ca", True), Verdict.OK, CHECKED.format("verify-ca"), "", id="a known authority"
        ),
        pytest.param(
            Transport(False, "verify-full", True), Verdict.OK, CHECKED.format("verify-full"), "", id="a known server"
        ),
    ],
)
def test_the_way_to_the_database(transport: Transport, verdict: Verdict, text: str, remedy: str) -> None:
    """Nobody on the way can read it, and nobody can answer in the database's place."""
    assert tls_finding("ledger", transport) == Finding(Check.TLS, "ledger", verdict, text, remedy)


@pytest.mark.parametrize(
    ("seconds", "wrong_by"),
    [
        pytest.param(0, None, id="the same"),
        pytest.param(60, None, id="a minute ahead"),
        pytest.param(-60, None, id="a minute behind"),
        pytest.param(61, "61 s ahead of", id="more than a minute ahead"),
        pytest.param(-61, "61 s behind", id="more than a minute behind"),
        pytest.param(-3600.4, "3600 s behind", id="an hour: nobody needs its fractions"),
    ],
)
def test_clocks_may_differ_by_a_minute(seconds: float, wrong_by: str | None) -> None:
    """In either direction, and it is said in which: the one that is wrong may be either."""
    if wrong_by is None:
        assert clock_finding("STS", seconds) == ok(Check.CLOCK, "STS", "differs from this machine's by at most 60 s")
        return
    assert clock_finding("STS", seconds) == wrong(
        Check.CLOCK,
        "STS",
        f"is {wrong_by} this machine's clock",
        "set this machine's clock by NTP; if it is right, the clock of STS is not",
    )


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


def test_every_misspelt_name_is_told() -> None:
    """In order, whatever stands between them, and each with the setting that it is most like."""
    names = ["MODES", "LEDGER_ULR", "ECS_ENDPOINT", "WARN_SECOND"]
    settings = ["ECR_ENDPOINT", "LEDGER_URL", "MODE", "WARN_SECONDS", "WARM_SECONDS"]
    assert misspelt(names, settings) == [
        ("LEDGER_ULR", "LEDGER_URL"),
        ("MODES", "MODE"),
        ("WARN_SECOND", "WARN_SECONDS"),
    ]


def test_where_every_setting_is_given_nothing_is_misspelt() -> None:
    """What is beside them is somebody else's."""
    assert misspelt(["MODE", "MODES"], ["MODE"]) == []


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("https://1000000000000001.mns.cn-hangzhou.aliyuncs.com", None),
        ("https://1000000000000001.mns.cn-hangzhou-internal.aliyuncs.com", None),
        ("https://{uid}.mns.{region}.aliyuncs.com", None),
        ("https://sts.aliyuncs.com", None),
        ("http://127.0.0.1:4000", None),
        ("https://sts.cn-hangzhou.example.com", None),
        ("https://sts.cn-shanghai.aliyuncs.com.example.com", None),
        ("https://sts.cn-shanghai.aliyuncs.com", "region cn-shanghai"),
        ("https://1000000000000001.ap-southeast-1.fc.aliyuncs.com:443", "region ap-southeast-1"),
        ("https://2000000000000002.mns.cn-hangzhou.aliyuncs.com", "account 2000000000000002"),
    ],
)
def test_an_address_of_another_region_or_account(address: str, what: str | None) -> None:
    """By the labels of the vendor's host names."""
    found = list(elsewhere({"MNS_ENDPOINT": address}, "cn-hangzhou", "1000000000000001"))
    assert found == ([("MNS_ENDPOINT", what)] if what else [])


def test_every_address_of_another_region_is_told() -> None:
    """Also behind one that is not the vendor's; an account only where it is known whose it should be."""
    addresses = {
        "STS_ENDPOINT": "https://sts.cn-shanghai.aliyuncs.com",
        "KMS_ENDPOINT": "http://127.0.0.1:4000",
        "MNS_ENDPOINT": "https://2000000000000002.mns.cn-beijing.aliyuncs.com",
        "FC_ENDPOINT": "https://2000000000000002.cn-hangzhou.fc.aliyuncs.com",
    }
    assert list(elsewhere(addresses, "cn-hangzhou")) == [
        ("STS_ENDPOINT", "region cn-shanghai"),
        ("MNS_ENDPOINT", "region cn-beijing"),
    ]


def test_what_is_wanted_is_compared_and_nothing_else() -> None:
    """Inside of what is inside, too; a role whatever its case."""
    wanted = {
        "timeout": 300,
        "role": "acs:ram::1:role/Grant",
        "hooks": {"initializer": {"timeout": 30}, "preStop": {"handler": "a.b", "timeout": 9}},
        "on": True,
        "off": False,
        "handler": "grant.handler",
        "runtime": "python3.12",
        "layers": "",
    }
    found = {
        "timeout": 60,
        "role": "acs:ram::1:ROLE/grant",
        "hooks": {"preStop": {"handler": "a.c", "timeout": 9}},
        "on": False,
        "off": True,
        "handler": "Grant.handler",
        "runtime": "",
        "layers": "one",
        "memorySize": 512,
    }
    assert [str(one) for one in differences(wanted, found)] == [
        "timeout is 60, should be 300",
        "hooks.initializer.timeout is not set, should be 30",
        "hooks.preStop.handler is a.c, should be a.b",
        "on is false, should be true",
        "off is true, should be false",
        "handler is Grant.handler, should be grant.handler",
        "runtime is empty, should be python3.12",
        "layers is one, should be empty",
    ]


@pytest.mark.parametrize(
    ("seen", "more", "waits"),
    [
        pytest.param(0, False, None, id="none"),
        pytest.param(1, False, "1 message waits", id="one"),
        pytest.param(3, False, "3 messages wait", id="some"),
        pytest.param(16, True, "16 or more messages wait", id="as many as can be seen at once"),
    ],
)
def test_dead_letters_are_told_by_what_can_be_seen(seen: int, more: bool, waits: str | None) -> None:
    """A queue's own counts are not asked."""
    finding = dead_letters_finding("approvals-dead", seen, more=more)
    if waits is None:
        assert finding == ok(Check.DEAD_LETTERS, "approvals-dead", "no message can be seen in it")
        return
    remedy = "`ecr-grants dead list`, mend, `ecr-grants dead redrive`"
    assert finding == wrong(Check.DEAD_LETTERS, "approvals-dead", f"{waits} in it", remedy)


def test_of_many_names_the_first_are_told() -> None:
    """With how many there are beside them."""
    assert named(["b", "a"]) == "a, b"
    assert named(f"{number:02d}" for number in range(20)).endswith("18, 19")
    assert named(f"{number:02d}" for number in range(23)).endswith("19 and 3 more")


def test_every_check_stands_in_the_documents() -> None:
    """In the order in which it is told, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    table = text[text.index("| check | what is looked at") :].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [check.value for check in Check]
