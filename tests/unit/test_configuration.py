"""A version of the configuration is one only when enough of the keys have signed it, and it follows on what stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from examples.keys import key, pem
from shared.errors import BadInput
from shared.messages.configuration import (
    Bundle,
    KeyState,
    SealKey,
    base64url,
    parse_keys,
    payload,
    public_x,
    read_bundle,
    signed,
)
from shared.rules.configuration import Configuration, Version, digest_of, stated, verified
from tests.unit.configurations import (
    ONE,
    THREE,
    TWO,
    A,
    Document,
    account,
    bundle,
    changed,
    content,
    jwk,
    refused,
)

# -- a version ---------------------------------------------------------------------------------------------------------


def test_a_version_says_what_was_signed_and_by_whom() -> None:
    """Number, digest of the bytes, the version before, signers in order, and the content."""
    text = bundle("two", "one").text
    found = verified(text, ONE | TWO | THREE, 2, None)
    raw = payload(1, "", content())
    assert found == Version(1, digest_of(raw), "", ("one", "two"), Configuration.model_validate(content()), raw)
    assert found.configuration.seal_keys == {
        "k1": SealKey("k1", "tickets", public_x(key("k1")), KeyState.ACTIVE),
    }


def test_what_is_written_again_is_the_same_content() -> None:
    """Else a version could not be signed by two people who each read the same folder."""
    configuration = Configuration.model_validate(content())
    raw = payload(1, "", configuration.content)
    assert payload(1, "", stated(raw)[1].content) == raw


def test_a_version_follows_on_the_one_that_stands() -> None:
    """By its number and by the digest of that one's bytes: neither an older nor another one passes."""
    first = verified(bundle("one").text, ONE, 1, None)
    second = bundle("one", number=2, previous=first.digest).text
    assert verified(second, ONE, 1, (1, first.digest)).number == 2
    assert refused(second, previous=None).startswith("NotTheSuccessor: version 2 (after ")
    assert refused(second, previous=(1, "0" * 64)).startswith("NotTheSuccessor: ")
    assert refused(second, previous=(2, first.digest)).startswith("NotTheSuccessor: ")
    assert "of what stands: version 1 (" in refused(bundle("one").text, previous=(1, first.digest))


@pytest.mark.parametrize(("number", "previous"), [(1, "0" * 64), (2, "")])
def test_only_the_first_has_none_before_it(number: int, previous: str) -> None:
    """A first version that names another is none, nor is a second that names none."""
    text = bundle("one", number=number, previous=previous).text
    assert refused(text).startswith("ConfigurationUnreadable: previous: must be empty in version 1")


# -- signatures --------------------------------------------------------------------------------------------------------


def test_a_quorum_is_of_different_keys() -> None:
    """One signature is not two, and the same key does not count twice."""
    text = bundle("one").text
    assert refused(text, ONE | TWO, 2) == "QuorumMissing: 1 of the keys signed (one), and 2 must"
    [signature] = read_bundle(text).signatures
    twice = Bundle(payload=read_bundle(text).payload, signatures=(signature, signature))
    assert refused(twice.text, ONE | TWO, 2) == "ConfigurationUnreadable: one has signed twice"
    with pytest.raises(BadInput, match="one has signed already"):
        signed(b"{}", "one", key("one"), twice)


def test_nothing_is_read_before_the_quorum_is_there() -> None:
    """What too few signed is not told from nonsense that too few signed."""
    nonsense = signed(b"\x00", "one", key("one")).text
    assert refused(nonsense, ONE | TWO, 2).startswith("QuorumMissing: ")
    assert refused(nonsense).startswith("ConfigurationUnreadable: the payload is not usable JSON")


def test_every_signature_must_be_one_of_theirs() -> None:
    """A key that may not sign spoils the bundle, however many others are good; so does a key under another's name."""
    text = bundle("one", "two").text
    assert refused(text) == "ConfigurationUnreadable: two is not one of the keys that may sign: one"
    other = {"one": THREE["three"], **TWO}
    assert refused(text, other).startswith("ConfigurationUnreadable: the signature of one is not good")


def test_a_changed_payload_is_not_what_was_signed() -> None:
    """The twin of what passes, one number apart."""
    good = bundle("one")
    assert verified(good.text, ONE, 1, None).number == 1
    for raw in (payload(1, "", content(policy="permit(principal, action, resource);")), good.content + b" "):
        made = Bundle(payload=base64url(raw), signatures=good.signatures)
        assert refused(made.text).startswith("ConfigurationUnreadable: the signature of one is not good")


def other_header(**members: Any) -> str:
    """A bundle whose one signature is good, by a header that says something else."""
    header = {"alg": "Ed25519", "kid": "one", "typ": "ecr-grants-configuration"} | members
    header = {name: value for name, value in header.items() if value is not None}
    protected = base64url(json.dumps(header).encode())
    body = base64url(payload(1, "", content()))
    signature = base64url(key("one").sign(f"{protected}.{body}".encode()))
    return json.dumps({"payload": body, "signatures": [{"protected": protected, "signature": signature}]})


def test_a_header_written_by_hand_passes() -> None:
    """The twin of all those below."""
    assert verified(other_header(), ONE, 1, None).signers == ("one",)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        pytest.param({"alg": "EdDSA"}, "alg: ", id="the older name of the algorithm"),
        pytest.param({"alg": "none"}, "alg: ", id="none"),
        pytest.param({"alg": "HS256"}, "alg: ", id="another algorithm, with the public key for a secret"),
        pytest.param({"typ": "ecr-grants-approval"}, "typ: ", id="signed as something else"),
        pytest.param({"typ": None}, "typ: is missing", id="of no type"),
        pytest.param({"kid": None}, "kid: is missing", id="of nobody"),
        pytest.param({"kid": "one two"}, "kid: must be the name of a key", id="of a name that is none"),
        pytest.param({"crit": ["b64"], "b64": False}, "is not a known field", id="its payload not encoded"),
        pytest.param({"jwk": jwk("three")}, "jwk: is not a known field", id="with its own key"),
    ],
)
def test_a_header_says_one_thing_and_nothing_else(members: Document, told: str) -> None:
    """However good the signature over it."""
    found = refused(other_header(**members))
    assert found.startswith("ConfigurationUnreadable: a signature's header: ")
    assert told in found


def raw_header(raw: bytes) -> str:
    """A bundle with these bytes for a header."""
    good = json.loads(bundle("one").text)
    good["signatures"][0]["protected"] = base64url(raw)
    return json.dumps(good)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("{", "not a signed configuration: not usable JSON", id="cut off"),
        pytest.param("[]", "not a signed configuration: ", id="a list"),
        pytest.param("[" * 100_000, "not usable JSON (RecursionError", id="nested deeply"),
        pytest.param('{"payload": "e30"}', "signatures: is missing", id="not signed"),
        pytest.param('{"payload": "e30", "signatures": []}', "signatures: ", id="signed by nobody"),
        pytest.param('{"payload":"e30","payload":"e30","signatures":[]}', "a member is there twice", id="two payloads"),
        pytest.param(" " * (16 * 1024 * 1024 + 1), "is longer than", id="very long"),
        pytest.param(raw_header(b"\x00"), "a signature's header: not usable JSON", id="a header that is no JSON"),
        pytest.param(
            raw_header(b'{"alg":"none","alg":"Ed25519","kid":"one","typ":"ecr-grants-configuration"}'),
            "a member is there twice",
            id="an algorithm twice in a header",
        ),
        pytest.param(
            bundle("one").text.replace('"protected": "', '"protected": "='),
            "a signature's header is not base64url",
            id="a header that is not base64url",
        ),
        pytest.param(
            bundle("one").text.replace('"signature": "', '"signature": "='),
            "the signature of one is not good",
            id="a signature that is not base64url",
        ),
    ],
)
def test_what_is_no_bundle_is_told_as_what_it_is(text: str, told: str) -> None:
    """One error, whatever was sent."""
    found = refused(text)
    assert found.startswith("ConfigurationUnreadable: ")
    assert told in found


@pytest.mark.parametrize("field", ["payload", "signature"])
def test_bytes_have_one_way_to_be_written(field: str) -> None:
    """A last letter that differs in bits that mean nothing is refused, although it stands for what was signed."""
    good = signed(b"{}", "one", key("one")).model_dump(mode="json")
    assert refused(json.dumps(good)).startswith("ConfigurationUnreadable: the payload: schema")
    place = good if field == "payload" else good["signatures"][0]
    place[field] = place[field][:-1] + chr(ord(place[field][-1]) + 1)
    assert refused(json.dumps(good)).startswith("ConfigurationUnreadable: the signature of one is not good")


def test_a_payload_that_is_not_base64url_is_told() -> None:
    """Where nobody checks who signed it, too."""
    with pytest.raises(BadInput, match="payload: must be base64url without padding"):
        _ = read_bundle(bundle("one").text.replace('"payload": "', '"payload": "=')).content


def test_another_library_signs_as_well() -> None:
    """A bundle is a JWS like any other: joserfc makes one by its own means, of several signatures at once."""
    header = {"alg": "Ed25519", "typ": "ecr-grants-configuration"}
    members: list[Any] = [{"protected": header | {"kid": name}} for name in ("one", "two")]
    keys = {name: OKPKey.import_key(pem(name)) for name in ("one", "two")}
    made = jws.serialize_json(
        members, payload(1, "", content()), lambda obj: keys[obj.headers()["kid"]], algorithms=["Ed25519"]
    )
    assert verified(json.dumps(made), ONE | TWO, 2, None).signers == ("one", "two")


def test_a_large_configuration_is_a_configuration() -> None:
    """Five hundred accounts are more than the library's own limit of a payload."""
    many = {str(3 * 10**15 + number): account(name="n" * 200) for number in range(500)}
    large = changed(lambda all_: all_["inventory"]["accounts"].update(many))
    assert len(verified(bundle("one", document=large).text, ONE, 1, None).configuration.inventory.accounts) == 502


# -- a payload ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param(payload(1, "", content()).replace(b",", b", ", 1), "canonical form", id="a blank"),
        pytest.param(b'{"number":1,"number":1}', "canonical form", id="a member twice"),
        pytest.param(b'{"number":1}', "schema: is missing", id="half of it"),
        pytest.param(payload(0, "", content()), "number: ", id="version 0"),
        pytest.param(payload(1, "x", content()), "previous: must be a SHA-256", id="no digest"),
        pytest.param(payload(1, "", {}), "the content: inventory: is missing", id="no content"),
        pytest.param(payload(1, "", content(policy="")), "the content: policy: ", id="no policy"),
        pytest.param(payload(1, "", content(extra=1)), "extra: is not a known field", id="an unknown field"),
        pytest.param(b"[" * 100_000, "not usable JSON (RecursionError)", id="nested deeply"),
    ],
)
def test_what_was_signed_must_be_a_configuration(raw: bytes, told: str) -> None:
    """Signed nonsense is nonsense."""
    found = refused(signed(raw, "one", key("one")).text)
    assert found.startswith("ConfigurationUnreadable: ")
    assert told in found


def test_no_external_id_is_told() -> None:
    """Of a content that is refused either."""
    wrong = changed(lambda all_: all_["inventory"]["accounts"][A].update(external_id="SECRET with blanks"))
    assert "SECRET" not in refused(bundle("one", document=wrong).text)


# -- public keys -------------------------------------------------------------------------------------------------------


def test_keys_are_told_by_name() -> None:
    """As CONFIG_KEYS has them."""
    one, two = ONE["one"], TWO["two"]
    assert parse_keys(f"one:{one}") == ONE
    assert parse_keys(f" one:{one}, two:{two},") == ONE | TWO


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must name at least one key"),
        ("one", r"must be name:key, name:key \(found 'one'\)"),
        (f"one:{ONE['one']},one:{TWO['two']}", "one: the name or the key is there twice"),
        (f"one:{ONE['one']},two:{ONE['one']}", "two: the name or the key is there twice"),
        (f":{ONE['one']}", "must be the name of a key"),
        (f"one:{ONE['one']}=", "must be the x of an Ed25519 key"),
        (f"one:{'A' * 42}B", "must be the x of an Ed25519 key"),
        ("one:" + "A" * 42, "must be the x of an Ed25519 key"),
    ],
)
def test_keys_that_are_none_are_told(text: str, told: str) -> None:
    """One key under two names would be a quorum by itself."""
    with pytest.raises(ValueError, match=told):
        parse_keys(text)
