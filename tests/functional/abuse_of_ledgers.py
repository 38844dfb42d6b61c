"""What somebody tries who may write the database, and nothing else: leases edited or forged, configurations put in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.ledger.configuration import Kept, history
from shared.messages.configuration import payload
from tests.functional.abused import GOOD, House
from tests.functional.letters import Fault, Letter, b64, headed, signed_by


@dataclass(frozen=True)
class Edit:
    """A row of ``approvals`` that is changed after admission. ``column`` gets ``value``, or the seal of another lease.

    ``says``: why nothing is made for it. ``taken_down``: whether what stands was taken down, so that it would be made anew.
    """

    id: str
    column: str
    value: Any
    says: str
    why: str
    taken_down: bool = True


OTHERS = object()
"""The value that another lease has there."""

EDITS = (
    Edit(
        "more routes",
        "allowed_prefixes",
        '["10.20.0.0/16","10.21.0.0/16"]',
        "allowed_prefixes",
        "drift would be mended",
    ),
    Edit(
        "more routes, while it stands",
        "allowed_prefixes",
        '["10.20.0.0/16","10.21.0.0/16"]',
        "allowed_prefixes",
        "the association would be widened",
        taken_down=False,
    ),
    Edit("no end", "ends_at", None, "ends_at", "it would stay for ever"),
    Edit("a later end", "ends_at", 4_102_444_800_000, "ends_at", "as above"),
    Edit("an end that is only reported", "on_end", "report", "on_end", "as above"),
    Edit("an older date", "approved_at", 1_000_000_000_000, "approved_at", "no revoke would close it"),
    Edit("another issuer", "issuer", "tickets", "issuer", "its issuer could not close it any more"),
    Edit("another request", "request_id", "REQ-nobodys", "request_id", "as above"),
    Edit("another digest", "digest", "0" * 64, "digest", "the record would name what nobody approved"),
    Edit("another lease's seal", "seal", OTHERS, "grant", "one approval would serve for another"),
    Edit("no seal", "seal", "", "it was never sealed", "nothing would be proven"),
    Edit("a seal that is none", "seal", '{"payload":"AAAA"}', "protected: is missing", "as above"),
)


@dataclass(frozen=True)
class Forged:
    """A lease that was never admitted. ``seal``: what stands where its seal should."""

    id: str
    seal: Callable[[Letter, Letter], str]
    """From the good letter, and another one of the same issuer."""
    says: str
    why: str


def spoiled(fault: Fault) -> Callable[[Letter, Letter], str]:
    """The good letter with a fault."""
    return lambda letter, _: fault(letter, None).text  # type: ignore[arg-type]  # these faults need no ground


FORGED = (
    Forged("without a seal", lambda *_: "", "it was never sealed", "a row is quickly written"),
    Forged("sealed by nobody's key", spoiled(signed_by("attacker-1")), "was altered", "anybody can sign"),
    Forged("with the seal of another lease", lambda _, other: other.text, "grant", "old seals lie in old rows"),
    Forged(
        "with a seal for another deployment",
        spoiled(headed(aud="ecr-grants-rehearsal")),
        "ecr-grants-rehearsal",
        "those of a rehearsal are easily had",
    ),
    Forged(
        "by a key that belongs to nobody", spoiled(headed(kid="attacker-1")), "belongs to no issuer", "anybody has one"
    ),
    Forged("by a compromised key", spoiled(headed(kid="self-service-x")), "is compromised", "somebody has it"),
    Forged("by another issuer's key", spoiled(headed(kid="tickets-1")), "is that of tickets", "an insider has it"),
    Forged(
        "with more routes than were sealed",
        lambda letter, _: letter.saying(allowed_prefixes=["10.20.0.0/17"]).text,
        "allowed_prefixes",
        "the seal would be real, and the row not what it says",
    ),
)


@dataclass(frozen=True)
class Wrong:
    """A configuration that nobody may believe. ``put``: what is done to the database."""

    id: str
    put: Callable[[House], None]
    says: str
    why: str


def _signed(*signers: tuple[str, str], **changes: Any) -> Callable[[House], None]:
    return lambda house: house.put(house.version(signers=signers, **changes))


def _altered(house: House) -> None:
    kept = house.version(house.content(), signers=GOOD)
    document = json.loads(kept.bundle)
    other = payload(kept.number, kept.previous, house.content("permit (principal, action, resource);").content)
    house.put(replace(kept, bundle=json.dumps({**document, "payload": b64(other)})))


def _twice(house: House) -> None:
    kept = house.version(signers=GOOD[:1])
    document = json.loads(kept.bundle)
    house.put(replace(kept, bundle=json.dumps({**document, "signatures": document["signatures"] * 2})))


def _older(house: House) -> None:
    older, *_, newest = house.ledger.read(history)
    house.put(Kept(newest.number + 1, older.digest, older.previous, older.bundle, newest.applied_at, "tests"))


def _misnamed(house: House) -> None:
    house.put(replace(house.version(signers=GOOD), digest="0" * 64))


def _with_desk(house: House) -> None:
    content: Any = house.content().content
    content["issuers"]["desk"] = content["issuers"]["tickets"] | {"keys": {"keys": []}}
    house.put(house.version(content, signers=GOOD))


def _unsigned(house: House) -> None:
    kept = house.version(signers=GOOD)
    house.put(replace(kept, bundle=json.dumps({**json.loads(kept.bundle), "signatures": []})))


def _set_back(house: House) -> None:
    house.say_newest(house.newest().number - 1)


def _lost(house: House) -> None:
    house.say_newest(house.newest().number + 7)


WRONG: Sequence[Wrong] = (
    Wrong("an unsigned configuration", _unsigned, "signatures", "who writes the database would decide everything"),
    Wrong(
        "signed by a key that may not",
        _signed(("attacker-1", "attacker-1"), GOOD[1]),
        "attacker-1 is not one of the keys that may sign",
        "anybody can sign",
    ),
    Wrong(
        "signed by another key in that name",
        _signed(("configuration-1", "attacker-1"), GOOD[1]),
        "the signature of configuration-1 is not good",
        "anybody can name a key",
    ),
    Wrong("quorum missing", _signed(GOOD[0]), "1 of the keys signed", "one person would decide alone"),
    Wrong("one signer twice", _twice, "configuration-1 has signed twice", "as above"),
    Wrong("altered after signing", _altered, "is not good", "whoever carries it would widen it"),
    Wrong(
        "of another chain",
        _signed(*GOOD, previous="ab" * 32),
        "is not the successor of what stands",
        "what was signed for one deployment would rule another",
    ),
    Wrong(
        "an older configuration put back", _older, "is not the successor of what stands", "lost rights would come back"
    ),
    Wrong("the number set back", _set_back, "is said to be", "as above, without writing a version"),
    Wrong("a number without its version", _lost, "missing", "nobody would know what holds"),
    Wrong(
        "a row that names another digest",
        _misnamed,
        "not the one that its row names",
        "the next one would follow on it",
    ),
    Wrong("an issuer that is the desk", _with_desk, "desk", "a system would seal what people decide"),
)
