"""Malformed requests, made up by hypothesis: never a 5xx of our own, and a refused request changes nothing."""

import json
import os
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.kernel import Cloud
from localcloud.mns.operations.table import OPERATIONS
from tests.localcloud.harness import LocalCloud, allow, user
from tests.localcloud.mns_kit import Answer, Hub

EXAMPLES = int(os.environ.get("MNS_FUZZ_EXAMPLES", "150"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """One cloud for all examples: what they may do to it is what is being tested."""
    spec, key = user("fuzzer", allow("mns:*"))
    uid = "7000000000000007"
    queues: dict[str, Any] = {"work": {}, "inbox": {}}
    topics = {"news": {"subscriptions": {"in": {"queue": "inbox"}}}}
    cloud = LocalCloud(
        {
            "version": 1,
            "accounts": {uid: {"users": {"fuzzer": spec}, "queues": queues, "topics": topics}},
            "quotas": {"mns:data": None, "mns:metadata": None},
        }
    ).start()
    yield Hub(cloud, uid, key)
    cloud.stop()


def state(hub: Hub) -> str:
    """What only requests change: time alone lapses visibilities and retries deliveries, so both are left out."""

    def look(_: Cloud) -> dict[str, Any]:
        hub.cloud.mns.store._due.clear()
        return hub.cloud.mns.snapshot()

    found = hub.cloud.inside(look)
    for queue in found["queues"]:
        for part in ("active", "inactive", "delayed"):
            del queue[part]
        for message in queue["messages"]:
            del message["state"]
    return json.dumps(found, sort_keys=True)


def judge(hub: Hub, before: str, answer: Answer) -> None:
    """No 5xx but the refusal by name; refused means unchanged; every answer is readable and has its headers."""
    if not answer.header("x-mns-request-id"):
        # The HTTP layer itself refuses what is not HTTP before any service sees it.
        assert answer.status == 400
        assert state(hub) == before
        return
    assert answer.status < 500 or answer.code == "NotEmulated", answer
    if answer.status >= 400:
        assert answer.code
        after = state(hub)
        # A batch may fail in part: then what did not fail has happened, and the answer lists both.
        if not (answer.texts("ErrorCode") or answer.texts("MessageId")):
            assert after == before


names = st.one_of(
    st.sampled_from(["work", "inbox", "news", "in", "missing"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=8),
)
words = st.sampled_from(["queues", "topics", "messages", "subscriptions", "commonbuy", "openservice", ""])
keys = st.one_of(
    st.sampled_from(
        [
            "waitseconds",
            "numOfMessages",
            "peekonly",
            "ReceiptHandle",
            "VisibilityTimeout",
            "metaoverride",
            "accountmeta",
        ]
    ),
    st.text(string.ascii_letters, max_size=5),
)
values = st.one_of(
    st.sampled_from(
        ["0", "1", "16", "17", "-1", "true", "false", "", "1e3", "%D9%A3", "1-" + "a" * 32, "%", "%zz", "%00"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=8),
)
methods = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "X"])


@st.composite
def targets(draw: st.DrawFn) -> str:
    path = "/" + "/".join(draw(st.lists(st.one_of(words, names), max_size=5)))
    if draw(st.booleans()):
        path = draw(
            st.sampled_from(["/queues", "/topics", "/queues/work/messages", "/queues/work", "/topics/news/messages"])
        )
    pairs = [f"{key}={value}" for key, value in draw(st.lists(st.tuples(keys, values), max_size=3))]
    # Long polls would be held, which is right and takes long; zero is what a patient test can afford.
    pairs = [pair if not pair.lower().startswith("waitseconds") else "waitseconds=0" for pair in pairs]
    return path + ("?" + "&".join(pairs) if pairs else "")


tags = st.sampled_from(
    [
        "Message", "Messages", "MessageBody", "DelaySeconds", "Priority", "MessageTag", "MessageGroupId", "UserProperties",
        "PropertyValue", "Name", "Value", "Type", "SystemProperties", "SystemPropertyValue", "Queue", "Topic",
        "Subscription", "Endpoint", "FilterTag", "NotifyStrategy", "NotifyContentFormat", "ReceiptHandles",
        "ReceiptHandle", "VisibilityTimeout", "MaximumMessageSize", "LoggingEnabled", "Account", "LoggingBucket",
    ]
)  # fmt: skip
texts = st.one_of(
    st.sampled_from(
        ["", "0", "1", "70000", "-5", "True", "acs:mns:cn-hangzhou:7000000000000007:queues/inbox", "STRING"]
    ),
    st.text(max_size=20),
)


def element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"


trees = st.recursive(
    texts,
    lambda inner: st.builds(lambda name, parts: element(name, "".join(parts)), tags, st.lists(inner, max_size=4)),
    max_leaves=12,
)
bodies = st.one_of(
    st.builds(element, tags, trees).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.builds(
        lambda parts: element("Message", "".join(element(name, text) for name, text in parts)).encode(
            "utf-8", "surrogatepass"
        ),
        st.lists(st.tuples(tags, texts), max_size=5),
    ),
    st.binary(max_size=60),
    st.just(b""),
)
header_values = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    st.text(st.characters(min_codepoint=0x80, max_codepoint=0x2FFF), max_size=6),
    st.binary(max_size=6)
    .filter(lambda raw: not set(raw) & {0, 10, 13})
    .map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)
header_names = st.sampled_from(
    [
        "Date", "x-mns-version", "x-mns-date", "Content-Type", "Content-MD5", "Authorization", "security-token",
        "x-mns-prefix", "x-mns-marker", "x-mns-ret-number", "x-mns-with-meta", "x-mns-user-request-id", "Host", "Expect",
    ]
)  # fmt: skip


@FUZZ
@given(method=methods, target=targets(), body=bodies)
def test_any_request_line_and_body(hub: Hub, method: str, target: str, body: bytes) -> None:
    """Well-signed requests of any shape are answered by the rules."""
    if not target.startswith(("/queues", "/topics", "/commonbuy", "/?accountmeta")):
        target = "/queues" + target
    before = state(hub)

    answer = hub.wire()(method, target, body)

    if method != "HEAD":
        judge(hub, before, answer)
    assert answer.status < 500 or answer.status == 501


@FUZZ
@given(
    target=st.sampled_from(["/queues", "/queues/work", "/queues/work/messages", "/topics/news/messages"]),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    headers=st.dictionaries(header_names, header_values, max_size=4),
    body=st.sampled_from([b"", b"<Message><MessageBody>a</MessageBody></Message>"]),
)
def test_any_headers(hub: Hub, target: str, method: str, headers: dict[str, str], body: bytes) -> None:
    """Headers of any content, signed or not, never break anything."""
    before = state(hub)
    wire = hub.wire()
    try:
        answer = wire(method, target, body, headers)
    except UnicodeEncodeError:
        # The SDK's signing code cannot sign such a value; an unsigned request still has to be answered.
        answer = wire(method, target, body, {"Authorization": "MNS a:b", **headers})
    judge(hub, before, answer)


@FUZZ
@given(operation=st.sampled_from(sorted(OPERATIONS)), body=bodies, query=st.lists(st.tuples(keys, values), max_size=2))
def test_every_operation_with_any_body(hub: Hub, operation: str, body: bytes, query: list[tuple[str, str]]) -> None:
    """Each operation by its own request line, with whatever in the body and the query."""
    method, path = LINES[operation]
    pairs = [f"{key}={value}" for key, value in query if key.lower() != "waitseconds" and "#" not in value]
    joined = "&".join(pairs)
    target = path + (("&" if "?" in path else "?") + joined if joined else "")
    before = state(hub)

    judge(hub, before, hub.wire()(method, target, body))


_MESSAGES, _SUBSCRIPTION = "/queues/work/messages", "/topics/news/subscriptions/in"
LINES: dict[str, tuple[str, str]] = {
    "CreateQueue": ("PUT", "/queues/fresh"),
    "SetQueueAttributes": ("PUT", "/queues/work?metaoverride=true"),
    "GetQueueAttributes": ("GET", "/queues/work"),
    "ListQueue": ("GET", "/queues"),
    "DeleteQueue": ("DELETE", "/queues/fresh"),
    "SendMessage": ("POST", _MESSAGES),
    "BatchSendMessage": ("POST", _MESSAGES),
    "ReceiveMessage": ("GET", _MESSAGES),
    "BatchReceiveMessage": ("GET", f"{_MESSAGES}?numOfMessages=16"),
    "PeekMessage": ("GET", f"{_MESSAGES}?peekonly=true"),
    "BatchPeekMessage": ("GET", f"{_MESSAGES}?peekonly=true&numOfMessages=16"),
    "DeleteMessage": ("DELETE", f"{_MESSAGES}?ReceiptHandle=1-{'a' * 32}"),
    "BatchDeleteMessage": ("DELETE", _MESSAGES),
    "ChangeMessageVisibility": ("PUT", f"{_MESSAGES}?ReceiptHandle=1-{'a' * 32}&VisibilityTimeout=1"),
    "CreateTopic": ("PUT", "/topics/fresh"),
    "SetTopicAttributes": ("PUT", "/topics/news?metaoverride=true"),
    "GetTopicAttributes": ("GET", "/topics/news"),
    "ListTopic": ("GET", "/topics"),
    "DeleteTopic": ("DELETE", "/topics/fresh"),
    "PublishMessage": ("POST", "/topics/news/messages"),
    "Subscribe": ("PUT", "/topics/news/subscriptions/fresh"),
    "SetSubscriptionAttributes": ("PUT", f"{_SUBSCRIPTION}?metaoverride=true"),
    "GetSubscriptionAttributes": ("GET", _SUBSCRIPTION),
    "ListSubscriptionByTopic": ("GET", "/topics/news/subscriptions"),
    "Unsubscribe": ("DELETE", "/topics/news/subscriptions/fresh"),
    "GetAccountAttributes": ("GET", "/?accountmeta=true"),
    "SetAccountAttributes": ("PUT", "/?accountmeta=true"),
    "OpenService": ("POST", "/commonbuy/openservice"),
}


def test_every_operation_has_its_line() -> None:
    """The table above leaves none out."""
    assert set(LINES) == set(OPERATIONS)


def test_state_would_be_noticed(hub: Hub) -> None:
    """The check can fail: a message sent between two looks makes them differ."""
    hub.wire()("PUT", "/queues/work", "<Queue/>")  # whatever the noise before this test has asked for
    before = state(hub)
    assert hub.wire()("POST", "/queues/work/messages", "<Message><MessageBody>a</MessageBody></Message>").status == 201

    assert state(hub) != before
