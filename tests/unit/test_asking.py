"""What becomes of an approval before policy is asked, and what policy is asked then."""

from __future__ import annotations

import pytest

from shared.errors import NotAllowed
from shared.rules.asking import asked_about
from shared.rules.configuration import Configuration
from shared.rules.vouching import vouch
from tests.unit.configurations import ECR, account, content, jwk
from tests.unit.conftest import MakeApproval
from tests.unit.issuing import ISSUER, A, B, at, later, revoke

NARROW = {"keys": {"keys": [jwk("k1")]}, "accounts": [B], "ecrs": [ECR], "kinds": ["VPC"], "longest_days": 90}
WIDE = NARROW | {"keys": {"keys": []}, "accounts": "any", "ecrs": "any", "longest_days": None}
PEOPLE = {
    "version": 1,
    "persons": {
        "req": {"subjects": [f"{ISSUER}:requester@example.com"]},
        "app": {"subjects": [f"{ISSUER}:approver@example.com"]},
    },
    "groups": {"team": ["req", "app"]},
}
LISTED = Configuration.model_validate(content(issuers={ISSUER: NARROW, "portal": WIDE}, people=PEOPLE))
BOUNDED = {"ends_at": later(days=90), "on_end": "teardown"}


def test_policy_is_asked_about_what_is_within_the_scope_and_listed(approve: MakeApproval) -> None:
    """With the approval's issuer, its rights and the people that the configuration has, and as of now."""
    approval = approve(**BOUNDED)
    asked = asked_about(approval, LISTED, at(2.5))
    assert asked == vouch(approval, ISSUER, LISTED.issuers[ISSUER], LISTED.inventory, LISTED.people, at(2.5))
    assert (asked.principal.id, asked.resource.id) == (ISSUER, approval.grant.grant_id)
    assert (asked.context["age"], asked.context["four_eyes"]) == (2, {"type": "FourEyes", "id": "kept"})


def test_the_scope_is_that_of_the_approvals_own_issuer(approve: MakeApproval) -> None:
    """What one issuer may vouch for, another may not."""
    asked_about(approve(issuer="portal"), LISTED, at())
    with pytest.raises(NotAllowed, match=f"^beyond the scope of {ISSUER}: ends_at: it must name an end"):
        asked_about(approve(), LISTED, at())


def test_what_is_not_listed_is_refused_before_policy_is_asked(approve: MakeApproval) -> None:
    """Whatever the issuer's scope is. Closing is asked about all the same: it is the safe direction."""
    inventory = {"version": 1, "accounts": {A: account(), B: account()}}
    unlisted = Configuration.model_validate(content(issuers={ISSUER: WIDE}, inventory=inventory, people=PEOPLE))
    with pytest.raises(NotAllowed, match=f"^ecr.id: {ECR} is not listed in the inventory for account {A}$"):
        asked_about(approve(), unlisted, at())
    assert asked_about(revoke(), unlisted, at()).context["opens"] is False
