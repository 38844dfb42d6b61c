"""What is tried against a seal: every attempt is refused for its own reason, and the same seal without its one fault opens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput, PermanentError, SealRefused
from shared.messages.approval import APPROVAL as SCHEMA
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.seal import open_seal, read_seal
from shared.rules.sealing import judge
from tests.seals import APPROVAL, AT, DEPLOYMENT, KEYS, NOW, REVOKE, SKEW, b64, compact, header, parts, private_key, raw

WHOLE = parts()
ISSUED = compact(APPROVAL)
DAY = 24 * 3_600


def entered(document: object) -> GrantApproval | RevokeApproval:
    """What becomes of a message with a seal."""
    return judge(read_seal(document), KEYS, deployment=DEPLOYMENT, now=NOW, skew=SKEW)


def test_without_a_fault_it_opens() -> None:
    """The twin of everything below."""
    for document in (WHOLE.form(), json.dumps(WHOLE.form()), base64.b64encode(compact(WHOLE.form())).decode()):
        approval = entered(document)
        assert isinstance(approval, GrantApproval)
        assert approval.request_id == APPROVAL["request_id"]
    assert isinstance(entered(parts(REVOKE).form()), RevokeApproval)


def hmac_form() -> dict[str, object]:
    """The public key taken for a shared secret: the classic confusion of algorithms."""
    made = raw(compact(header(alg="HS256")))
    x = private_key("self-service-1").public_key().public_bytes_raw()
    tag = hmac.new(x, f"{made.protected}.{b64(made.payload)}".encode(), hashlib.sha512).digest()
    return made.form(signature=b64(tag))


def loose(text: str) -> str:
    """The same bytes in Base64, with a bit set that carries nothing."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + letters[letters.index(text[-1]) + 1]


def twice(document: dict[str, Any], more: str) -> bytes:
    """JSON with another field behind the others."""
    return compact(document)[:-1] + b"," + more.encode() + b"}"


OTHER_PAYLOAD = b64(compact(APPROVAL | {"allowed_prefixes": ["10.0.0.0/8"]}))
UNKNOWN: dict[str, Any] = {
    "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
    "jku": "https://example.com/keys",
    "x5u": "https://example.com/chain",
    "x5c": ["AAAA"],
    "x5t": "AAAA",
    "crit": ["exp"],
    "b64": False,
    "cty": "JWT",
    "exp": AT + DAY,
}
NOT_TEXTS = {"a number": 7, "an object": {}, "a list": ["x"], "nothing": ""}

UNREADABLE = [
    pytest.param([WHOLE.form()], "not a JSON object", id="an array of one"),
    pytest.param("null", "not a JSON object", id="nothing"),
    pytest.param(
        f"{WHOLE.protected}.{b64(WHOLE.payload)}.{WHOLE.signature}", "not JSON, nor Base64", id="the compact form"
    ),
    pytest.param(json.dumps(WHOLE.form())[:-1], "not JSON, nor Base64", id="truncated"),
    pytest.param(
        twice(WHOLE.form(), f'"payload": "{OTHER_PAYLOAD}"').decode(), "payload: is there twice", id="two payloads"
    ),
    *(
        pytest.param(WHOLE.form(**{name: None}), f"{name}: is missing", id=f"no {name}")
        for name in ("payload", "protected", "signature")
    ),
    *(
        pytest.param(WHOLE.form(**{name: value}), f"{name}: (must be|Input should be)", id=f"{name} is {what}")
        for name in ("payload", "protected", "signature")
        for what, value in NOT_TEXTS.items()
    ),
    pytest.param(WHOLE.form(header={"kid": "change-desk-1"}), "header: is not a known field", id="unprotected header"),
    pytest.param(
        {"payload": b64(ISSUED), "signatures": [WHOLE.form(payload=None)]}, "signatures: is not", id="the general form"
    ),
    pytest.param(WHOLE.form(signatures=[WHOLE.form(payload=None)]), "signatures: is not a", id="both forms at once"),
    pytest.param(WHOLE.form(colour="red"), "colour: is not a known field", id="one member more"),
    # Base64: one way to write bytes
    pytest.param(WHOLE.form(payload=b64(ISSUED) + "=="), "payload: must be Base64 for URLs", id="padding"),
    pytest.param(
        parts(ISSUED + b" " * 1).form(payload=b64(ISSUED + b" ") + "\n"), "payload: must be", id="a line break"
    ),
    pytest.param(WHOLE.form(payload=b64(ISSUED) + "+"), "payload: must be Base64 for URLs", id="the other alphabet"),
    pytest.param(WHOLE.form(payload=loose(b64(b"1234"))), "payload: must be Base64 for URLs", id="spare bits, payload"),
    pytest.param(WHOLE.form(protected=loose(b64(b"1234"))), "^protected: must be", id="spare bits, header"),
    pytest.param(WHOLE.form(signature=loose(WHOLE.signature)), "signature: must be", id="spare bits, signature"),
    pytest.param(
        WHOLE.form(payload="AAAAA"), "payload: must be Base64 for URLs", id="a length that Base64 cannot have"
    ),
    pytest.param(WHOLE.form(signature=WHOLE.signature[:-2]), "signature: must be an Ed25519", id="a short signature"),
    pytest.param(WHOLE.form(signature=WHOLE.signature + "AA"), "signature: must be an Ed25519", id="a long signature"),
    pytest.param(WHOLE.form(payload="A" * 65_540), "payload: must be.* it has 65540", id="oversized payload"),
    pytest.param(parts(aud="a" * 600).form(), "protected: must be.* it has", id="oversized header"),
    # The header: five members
    pytest.param(raw(b"\xff\xfe{}").form(), "protected: must hold JSON in UTF-8", id="a header that is no UTF-8"),
    pytest.param(raw(b"alg: none").form(), "protected: must hold JSON", id="a header that is no JSON"),
    pytest.param(raw(b"[" * 300).form(), "protected: must hold JSON", id="a header nested deep"),
    pytest.param(raw(b'["Ed25519"]').form(), "protected: ", id="a header that is a list"),
    pytest.param(raw(twice(header(), '"alg":"none"')).form(), "protected: alg: is there twice", id="two algorithms"),
    pytest.param(raw(twice(header(), '"kid":"self-service-0"')).form(), "protected: kid: is there", id="two keys"),
    *(
        pytest.param(parts(**{name: None}).form(), f"protected: {name}: is missing", id=f"no {name} in the header")
        for name in header()
    ),
    pytest.param(parts(alg="none").form(), "protected: alg: .*'none'", id="none"),
    pytest.param(
        parts(alg="none").form(signature="A" * 86), "protected: alg: .*'none'", id="none, and a blank signature"
    ),
    pytest.param(hmac_form(), "protected: alg: .*'HS256'", id="HS256 with the public key"),
    pytest.param(parts(alg="EdDSA").form(), "protected: alg: .*'EdDSA'", id="EdDSA"),
    pytest.param(parts(alg="ed25519").form(), "protected: alg: .*'ed25519'", id="small letters"),
    pytest.param(parts(alg=["Ed25519"]).form(), "protected: alg: ", id="a list of algorithms"),
    pytest.param(parts(typ="JWT").form(), "protected: typ: .*'JWT'", id="another type"),
    pytest.param(parts(typ="ecr-grants-configuration").form(), "protected: typ: ", id="the type of a configuration"),
    pytest.param(parts(kid=1).form(), "protected: kid: ", id="a key that is a number"),
    pytest.param(parts(kid="../self-service-1").form(), "protected: kid: must be", id="a key that is a path"),
    pytest.param(parts(kid="k" * 65).form(), "protected: kid: must be", id="a long name of a key"),
    pytest.param(parts(aud=[DEPLOYMENT, "other"]).form(), "protected: aud: ", id="many deployments"),
    *(
        pytest.param(parts(iat=value).form(), "protected: iat: ", id=f"sealed at {value!r}")
        for value in ("2026-12-01T00:00:00Z", str(AT), AT + 0.5, True, -1, AT * 1000, 10**40)
    ),
    *(
        pytest.param(parts(**{name: value}).form(), f"protected: {name}: is not a known field", id=f"{name} in header")
        for name, value in UNKNOWN.items()
    ),
    pytest.param(parts(b64=True, crit=["b64"]).form(), "protected: b64: is not", id="b64, said to be critical"),
    pytest.param(parts(b64=False, crit=["b64"]).form(payload="AAAA"), "protected: b64: is not", id="a bare payload"),
]

REFUSED = [
    # What is not what the key signed
    pytest.param(parts(private="change-desk-1").form(), "SealForged", id="signed with another key"),
    pytest.param(WHOLE.form(signature="A" * 86), "SealForged", id="a blank signature"),
    pytest.param(WHOLE.form(signature=parts(REVOKE).signature), "SealForged", id="the signature of another approval"),
    pytest.param(WHOLE.form(payload=OTHER_PAYLOAD), "SealForged", id="altered after sealing"),
    pytest.param(WHOLE.form(payload=b64(ISSUED[:-3])), "SealForged", id="a truncated payload"),
    pytest.param(WHOLE.form(payload=b64(ISSUED + b" ")), "SealForged", id="a blank behind the payload"),
    pytest.param(WHOLE.form(protected=parts(iat=AT + 9).protected), "SealForged", id="made younger"),
    pytest.param(parts(aud="other").form(protected=WHOLE.protected), "SealForged", id="sent on to another deployment"),
    pytest.param(WHOLE.form(protected=parts(kid="self-service-0").protected), "SealForged", id="another key's name"),
    pytest.param(
        WHOLE.form(protected=b64(json.dumps(header()).encode())), "SealForged", id="the same header with blanks"
    ),
    # What another key signed, or for somebody else
    pytest.param(parts(kid="nobody-1").form(), "UnknownKey", id="a key of nobody"),
    pytest.param(parts(kid="Self-Service-1").form(), "UnknownKey", id="capitals in the key's name"),
    pytest.param(parts(kid="change-desk-1").form(), "WrongIssuer", id="in another issuer's name"),
    pytest.param(parts(aud="other").form(), "WrongAudience", id="for another deployment"),
    pytest.param(parts(aud=DEPLOYMENT.upper()).form(), "WrongAudience", id="for another deployment by its capitals"),
    pytest.param(parts(kid="self-service-0").form(), "KeyRetired", id="a retired key"),
    pytest.param(parts(kid="self-service-x").form(), "KeyCompromised", id="a compromised key"),
    pytest.param(parts(iat=AT - 8 * DAY).form(), "SealTooOld", id="stale"),
    pytest.param(parts(iat=0).form(), "SealTooOld", id="from the beginning of time"),
    pytest.param(parts(iat=AT + DAY).form(), "SealFromTheFuture", id="sealed in the future"),
    pytest.param(parts(iat=253_402_300_799).form(), "SealFromTheFuture", id="sealed at the end of time"),
]

CONTENT = [
    pytest.param(b"no JSON", "^payload: must hold JSON in UTF-8", id="no JSON"),
    pytest.param(
        b"\xff\xfe" + json.dumps(APPROVAL).encode("utf-16-le"), "^payload: must hold JSON in UTF-8", id="UTF-16"
    ),
    pytest.param(b"\xef\xbb\xbf" + ISSUED, "^payload: must hold JSON in UTF-8", id="a byte order mark"),
    pytest.param(base64.b64encode(ISSUED), "^payload: must hold JSON in UTF-8", id="Base64 once more"),
    pytest.param(b"[" * 40_000, "^payload: must hold JSON in UTF-8", id="nested deep"),
    pytest.param(compact([APPROVAL]), "the payload is not a JSON object", id="an array of one"),
    pytest.param(compact(WHOLE.form()), "itself sealed", id="sealed twice"),
    pytest.param(twice(APPROVAL, '"issuer":"self-service"'), "issuer: is there twice", id="a field twice"),
    pytest.param(
        compact(APPROVAL).replace(b'"type":"VPC"', b'"type":"VBR","type":"VPC"'), "type: is there", id="an inner one"
    ),
    pytest.param(
        compact(APPROVAL | {"schema": "ecr-grants/approval/1"}), f"schema: must be {SCHEMA}", id="an older schema"
    ),
    pytest.param(compact(APPROVAL | {"schema": "ecr-grants/completion/1"}), "schema: must be", id="a completion"),
    pytest.param(
        compact({name: APPROVAL[name] for name in APPROVAL if name != "schema"}),
        "schema: must be .* .found nothing.",
        id="no schema",
    ),
    pytest.param(compact(APPROVAL | {"kid": "x"}), "kid: is not a known field", id="an unknown field"),
    pytest.param(compact(APPROVAL | {"approved_by": []}), "approved_by: must have at least 1", id="nobody approved"),
    pytest.param(compact(APPROVAL | {"reason": "\ud800"}), "reason: holds half a character", id="half a character"),
    pytest.param(compact(APPROVAL | {"ends_at": float("nan")}), "ends_at: |not usable JSON", id="not a number"),
]


@pytest.mark.parametrize(("document", "told"), UNREADABLE)
def test_what_is_no_seal_is_refused_before_any_key_is_asked(document: object, told: str) -> None:
    """By the name of the part that is at fault."""
    with pytest.raises(BadInput, match=told) as refused:
        read_seal(document)
    assert refused.value.code == "SealUnreadable"


@pytest.mark.parametrize("document", [APPROVAL, json.dumps(REVOKE), APPROVAL | {"schema": "ecr-grants/approval/2"}])
def test_an_approval_without_a_seal_says_so(document: object) -> None:
    """Its issuer has to be told what to do."""
    with pytest.raises(BadInput, match="the approval is not sealed") as refused:
        read_seal(document)
    assert refused.value.code == "Unsealed"


@pytest.mark.parametrize(("document", "code"), REFUSED)
def test_a_seal_that_is_not_to_be_believed_is_refused(document: object, code: str) -> None:
    """Each for its own reason, which is an answer for good."""
    with pytest.raises(SealRefused) as refused:
        entered(document)
    assert refused.value.code == code
    assert isinstance(refused.value, PermanentError)


@pytest.mark.parametrize(("payload", "told"), CONTENT)
def test_content_is_read_as_strictly_as_ever(payload: bytes, told: str) -> None:
    """A good signature mends nothing."""
    with pytest.raises(BadInput, match=told):
        entered(parts(payload).form())


def test_what_is_wrong_with_the_content_is_told_only_to_whom_has_the_key() -> None:
    """Nothing of a forged seal is read, faulty as it may be."""
    with pytest.raises(SealRefused):
        entered(parts(b"no JSON", private="change-desk-1").form())


@pytest.mark.parametrize("kid", [kid for kid in KEYS if kid != "self-service-x"])
def test_a_key_opens_only_what_it_sealed(kid: str) -> None:
    """One key, one seal."""
    sealed = read_seal(parts(kid=kid).form())
    for name, key in KEYS.items():
        if name == kid:
            assert open_seal(sealed, key.x).request_id == APPROVAL["request_id"]
        else:
            with pytest.raises(SealRefused):
                open_seal(sealed, key.x)


@given(st.integers(min_value=0), st.sampled_from('{}":,=AQgwz-_ \\\n'), st.sampled_from(["put", "instead", "without"]))
def test_no_letter_can_be_changed(place: int, letter: str, how: str) -> None:
    """Either it is refused, or it still says the same: blanks between the members do not count."""
    text = json.dumps(WHOLE.form())
    at = place % len(text)
    rest = {"put": letter + text[at:], "instead": letter + text[at + 1 :], "without": text[at + 1 :]}[how]
    try:
        approval = entered(text[:at] + rest)
    except PermanentError:
        return
    assert approval == entered(text)
