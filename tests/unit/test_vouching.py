"""What policy is told of an approval: counted here, and what is not known counts as what no rule lets through."""

from __future__ import annotations

from typing import Any

import pytest

from shared.messages.approval import GrantApproval, RevokeApproval
from shared.rules.facts import Side
from shared.rules.inventory import Inventory
from shared.rules.policy import Policy
from shared.rules.questions import Act, Answer, Command, Entity, FourEyes, Named, Question, TargetKind
from shared.rules.shipped import POLICY
from shared.rules.vouching import ENDLESS, NO_RANGE, four_eyes, operate, vouch
from tests.unit.conftest import MakeApproval
from tests.unit.issuing import ISSUER, PEOPLE, A, B, at, inventory, later, revoke, rights

SHIPPED = Policy(POLICY)


def asked(
    approval: GrantApproval | RevokeApproval, listed: Inventory | None = None, now: int | None = None, **scope: Any
) -> Question:
    """The question about an approval; always one that the schema knows."""
    question = vouch(approval, ISSUER, rights(**scope), listed or inventory(), PEOPLE, at() if now is None else now)
    assert SHIPPED.decide(question).errors == ()
    return question


def test_a_grant_is_told_whole(approve: MakeApproval) -> None:
    """The issuer, the grant and both accounts, and what was counted."""
    approval = approve()
    question = asked(approval, sides=["grant", "associate"], now=at(1.5))
    assert question == Question(
        act=Act.VOUCH,
        principal=Entity(type="Issuer", id=ISSUER),
        resource=Entity(
            type="Grant",
            id=approval.grant.grant_id,
            attrs={
                "ecr": {
                    "id": "ecr-7vrbqv9lcgvzqbwwkm",
                    "owner_uid": A,
                    "owner": {"type": "Group", "id": "network"},
                    "environment": "demo",
                },
                "instance": {
                    "type": {"type": "InstanceType", "id": "VPC"},
                    "id": "vpc-bp1h37fchc6jmfylnqx0k",
                    "region": "cn-hangzhou",
                    "owner_uid": B,
                    "owner": {"type": "Group", "id": "orders"},
                    "environment": "live",
                },
            },
        ),
        context={
            "opens": True,
            "everyone": False,
            "endless": True,
            "hours": ENDLESS,
            "age": 1,
            "prefixes": {"count": 1, "outside": 0, "widest": 16, "supernets": {"type": "Supernets", "id": "listed"}},
            "sides": {"grant": True, "associate": True},
            "leads": {"grant": False, "associate": True},
            "four_eyes": {"type": "FourEyes", "id": "kept"},
            "emergency": False,
        },
    )
    assert SHIPPED.decide(question) == Answer(allowed=True, rules=("issuers-vouch",))


@pytest.mark.parametrize(
    ("changes", "endless", "hours"),
    [
        pytest.param({}, True, ENDLESS, id="no end"),
        pytest.param({"ends_at": later(hours=3)}, True, ENDLESS, id="an end that is only reported"),
        pytest.param({"ends_at": later(hours=3), "on_end": "teardown"}, False, 3, id="whole hours"),
        pytest.param({"ends_at": later(hours=3, milliseconds=1), "on_end": "teardown"}, False, 4, id="rounded up"),
        pytest.param({"ends_at": later(milliseconds=1), "on_end": "teardown"}, False, 1, id="a moment"),
        pytest.param({"on_end": "teardown"}, True, ENDLESS, id="torn down at an end that there is not"),
    ],
)
def test_the_length_of_a_lease(approve: MakeApproval, changes: dict[str, str], endless: bool, hours: int) -> None:
    """From its approval to its end; what is only reported has none."""
    context = asked(approve(**changes)).context
    assert (context["endless"], context["hours"]) == (endless, hours)


@pytest.mark.parametrize(("hours", "age"), [(0, 0), (0.99, 0), (1, 1), (-0.5, -1), (-2, -2)])
def test_the_age_of_an_approval(approve: MakeApproval, hours: float, age: int) -> None:
    """In hours, rounded down: dated ahead is below zero."""
    assert asked(approve(), now=at(hours)).context["age"] == age


@pytest.mark.parametrize(
    ("prefixes", "supernets", "outside", "widest"),
    [
        pytest.param(["10.20.0.0/16"], ["10.20.0.0/16"], 0, 16, id="the very range"),
        pytest.param(["10.20.0.0/15"], ["10.20.0.0/16"], 1, 15, id="wider than what is listed"),
        pytest.param(["10.20.0.0/15"], ["10.20.0.0/16", "10.21.0.0/16"], 0, 15, id="the two halves are listed"),
        pytest.param(["10.20.0.0/16"], ["10.21.0.0/16", "10.22.0.0/15"], 1, 16, id="beside what is listed"),
        pytest.param(["10.20.0.0/16", "10.30.0.0/16"], ["10.20.0.0/16"], 1, 16, id="one in, one out"),
        pytest.param(
            ["10.20.0.0/16", "10.30.0.0/24"], [], 2, 16, id="nothing is listed: nothing is known to be inside"
        ),
        pytest.param(["10.0.0.0/12", "10.16.0.0/12"], ["10.0.0.0/8"], 0, 11, id="two that make a wider one"),
        pytest.param(["10.0.0.0/12", "10.32.0.0/12"], ["10.0.0.0/8"], 0, 12, id="two that do not"),
        pytest.param(["10.20.30.40/32"], ["10.0.0.0/8"], 0, 32, id="an address"),
    ],
)
def test_ranges(approve: MakeApproval, prefixes: list[str], supernets: list[str], outside: int, widest: int) -> None:
    """As they are routed, however they are cut."""
    approval = approve(allowed_prefixes=prefixes)
    assert asked(approval, inventory(supernets=supernets)).context["prefixes"] == {
        "count": len(prefixes),
        "outside": outside,
        "widest": widest,
        "supernets": {"type": "Supernets", "id": "listed" if supernets else "unknown"},
    }


@pytest.mark.parametrize("sides", [["grant"], ["associate"], ["grant", "associate"]])
def test_the_sides_that_are_vouched_for(approve: MakeApproval, sides: list[str]) -> None:
    """As the issuer's scope has them."""
    assert asked(approve(), sides=sides).context["sides"] == {side.value: side in sides for side in Side}


@pytest.mark.parametrize(
    ("changes", "grant", "associate"),
    [
        pytest.param({"approved_by": ["lead-b"]}, True, False, id="account B's lead"),
        pytest.param({"approved_by": ["lead-a"]}, False, True, id="account A's lead"),
        pytest.param({"approved_by": ["lead-a", "lead-b"]}, True, True, id="both"),
        pytest.param({"approved_by": ["lead-b", "nobody"]}, True, False, id="a stranger beside changes nothing"),
        pytest.param({"approved_by": ["nobody"]}, False, False, id="a stranger"),
        pytest.param({"approved_by": ["approver@example.com"]}, False, True, id="a delegate, as long as it holds"),
        pytest.param(
            {"approved_at": later(hours=-0.5)}, True, False, id="the delegations of another moment: of the approval"
        ),
        pytest.param({"approved_at": later(hours=1)}, False, False, id="after the delegations"),
        pytest.param(
            {"approved_by": ["lead-b"], "requested_by": "other"},
            True,
            True,
            id="a lead's delegate, of another's request",
        ),
        pytest.param({"approved_by": ["req2"], "requested_by": "other"}, False, True, id="by another name"),
        pytest.param({"requested_by": "lead-a"}, False, False, id="whoever asks cannot send a delegate"),
    ],
)
def test_whose_lead_agrees(approve: MakeApproval, changes: dict[str, Any], grant: bool, associate: bool) -> None:
    """Among the approvers, or by delegation."""
    assert asked(approve(**changes)).context["leads"] == {"grant": grant, "associate": associate}


def test_an_account_without_a_lead_has_no_lead_that_agrees(approve: MakeApproval) -> None:
    """Whoever approves."""
    assert asked(approve(approved_by=["lead-b"]), inventory(lead=None)).context["leads"] == {
        "grant": False,
        "associate": False,
    }


@pytest.mark.parametrize(
    ("changes", "found", "keeps_them"),
    [
        pytest.param({}, FourEyes.KEPT, FourEyes.KEPT, id="two persons"),
        pytest.param({"approved_by": ["approver@example.com", "lead-a"]}, FourEyes.KEPT, FourEyes.KEPT, id="three"),
        pytest.param({"approved_by": ["requester@example.com"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="the same name"),
        pytest.param({"approved_by": ["ReQuester@example.COM"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="capitals"),
        pytest.param(
            {"approved_by": ["\uff52equester@example.com"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="wide letters"
        ),
        pytest.param({"approved_by": ["req2"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="the same person by an alias"),
        pytest.param(
            {"approved_by": ["approver@example.com", "req2"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="among others"
        ),
        pytest.param(
            {"approved_by": ["nobody", "req2"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="an alias beside a stranger"
        ),
        pytest.param({"approved_by": ["nobody"]}, FourEyes.UNPROVED, FourEyes.OWN, id="a stranger approves"),
        pytest.param(
            {"approved_by": ["approver@example.com", "nobody"]}, FourEyes.UNPROVED, FourEyes.OWN, id="one of two does"
        ),
        pytest.param({"requested_by": "nobody"}, FourEyes.UNPROVED, FourEyes.OWN, id="a stranger asks"),
        pytest.param(
            {"requested_by": "x", "approved_by": ["X"]}, FourEyes.BROKEN, FourEyes.BROKEN, id="a stranger both times"
        ),
        pytest.param(
            {"requested_by": "x", "approved_by": ["y"]}, FourEyes.UNPROVED, FourEyes.OWN, id="two strangers may be one"
        ),
    ],
)
def test_four_eyes(approve: MakeApproval, changes: dict[str, Any], found: FourEyes, keeps_them: FourEyes) -> None:
    """Broken where it can be seen, kept where it is proved; what is between is the issuer's word, if its scope takes it."""
    approval = approve(**changes)
    assert four_eyes(approval, ISSUER, rights(), PEOPLE) is found
    assert four_eyes(approval, ISSUER, rights(keeps_four_eyes=True), PEOPLE) is keeps_them
    assert asked(approval).context["four_eyes"] == {"type": "FourEyes", "id": found.value}


def test_names_are_the_issuers_own(approve: MakeApproval) -> None:
    """Whoever another system calls so is nobody here."""
    approval = approve()
    assert four_eyes(approval, "desk", rights(), PEOPLE) is FourEyes.UNPROVED
    assert vouch(approval, "desk", rights(), inventory(), PEOPLE, at()).principal.id == "desk"


@pytest.mark.parametrize(("closes", "everyone"), [("all", False), ("everyone", True), (["R-1"], False)])
def test_a_revoke_asks_for_nothing(closes: Any, everyone: bool) -> None:
    """So the shipped policy lets it through, whoever approved it."""
    question = asked(revoke(closes=closes, approved_by=["requester@example.com"]), sides=["associate"])
    assert question.context == {
        "opens": False,
        "everyone": everyone,
        "endless": False,
        "hours": 0,
        "age": 0,
        "prefixes": {"count": 0, "outside": 0, "widest": NO_RANGE, "supernets": {"type": "Supernets", "id": "listed"}},
        "sides": {"grant": False, "associate": True},
        "leads": {"grant": False, "associate": True},
        "four_eyes": {"type": "FourEyes", "id": "broken"},
        "emergency": False,
    }
    assert SHIPPED.decide(question).allowed


def test_accounts_that_are_not_listed_are_told_as_unknown() -> None:
    """Closing is asked about for them too."""
    question = asked(revoke(), Inventory(version=1, accounts={}))
    instance, ecr = question.resource.attrs["instance"], question.resource.attrs["ecr"]
    assert isinstance(instance, dict)
    assert isinstance(ecr, dict)
    assert [(part["owner"], part["environment"]) for part in (instance, ecr)] == [({"type": "Group", "id": ""}, "")] * 2
    assert question.context["leads"] == {"grant": False, "associate": False}


@pytest.mark.parametrize(
    ("who", "principal"),
    [
        pytest.param(
            "req",
            Entity(
                type="Person",
                id="req",
                attrs={"known": True},
                parents=(Named(type="Group", id="a-leads"), Named(type="Group", id="all")),
            ),
            id="somebody known, in groups",
        ),
        pytest.param(
            "stranger", Entity(type="Person", id="login:stranger", attrs={"known": False}), id="somebody who is not"
        ),
        pytest.param(
            "app", Entity(type="Person", id="login:app", attrs={"known": False}), id="a person's name is no login"
        ),
    ],
)
def test_operating(who: str, principal: Entity) -> None:
    """Who, by the name they log in with; the command; and what it changes."""
    question = operate(who, Command.DEAD_REDRIVE, TargetKind.GRANT, "g-1", PEOPLE)
    assert question == Question(
        act=Act.OPERATE,
        principal=principal,
        resource=Entity(type="Target", id="g-1", attrs={"kind": {"type": "TargetKind", "id": "grant"}}),
        context={
            "command": {"type": "Command", "id": "dead-redrive"},
            "via": {"type": "Via", "id": "ledger"},
            "fresh": False,
        },
    )
    assert SHIPPED.decide(question) == Answer(allowed=True, rules=("people-operate",))
