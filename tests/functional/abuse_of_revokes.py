"""What is tried against leases that stand: revokes with a fault, and revokes of what is another issuer's."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.functional.abuse_of_seals import reheaded
from tests.functional.approvals import request_id
from tests.functional.letters import Case, Ground, Letter, b64, by, compact, for_days, headed, posted, saying, signed_by


def closing_more(letter: Letter, _: Ground) -> Letter:
    """It names one lease, and is altered to name all."""
    more = b64(compact({**letter.content, "closes": "all"}))
    return replace(letter, post=lambda form: json.dumps({**form, "payload": more}))


def replacing(letter: Letter, ground: Ground) -> Letter:
    """Another issuer's lease on the same VPC, which says that it replaces this one."""
    return ground.letter(issuer="tickets", replaces=letter.content["closes"])


REVOKES = (
    Case(
        "an unsealed revoke",
        "Unsealed",
        "the approval is not sealed",
        "who can write to the queue could take everything down",
        lambda letter, _: replace(letter, post=lambda _: json.dumps(letter.content)),
    ),
    Case("a forged revoke", "SealForged", "was altered", "as above", signed_by("attacker-1")),
    Case("a revoke altered to close more", "SealForged", "was altered", "whoever carries it would", closing_more),
    Case(
        "a truncated revoke",
        "SealUnreadable",
        "signature: must be",
        "a part would be taken for the whole",
        posted(lambda form: json.dumps({**form, "signature": form["signature"][:-2]})),
    ),
    Case(
        "a revoke by an unknown key",
        "UnknownKey",
        "belongs to no issuer",
        "anybody can make one",
        headed(kid="attacker-1"),
    ),
    Case(
        "a revoke in another issuer's name",
        "WrongIssuer",
        "issuer: is self-service, but the key tickets-1 is that of tickets",
        "each issuer could close what is every other's",
        headed(kid="tickets-1"),
    ),
    Case(
        "a revoke by a compromised key",
        "KeyCompromised",
        "is compromised",
        "whoever has it could take everything down",
        headed(kid="self-service-x"),
    ),
    Case(
        "a revoke for another deployment",
        "WrongAudience",
        "ecr-grants-rehearsal",
        "a rehearsal would take production down",
        headed(aud="ecr-grants-rehearsal"),
    ),
    Case("a readdressed revoke", "SealForged", "was altered", "as above", reheaded(aud="ecr-grants-production")),
    Case(
        "a revoke of everyone's leases without the right",
        "BeyondScope",
        "closes: it may not close everyone's leases",
        "one system would take down what others rest on",
        saying(closes="everyone"),
    ),
    Case(
        "a revoke beyond the scope",
        "BeyondScope",
        "instance.owner_uid: account",
        "as above, in an account that it may not speak for",
        lambda letter, ground: letter.saying(instance={**letter.content["instance"], "owner_uid": ground.stranger}),
        by("narrow", **for_days(30)),
    ),
)

TOUCHED_NOTHING = (
    Case(
        "a revoke that names another issuer's request",
        "Done",
        "",
        "request ids are no secrets",
        lambda letter, _: letter.saying(issuer="tickets", request_id=request_id()),
    ),
    Case(
        "a revoke of all, by another issuer",
        "Done",
        "",
        "all are all of its own",
        lambda letter, _: letter.saying(issuer="tickets", request_id=request_id(), closes="all"),
    ),
    Case("a lease that replaces another issuer's", "Done", "", "as above, by opening one", replacing),
)
