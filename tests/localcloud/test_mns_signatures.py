"""Signatures of the message service: what is signed, what a changed byte does, and what strangers are told."""

import base64
import hashlib
import hmac
import time
from email.utils import formatdate

import pytest
from mns.mns_client import MNSClient

from localcloud.signatures import mns_string_to_sign
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import Key
from tests.localcloud.mns_kit import Hub, Wire, a_hub

MESSAGE = "<Message><MessageBody>hello</MessageBody></Message>"


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {}}, topics={"news": {}})


@pytest.fixture
def wire(hub: Hub) -> Wire:
    return hub.wire()


def send(wire: Wire, body: str = MESSAGE) -> None:
    assert wire("POST", "/queues/work/messages", body).status == 201


def receive(wire: Wire) -> str:
    answer = wire("GET", "/queues/work/messages")
    assert answer.status == 200
    return answer.texts("ReceiptHandle")[0]


VECTORS = [
    (
        "POST",
        "/queues/demo/messages",
        {
            "content-md5": "ZmNhMzI5NGRmMmU4NzJjZjJiZTMwYjU5ZWNhZGU0MGE=",
            "content-type": "text/xml;charset=UTF-8",
        },
        "fFL35Q6H7WX49VSImI7VQ0s+dsw=",
    ),
    (
        "GET",
        "/queues/demo/messages?waitseconds=10",
        {"x-mns-user-request-id": "r1"},
        "WG23QsNZbE+guC1UwekpRlaUC84=",
    ),
]


@pytest.mark.parametrize(("method", "target", "more", "expected"), VECTORS)
def test_signature_vectors(method: str, target: str, more: dict[str, str], expected: str) -> None:
    """The reference's vectors, the SDK's own code and what the server computes are one and the same."""
    headers = {"date": "Thu, 01 Jan 2026 00:00:00 GMT", "x-mns-version": "2015-06-06", **more}
    signer = MNSClient("http://127.0.0.1:1", "LTAIexampleid", "examplesecret")

    theirs = signer.get_signature(method, headers, target, signer.credentials_provider.get_credentials())
    ours = hmac_sha1("examplesecret", mns_string_to_sign(method, target, list(headers.items())))

    assert theirs == f"MNS LTAIexampleid:{expected}"
    assert ours == expected


def hmac_sha1(secret: str, text: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def test_changed_byte_is_noticed(hub: Hub, wire: Wire) -> None:
    """Verb, path, query, date and x-mns headers are all signed: a change of any of them is refused."""
    before = hub.snapshot()
    target = "/queues/work/messages?waitseconds=0"
    headers = {"Content-Type": "text/xml", "x-mns-user-request-id": "r1"}
    good = {
        **headers,
        "Host": hub.cloud.address,
        "Date": formatdate(usegmt=True),
        "x-mns-version": "2015-06-06",
    }
    signature = wire.signature("GET", target, good)
    assert wire("GET", target, headers={**good, "Authorization": signature}).code == "MessageNotExist"

    changes: list[tuple[str, str, dict[str, str]]] = [
        ("PUT", target, {}),
        ("GET", "/queues/work/messages?waitseconds=1", {}),
        ("GET", "/queues/work/messages?WaitSeconds=0", {}),
        ("GET", "/queues/Work/messages?waitseconds=0", {}),
        ("GET", target, {"Date": formatdate(time.time() - 60, usegmt=True)}),
        ("GET", target, {"Content-Type": "text/xml;"}),
        ("GET", target, {"x-mns-user-request-id": "r2"}),
        ("GET", target, {"x-mns-prefix": "more"}),
        ("GET", target, {"Authorization": signature[:-2] + ("A=" if not signature.endswith("A=") else "B=")}),
    ]
    for method, changed_target, changed in changes:
        answer = wire(method, changed_target, headers={**good, "Authorization": signature, **changed})
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch"), (method, changed_target, changed)
    assert hub.snapshot() == before


def test_changed_body_is_noticed_by_its_digest(wire: Wire) -> None:
    """The body is signed through Content-MD5, when there is one."""
    md5 = base64.b64encode(hashlib.md5(MESSAGE.encode()).digest()).decode()  # noqa: S324 - the protocol's choice
    other = MESSAGE.replace("hello", "jello")

    answer = wire("POST", "/queues/work/messages", other, {"Content-MD5": md5})

    assert (answer.status, answer.code) == (400, "InvalidDegist")


def test_keys(hub: Hub) -> None:
    """An unknown key, a wrong secret, a token that does not belong: each is refused."""
    stranger = hub.wire(Key("LTAI-example-nobody", "x"))("GET", "/queues")
    assert (stranger.status, stranger.code) == (403, "InvalidAccessKeyId")
    wrong = hub.wire(Key(hub.key.id, "wrong"))("GET", "/queues")
    assert (wrong.status, wrong.code) == (403, "SignatureDoesNotMatch")
    tokened = hub.wire(Key(hub.key.id, hub.key.secret, "CAISx"))("GET", "/queues")
    assert (tokened.status, tokened.code) == (403, "AccessDenied")


def test_token_refusal_is_a_switch(run_cloud: RunCloud) -> None:
    """No code is documented for token trouble."""
    hub = a_hub(run_cloud, switches={"mns_token_refusal": "InvalidAccessKeyId"})
    tokened = hub.wire(Key(hub.key.id, hub.key.secret, "CAISx"))("GET", "/queues")

    assert (tokened.status, tokened.code) == (403, "InvalidAccessKeyId")


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        ("", 400, "MissingAuthorizationHeader"),
        ("MNS", 400, "InvalidAuthorizationHeader"),
        ("Basic dXNlcjpwYXNz", 400, "InvalidAuthorizationHeader"),
        ("MNS a:b:c d", 400, "InvalidAuthorizationHeader"),
        ("MNS4-HMAC-SHA256 Credential=a/20260101/cn-hangzhou/mns/aliyun_v4_request,Signature=b", 501, "NotEmulated"),
    ],
)
def test_authorization_header(wire: Wire, authorization: str, status: int, code: str) -> None:
    """Missing, malformed and not emulated are told apart."""
    answer = wire("GET", "/queues", headers={"Authorization": authorization})

    assert (answer.status, answer.code) == (status, code)


def test_refused_strangers_are_in_the_journal(hub: Hub) -> None:
    """Whoever was turned away is recorded, with the key it claimed and what it wanted."""
    hub.wire(Key("LTAI-example-nobody", "x"))("POST", "/queues/work/messages", MESSAGE)
    hub.wire()("GET", "/queues/work/letters")

    stranger, lost = hub.cloud.journal(service="mns")

    assert (stranger["operation"], stranger["code"]) == ("SendMessage", "InvalidAccessKeyId")
    assert stranger["caller"] == {"access_key_id": "LTAI-example-nobody"}
    assert (lost["operation"], lost["code"]) == ("GET /queues/work/letters", "InvalidRequestURL")
