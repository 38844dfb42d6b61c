"""What is different between two configurations is said in words, and all of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from shared.rules.configuration import Configuration
from shared.rules.difference import difference
from tests.unit.configurations import ECR, A, B, account, content, jwk

Document = dict[str, Any]
C = "3000000000000003"
RULES = '@id("all")\npermit (principal, action, resource);\n@id("short")\nforbid (principal, action, resource) when {1 < 2};\n'


def said(change: Callable[[Document], object], start: Document | None = None) -> list[str]:
    """The difference that a change makes."""
    old = content(policy=RULES) if start is None else start
    new = copy.deepcopy(old)
    change(new)
    return difference(Configuration.model_validate(old), Configuration.model_validate(new))


def of(all_: Document, *path: Any) -> Any:
    """A part of a configuration."""
    for part in path:
        all_ = all_[part]
    return all_


def tickets(all_: Document) -> Any:
    """The issuer of these tests."""
    return of(all_, "issuers", "tickets")


SCOPE = (
    f"accounts [{B}], ecrs [{ECR}], kinds [VPC], sides [grant], longest_days 90, everyone false, keeps_four_eyes false"
)
DAY = {"of": "ann", "to": "bo", "from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(lambda all_: all_.update(policy=RULES), [], id="nothing"),
        pytest.param(
            lambda all_: of(all_, "inventory").update(regions=["cn-hangzhou"]),
            ["inventory: regions is [cn-hangzhou], was none"],
            id="where instances may be",
        ),
        pytest.param(
            lambda all_: of(all_, "inventory", "accounts").update({C: account(ecrs={"ecr-another": {}})}),
            [
                f"account {C}: listed, name n, owner team, environment e",
                f"router ecr-another: listed, account {C}, association ours",
            ],
            id="an account with a router",
        ),
        pytest.param(
            lambda all_: of(all_, "inventory", "accounts", A).update(role="r2", external_id="SECRET-2", lead="team"),
            [
                f"account {A}: external_id is another",
                f"account {A}: lead is team, was none",
                f"account {A}: role is r2, was r",
            ],
            id="an account's fields, and no external id",
        ),
        pytest.param(
            lambda all_: of(all_, "inventory", "accounts", B).update(supernets=["11.0.0.0/8"]),
            [f"account {B}: supernets without 10.0.0.0/8 and with 11.0.0.0/8"],
            id="what a list gains and loses",
        ),
        pytest.param(
            lambda all_: of(all_, "inventory", "accounts", B).update(
                supernets=["11.0.0.0/8", "12.0.0.0/8"], regions=["cn-beijing", "cn-hangzhou"]
            ),
            [
                f"account {B}: regions is [cn-beijing, cn-hangzhou], was none",
                f"account {B}: supernets without 10.0.0.0/8 and with 11.0.0.0/8, 12.0.0.0/8",
            ],
            id="several at once",
        ),
        pytest.param(
            lambda all_: of(all_, "inventory", "accounts", A, "ecrs", ECR).update(association="theirs"),
            [f"router {ECR}: association is theirs, was ours"],
            id="whose automation associates",
        ),
        pytest.param(
            lambda all_: tickets(all_).update(longest_days=None, sides=["grant", "associate"], everyone=True),
            [
                "issuer tickets: everyone is true, was false",
                "issuer tickets: longest_days is none, was 90",
                "issuer tickets: sides with associate",
            ],
            id="a wider scope",
        ),
        pytest.param(
            lambda all_: tickets(all_).update(accounts="any"),
            [f"issuer tickets: accounts is any, was [{B}]"],
            id="a scope over every account",
        ),
        pytest.param(
            lambda all_: tickets(all_).update(keys={"keys": [jwk("k1", "compromised"), jwk("k2")]}),
            ["key k1: state is compromised, was active", "key k2: listed, issuer tickets, state active"],
            id="a key that went bad and a new one",
        ),
        pytest.param(
            lambda all_: tickets(all_).update(keys={"keys": [jwk("k2") | {"kid": "k1"}]}),
            [f"key k1: x is {jwk('k2')['x']}, was {jwk('k1')['x']}"],
            id="another key with the same name",
        ),
        pytest.param(
            lambda all_: all_["issuers"].update(portal=tickets(all_) | {"keys": {"keys": []}}),
            [f"issuer portal: listed, {SCOPE}"],
            id="an issuer with all of its scope",
        ),
        pytest.param(
            lambda all_: of(all_, "people", "persons").update(cy={"subjects": ["chat:cy"]}),
            ["person cy: listed, subjects [chat:cy]"],
            id="a person",
        ),
        pytest.param(
            lambda all_: of(all_, "people", "groups").update(team=["bo"]),
            ["group team: members without ann"],
            id="a member less",
        ),
        pytest.param(
            lambda all_: of(all_, "people", "groups").update(team=["bo", "ann"]),
            [],
            id="members in another order are the same",
        ),
        pytest.param(
            lambda all_: of(all_, "people").update(delegations=[DAY]),
            ["delegation of ann to bo from 2026-01-01T00:00:00+00:00 until 2026-01-02T00:00:00+00:00: listed"],
            id="a delegation",
        ),
        pytest.param(
            lambda all_: all_.update(policy=RULES.replace("1 < 2", "1 < 3")),
            ["policy: rule short changed"],
            id="a rule",
        ),
        pytest.param(
            lambda all_: all_.update(policy=RULES.replace('"short"', '"brief"')),
            ["policy: rule brief added", "policy: rule short taken out"],
            id="a rule of another name",
        ),
        pytest.param(
            lambda all_: all_.update(policy=f"// so\n{RULES}"),
            ["policy: written otherwise, and every rule says the same"],
            id="a comment",
        ),
        pytest.param(
            lambda all_: all_.update(policy=RULES.replace('@id("short")', "")),
            ["policy: rule short taken out", "policy: rule without @id added"],
            id="a rule without a name",
        ),
        pytest.param(lambda all_: all_.update(policy="permit ("), ["policy: changed"], id="a text that is no policy"),
    ],
)
def test_a_difference_is_said_in_words(change: Callable[[Document], object], told: list[str]) -> None:
    """One line for each, with the name of what it is about."""
    assert said(change) == told


def test_what_is_taken_out_is_said() -> None:
    """Everything that the first has and the second lacks, by name."""
    empty = {"inventory": {"version": 1, "accounts": {}}, "issuers": {}, "people": {"version": 1}, "policy": "permit ("}
    old, new = Configuration.model_validate(content()), Configuration.model_validate(empty)
    names = [
        f"account {A}",
        f"account {B}",
        f"router {ECR}",
        "issuer tickets",
        "key k1",
        "person ann",
        "person bo",
        "group team",
    ]
    assert difference(old, new) == [*(f"{name}: taken out" for name in names), "policy: changed"]


def test_an_order_that_was_changed_is_said() -> None:
    """It may mean something to whoever wrote it so, and nothing else would tell why the version differs."""
    both = ["cn-beijing", "cn-hangzhou"]
    start = content(inventory=content()["inventory"] | {"regions": both})
    told = said(lambda all_: of(all_, "inventory").update(regions=both[::-1]), start)
    assert told == ["inventory: regions in another order"]


def test_the_first_version_is_all_new() -> None:
    """Where there was none before, everything is listed, and no external id is."""
    first = content(inventory=content()["inventory"] | {"regions": ["cn-hangzhou"]})
    assert difference(None, Configuration.model_validate(first)) == [
        "inventory: regions is [cn-hangzhou], was none",
        f"account {A}: listed, name n, owner team, environment e",
        f"account {B}: listed, name n, owner team, environment e",
        f"router {ECR}: listed, account {A}, association ours",
        f"issuer tickets: listed, {SCOPE}",
        "key k1: listed, issuer tickets, state active",
        "person ann: listed, subjects [tickets:ann@example.com]",
        "person bo: listed, subjects [tickets:bo@example.com]",
        "group team: listed, members [ann, bo]",
        "policy: rule all added",
    ]
