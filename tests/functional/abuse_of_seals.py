"""What is tried against seals: each row is refused for its own reason, and passes once only its fault is taken out."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import replace

from examples.keys import key as private_key
from tests.configured import kid_of
from tests.functional.letters import (
    DAY,
    Case,
    Fault,
    Ground,
    Json,
    Letter,
    b64,
    compact,
    headed,
    posted,
    saying,
    signed_by,
)

USUAL = kid_of("self-service")
EVERYTHING = ["0.0.0.0/1", "128.0.0.0/1"]


def with_public_key_as_secret(algorithm: str) -> Fault:
    """The public key taken for a shared secret: the classic confusion of algorithms."""
    secret = private_key(USUAL).public_key().public_bytes_raw()

    def post(form: Json) -> str:
        text = f"{form['protected']}.{form['payload']}".encode()
        tag = hmac.new(secret, text, algorithm.replace("HS", "sha")).digest()
        return json.dumps({**form, "signature": b64(tag)})

    return lambda letter, _: replace(letter.headed(alg=algorithm), post=post)


def twice(document: Json, more: str) -> bytes:
    """JSON with another field behind the others."""
    return compact(document)[:-1] + b"," + more.encode() + b"}"


def with_other_payload(letter: Letter, _: Ground) -> Letter:
    """More prefixes than were sealed."""
    wider = b64(compact({**letter.content, "allowed_prefixes": EVERYTHING}))
    return replace(letter, post=lambda form: json.dumps({**form, "payload": wider}))


def with_two_payloads(letter: Letter, _: Ground) -> Letter:
    """The sealed one first, another one behind it."""
    wider = b64(compact({**letter.content, "allowed_prefixes": EVERYTHING}))
    return replace(letter, post=lambda form: twice(form, f'"payload":"{wider}"').decode())


def reheaded(**changes: object) -> Fault:
    """Another header is put in after sealing."""

    def fault(letter: Letter, _: Ground) -> Letter:
        other = b64(compact({**letter.header, **changes}))
        return replace(letter, post=lambda form: json.dumps({**form, "protected": other}))

    return fault


def sealed_once_more(letter: Letter, _: Ground) -> Letter:
    """The payload is itself a sealed approval."""
    return replace(letter, write=lambda content: compact(Letter(content).form))


def moved_signature(letter: Letter, ground: Ground) -> Letter:
    """The signature of another approval of the same issuer."""
    other = ground.letter(reason="Another one, which was sealed").form["signature"]
    return replace(letter, post=lambda form: json.dumps({**form, "signature": other}))


UNREADABLE = (
    Case(
        "unsealed",
        "Unsealed",
        "the approval is not sealed",
        "who can write to the queue would be trusted",
        lambda letter, _: replace(letter, post=lambda _: json.dumps(letter.content)),
    ),
    Case(
        "truncated message",
        "BadInput",
        "the message is not JSON",
        "a part would be taken for the whole",
        posted(lambda form: json.dumps(form)[:-2]),
    ),
    Case(
        "truncated signature",
        "SealUnreadable",
        "signature: must be an Ed25519 signature",
        "a shorter signature is easier to find",
        posted(lambda form: json.dumps({**form, "signature": form["signature"][:-2]})),
    ),
    Case(
        "no signature",
        "SealUnreadable",
        "signature: is missing",
        "nothing would have to be signed",
        posted(lambda form: json.dumps({name: form[name] for name in ("payload", "protected")})),
    ),
    Case(
        "algorithm none",
        "SealUnreadable",
        "protected: alg: ",
        "the header would say that nothing is to be verified",
        headed(alg="none"),
    ),
    Case(
        "algorithm none without a signature",
        "SealUnreadable",
        "signature: must be",
        "as RFC 7515 writes an unsecured JWS",
        lambda letter, _: replace(letter.headed(alg="none"), post=lambda form: json.dumps({**form, "signature": ""})),
    ),
    Case(
        "HS256 with the public key",
        "SealUnreadable",
        "signature: must be an Ed25519 signature",
        "everybody knows the public key, so everybody could seal",
        with_public_key_as_secret("HS256"),
    ),
    Case(
        "HS512 with the public key",
        "SealUnreadable",
        "'HS512'",
        "as above, with a signature as long as ours",
        with_public_key_as_secret("HS512"),
    ),
    Case("EdDSA", "SealUnreadable", "'EdDSA'", "the name covers other curves than ours", headed(alg="EdDSA")),
    Case(
        "type of a token", "SealUnreadable", "protected: typ: ", "a token would pass for an approval", headed(typ="JWT")
    ),
    Case(
        "type of a configuration",
        "SealUnreadable",
        "protected: typ: ",
        "what was signed for one purpose would serve another",
        headed(typ="ecr-grants-configuration"),
    ),
    Case(
        "a key in the header",
        "SealUnreadable",
        "protected: jwk: is not a known field",
        "the seal would bring the key that it is judged by",
        lambda letter, _: replace(
            letter.headed(jwk={"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}), signer="attacker-1"
        ),
    ),
    Case(
        "a key by its address",
        "SealUnreadable",
        "protected: jku: is not a known field",
        "the seal would say where its key is fetched",
        headed(jku="https://example.com/keys"),
    ),
    Case(
        "a chain of certificates",
        "SealUnreadable",
        "protected: x5c: is not a known field",
        "as above, in another form",
        headed(x5c=["AAAA"]),
    ),
    Case(
        "critical extensions",
        "SealUnreadable",
        "protected: crit: is not a known field",
        "the header would change what is verified",
        headed(crit=["exp"], exp=2_000_000_000),
    ),
    Case(
        "a payload that is not Base64",
        "SealUnreadable",
        "protected: b64: is not a known field",
        "the signed bytes would be others than the ones that are read (RFC 7797)",
        headed(b64=False, crit=["b64"]),
    ),
    Case(
        "an unprotected header",
        "SealUnreadable",
        "header: is not a known field",
        "a member that nobody signed would count",
        posted(lambda form: json.dumps({**form, "header": {"kid": "attacker-1"}})),
    ),
    Case(
        "several signatures",
        "SealUnreadable",
        "signatures: is not a known field",
        "one of them would be verified and another one believed",
        posted(lambda form: json.dumps({**form, "signatures": [form]})),
    ),
    Case(
        "two payloads",
        "BadInput",
        "payload: is there twice",
        "one would be verified and the other read",
        with_two_payloads,
    ),
    Case(
        "two keys in the header",
        "SealUnreadable",
        "protected: kid: is there twice",
        "one would be looked up and the other one recorded",
        lambda letter, _: replace(letter, write_head=lambda header: twice(header, '"kid":"tickets-1"')),
    ),
    Case(
        "two accounts in the payload",
        "BadInput",
        "allowed_prefixes: is there twice",
        "policy would see one and the cloud be asked for the other",
        lambda letter, _: replace(letter, write=lambda content: twice(content, '"allowed_prefixes":["10.0.0.0/8"]')),
    ),
    Case(
        "sealed twice",
        "BadInput",
        "itself sealed",
        "nobody could say which of the two seals counts",
        sealed_once_more,
    ),
    Case(
        "another way to write the same bytes",
        "SealUnreadable",
        "payload: must be Base64 for URLs",
        "one seal would have many forms",
        posted(lambda form: json.dumps({**form, "payload": form["payload"] + "=="})),
    ),
    Case(
        "an oversized header",
        "SealUnreadable",
        "protected: must be Base64 for URLs, without padding, at most 512 letters",
        "what is only compared would be read at any length",
        headed(aud="a" * 600),
    ),
    Case(
        "an oversized reason",
        "BadInput",
        "reason: must be 1 to 1000 characters",
        "every event and log line would carry it",
        saying(reason="b" * 9_000),
    ),
    Case(
        "sealed at a text",
        "SealUnreadable",
        "protected: iat: ",
        "a text is older than no number",
        headed(iat="2026-12-01T00:00:00Z"),
    ),
    Case(
        "sealed for many deployments",
        "SealUnreadable",
        "protected: aud: ",
        "one seal would open leases everywhere",
        headed(aud=["ecr-grants-example", "ecr-grants-production"]),
    ),
)

REFUSED = (
    Case(
        "forged",
        "SealForged",
        f"not that of key {USUAL}",
        "anybody can name a key",
        signed_by("attacker-1"),
    ),
    Case(
        "a blank signature",
        "SealForged",
        "was altered",
        "zeros are a signature of the right length",
        posted(lambda form: json.dumps({**form, "signature": "A" * 86})),
    ),
    Case("the signature of another approval", "SealForged", "was altered", "it is the issuer's own", moved_signature),
    Case("altered payload", "SealForged", "was altered", "whoever carries it would widen it", with_other_payload),
    Case(
        "truncated payload",
        "SealForged",
        "was altered",
        "a part would be taken for the whole",
        lambda letter, _: replace(
            letter, post=lambda form: json.dumps({**form, "payload": b64(compact(letter.content)[:-3])})
        ),
    ),
    Case(
        "made younger",
        "SealForged",
        "was altered",
        "a seal that was found would live for ever",
        reheaded(iat=int(time.time()) + 60),
    ),
    Case(
        "readdressed",
        "SealForged",
        "was altered",
        "what one deployment was sent would be sent on to another",
        reheaded(aud="ecr-grants-production"),
    ),
    Case(
        "renamed key",
        "SealForged",
        "not that of key tickets-1",
        "a seal would move to a key with more rights",
        reheaded(kid="tickets-1"),
    ),
    Case("unknown key", "UnknownKey", "belongs to no issuer", "anybody can make one", headed(kid="attacker-1")),
    Case(
        "key of another issuer",
        "WrongIssuer",
        "issuer: is self-service, but the key tickets-1 is that of tickets",
        "each issuer would have the rights of all",
        headed(kid="tickets-1"),
    ),
    Case(
        "another issuer's key under the right name",
        "SealForged",
        f"not that of key {USUAL}",
        "as above",
        signed_by("tickets-1"),
    ),
    Case(
        "in the name of the desk",
        "WrongIssuer",
        "issuer: is desk",
        "what people decide would be sealed by a system",
        lambda letter, _: letter.saying(issuer="desk").headed(kid=USUAL),
    ),
    Case(
        "replayed from another deployment",
        "WrongAudience",
        "ecr-grants-rehearsal",
        "what was approved for a rehearsal would be granted",
        headed(aud="ecr-grants-rehearsal"),
    ),
    Case(
        "retired key",
        "KeyRetired",
        "self-service-0 of self-service is retired",
        "an old key lies in old places",
        headed(kid="self-service-0"),
    ),
    Case(
        "compromised key",
        "KeyCompromised",
        "self-service-x of self-service is compromised",
        "somebody else has it",
        headed(kid="self-service-x"),
    ),
    Case(
        "stale",
        "SealTooOld",
        "more than 7 days before",
        "an approval that was long forgotten would be granted",
        headed(iat=int(time.time()) - 8 * DAY),
    ),
    Case(
        "sealed in the future",
        "SealFromTheFuture",
        "set the sealing clock",
        "it would be good for longer than seven days",
        headed(iat=int(time.time()) + DAY),
    ),
)

NEVER_VERIFIED = {"Unsealed", "SealUnreadable", "SealForged", "UnknownKey"}
"""Nobody vouches for what stands in these: their rejections must not name a request."""
