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
from tests.chaos.model_world import ACCOUNTS, DAY, HOUR, LISTS_A_ALONE, written
from tests.chaos.reference import Version
from tests.chaos.turns import START
from tests.configured import DEPLOYMENT, PERMITS, SIGNER, public, rights

ISSUERS = ("direct", "tickets", "forms")
EVERYONE = "forms"  # whose revokes may close what others opened
STRANGER = "stranger-1"  # signs, and is nobody to this deployment
MOST_KEYS = 4
OWNERS = {"grant": ("own-b", "own-b2"), "associate": ("own-a", "own-a2")}
PERSONS = ("asker", "deputy", *OWNERS["grant"], *OWNERS["associate"])
DELEGATION = "own-b", "deputy", START - DAY, START + 6 * HOUR
SHUT = '@id("shut") @advice("You must wait.") forbid (principal, action == Action::"vouch", resource) when { context.opens };'
_DESK = 'forbid (principal == Issuer::"desk", action == Action::"vouch", resource)'
PEOPLES = "\n".join(
    (
        '@id("owners") @advice("You must own it.")',
        'forbid (principal, action == Action::"decide", resource) unless { context.owner };',
        '@id("found") @advice("You must put it right.")',
        'forbid (principal, action == Action::"decide", resource) when { context.agrees } unless { context.failed == 0 };',
        f'@id("b-side") @advice("You must have B agree.") {_DESK} when {{ context.opens }}',
        "unless { context.sides.grant || (context.emergency && context.sides.associate) };",
        f'@id("endless") @advice("You must have both agree.") {_DESK} when {{ context.opens && context.endless }}',
        "unless { context.sides.grant && context.sides.associate };",
        f'@id("answered") @advice("You must have an owner agree.") {_DESK} when {{ !context.opens }}',
        "unless { context.sides.grant || context.sides.associate };",
    )
)
STRICT = (
    f'@id("strict") @advice("You must have both agree.") {_DESK} when {{ context.opens && !context.emergency }}\n'
    "unless { context.sides.grant && context.sides.associate };"
)


@dataclass(frozen=True)
class Decided:
    """What people have decided. ``keys``: the states of each issuer's keys, the one that it seals with last."""

    keys: tuple[tuple[str, tuple[str, ...]], ...] = tuple((issuer, ("active",)) for issuer in ISSUERS)
    unlisted: frozenset[str] = frozenset()  # issuers
    listed: bool = True  # account B
    shut: bool = False
    left: frozenset[str] = frozenset()  # owners who are no longer in their group
    delegated: bool = True
    strict: bool = False

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
        owners = {side: frozenset({*who, "somebody"} - self.left) for side, who in OWNERS.items()}
        return Version(
            number,
            self.listed,
            states | {"desk": "active"},
            self.shut,
            owners=owners,
            delegations=(DELEGATION,) if self.delegated else (),
            strict=self.strict,
        )


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
    persons = {"somebody": {"subjects": ["login:somebody"]}}
    people: dict[str, object] = {"version": 1}
    people["persons"] = persons | {name: {"subjects": [f"desk:{name}", f"other:{name}"]} for name in PERSONS}
    people["groups"] = {
        role: ["somebody", *(one for one in OWNERS[side] if one not in decided.left)]
        for role, side in (("hub", "associate"), ("spoke", "grant"))
    }
    of, to, since, until = DELEGATION
    if decided.delegated:
        people["delegations"] = [{"of": of, "to": to, "from": written(since), "until": written(until)}]
    content = {
        "inventory": {"version": 1, "accounts": ACCOUNTS if decided.listed else LISTS_A_ALONE},
        "issuers": {name: one for name, one in issuers.items() if name not in decided.unlisted},
        "people": people,
        "policy": "\n".join(
            [PERMITS, PEOPLES, *([SHUT] if decided.shut else []), *([STRICT] if decided.strict else [])]
        ),
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
