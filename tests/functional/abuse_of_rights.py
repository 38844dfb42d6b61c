"""What issuers try beyond their scope, and what policy forbids: well sealed, each refused for its own reason."""

from __future__ import annotations

from typing import Any

from shared.rules.policy import Policy
from shared.rules.shipped import POLICY as SHIPPED
from tests.functional.letters import Case, Fault, Good, Ground, Letter, by, for_days, saying

WIDE = ["10.0.0.0/11"]
HALVES = ["10.0.0.0/12", "10.16.0.0/12"]
LEADS = ["hub-lead@example.com", "spoke-lead@example.com"]


def narrow(**changes: Any) -> Good:
    """A good letter of the issuer that may vouch for some accounts, VPCs, and thirty days."""
    return by("narrow", **for_days(30), **changes)


def elsewhere(letter: Letter, ground: Ground) -> Letter:
    """On an account that is listed, and not among the issuer's."""
    instance = {**letter.content["instance"], "owner_uid": ground.stranger, "id": ground.strange_vpc}
    return letter.saying(instance=instance)


def on_the_vbr(letter: Letter, ground: Ground) -> Letter:
    """The same for a VBR of the account."""
    instance = {**letter.content["instance"], "type": "VBR", "id": ground.vbr}
    return letter.saying(instance=instance, allowed_prefixes=[])


SCOPE = (
    Case(
        "an account beyond the scope",
        "BeyondScope",
        "instance.owner_uid: account",
        "one team's system would open another team's VPCs",
        elsewhere,
        narrow(),
    ),
    Case(
        "an ECR beyond the scope",
        "BeyondScope",
        "ecr.id:",
        "a VPC would be joined to a network that nobody gave it",
        lambda letter, ground: letter.saying(ecr=ground.hub),
        narrow(),
    ),
    Case(
        "a kind beyond the scope",
        "BeyondScope",
        "instance.type: it vouches for VPC only",
        "a leased line is not a VPC",
        on_the_vbr,
        narrow(),
    ),
    Case(
        "longer than the scope",
        "BeyondScope",
        "ends_at: at most 30 days",
        "what may be for a month would stay for years",
        saying(**for_days(31)),
        narrow(),
    ),
    Case(
        "endless, beyond the scope",
        "BeyondScope",
        "ends_at: it must name an end",
        "as above",
        lambda letter, _: letter.saying(ends_at=None, on_end="report"),
        narrow(),
    ),
    Case(
        "an end that is only reported, beyond the scope",
        "BeyondScope",
        "on_end: it must be teardown",
        "what is only reported stays",
        saying(on_end="report"),
        narrow(),
    ),
    Case(
        "an account that is not listed",
        "NotAllowed",
        "instance.owner_uid: account 9999999999999999 is not listed",
        "a seal is no reason to enter an account",
        lambda letter, _: letter.saying(instance={**letter.content["instance"], "owner_uid": "9999999999999999"}),
    ),
    Case(
        "an ECR that is not listed",
        "NotAllowed",
        "ecr.id: ecr-nobodylistedit is not listed",
        "as above",
        lambda letter, _: letter.saying(ecr={**letter.content["ecr"], "id": "ecr-nobodylistedit"}),
    ),
)

ADVICE = {rule.id: rule.advice for rule in Policy(SHIPPED).rules}


def forbidden(name: str, rule: str, why: str, fault: Fault, good: Good = Ground.letter) -> Case:
    """What one rule of the shipped policy forbids."""
    return Case(name, "PolicyForbids", ADVICE[rule], why, fault, good, rule)


POLICY = (
    forbidden(
        "account B's side not vouched for",
        "instance-side",
        "account A would expose account B's network",
        saying(issuer="hub-desk"),
        by("spoke-desk", **for_days(30)),
    ),
    forbidden(
        "endless with one side vouched for",
        "endless-both-sides",
        "one side would bind the other for ever",
        saying(ends_at=None),
        by("spoke-desk", **for_days(30)),
    ),
    forbidden(
        "an end that is only reported with one side vouched for",
        "endless-both-sides",
        "what is only reported counts as endless",
        saying(on_end="report"),
        by("spoke-desk", **for_days(30)),
    ),
    forbidden(
        "a lease that is too long",
        "longest-lease",
        "nobody would look at it again for years",
        saying(**for_days(91)),
        by("self-service", **for_days(90)),
    ),
    forbidden(
        "outside the supernets",
        "inside-supernets",
        "account A would route somebody else's addresses there",
        saying(allowed_prefixes=["172.16.0.0/16"]),
    ),
    forbidden(
        "one prefix of two outside the supernets",
        "inside-supernets",
        "the good one would cover for the other",
        saying(allowed_prefixes=["10.20.0.0/16", "172.16.0.0/16"]),
    ),
    forbidden(
        "a supernet's own supernet",
        "inside-supernets",
        "it holds what is listed and more",
        saying(allowed_prefixes=["8.0.0.0/5"]),
        by("self-service", approved_by=LEADS),
    ),
    forbidden(
        "a wide range without the leads",
        "wide-range",
        "half a network would go there",
        saying(approved_by=["approver@example.com"]),
        by("self-service", allowed_prefixes=WIDE, approved_by=LEADS),
    ),
    forbidden(
        "a wide range in two halves",
        "wide-range",
        "two halves are routed as the whole",
        saying(approved_by=["approver@example.com"]),
        by("self-service", allowed_prefixes=HALVES, approved_by=LEADS),
    ),
    forbidden(
        "a wide range with one side's lead",
        "wide-range",
        "both sides have to agree",
        saying(approved_by=LEADS[:1]),
        by("self-service", allowed_prefixes=WIDE, approved_by=LEADS),
    ),
    forbidden(
        "self-approval",
        "four-eyes",
        "nobody else would have looked",
        saying(approved_by=["requester@example.com"]),
    ),
    forbidden(
        "self-approval where the issuer says that it sees to that",
        "four-eyes",
        "it visibly does not",
        saying(approved_by=["requester@example.com"]),
        by("direct"),
    ),
    forbidden(
        "self-approval by capitals",
        "four-eyes",
        "as above",
        saying(approved_by=["Requester@Example.com"]),
        by("direct"),
    ),
    forbidden(
        "self-approval by an alias",
        "four-eyes",
        "one person with two names would be two pairs of eyes",
        saying(approved_by=["requester-on-call@example.com"]),
    ),
    forbidden(
        "self-approval beside somebody else",
        "four-eyes",
        "a requester decides nothing, also not in company",
        saying(approved_by=["approver@example.com", "requester-on-call@example.com"]),
    ),
    forbidden(
        "an approver whom nobody knows",
        "four-eyes",
        "it may be the requester by another name",
        saying(approved_by=["somebody@example.com"]),
    ),
    forbidden(
        "a requester whom nobody knows",
        "four-eyes",
        "it may be the approver by another name",
        saying(requested_by="somebody@example.com"),
    ),
    Case(
        "a rule that errs",
        "PolicyFailed",
        "integer overflow",
        "Cedar skips a forbid that errs, and would permit",
        saying(allowed_prefixes=["10.20.0.0/16", "10.22.0.0/16"]),
        by("brittle"),
    ),
)

ERRS = """
@id("brittle") @advice("You must never see this.")
forbid (principal == Issuer::"brittle", action == Action::"vouch", resource)
when { context.prefixes.count * 9223372036854775807 < 0 };
"""
"""A rule that fits the schema, and overflows where there are two prefixes."""
