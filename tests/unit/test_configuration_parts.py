"""What accounts, issuers and people say about each other: a configuration holds together or does not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from shared.rules.configuration import Configuration
from shared.rules.consistency import Inconsistency, inconsistencies
from shared.rules.inventory import Inventory
from shared.rules.issuers import Issuers
from shared.rules.people import People
from tests.unit.configurations import (
    A,
    B,
    Document,
    bundle,
    changed,
    content,
    jwk,
    refused,
)

# -- what holds together -----------------------------------------------------------------------------------------------


def odd(document: Document) -> list[Inconsistency]:
    """What a configuration says about itself."""
    inventory = Inventory.model_validate(document["inventory"])
    issuers = Issuers.model_validate({"version": 1, "issuers": document["issuers"]}).issuers
    return inconsistencies(inventory, issuers, People.model_validate(document["people"]))


def test_the_example_of_these_tests_holds_together() -> None:
    """The twin of all those below."""
    assert odd(content()) == []
    assert inconsistencies(None, None, None) == []


def test_a_part_that_could_not_be_read_is_not_missed() -> None:
    """What the others say about it is not judged then: one fault is told once."""
    inventory, issuers = Inventory.model_validate(content()["inventory"]), content()["issuers"]
    rights = Issuers.model_validate({"version": 1, "issuers": issuers}).issuers
    people = People.model_validate(content()["people"])
    assert inconsistencies(inventory, None, None) == inconsistencies(None, rights, None) == []
    assert inconsistencies(None, None, people) == inconsistencies(inventory, None, people) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            lambda all_: all_["inventory"]["accounts"][A].update(owner="tea"),
            f"inventory accounts.{A}.owner: no group of people.yaml has the name tea",
            id="an owner that is no group",
        ),
        pytest.param(
            lambda all_: all_["inventory"]["accounts"][A].update(lead="leads"),
            f"inventory accounts.{A}.lead: no group of people.yaml has the name leads",
            id="a lead that is no group",
        ),
        pytest.param(
            lambda all_: all_["inventory"]["accounts"][B].update(supernets=["10.1.0.0/16", "10.0.0.0/8"]),
            f"inventory accounts.{B}.supernets: 10.1.0.0/16 lies within 10.0.0.0/8, which is listed beside it:"
            " leave one of them out",
            id="a range within another",
        ),
        pytest.param(
            lambda all_: all_["inventory"]["accounts"][B].update(supernets=["10.0.0.0/8", "10.1.0.0/16"]),
            f"inventory accounts.{B}.supernets: 10.1.0.0/16 lies within 10.0.0.0/8, which is listed beside it:"
            " leave one of them out",
            id="the same in the other order",
        ),
        pytest.param(
            lambda all_: all_["issuers"]["tickets"]["keys"]["keys"].append(jwk("k2") | {"kid": "k1"}),
            "issuers issuers.tickets.keys.keys.1.kid: another key has the name k1, of tickets: a name belongs to one key",
            id="two keys with one name",
        ),
        pytest.param(
            lambda all_: all_["issuers"].update(zone=all_["issuers"]["tickets"] | {"keys": {"keys": [jwk("k1")]}}),
            "issuers issuers.zone.keys.keys.0.kid: another key has the name k1, of tickets: a name belongs to one key\n"
            "issuers issuers.zone.keys.keys.0.x: k1 is the same key: a key has one name, and belongs to one issuer",
            id="one key of two issuers",
        ),
        pytest.param(
            lambda all_: all_["issuers"]["tickets"].update(accounts=["3000000000000003"]),
            "issuers issuers.tickets.accounts: no account of accounts.yaml is 3000000000000003",
            id="a scope over an account that is not listed",
        ),
        pytest.param(
            lambda all_: all_["issuers"]["tickets"].update(ecrs=["ecr-another"]),
            "issuers issuers.tickets.ecrs: no router of accounts.yaml is ecr-another",
            id="a scope over a router that is not listed",
        ),
        pytest.param(
            lambda all_: all_["issuers"].update(desk=all_["issuers"].pop("tickets")),
            "issuers issuers.desk: desk is built in and may not be listed: no system speaks for people",
            id="a system that speaks for people",
        ),
        pytest.param(
            lambda all_: all_["people"]["persons"]["bo"]["subjects"].append("tickets:Ann@example.com"),
            "people persons.bo.subjects.1: tickets:Ann@example.com belongs to ann: one name belongs to one person",
            id="one name of two persons, in other letters",
        ),
        pytest.param(
            lambda all_: all_["people"]["persons"]["bo"]["subjects"].append("tickets:bo@example.com"),
            "people persons.bo.subjects.1: tickets:bo@example.com is there twice",
            id="a name twice",
        ),
        pytest.param(
            lambda all_: all_["people"]["groups"]["team"].append("bob"),
            "people groups.team: no person has the name bob",
            id="a member who is nobody",
        ),
        pytest.param(
            lambda all_: all_["people"]["groups"]["team"].append("bo"),
            "people groups.team: bo is there twice",
            id="a member twice",
        ),
        pytest.param(
            lambda all_: all_["people"].update(
                delegations=[{"of": "an", "to": "b", "from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}]
            ),
            "people delegations.0.of: no person has the name an\npeople delegations.0.to: no person has the name b",
            id="a delegation between nobody and nobody",
        ),
    ],
)
def test_what_cannot_be_true_is_refused_with_its_place(change: Callable[[Document], object], told: str) -> None:
    """The configuration does not exist then, in a bundle neither."""
    document = changed(change)
    assert "\n".join(f"{one.part} {'.'.join(map(str, one.path))}: {one.text}" for one in odd(document)) == told
    assert all(one.refused for one in odd(document))
    first = told.split("\n", maxsplit=1)[0].partition(" ")[2]
    assert first in refused(bundle("one", document=document).text)


def test_two_accounts_with_the_same_addresses_are_odd_and_no_more() -> None:
    """Behind different routers it may be meant."""
    document = changed(lambda all_: all_["inventory"]["accounts"][A].update(supernets=["10.9.0.0/16", "11.0.0.0/8"]))
    [found] = odd(document)
    assert (found.text, found.refused) == (f"10.0.0.0/8 overlaps 10.9.0.0/16 of account {A}", False)
    Configuration.model_validate(document)


def test_a_provider_that_is_nearly_an_issuer_is_odd_and_no_more() -> None:
    """A sign-in's name stands nowhere here, so it may be one."""
    document = changed(lambda all_: all_["people"]["persons"]["bo"].update(subjects=["ticket:bo", "chat:bo"]))
    [found] = odd(document)
    assert (found.text, found.refused) == ("ticket is no issuer's name, though nearly one", False)
    Configuration.model_validate(document)


# -- issuers and people ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"accounts": "every"}, "accounts"),
        ({"accounts": []}, "accounts"),
        ({"accounts": [2]}, "accounts"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["CEN"]}, "kinds"),
        ({"sides": []}, "sides"),
        ({"longest_days": 0}, "longest_days"),
        ({"longest_days": 1.5}, "longest_days"),
        ({"longest_days": True}, "longest_days"),
        ({"everyone": "yes"}, "everyone"),
        ({"keeps_four_eyes": 1}, "keeps_four_eyes"),
        ({"keys": {"keys": [jwk("k1") | {"d": "x"}]}}, "d\n"),
        ({"keys": {"keys": [jwk("k1") | {"crv": "X25519"}]}}, "crv"),
        ({"keys": {"keys": [jwk("k1") | {"state": "lost"}]}}, "state"),
    ],
)
def test_a_scope_says_what_it_says(change: Document, told: str) -> None:
    """Nothing is guessed at that would let somebody vouch for more."""
    with pytest.raises(ValidationError, match=told):
        Configuration.model_validate(changed(lambda all_: all_["issuers"]["tickets"].update(change)))


@pytest.mark.parametrize("field", ["accounts", "ecrs", "kinds", "longest_days", "keys"])
def test_a_scope_leaves_nothing_to_be_assumed(field: str) -> None:
    """A list that was forgotten means neither nothing nor everything: it is missing."""
    with pytest.raises(ValidationError, match=f"{field}\n.*required"):
        Configuration.model_validate(changed(lambda all_: all_["issuers"]["tickets"].pop(field)))


def test_a_scope_has_one_side_unless_it_says_so() -> None:
    """Account B's; and neither everyone's leases nor its own four eyes."""
    rights = Configuration.model_validate(content()).issuers["tickets"]
    assert rights.sides == ["grant"]
    assert (rights.everyone, rights.keeps_four_eyes, rights.longest_days) == (False, False, 90)
    both = {"sides": ["grant", "associate", "grant"], "accounts": "any", "ecrs": "any", "longest_days": None}
    rights = Configuration.model_validate(changed(lambda all_: all_["issuers"]["tickets"].update(both))).issuers[
        "tickets"
    ]
    assert (rights.sides, rights.accounts, rights.ecrs) == (["associate", "grant"], "any", "any")


def test_a_person_is_found_by_a_name_letter_by_letter() -> None:
    """A name that nobody listed is nobody's, in other letters or of another system too."""
    people = Configuration.model_validate(content()).people
    assert people.person("tickets", "ann@example.com") == "ann"
    assert people.person("tickets", "Ann@example.com") is None
    assert people.person("portal", "ann@example.com") is None
    assert people.members("team") == {"ann", "bo"}
    assert people.members("nobody") == people.members(None) == frozenset()


@pytest.mark.parametrize(
    "subject",
    ["ann", "tickets:", "Tickets:ann", "tickets: ann", "tickets:ann ", "tickets:a\u200bnn", "tickets:a\nb", ":ann"],
)
def test_a_subject_is_a_provider_and_a_name(subject: str) -> None:
    """A name that does not look like what it is would be somebody else's."""
    document = changed(lambda all_: all_["people"]["persons"]["ann"].update(subjects=[subject]))
    with pytest.raises(ValidationError, match="must "):
        Configuration.model_validate(document)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"to": "ann"}, "ann cannot delegate to ann, who is the same person"),
        ({"until": "2026-01-01T00:00:00Z"}, "until must be later than from"),
        ({"until": "2026-02-01"}, "must be an ISO 8601 time"),
    ],
)
def test_a_delegation_is_of_one_to_another_for_a_time(change: Document, told: str) -> None:
    """Anything else is refused."""
    one = {"of": "ann", "to": "bo", "from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"} | change
    with pytest.raises(ValidationError, match=told):
        People.model_validate({"version": 1, "delegations": [one]})


def test_a_delegation_holds_from_its_start_until_before_its_end() -> None:
    """To the second."""
    one = {"of": "ann", "to": "bo", "from": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
    [delegation] = People.model_validate({"version": 1, "delegations": [one]}).delegations
    day = [datetime(2026, 1, number, tzinfo=UTC) for number in (1, 2, 3)]
    assert [delegation.holds(one) for one in day] == [False, True, False]
