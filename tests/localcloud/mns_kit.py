"""What tests of the message service share: a small world, SDK accounts, and a client that says exactly what it is told."""

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from mns.account import Account
from mns.mns_client import MNSClient
from mns.mns_exception import MNSServerException
from mns.queue import Queue, QueueMeta
from mns.subscription import Subscription
from mns.topic import Topic

from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import Key, LocalCloud, allow, new_account, policy, user

REGION = "cn-hangzhou"


@dataclass
class Hub:
    """One account of a running local cloud, whose user may do everything with queues and topics."""

    cloud: LocalCloud
    uid: str
    key: Key

    def account(self, key: Key | None = None) -> Account:
        """A fresh SDK account with one connection of its own: they are not thread-safe."""
        key = key or self.key
        account = Account(self.cloud.url, key.id, key.secret, key.token or "")
        self.cloud.before_stop.append(account.get_client().close_connection)
        return account

    def queue(self, name: str, *, raw: bool = True, key: Key | None = None) -> Queue:
        """An SDK queue; raw bodies unless asked otherwise."""
        queue = self.account(key).get_queue(name)
        queue.set_encoding(not raw)
        return queue

    def topic(self, name: str, key: Key | None = None) -> Topic:
        """An SDK topic."""
        return self.account(key).get_topic(name)

    def subscription(self, topic: str, name: str, key: Key | None = None) -> Subscription:
        """An SDK subscription."""
        return self.account(key).get_subscription(topic, name)

    def wire(self, key: Key | None = None) -> "Wire":
        """A client for what no SDK would send."""
        return Wire(self.cloud.address, key or self.key)

    def endpoint(self, queue: str) -> str:
        """A queue as a subscription names it."""
        return f"acs:mns:{REGION}:{self.uid}:queues/{queue}"

    def snapshot(self) -> dict[str, Any]:
        """Everything the service holds."""
        return self.cloud.inside(lambda _: self.cloud.mns.snapshot())


def a_hub(
    run_cloud: RunCloud,
    *documents: Mapping[str, Any],
    queues: Mapping[str, Any] | None = None,
    topics: Mapping[str, Any] | None = None,
    accounts: Mapping[str, Any] | None = None,
    **world: Any,
) -> Hub:
    """Start a local cloud with one account that has these queues and topics."""
    uid = new_account()
    spec, key = user("operator", *(documents or (allow("mns:*"),)))
    mine = {"users": {"operator": spec}, "queues": dict(queues or {}), "topics": dict(topics or {})}
    return Hub(run_cloud({"accounts": {uid: mine, **(accounts or {})}, **world}), uid, key)


def everything_but(*actions: str) -> dict[str, Any]:
    """A policy that lacks exactly these actions."""
    return policy(
        {"Effect": "Allow", "Action": "mns:*", "Resource": "*"},
        {"Effect": "Deny", "Action": list(actions), "Resource": "*"},
    )


def meta(**attributes: Any) -> QueueMeta:
    """Queue attributes as the SDK takes them."""
    made = QueueMeta()
    for name, value in attributes.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def refused(call: Callable[[], object]) -> MNSServerException:
    """The server's refusal of a call that has to be refused."""
    with pytest.raises(MNSServerException) as refusal:
        call()
    return refusal.value


def code_of(call: Callable[[], object]) -> str:
    """The code of the server's refusal."""
    return str(refused(call).type)


@dataclass
class Answer:
    """What came back, as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, exact_name: str) -> str | None:
        """A header by its exact spelling."""
        return next((value for name, value in self.headers if name == exact_name), None)

    @property
    def code(self) -> str:
        """The error code of the body."""
        return self.texts("Code")[0]

    def texts(self, name: str) -> list[str]:
        """Texts of all elements of that name, in the one namespace that the strictest client insists on."""
        root = ET.fromstring(self.body)  # noqa: S314 - an independent reader of our own answers
        return [element.text or "" for element in root.iter(f"{{http://mns.aliyuncs.com/doc/v1}}{name}")]


@dataclass
class Wire:
    """Speaks to the message service in any dialect, signed with the SDK's own code unless told otherwise."""

    address: str
    key: Key
    base: dict[str, str] = field(default_factory=dict)
    """Headers of every request beside the usual ones; an empty value leaves a usual one out."""

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        *,
        sign_as: tuple[str, str] | None = None,
        line: str | None = None,
    ) -> Answer:
        """One request. ``line`` replaces the target on the request line only, ``sign_as`` (method, target) when signing."""
        data = body.encode() if isinstance(body, str) else body
        all_headers = {
            "Host": self.address,
            "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
            "x-mns-version": "2015-06-06",
            **self.base,
            **(headers or {}),
        }
        if data and "Transfer-Encoding" not in all_headers:
            all_headers.setdefault("Content-Length", str(len(data)))
        all_headers = {name: value for name, value in all_headers.items() if value}
        if "Authorization" not in (headers or {}):
            signed_method, signed_target = sign_as or (method, target)
            all_headers["Authorization"] = self.signature(signed_method, signed_target, all_headers)
        if self.key.token and "security-token" not in (headers or {}):
            all_headers["security-token"] = self.key.token
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.putrequest(method, line or target, skip_host=True, skip_accept_encoding=True)
            for name, value in all_headers.items():
                connection.putheader(name, value.encode("utf-8", "surrogateescape"))
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def signature(self, method: str, target: str, headers: Mapping[str, str]) -> str:
        """The Authorization header as the Python SDK computes it."""
        signer = MNSClient(f"http://{self.address}", self.key.id, self.key.secret)
        lowered = {name.lower(): value for name, value in headers.items()}
        signed: str = signer.get_signature(method, lowered, target, signer.credentials_provider.get_credentials())
        return signed


def in_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Start a call in a thread; what is returned waits for its result, or raises what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except MNSServerException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        assert outcome, "the call is still waiting"
        if isinstance(outcome[0], MNSServerException):
            raise outcome[0]
        return outcome[0]

    return result


def waiters(hub: Hub, queue: str = "work") -> int:
    """How many long polls wait on a queue."""
    return hub.cloud.inside(lambda _: len(hub.cloud.mns.store.queue(hub.uid, queue)._bells))
