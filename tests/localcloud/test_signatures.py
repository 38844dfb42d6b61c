"""Signatures: vectors from the reference and from the SDKs' own signing code agree; what was touched is refused."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

import pytest
from alibabacloud_credentials.utils.parameter_helper import compose_string_to_sign, sign_string
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.refusal import Unauthenticated
from localcloud.signatures import SKEW_SECONDS, Nonces, acs3, content_md5_fits, mns_string_to_sign, mns_v2, rpc_v1
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, Key, LocalCloud, Stage, send, signed_rpc, stage

SECRET = "examplesecret"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


def secret_of(access_key_id: str) -> str:
    """Every key has the same secret here."""
    assert access_key_id
    return SECRET


def now(offset: float = 0.0) -> str:
    """The present as requests carry it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))


@given(
    st.dictionaries(st.text("abcABC.123", min_size=1, max_size=8), TEXT, max_size=5),
    st.binary(max_size=64),
    st.sampled_from(["/", "/2023-03-30/functions/a%20b/invocations"]),
)
def test_what_the_sdk_signs_is_accepted(query: dict[str, str], body: bytes, path: str) -> None:
    """For any parameters, the SDK core's own ACS3 signature is the one expected here."""
    request = DaraRequest()
    request.method, request.pathname, request.query = "POST", path, query
    request.headers = {
        "host": "127.0.0.1:1",
        "x-acs-action": "A",
        "x-acs-version": "V",
        "x-acs-date": now(),
        "x-acs-signature-nonce": uuid.uuid4().hex,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "accept": " spaced  ",
    }
    authorization = Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", request.headers["x-acs-content-sha256"], "LTAIexampleid", SECRET
    )
    headers = {**request.headers, "Authorization": authorization}

    signed = acs3("POST", path, query.items(), headers, body, secret_of=secret_of, nonces=Nonces())

    assert (signed.access_key_id, signed.security_token) == ("LTAIexampleid", None)


@given(st.dictionaries(st.text("abcABC.123", min_size=1, max_size=8), TEXT, max_size=5))
def test_what_the_sdk_signs_the_older_way_is_accepted(params: dict[str, str]) -> None:
    """For any parameters, the SDK core's own HMAC-SHA1 signature is the one expected here."""
    everything = {**params, **common()}
    everything["Signature"] = Utils.get_rpcsignature(everything, "POST", SECRET)

    assert rpc_v1("POST", everything, secret_of=secret_of, nonces=Nonces()).access_key_id == "LTAIexampleid"


def common() -> dict[str, str]:
    """Parameters every request of the older kind has."""
    return {
        "AccessKeyId": "LTAIexampleid",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": now(),
    }


def test_the_credentials_package_signs_alike() -> None:
    """The credentials package, which quotes in a way of its own, agrees for what it sends."""
    params = {**common(), "Action": "AssumeRole", "RoleArn": "acs:ram::1000000000000001:role/x"}
    params["Signature"] = sign_string(compose_string_to_sign("GET", params), f"{SECRET}&")

    assert rpc_v1("GET", params, secret_of=secret_of, nonces=Nonces())


@pytest.mark.parametrize(
    ("method", "target", "headers", "signature"),
    [
        (
            "POST",
            "/queues/demo/messages",
            {
                "Content-Type": "text/xml;charset=UTF-8",
                "Content-MD5": "ZmNhMzI5NGRmMmU4NzJjZjJiZTMwYjU5ZWNhZGU0MGE=",
            },
            "fFL35Q6H7WX49VSImI7VQ0s+dsw=",
        ),
        (
            "GET",
            "/queues/demo/messages?waitseconds=10",
            {"x-mns-user-request-id": "r1"},
            "WG23QsNZbE+guC1UwekpRlaUC84=",
        ),
    ],
)
def test_the_vectors_of_the_reference(method: str, target: str, headers: dict[str, str], signature: str) -> None:
    """The two MNS vectors of the reference come out to the letter."""
    everything = {**headers, "Date": "Thu, 01 Jan 2026 00:00:00 GMT", "x-mns-version": "2015-06-06"}

    text = mns_string_to_sign(method, target, everything.items())

    expected = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), "sha1").digest()).decode()
    assert expected == signature


def test_both_conventions_of_content_md5_fit() -> None:
    """Base64 of the digest and Base64 of its hex text are accepted, anything else is not (mns.md section 0.8)."""
    digest = hashlib.md5(b"body", usedforsecurity=False)

    assert content_md5_fits(base64.b64encode(digest.digest()).decode(), b"body")
    assert content_md5_fits(base64.b64encode(digest.hexdigest().encode()).decode(), b"body")
    assert not content_md5_fits(base64.b64encode(digest.digest()).decode(), b"Body")
    assert not content_md5_fits("not base64!", b"body")


def mns_headers(method: str, target: str, **change: str) -> list[tuple[str, str]]:
    """Headers of an MNS request signed with the secret of these tests."""
    headers = {"Date": formatdate(usegmt=True), "x-mns-version": "2015-06-06"}
    text = mns_string_to_sign(method, target, headers.items())
    signature = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), "sha1").digest()).decode()
    return [*{**headers, "Authorization": f"MNS LTAIexampleid:{signature}", **change}.items()]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Authorization": ""}, "missing_authorization"),
        ({"Authorization": "MNS nonsense"}, "malformed_authorization"),
        ({"Authorization": "MNS LTAIexampleid:AAAA"}, "signature_mismatch"),
        ({"Date": ""}, "missing_date"),
        ({"Date": "tomorrow"}, "malformed_date"),
        ({"Date": formatdate(0, usegmt=True)}, "stale_date"),
        ({"x-mns-version": "2015-06-07"}, "signature_mismatch"),
        ({"Content-MD5": "AAAA"}, "signature_mismatch"),
    ],
)
def test_an_mns_request_that_was_touched(change: dict[str, str], reason: str) -> None:
    """A changed or missing part of a signed MNS request is refused, with the reason for it."""
    target = "/queues/demo/messages"
    with pytest.raises(Unauthenticated) as caught:
        mns_v2("POST", target, mns_headers("POST", target, **change), b"", secret_of=secret_of)
    assert caught.value.reason == reason

    assert mns_v2("POST", target, mns_headers("POST", target), b"", secret_of=secret_of)


Touch = Callable[[str, str, dict[str, str], bytes], tuple[str, str, dict[str, str], bytes]]


def touched(change: Mapping[str, str | None]) -> Touch:
    """Change headers after signing; None removes one."""

    def touch(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[str, str, dict[str, str], bytes]:
        merged = {**headers, **change}
        return method, target, {name: value for name, value in merged.items() if value is not None}, body

    return touch


def flip_signature(method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
    """Change one digit of the signature."""
    last = headers["Authorization"][-1]
    return (
        method,
        target,
        {**headers, "Authorization": headers["Authorization"][:-1] + ("0" if last != "0" else "1")},
        body,
    )


def unsign(name: str) -> Touch:
    """Take a header out of the list of signed ones."""

    def touch(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[str, str, dict[str, str], bytes]:
        return method, target, {**headers, "Authorization": headers["Authorization"].replace(f"{name};", "")}, body

    return touch


@pytest.mark.parametrize(
    ("touch", "answer"),
    [
        (flip_signature, (400, "SignatureDoesNotMatch")),
        (lambda m, t, h, b: (m, t, h, b + b"&InstanceName=x"), (400, "SignatureDoesNotMatch")),
        (lambda m, t, h, b: (m, t + "?Extra=1", h, b), (400, "SignatureDoesNotMatch")),
        (lambda _, t, h, b: ("GET", t, h, b), (404, "InvalidApi.NotFound")),
        (touched({"x-acs-action": "RevokeInstanceFromExpressConnectRouter"}), (400, "SignatureDoesNotMatch")),
        (touched({"accept": "text/plain"}), (400, "SignatureDoesNotMatch")),
        (touched({"x-acs-content-sha256": "0" * 64}), (400, "SignatureDoesNotMatch")),
        (touched({"x-acs-date": None}), (400, "Missingx-acs-date")),
        (touched({"Authorization": None}), (400, "MissingAuthorization")),
        (touched({"Authorization": "Basic abc"}), (400, "InvalidParameter.Authorization")),
        (unsign("x-acs-action"), (400, "SignatureDoesNotMatch")),
        (unsign("host"), (400, "SignatureDoesNotMatch")),
    ],
)
def test_a_request_that_was_touched(run_cloud: RunCloud, touch: Touch, answer: tuple[int, str]) -> None:
    """A changed byte anywhere in a signed request is refused, and changes nothing."""
    at = stage()
    cloud = run_cloud(at.world)

    refused = send(cloud, *touch(*grant_request(cloud, at)))
    accepted = send(cloud, *grant_request(cloud, at))

    assert (refused.status, refused.json["Code"]) == answer
    assert accepted.status == 200
    assert [entry["effect"] for entry in cloud.journal()] == [False, True]
    assert cloud.journal()[0]["code"] == answer[1]


def grant_request(
    cloud: LocalCloud, at: Stage, change: Mapping[str, str] | None = None
) -> tuple[str, str, dict[str, str], bytes]:
    """B's grant, signed."""
    form = {
        "EcrId": at.ecr_id,
        "EcrOwnerAliUid": at.hub,
        "InstanceId": at.vpc_id,
        "InstanceType": "VPC",
        "InstanceRegionId": HANGZHOU,
    }
    return signed_rpc(cloud, at.b, "GrantInstanceToExpressConnectRouter", "2023-09-01", form=form, change=change)


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (-SKEW_SECONDS - 60, "InvalidTimeStamp.Expired"),
        (SKEW_SECONDS + 60, "InvalidTimeStamp.Expired"),
        (-SKEW_SECONDS + 60, None),
        (SKEW_SECONDS - 60, None),
        (None, "InvalidTimeStamp.Format"),
    ],
)
def test_a_date_may_be_a_quarter_of_an_hour_off(run_cloud: RunCloud, offset: float | None, code: str | None) -> None:
    """Dates more than fifteen minutes off, early or late, are refused; the turned clock has nothing to do with it."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.advance(30 * 86_400)

    answer = send(
        cloud, *grant_request(cloud, at, {"x-acs-date": "2026-11-24 06:00:00" if offset is None else now(offset)})
    )

    assert answer.json.get("Code") == (code or "200")


def test_a_nonce_is_good_once(run_cloud: RunCloud) -> None:
    """The same request sent twice is refused the second time; another key may use the same nonce."""
    at = stage()
    cloud = run_cloud(at.world)
    request = grant_request(cloud, at, {"x-acs-signature-nonce": "same"})

    assert send(cloud, *request).status == 200
    again = send(cloud, *request)
    other = send(
        cloud, *signed_rpc(cloud, at.a, "GetCallerIdentity", "2015-04-01", change={"x-acs-signature-nonce": "same"})
    )

    assert (again.status, again.json["Code"]) == (400, "SignatureNonceUsed")
    assert other.status == 200


def test_a_refused_request_does_not_use_the_nonce_up(run_cloud: RunCloud) -> None:
    """Whoever replays a request with a broken signature cannot make the good one fail."""
    at = stage()
    cloud = run_cloud(at.world)
    request = grant_request(cloud, at)

    assert send(cloud, *flip_signature(*request)).status == 400
    assert send(cloud, *request).status == 200


def older(cloud: LocalCloud, key: Key, **change: str | None) -> Any:
    """A GetCallerIdentity of the older kind, changed after signing."""
    params = {
        **common(),
        "AccessKeyId": key.id,
        "Action": "GetCallerIdentity",
        "Version": "2015-04-01",
        "Format": "JSON",
    }
    params["Signature"] = Utils.get_rpcsignature(params, "GET", key.secret)
    merged = {name: value for name, value in {**params, **change}.items() if value is not None}
    return send(cloud, "GET", f"/?{urlencode(merged)}")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"Extra": "1"}, (400, "SignatureDoesNotMatch")),
        ({"Signature": "AAAA"}, (400, "SignatureDoesNotMatch")),
        ({"Timestamp": "2020-01-01T00:00:00Z"}, (400, "InvalidTimeStamp.Expired")),
        ({"SignatureMethod": "HMAC-SHA256"}, (400, "InvalidParameter.SignatureMethod")),
        ({"SignatureNonce": None}, (400, "MissingSignatureNonce")),
        ({"Format": "XML"}, (501, "NotEmulated")),
        ({"Format": None}, (501, "NotEmulated")),
        ({"Action": None}, (400, "MissingAction")),
        ({"Version": None}, (400, "MissingVersion")),
        ({"Version": "2014-05-26"}, (501, "NotEmulated")),
        ({"Action": "AssumeRoleWithSAML"}, (501, "NotEmulated")),
    ],
)
def test_an_older_request_that_was_touched(
    run_cloud: RunCloud, change: dict[str, str | None], answer: tuple[int, str]
) -> None:
    """The older signature protects every parameter too; XML answers and other products are refused by name."""
    at = stage()
    cloud = run_cloud(at.world)

    assert older(cloud, at.a).status == 200
    refused = older(cloud, at.a, **change)

    assert (refused.status, refused.json["Code"]) == answer


def test_the_status_of_a_mismatch_is_a_switch(run_cloud: RunCloud) -> None:
    """SignatureDoesNotMatch is 400 by one list and 403 by others."""
    at = stage(switches={"signature_mismatch": "403"})
    cloud = run_cloud(at.world)

    answer = send(cloud, *flip_signature(*grant_request(cloud, at)))

    assert (answer.status, answer.json["Code"]) == (403, "SignatureDoesNotMatch")


def test_an_inactive_key_is_refused(run_cloud: RunCloud) -> None:
    """A disabled key says so, before its signature is looked at."""
    at = stage()
    at.world["accounts"][at.hub]["users"]["hub-admin"]["access_key"]["status"] = "Inactive"
    cloud = run_cloud(at.world)

    answer = send(cloud, *signed_rpc(cloud, at.a, "GetCallerIdentity", "2015-04-01"))

    assert (answer.status, answer.json["Code"]) == (400, "InvalidAccessKeyId.Inactive")


def test_an_error_has_the_gateways_body(run_cloud: RunCloud) -> None:
    """Errors carry RequestId, HostId, Code, Message and Recommend; the journal has the same request id."""
    at = stage()
    cloud = run_cloud(at.world)

    body = json.loads(send(cloud, *grant_request(cloud, at, {"x-acs-version": "2014-05-26"})).body)

    assert set(body) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert body["HostId"] == cloud.address
    assert cloud.journal()[-1]["request_id"] == body["RequestId"]
