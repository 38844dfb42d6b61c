"""The wire: the dialects that real clients speak are all understood, the answers suit the strictest of them."""

import base64
import hashlib
import http.client
import re
import socket
import time
from email.utils import formatdate

import pytest
from mns.mns_client import MNSClient

from localcloud.mns.service import MAX_BODY_BYTES
from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.mns_kit import Hub, Wire, a_hub

MESSAGE = "<Message><MessageBody>hello</MessageBody></Message>"
LONG_TAG = f"<Message><MessageBody>a</MessageBody><MessageTag>{'a' * 17}</MessageTag></Message>"


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


# Answers


def test_every_answer_has_the_headers_clients_read(wire: Wire) -> None:
    """Request id (lower case, 24 hexadecimal digits) and version on every answer; XML says that it is XML."""
    for answer in (
        wire("GET", "/queues"),
        wire("PUT", "/queues/work"),
        wire("GET", "/queues/missing"),
        wire("GET", "/nowhere/else"),
        wire("GET", "/queues", headers={"Authorization": "nonsense"}),
    ):
        assert re.fullmatch("[0-9A-F]{24}", answer.header("x-mns-request-id") or "")
        assert answer.header("x-mns-version") == "2015-06-06"
        if answer.status != 204:
            assert answer.header("Content-Type") == "text/xml;charset=utf-8"
            assert answer.header("Content-Length") == str(len(answer.body))


def test_location_on_201_and_204(wire: Wire) -> None:
    """Creating and creating again both tell where, under the name by which this client knows the server."""
    for target, path in (
        ("/queues/fresh", "/queues/fresh"),
        ("/topics/fresh", "/topics/fresh"),
        ("/topics/news/subscriptions/s", "/topics/news/subscriptions/s"),
    ):
        body = ""
        if "subscriptions" in target:
            body = "<Subscription><Endpoint>acs:mns:cn-hangzhou:1000000000000001:queues/work</Endpoint></Subscription>"
        for status in (201, 204):
            answer = wire("PUT", target, body)
            assert (answer.status, answer.header("Location")) == (status, f"http://{wire.address}{path}")


def test_errors_carry_all_four_elements(hub: Hub, wire: Wire) -> None:
    """Code, Message, RequestId (as in the header) and HostId are there and not empty."""
    answer = wire("GET", "/queues/missing")

    assert answer.status == 404
    assert answer.texts("Code") == ["QueueNotExist"]
    assert answer.texts("Message")[0]
    assert answer.texts("RequestId") == [answer.header("x-mns-request-id")]
    assert answer.texts("HostId") == [f"http://{hub.uid}.mns.cn-hangzhou.aliyuncs.com"]


def test_no_empty_elements_in_listings(wire: Wire) -> None:
    """The last page has no NextMarker at all: an empty one breaks a client."""
    answer = wire("GET", "/queues", headers={"x-mns-with-meta": "true"})

    assert b"NextMarker" not in answer.body
    assert b"></" not in answer.body.replace(b"></Queue>", b"").replace(b"></Queues>", b"")
    assert answer.texts("QueueURL") == [f"http://{wire.address}/queues/work"]
    assert answer.texts("VisibilityTimeout") == ["30"]
    assert wire("GET", "/queues").texts("VisibilityTimeout") == []


# Dialects of the request line


def test_absolute_form_target(hub: Hub, wire: Wire) -> None:
    """A client behind an HTTP proxy setting sends the whole URL, signs the path, and its host names the account."""
    host = f"{hub.uid}.mns.cn-hangzhou.aliyuncs.com"

    answer = wire("POST", "/queues/work/messages", MESSAGE, {"Host": host}, line=f"http://{host}/queues/work/messages")

    assert answer.status == 201
    listed = wire("GET", "/queues", line=f"http://{host}/queues")
    assert listed.texts("QueueURL") == [f"http://{host}/queues/work"]


def test_host_names_the_owner(hub: Hub, wire: Wire) -> None:
    """The first label of the host is the account that is meant: another one than the caller's is refused."""
    own = f"{hub.uid}.mns.cn-hangzhou-internal.aliyuncs.com"
    assert wire("GET", "/queues", headers={"Host": own}).status == 200
    foreign = wire("GET", "/queues", headers={"Host": "2000000000000002.mns.cn-hangzhou.aliyuncs.com"})
    assert (foreign.status, foreign.code) == (403, "AccessDenied")
    elsewhere = wire("GET", "/queues", headers={"Host": f"{hub.uid}.mns.cn-beijing.aliyuncs.com"})
    assert (elsewhere.status, elsewhere.code) == (501, "NotEmulated")
    assert wire("GET", "/queues", headers={"Host": "bad host"}).code == "InvalidRequestURL"


@pytest.mark.parametrize(
    "target",
    [
        "/queues/work/messages?ReceiptHandle={}&VisibilityTimeout=40",
        "/queues/work/messages?receiptHandle={}&visibilityTimeout=40",
        "/queues/work/messages?RECEIPTHANDLE={}&visibilitytimeout=40",
    ],
)
def test_query_keys_in_any_case(wire: Wire, target: str) -> None:
    """Official clients spell the same keys differently."""
    send(wire)
    handle = receive(wire)

    answer = wire("PUT", target.format(handle))

    assert answer.status == 200
    assert answer.texts("ReceiptHandle") != [handle]


def test_percent_encoding_is_decoded_after_signing(wire: Wire) -> None:
    """One client encodes handles, others do not: both work, and the signature is over what was sent."""
    send(wire)
    handle = receive(wire)
    encoded = "".join(f"%{ord(character):02X}" for character in handle)

    assert wire("DELETE", f"/queues/work/messages?ReceiptHandle={encoded}").status == 204


def test_plus_is_a_plus(wire: Wire) -> None:
    """A plus sign in a handle is not a space: the handle is merely unknown, not malformed."""
    answer = wire("DELETE", "/queues/work/messages?ReceiptHandle=MbZj6wDWli+QEauMZc8ZRv37sIW2iJKq3M9Mx/KSbkJ0")
    assert (answer.status, answer.code) == (404, "MessageNotExist")
    spaced = wire("DELETE", "/queues/work/messages?ReceiptHandle=MbZj6wDWli%20QEauMZc8ZRv37sIW2iJKq3M9Mx")
    assert (spaced.status, spaced.code) == (400, "ReceiptHandleError")


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("POST", "/queues", "", "InvalidRequestURL"),
        ("PATCH", "/queues/work", "", "InvalidRequestURL"),
        ("GET", "/queues/work/letters", "", "InvalidRequestURL"),
        ("GET", "/queues/work/messages/1", "", "InvalidRequestURL"),
        ("GET", "/topics/news/messages", "", "InvalidRequestURL"),
        ("GET", "/queues//messages", "", "QueueNameLengthError"),
        ("GET", "/queues/a%2Fb", "", "InvalidQueueName"),
        ("GET", "/queues/work?color=red", "", "InvalidQueryString"),
        ("GET", "/queues/work/messages?waitseconds=1&WaitSeconds=1", "", "InvalidQueryString"),
        ("GET", "/queues/work/messages?waitseconds=-1", "", "InvalidArgument"),
        ("GET", "/queues/work/messages?waitseconds=31", "", "InvalidArgument"),
        ("GET", "/queues/work/messages?waitseconds=", "", "InvalidArgument"),
        ("GET", "/queues/work/messages?numOfMessages=x", "", "InvalidArgument"),
        ("GET", "/queues/work/messages?peekonly=maybe", "", "InvalidArgument"),
        ("PUT", "/queues/work/messages?VisibilityTimeout=1", "", "MissingReceiptHandle"),
        ("PUT", "/queues/work/messages?ReceiptHandle=1-aaaaaaaaaaaaaaaaaaaa", "", "MissingVisibilityTimeout"),
        ("PUT", "/queues/work/messages?ReceiptHandle=x&VisibilityTimeout=0", "", "InvalidArgument"),
        ("DELETE", "/queues/work/messages", "", "MissingReceiptHandle"),
        ("DELETE", "/queues/work/messages", "<Handles/>", "MalformedXML"),
        ("POST", "/queues/work/messages", "", "MalformedXML"),
        ("POST", "/queues/work/messages", "<Letter/>", "MalformedXML"),
        ("POST", "/queues/work/messages", "<Message/>", "MalformedXML"),
        ("POST", "/queues/work/messages", "<Message><MessageBody/></Message>", "InvalidArgument"),
        ("POST", "/queues/work/messages", "<Messages/>", "InvalidArgument"),
        ("PUT", "/queues/work", "<Topic/>", "MalformedXML"),
        ("PUT", "/queues/q", "<Queue><DelaySeconds>x</DelaySeconds></Queue>", "InvalidArgument"),
        ("PUT", "/queues/q", "<Queue><LoggingEnabled>maybe</LoggingEnabled></Queue>", "InvalidArgument"),
        ("PUT", "/queues/q", "<Queue><QueueType>fifo</QueueType></Queue>", "NotEmulated"),
        ("PUT", "/topics/news/subscriptions/s", "", "MalformedXML"),
        ("PUT", "/topics/news/subscriptions/s", "<Subscription/>", "EndpointInvalid"),
        ("POST", "/topics/news/messages", LONG_TAG, "InvalidArgument"),
    ],
)  # fmt: skip
def test_what_is_refused(hub: Hub, wire: Wire, method: str, target: str, body: str, code: str) -> None:
    """Requests that mean nothing are refused with the documented code, and nothing changes."""
    before = hub.snapshot()

    answer = wire(method, target, body)

    assert answer.code == code
    assert answer.status in {400, 501}
    assert hub.snapshot() == before


# Dialects of headers and bodies


@pytest.mark.parametrize(
    "namespace", ["", ' xmlns="http://mns.aliyuncs.com/doc/v1"', ' xmlns="http://mns.aliyuncs.com/doc/v1/"']
)
def test_any_namespace(wire: Wire, namespace: str) -> None:
    """With a slash, without one, or no namespace at all: the same message."""
    send(wire, f"<Message{namespace}><MessageBody>hello</MessageBody></Message>")

    assert wire("GET", "/queues/work/messages").texts("MessageBody") == ["hello"]


def test_content_md5_in_both_conventions(wire: Wire) -> None:
    """Base64 of the digest and Base64 of its hexadecimal text are accepted, anything else is not; none is fine."""
    digest = hashlib.md5(MESSAGE.encode())  # noqa: S324 - the protocol's choice
    for good in (base64.b64encode(digest.digest()), base64.b64encode(digest.hexdigest().encode())):
        assert wire("POST", "/queues/work/messages", MESSAGE, {"Content-MD5": good.decode()}).status == 201
    for bad in (base64.b64encode(b"0" * 16).decode(), digest.hexdigest(), "not base64"):
        answer = wire("POST", "/queues/work/messages", MESSAGE, {"Content-MD5": bad})
        assert (answer.status, answer.code) == (400, "InvalidDegist")


def test_headers_on_get_and_delete(wire: Wire) -> None:
    """Content-Type, Content-MD5 and an empty body on verbs without one are part of some clients' signature."""
    empty = base64.b64encode(hashlib.md5(b"").hexdigest().encode()).decode()  # noqa: S324 - the protocol's choice
    headers = {"Content-Type": "application/xml", "Content-MD5": empty, "Content-Length": "0"}
    send(wire)

    got = wire("GET", "/queues/work/messages", headers=headers)

    assert got.status == 200
    handle = got.texts("ReceiptHandle")[0]
    assert wire("DELETE", f"/queues/work/messages?ReceiptHandle={handle}", headers=headers).status == 204


def test_body_on_delete(wire: Wire) -> None:
    """A body with handles deletes them; beside a handle in the query it does not count."""
    send(wire)
    send(wire)
    first, second = receive(wire), receive(wire)
    body = f"<ReceiptHandles><ReceiptHandle>{first}</ReceiptHandle></ReceiptHandles>"

    assert wire("DELETE", "/queues/work/messages", body).status == 204
    assert wire("DELETE", f"/queues/work/messages?ReceiptHandle={second}", body).status == 204
    failed = wire("DELETE", "/queues/work/messages", body)
    assert failed.status == 404
    assert failed.texts("ErrorCode") == ["MessageNotExist"]
    assert failed.texts("ReceiptHandle") == [first]


def test_dates(wire: Wire) -> None:
    """x-mns-date may come with Date or instead of it; a date a quarter of an hour off, or none, is refused."""
    now = formatdate(usegmt=True)
    assert wire("GET", "/queues", headers={"x-mns-date": now}).status == 200

    for seconds, expected in ((-800, 200), (800, 200), (-1000, 408), (1000, 408)):
        answer = wire("GET", "/queues", headers={"Date": formatdate(time.time() + seconds, usegmt=True)})
        assert answer.status == expected
    assert wire("GET", "/queues", headers={"Date": ""}).code == "MissingDateHeader"
    assert wire("GET", "/queues", headers={"Date": "yesterday"}).code == "InvalidDateHeader"


def test_x_mns_date_instead_of_date(hub: Hub) -> None:
    """With x-mns-date alone its value takes Date's place in the string to sign."""
    now = formatdate(usegmt=True)
    wire = hub.wire()
    signer = MNSClient(hub.cloud.url, hub.key.id, hub.key.secret)
    headers = {"x-mns-date": now, "x-mns-version": "2015-06-06"}
    signature = signer.get_signature(
        "GET", {**headers, "date": now}, "/queues", signer.credentials_provider.get_credentials()
    )

    assert wire("GET", "/queues", headers={**headers, "Date": "", "Authorization": signature}).status == 200


def test_stale_date_status_is_a_switch(run_cloud: RunCloud) -> None:
    """The error table and the page on signing disagree about the status of TimeExpired."""
    hub = a_hub(run_cloud, switches={"mns_stale_date": "400"})

    answer = hub.wire()("GET", "/queues", headers={"Date": formatdate(time.time() - 1000, usegmt=True)})

    assert (answer.status, answer.code) == (400, "TimeExpired")


def test_version_header(wire: Wire) -> None:
    """The version is mandatory and there is one."""
    assert wire("GET", "/queues", headers={"x-mns-version": ""}).code == "MissingVersionHeader"
    assert wire("GET", "/queues", headers={"x-mns-version": "2099-01-01"}).code == "InvalidVersionHeader"


def test_expect_100_continue(hub: Hub, wire: Wire) -> None:
    """A client that waits for permission to send its body gets it; a body that is too large is refused instead."""
    host, _, port = hub.cloud.address.partition(":")
    for length, expected in ((len(MESSAGE), [b"100", b"201"]), (MAX_BODY_BYTES + 1, [b"400"])):
        headers = {
            "Host": hub.cloud.address,
            "Date": formatdate(usegmt=True),
            "x-mns-version": "2015-06-06",
            "Content-Length": str(length),
            "Expect": "100-continue",
        }
        headers["Authorization"] = wire.signature("POST", "/queues/work/messages", headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(f"POST /queues/work/messages HTTP/1.1\r\n{head}\r\n".encode())
            statuses = []
            reader = connection.makefile("rb")
            for status in expected:
                line = reader.readline()
                statuses.append(line.split()[1])
                if status == b"100":
                    assert reader.readline() == b"\r\n"
                    connection.sendall(MESSAGE.encode())
            assert statuses == expected


def test_chunked_body(hub: Hub, wire: Wire) -> None:
    """A body without a length works as well, up to the same size."""
    for body, status in ((MESSAGE, 201), ("a" * (MAX_BODY_BYTES + 1), 400)):
        headers = {"Host": hub.cloud.address, "Date": formatdate(usegmt=True), "x-mns-version": "2015-06-06"}
        headers["Authorization"] = wire.signature("POST", "/queues/work/messages", headers)
        connection = http.client.HTTPConnection(hub.cloud.address, timeout=PATIENCE)
        chunks = [body[at : at + 65_536].encode() for at in range(0, len(body), 65_536)]
        connection.request("POST", "/queues/work/messages", iter(chunks), headers, encode_chunked=True)
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ({"Content-Length": "500"}, b"<Message>"),
        ({"Transfer-Encoding": "chunked"}, b"5\r\nabc"),
    ],
)
def test_body_that_never_comes_whole(
    hub: Hub, wire: Wire, capfd: pytest.CaptureFixture[str], more: dict[str, str], body: bytes
) -> None:
    """A client that hangs up in the middle of its body, or lies about it, is a malformed request and no defect."""
    headers = {"Host": hub.cloud.address, "Date": formatdate(usegmt=True), "x-mns-version": "2015-06-06", **more}
    headers["Authorization"] = wire.signature("POST", "/queues/work/messages", headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, _, port = hub.cloud.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"POST /queues/work/messages HTTP/1.1\r\n{head}\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").readline()

    assert answer in {b"", b"HTTP/1.1 400 Bad Request\r\n"}
    assert hub.snapshot()["queues"][0]["messages"] == []
    assert "Traceback" not in capfd.readouterr().err
    [entry] = hub.cloud.journal(service="mns")
    assert (entry["code"], entry["effect"]) == ("InvalidArgument", False)


def test_bodies_that_xml_blows_up(wire: Wire) -> None:
    """A carriage return and other escapes arrive as they were meant, and the digest is of the meant text."""
    send(wire, "<Message><MessageBody>a&#13;&#10;&lt;&#x1F680;]]&gt;<![CDATA[<b>]]></MessageBody></Message>")

    answer = wire("GET", "/queues/work/messages")

    text = "a\r\n<🚀]]><b>"
    assert answer.texts("MessageBody") == [text]
    assert answer.texts("MessageBodyMD5") == [hashlib.md5(text.encode()).hexdigest().upper()]  # noqa: S324


def test_unset_values_are_defaults(wire: Wire) -> None:
    """Empty attribute elements mean "not set", and one client's zero priority means "default"."""
    assert wire("PUT", "/queues/q", "<Queue><DelaySeconds></DelaySeconds><LoggingEnabled/></Queue>").status == 201
    assert wire("PUT", "/queues/q", "").status == 204
    send(wire, "<Message><MessageBody>a</MessageBody><Priority>0</Priority><DelaySeconds/></Message>")
    assert wire("GET", "/queues/work/messages").texts("Priority") == ["8"]
