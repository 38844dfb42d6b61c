"""What an operator decides and what issuers seal, for tests: a configuration that lets every issuer of theirs vouch for all.

Its policy permits everything: what rules say is tried where rules are meant.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from examples.keys import key as example_key
from examples.seal import sealed as by_hand
from shared.ledger.configuration import Kept, apply_version, newest_versions
from shared.ledger.transactions import Ledger
from shared.messages.configuration import payload, signed
from shared.rules.configuration import Configuration, verified

DEPLOYMENT = "ecr-grants-example"
SIGNER = "tests-1"
ISSUERS = ("self-service", "tickets", "direct", "forms")
PERMITS = "\n".join(
    f'@id("may-{act}") permit (principal, action == Action::"{act}", resource);'
    for act in ("see", "ask", "decide", "vouch", "operate")
)

Json = dict[str, Any]


def public(key: Ed25519PrivateKey) -> str:
    """The public half of a key, as configurations have it."""
    return str(OKPKey.import_key(key).as_dict(private=False)["x"])


CONFIG_KEYS = {SIGNER: public(example_key(SIGNER))}
CONFIG_KEYS_TEXT = ",".join(f"{name}:{x}" for name, x in CONFIG_KEYS.items())


def kid_of(issuer: str) -> str:
    """The name of the key that an issuer of the tests seals with."""
    return f"{issuer}-1"


def rights(issuer: str, **changes: Any) -> Json:
    """An issuer's entry: it may vouch for everything; keyword arguments replace fields."""
    kid = kid_of(issuer)
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": public(example_key(kid)), "state": "active"}
    return {
        "keys": {"keys": [jwk]},
        "accounts": "any",
        "ecrs": "any",
        "kinds": ["VPC", "VBR"],
        "sides": ["grant", "associate"],
        "longest_days": None,
        "keeps_four_eyes": True,
        **changes,
    }


def configuration(
    accounts: Mapping[str, Any],
    *,
    issuers: Mapping[str, Any] | None = None,
    people: Mapping[str, Any] | None = None,
    policy: str = PERMITS,
    regions: Iterable[str] | None = None,
) -> Configuration:
    """One that lists these accounts. ``issuers``: instead of the usual ones, entries or changes to the usual entry, by name."""
    listed = {name: rights(name) for name in ISSUERS} | {
        name: one if "keys" in one else rights(name, **one) for name, one in (issuers or {}).items()
    }
    inventory: Json = {"version": 1, "accounts": accounts}
    if regions is not None:
        inventory["regions"] = list(regions)
    everybody: Json = {"version": 1, "persons": {"somebody": {"subjects": ["login:somebody"]}}, **(people or {})}
    named = {one[role] for one in accounts.values() for role in ("owner", "lead") if role in one}
    everybody["groups"] = {name: ["somebody"] for name in sorted(named)} | everybody.get("groups", {})
    content = {"inventory": inventory, "issuers": listed, "people": everybody, "policy": policy}
    return Configuration.model_validate_json(json.dumps(content))


def bundle(content: Configuration, number: int = 1, previous: str = "", signer: str = SIGNER) -> str:
    """A version of it, signed."""
    raw = payload(number, previous, content.content)
    return signed(raw, signer, example_key(signer)).text


def apply(ledger: Ledger, content: Configuration, *, deployment: str = DEPLOYMENT) -> int:
    """Make this the newest configuration of a ledger. Returns its number."""
    number, _, found = ledger.read(newest_versions, 0)
    previous = found[-1].digest if found else ""
    text = bundle(content, number + 1, previous)
    version = verified(text, CONFIG_KEYS, 1, (number, previous) if number else None)
    kept = Kept(version.number, version.digest, version.previous, text, int(time.time() * 1000), "tests")
    ledger.write(
        apply_version, kept, signers=version.signers, difference=["as the test wants it"], deployment=deployment
    )
    return version.number


def sealed(approval: Any, *, at: float | None = None, audience: str = DEPLOYMENT, kid: str | None = None) -> str:
    """An approval as its issuer seals it, now or at a time in epoch seconds. What is no approval is returned as it is."""
    document = json.loads(approval) if isinstance(approval, str) else approval
    name = kid or kid_of(document["issuer"])
    return seal_anything(
        document, example_key(name), kid=name, audience=audience, at=int(time.time() if at is None else at)
    )


def seal_anything(document: Any, key: Ed25519PrivateKey, *, kid: str, audience: str, at: int) -> str:
    """A seal around anything, also what no approval may say: who has the key can seal that, too."""
    return json.dumps(by_hand(json.dumps(document).encode(), key, kid, audience, at))
