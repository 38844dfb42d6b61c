"""What foreign clients of the message service rely on: its very words, the account in HostId, names, order, white space."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.parsers import expat

import pytest
from mns.message_property import MessagePropertyValue, MessageSystemPropertyValue
from mns.queue import Message
from mns.subscription import SubscriptionMeta
from mns.topic import TopicMessage

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import Key, allow, trust, user
from tests.localcloud.mns_kit import Answer, Hub, a_hub, code_of, refused

NOBODY = "The OwnerId that your Access Key Id associated to is forbidden for this operation."
OTHER = "2000000000000002"
TEXTS = {
    "MissingAuthorizationHeader": "Authorization header is required.",
    "InvalidAuthorizationHeader": "The Authorization header format is invalid.",
    "MissingDateHeader": "Date header is required.",
    "InvalidDateHeader": "The Date header format is invalid.",
    "TimeExpired": "The http request you sent is expired.",
    "InvalidAccessKeyId": "The AccessKey Id you provided is not exist.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method.",
    "InvalidDegist": "The Content-MD5 you specified is invalid.",
    "AccessDenied": NOBODY,
    "InvalidRequestURL": "Http request URL format invalid.",
    "MalformedXML": "The XML you provided was not well-formed.",
    "QueueNotExist": "The queue name you provided is not exist.",
    "QueueAlreadyExist": "The queue you want to create is already exist.",
    "MessageNotExist": "Message not exist.",
    "ReceiptHandleError": "The receipt handle you provide is not valid.",
    "MissingReceiptHandle": "ReceiptHandle is required.",
    "MissingVisibilityTimeout": "VisibilityTimeout is required.",
}


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    """An account with a queue and a topic."""
    return a_hub(run_cloud, queues={"work": {}, "more": {}}, topics={"news": {}})


def told(answer: Answer) -> tuple[str, str]:
    """Code and text of a refusal."""
    return answer.code, answer.texts("Message")[0]


LATE = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 3600))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({"Authorization": ""}, "MissingAuthorizationHeader", id="no signature at all"),
        pytest.param(
            {"Authorization": "MNS x"}, "InvalidAuthorizationHeader", id="a signature without its second half"
        ),
        pytest.param({"Date": ""}, "MissingDateHeader", id="no date"),
        pytest.param({"Date": "yesterday"}, "InvalidDateHeader", id="a date that is none"),
        pytest.param({"Date": LATE}, "TimeExpired", id="an hour old"),
        pytest.param({"Authorization": "MNS nobody:c2ln"}, "InvalidAccessKeyId", id="a key that nobody has"),
        pytest.param({"Content-MD5": "eA=="}, "InvalidDegist", id="a digest of something else"),
        pytest.param({"security-token": "CAISx"}, "AccessDenied", id="a token that the key does not have"),
    ],
)
def test_strangers_hear_the_services_own_words(hub: Hub, headers: dict[str, str], code: str) -> None:
    """Before authentication too: MNS's code and text, all four elements, the account in HostId."""
    answer = hub.wire()("POST", "/queues/work/messages", "<Message><MessageBody>a</MessageBody></Message>", headers)

    assert told(answer) == (code, TEXTS[code])
    assert answer.texts("HostId") == [f"http://{hub.uid}.mns.cn-hangzhou.aliyuncs.com"]
    assert answer.texts("RequestId") == [answer.header("x-mns-request-id")]


def test_a_wrong_secret(hub: Hub) -> None:
    """The SDK shows MNS's text; the string that was signed stands in the journal, where it helps."""
    error = refused(lambda: hub.queue("work", key=Key(hub.key.id, "wrong")).receive_message(0))

    assert (error.type, error.message) == ("SignatureDoesNotMatch", TEXTS["SignatureDoesNotMatch"])
    assert error.host_id == f"http://{hub.uid}.mns.cn-hangzhou.aliyuncs.com"
    assert "server string to sign is:GET" in hub.cloud.journal(service="mns")[-1]["message"]


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("GET", "/queues/missing", "", "QueueNotExist"),
        ("PUT", "/queues/work", "<Queue><DelaySeconds>7</DelaySeconds></Queue>", "QueueAlreadyExist"),
        ("PUT", "/queues/work", "<Queue>", "MalformedXML"),
        ("PUT", "/queues/work", "<Topic/>", "MalformedXML"),
        ("GET", "/queues/work/messages", "", "MessageNotExist"),
        ("DELETE", "/queues/work/messages?ReceiptHandle=%20", "", "ReceiptHandleError"),
        ("DELETE", "/queues/work/messages", "", "MissingReceiptHandle"),
        ("PUT", "/queues/work/messages?ReceiptHandle=1-0", "", "MissingVisibilityTimeout"),
        ("GET", "/queues/work/letters", "", "InvalidRequestURL"),
        ("GET", "/letters", "", "InvalidRequestURL"),
    ],
)
def test_other_refusals_too(hub: Hub, method: str, target: str, body: str, code: str) -> None:
    """Codes that always come with the same words come with them here."""
    assert told(hub.wire()(method, target, body)) == (code, TEXTS[code])


def test_words_with_names_in_them(hub: Hub) -> None:
    """A bound and an unknown parameter are named the way the service names them."""
    wire = hub.wire()
    bound = wire("GET", "/queues/work/messages?numOfMessages=17")
    assert told(bound) == ("InvalidArgument", "The value of numOfMessages should between 1 and 16 seconds/bytes.")
    unknown = wire("GET", "/queues/work/messages?colour=blue")
    assert told(unknown)[1] == 'Http request URL contains invalid querystring item "colour".'
    assert hub.cloud.journal(service="mns")[-2]["message"].endswith("found '17'")


def test_the_host_names_the_account(hub: Hub) -> None:
    """HostId is the endpoint that was addressed, whoever asked, whether or not anybody was authenticated."""
    wire = hub.wire()
    host = f"{OTHER}.mns.cn-hangzhou.aliyuncs.com"
    wanted = [f"http://{host}"]

    foreign = wire("GET", "/queues/work", headers={"Host": host})
    assert (told(foreign), foreign.texts("HostId")) == (("AccessDenied", NOBODY), wanted)
    for headers in ({"Authorization": "MNS nobody:c2ln"}, {"Authorization": ""}, {"Date": ""}):
        assert wire("GET", "/queues/work", headers={"Host": host, **headers}).texts("HostId") == wanted
    by_line = wire("GET", "/queues/work", headers={"Authorization": ""}, line=f"http://{host}/queues/work")
    assert by_line.texts("HostId") == wanted
    elsewhere = wire("GET", "/queues", headers={"Host": f"{OTHER}.mns.cn-beijing.aliyuncs.com"})
    assert elsewhere.texts("HostId") == wanted


@pytest.mark.parametrize("headers", [{"x-mns-version": ""}, {"x-mns-version": "", "Authorization": ""}])
def test_what_is_meant_for_queues_is_answered_by_queues(hub: Hub, headers: dict[str, str]) -> None:
    """However little of a request is right, the RPC gateway does not answer for the message service."""
    host = f"{hub.uid}.mns.cn-hangzhou.aliyuncs.com"
    answer = hub.wire()("GET", "/letters", headers={"Host": host, **headers})

    assert (answer.status, answer.header("Content-Type")) == (400, "text/xml;charset=utf-8")
    assert answer.texts("HostId") == [f"http://{host}"]


def test_an_expired_token_is_told_in_the_same_words(run_cloud: RunCloud) -> None:
    """Also where planned trouble lets a token expire in the middle of a call."""
    spec, key = user("person", allow("sts:AssumeRole"))
    roles = {"sender": {"trust": trust(f"acs:ram::{OTHER}:root"), "policies": {"p": allow("mns:*")}}}
    hub = a_hub(run_cloud, accounts={OTHER: {"users": {"person": spec}, "roles": roles, "queues": {"work": {}}}})
    session = hub.cloud.assume(key, f"acs:ram::{OTHER}:role/sender")
    hub.cloud.admin.plan(kind="expire_token", service="mns")

    for _ in range(2):
        error = refused(lambda: hub.queue("work", key=session).send_message(Message("a")))
        assert (error.type, error.message) == ("AccessDenied", NOBODY)
        assert error.host_id == f"http://{OTHER}.mns.cn-hangzhou.aliyuncs.com"


# Listings


def test_listings_give_names(hub: Hub) -> None:
    """Without asking for attributes a listing has the URL and the name of each, of all three kinds."""
    wire = hub.wire()
    hub.subscription("news", "in").subscribe(SubscriptionMeta(hub.endpoint("work")))
    root = f"http://{wire.address}"

    queues, topics = wire("GET", "/queues"), wire("GET", "/topics")
    subscriptions = wire("GET", "/topics/news/subscriptions")

    assert (queues.texts("QueueName"), queues.texts("CreateTime")) == (["more", "work"], [])
    assert queues.texts("QueueURL") == [f"{root}/queues/more", f"{root}/queues/work"]
    assert (topics.texts("TopicName"), topics.texts("TopicURL")) == (["news"], [f"{root}/topics/news"])
    assert subscriptions.texts("SubscriptionName") == ["in"]
    assert subscriptions.texts("SubscriptionURL") == [f"{root}/topics/news/subscriptions/in"]


def test_the_sdk_lists(hub: Hub) -> None:
    """The official client reads listings with names in them."""
    account = hub.account()

    assert [url.rpartition("/")[2] for url in account.list_queue()[0]] == ["more", "work"]
    assert [url.rpartition("/")[2] for url in account.list_topic()[0]] == ["news"]


# Order and white space


class PullReader:
    """Reads XML node by node like the vendor's PHP client: what stands behind an end tag is stepped over unread."""

    def __init__(self, xml: bytes) -> None:
        self._nodes: list[tuple[str, str]] = []
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = lambda name, _: self._nodes.append(("element", name))
        parser.EndElementHandler = lambda name: self._nodes.append(("end", name))
        parser.CharacterDataHandler = lambda text: self._nodes.append(("text" if text.strip() else "space", text))
        parser.Parse(xml, True)
        self._rest = iter(self._nodes)

    def read(self) -> Iterator[tuple[str, str]]:
        """The nodes that are left."""
        return self._rest

    def message(self) -> dict[str, Any]:
        """Every message as one mapping; reading ends behind the first user properties, as in that client."""
        found: dict[str, Any] = {}
        for kind, name in self.read():
            if kind == "element" and name == "SystemProperties":
                found[name] = self._system()
            elif kind == "element" and name == "UserProperties":
                found[name] = [text for each, text in self.read() if each == "text"]
            elif kind == "element":
                node, text = next(self.read())
                if node == "text":
                    found[name] = text
        return found

    def _system(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, name in self.read():
            if (kind, name) == ("end", "SystemProperties"):
                break
            if (kind, name) == ("element", "SystemPropertyValue"):
                parts: dict[str, str] = {}
                for each, inner in self.read():
                    if (each, inner) == ("end", "SystemPropertyValue"):
                        break
                    if inner in {"Name", "Value", "Type"}:
                        node, text = next(self.read())
                        if node == "text":
                            parts[inner] = text
                found[parts["Name"]] = parts["Value"]
        return found


@pytest.mark.parametrize("query", ["", "?peekonly=true", "?numOfMessages=1", "?peekonly=true&numOfMessages=1"])
def test_a_client_that_reads_by_position(hub: Hub, query: str) -> None:
    """System properties stand before user properties, both behind everything else, white space behind each element."""
    message = Message("a")
    message.system_properties = {
        "traceparent": MessageSystemPropertyValue.create_string("t-1"),
        "baggage": MessageSystemPropertyValue.create_string("b-1"),
    }
    message.user_properties = {"k": MessagePropertyValue.create_string("v")}
    hub.queue("work").send_message(message)

    seen = PullReader(hub.wire()("GET", f"/queues/work/messages{query}").body).message()

    assert seen["SystemProperties"] == {"traceparent": "t-1", "baggage": "b-1"}
    assert [text.strip() for text in seen["UserProperties"]] == ["k", "v", "STRING"]
    assert (seen["MessageBody"], seen["Priority"]) == ("a", "8")
    assert {"MessageId", "EnqueueTime", "FirstDequeueTime", "DequeueCount"} <= seen.keys()


def test_a_line_break_behind_every_element(hub: Hub) -> None:
    """Every answer, refusals included, is laid out alike, and a body with line breaks is not touched."""
    wire = hub.wire()
    hub.subscription("news", "in").subscribe(SubscriptionMeta(hub.endpoint("work"), notify_content_format="XML"))
    hub.topic("news").publish_message(TopicMessage("first\nsecond"))
    targets = ["/queues", "/topics", "/queues/work", "/topics/news", "/topics/news/subscriptions", "/queues/nothing"]
    targets += ["/topics/news/subscriptions/in", "/queues/work/messages?peekonly=true", "/?accountmeta=true"]

    for target in targets:
        for one, other in pairwise(PullReader(wire("GET", target).body)._nodes):
            assert (one[0], other[0]) not in {("end", "element"), ("end", "end"), ("element", "element")}, target
    assert "<Message>first\nsecond</Message>" in hub.queue("work").receive_message(0).message_body


# Endpoints outside


ENDPOINTS = [
    pytest.param("http://example.com", "HTTP", id="http, no path"),
    pytest.param("http://example.com:8080/notify?a=b", "HTTP", id="http"),
    pytest.param("https://example.com/notify", "HTTPS", id="https"),
    pytest.param("mail:directmail:requester@example.com", "mail", id="mail"),
    pytest.param("sms:directsms:anonymous", "SMS", id="sms to whom the message says"),
    pytest.param("sms:directsms:13800000000", "SMS", id="sms to a number"),
]


@pytest.mark.parametrize(("endpoint", "kind"), ENDPOINTS)
def test_endpoints_outside_are_kept(hub: Hub, endpoint: str, kind: str) -> None:
    """Subscribed, shown, listed, changed and removed like a queue; each notification leaves one line that says why."""
    out = hub.subscription("news", "out")
    out.subscribe(SubscriptionMeta(endpoint, "EXPONENTIAL_DECAY_RETRY", "SIMPLIFIED"))
    out.subscribe(SubscriptionMeta(endpoint, "EXPONENTIAL_DECAY_RETRY", "SIMPLIFIED"))
    other = SubscriptionMeta(f"{hub.endpoint('work')}")
    assert code_of(lambda: out.subscribe(other)) == "SubscriptionAlreadyExist"
    shown = out.get_attributes()
    assert (shown.endpoint, shown.notify_strategy, shown.notify_content_format) == (
        endpoint,
        "EXPONENTIAL_DECAY_RETRY",
        "SIMPLIFIED",
    )
    out.set_attributes(SubscriptionMeta(notify_strategy="BACKOFF_RETRY"))
    assert out.get_attributes().notify_strategy == "BACKOFF_RETRY"
    urls, _ = hub.topic("news").list_subscription()
    assert [url.rpartition("/")[2] for url in urls] == ["out"]

    hub.topic("news").publish_message(TopicMessage("a"))
    hub.topic("news").publish_message(TopicMessage("b"))
    hub.cloud.advance(86_400)

    lines = hub.cloud.journal(operation="DeliverMessage")
    assert [(line["status"], line["code"], line["effect"]) for line in lines] == [(501, "NotEmulated", False)] * 2
    assert f"{kind} endpoints is not emulated ({endpoint})" in lines[0]["message"]
    assert lines[0]["params"]["SubscriptionName"] == "out"
    assert hub.topic("news").get_attributes().message_count == 0
    out.unsubscribe()
    assert code_of(out.get_attributes) == "SubscriptionNotExist"


def test_an_endpoint_outside_holds_up_nobody(hub: Hub) -> None:
    """A queue subscribed to the same topic gets everything, filters count for both, and lines stay short."""
    long = f"https://example.com/{'a' * 900}"
    hub.subscription("news", "out").subscribe(SubscriptionMeta(long, filter_tag="wanted"))
    hub.subscription("news", "in").subscribe(SubscriptionMeta(hub.endpoint("work"), notify_content_format="SIMPLIFIED"))
    for tag in ("wanted", "other"):
        hub.topic("news").publish_message(TopicMessage(tag, tag))

    queue = hub.queue("work")
    assert sorted(queue.receive_message(0).message_body for _ in range(2)) == ["other", "wanted"]
    missed = [line for line in hub.cloud.journal(operation="DeliverMessage") if line["code"]]
    assert len(missed) == 1
    assert len(missed[0]["message"]) < 250
