"""What is decided about accounts, issuers and keys in the model test, and the versions of the configuration that say so."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache

from examples.keys import key as example_key
from shared.ledger.configuration import Kept, apply_version, newest_versions
from shared.ledger.tables import configurations
from shared.ledger.transactions import Ledger
from shared.messages.configuration import payload, signed
from shared.rules.configuration import Configuration, digest_of
from tests.chaos.model_world import ACCOUNTS, LISTS_A_ALONE
from tests.chaos.reference import Version
from tests.configured import DEPLOYMENT, PERMITS, SIGNER, public, rights

ISSUERS = ("direct", "tickets", "forms")
EVERYONE = "forms"  # whose revokes may close what others opened
STRANGER = "stranger-1"  # signs, and is nobody to this deployment
MOST_KEYS = 4
SHUT = '@id("shut") @advice("You must wait.") forbid (principal, action == Action::"vouch", resource) when { context.opens };'


@dataclass(frozen=True)
class Decided:
    """What people have decided. ``keys``: the states of each issuer's keys, the one that it seals with last."""

    keys: tuple[tuple[str, tuple[str, ...]], ...] = tuple((issuer, ("active",)) for issuer in ISSUERS)
    unlisted: frozenset[str] = frozenset()  # issuers
    listed: bool = True  # account B
    shut: bool = False

    def keys_of(self, issuer: str) -> tuple[str, ...]:
        """The states of an issuer's keys."""
        return dict(self.keys)[issuer]

    def with_keys(self, issuer: str, states: tuple[str, ...]) -> Decided:
        """The same, with other keys of one issuer."""
        return replace(self, keys=tuple((name, states if name == issuer else had) for name, had in self.keys))

    def version(self, number: int) -> Version:
        """The same for the reference."""
        states = {
            kid(issuer, place): state
            for issuer, had in self.keys
            if issuer not in self.unlisted
            for place, state in enumerate(had)
        }
        return Version(number, self.listed, states, self.shut)


def kid(issuer: str, place: int) -> str:
    """The name of an issuer's key."""
    return f"{issuer}-{place + 1}"


@cache
def _content(decided: Decided) -> dict[str, object]:
    issuers = {}
    for issuer, states in decided.keys:
        keys = [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "kid": kid(issuer, place),
                "state": state,
                "x": _public(kid(issuer, place)),
            }
            for place, state in enumerate(states)
        ]
        issuers[issuer] = rights(issuer, keys={"keys": keys}, everyone=issuer == EVERYONE)
    people = {"version": 1, "persons": {"somebody": {"subjects": ["login:somebody"]}}}
    people["groups"] = {role: ["somebody"] for role in ("hub", "spoke")}
    content = {
        "inventory": {"version": 1, "accounts": ACCOUNTS if decided.listed else LISTS_A_ALONE},
        "issuers": {name: one for name, one in issuers.items() if name not in decided.unlisted},
        "people": people,
        "policy": f"{PERMITS}\n{SHUT}" if decided.shut else PERMITS,
    }
    return Configuration.model_validate_json(json.dumps(content)).content


@cache
def _public(name: str) -> str:
    return public(example_key(name))


@cache
def _signed(decided: Decided, number: int, previous: str, signer: str) -> tuple[str, str]:
    """A bundle and its digest."""
    raw = payload(number, previous, _content(decided))
    return signed(raw, signer, example_key(signer)).text, digest_of(raw)


def apply(ledger: Ledger, decided: Decided, now: int, *, signer: str = SIGNER, damaged: bool = False) -> int:
    """Make this the newest version, whoever signed it. Returns its number. ``damaged``: the ledger has only a piece of it."""
    number, _, found = ledger.read(newest_versions, 0)
    previous = found[-1].digest if found else ""
    text, digest = _signed(decided, number + 1, previous, signer)
    kept = Kept(number + 1, digest, previous, text, now, "somebody")
    ledger.write(apply_version, kept, signers=[signer], difference=["as it is decided"], deployment=DEPLOYMENT)
    if damaged:
        _write(ledger, number + 1, text[:-40])
    return number + 1


def restore(ledger: Ledger, decided: Decided) -> None:
    """What the ledger has of the newest version is as it was signed again."""
    number, _, found = ledger.read(newest_versions, 0)
    text, digest = _signed(decided, number, found[-1].previous, SIGNER)
    assert digest == found[-1].digest
    _write(ledger, number, text)


def _write(ledger: Ledger, number: int, bundle: str) -> None:
    """As somebody does who may write the database, and nothing else."""
    with ledger.engine.begin() as connection:
        connection.execute(configurations.update().where(configurations.c.number == number).values(bundle=bundle))
