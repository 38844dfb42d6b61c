"""Who may what, as the same policy answers that decides: told for a person, and for an account."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.ledger.transactions import Ledger
from shared.loop.rights import Right, rights
from shared.rules.facts import Side
from shared.rules.questions import Command
from shared.rules.shipped import POLICY
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import NOW, Database, key
from tests.ledger.room import DAY, PEOPLE, at, people_decide

A, B = key().ecr_owner_uid, key().instance_owner_uid

GROUPS = {**PEOPLE, "groups": {**PEOPLE["groups"], "operators": ["owner"]}}


@pytest.fixture
def gated(ledger: Ledger, database: Database) -> Gated:
    """The shipped policy; the lead of account B has delegated for a day."""
    if database.kind == "postgresql":
        pytest.skip("no statement is made for it")
    lasts = {"of": "second-owner", "to": "deputy", "from": at(NOW).isoformat(), "until": at(NOW + DAY).isoformat()}
    apply(ledger, people_decide(people={**GROUPS, "delegations": [lasts]}))
    return Gated(ledger)


def told(gated: Gated, person: str, uid: str, later: int = 0) -> Right | None:
    """What this one may."""
    return next(rights(gated.opened().standing, [(person, uid)], at(NOW) + timedelta(milliseconds=later)), None)


def test_each_may_what_policy_says(gated: Gated) -> None:
    """Owners see and decide, on their own account and for its side; one with routers may be either side."""
    owner, router = told(gated, "owner", B), told(gated, "router-lead", A)
    assert owner is not None
    assert router is not None
    assert (owner.sees, owner.asks, owner.decides, owner.leads) == (True, True, (Side.GRANT,), False)
    assert (router.sees, router.decides, router.leads) == (True, tuple(Side), True)
    other = told(gated, "second-owner", A)
    assert other is not None
    assert (other.sees, other.asks, other.decides) == (False, True, ())


def test_whom_somebody_delegated_to_decides_for_so_long(gated: Gated) -> None:
    """Instead of whoever did."""
    deputy = told(gated, "deputy", B)
    assert deputy is not None
    assert (deputy.decides, deputy.instead_of, deputy.sees) == ((Side.GRANT,), ("second-owner",), True)
    late = told(gated, "deputy", B, DAY)
    assert late is not None
    assert (late.decides, late.instead_of, late.sees) == ((), (), False)


def test_of_whom_nobody_knows_there_is_nothing(gated: Gated) -> None:
    """By the shipped policy only known people ask."""
    assert told(gated, "nobody-at-all", B) is None


def test_a_rule_more_is_told(gated: Gated) -> None:
    """What a forbid takes away is not there, and what a permit gives is."""
    rules = (
        '@id("no-ask") @advice("You must not.") forbid (principal, action == Action::"ask", resource);\n'
        '@id("no-yes") @advice("You must not.") forbid (principal == Person::"owner", action == Action::"decide", resource);\n'
        '@id("no-hold") @advice("You must not.") forbid (principal, action == Action::"operate", resource)'
        ' when { context.command == Command::"hold" };\n'
        '@id("all") permit (principal == Person::"stranger", action == Action::"see", resource);\n'
    )
    before = told(gated, "owner", B)
    assert before is not None
    assert before.operates == (Command.HOLD, Command.LIFT)
    apply(gated.ledger, people_decide(people=GROUPS).model_copy(update={"policy": POLICY + rules}))
    owner, stranger = told(gated, "owner", B), told(gated, "stranger", A)
    assert owner is not None
    assert stranger is not None
    assert (owner.asks, owner.decides, owner.sees) == (False, (), True)
    assert stranger.sees
    assert owner.operates == (Command.LIFT,)
    assert stranger.operates == ()
