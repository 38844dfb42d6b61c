"""A running local cloud as its clients reach it: the official SDKs, its queues, what came out of its topic, its logs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.utils_models import Config
from alibabacloud_vpc20160428.client import Client as VpcClient
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import Message

from localcloud.client import AdminClient
from tests.configured import sealed
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    REGION,
    TESTER,
    Key,
)

Json = dict[str, Any]

FUNCTIONS = (GRANT_FUNCTION, ASSOCIATE_FUNCTION)
FINAL = ("done", "rejected", "dead")
REQUESTER = Key("LTAI-example-requester", "example-secret-of-the-requester")


def config(address: str, key: Key) -> Config:
    """Configuration of an SDK client; no retries, so that what is seen is what happened."""
    return Config(
        access_key_id=key.id,
        access_key_secret=key.secret,
        security_token=key.token or None,
        endpoint=address,
        protocol="http",
        region_id=REGION,
    )


def as_sent(message: Json) -> str:
    """As somebody sends it: an approval is sealed by its issuer."""
    return sealed(message) if str(message.get("schema")).startswith("ecr-grants/approval/") else json.dumps(message)


@dataclass
class Reached:
    """A local cloud at an address, and every client of it."""

    url: str

    def __post_init__(self) -> None:
        """Make the clients that outlast one call."""
        self.admin = AdminClient(self.address)
        self._logs: dict[str, list[Json]] = {}

    @property
    def address(self) -> str:
        """host:port."""
        return self.url.removeprefix("http://")

    def sts(self, key: Key) -> StsClient:
        """STS, with somebody's key."""
        return StsClient(config(self.address, key))

    def vpc(self, key: Key) -> VpcClient:
        """VPC, with somebody's key."""
        return VpcClient(config(self.address, key))

    def ecr(self, key: Key) -> EcrClient:
        """Express Connect Router, with somebody's key."""
        return EcrClient(config(self.address, key))

    @contextlib.contextmanager
    def queue(self, name: str, *, plain: bool = False, key: Key = TESTER) -> Iterator[Any]:
        """A queue, over a connection of its own: the SDK neither closes its connections nor survives dead ones."""
        account = Account(self.url, key.id, key.secret)
        queue = account.get_queue(name)
        queue.set_encoding(not plain)
        try:
            yield queue
        finally:
            account.get_client().close_connection()

    def logs(self, function: str) -> list[Json]:
        """Lines of a function's log."""
        lines = self._logs.setdefault(function, [])
        lines += self.admin.logs(function, after=lines[-1]["number"] if lines else 0)
        return lines

    def story(self) -> str:
        """The last lines of the functions' logs, for whoever reads a failure."""
        lines = [(line["time"], name, line["text"]) for name in FUNCTIONS for line in self.logs(name)]
        return "\n".join(f"{moment} {name}: {text[:250]}" for moment, name, text in sorted(lines)[-20:])


@dataclass
class Mailbox(Reached):
    """Its queues and its topic: what is sent, and every completion that was delivered."""

    completions: list[Json] = field(default_factory=list, kw_only=True)
    """Every completion the topic delivered so far, in the order of arrival."""

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, *messages: Json | str, plain: bool = False, queue: str = "ecr-approvals") -> list[str]:
        """Put messages on a queue with the MNS SDK. Returns their ids, one for each."""
        texts = [message if isinstance(message, str) else as_sent(message) for message in messages]
        if len(texts) == 1:
            key = REQUESTER if queue == "ecr-approvals" else TESTER
            with self.queue(queue, plain=plain, key=key) as target:
                return [str(target.send_message(Message(texts[0])).message_id)]
        with self.queue(queue, plain=plain) as target:
            batches = [texts[start : start + 16] for start in range(0, len(texts), 16)]
            sent = [target.batch_send_message([Message(text) for text in batch]) for batch in batches]
        return [str(one.message_id) for batch in sent for one in batch]

    def settled(self, document: Json, **more: Any) -> Json:
        """Send one approval and wait for its final answer."""
        self.send(document, **more)
        return self.answer(document)

    # -- completions -------------------------------------------------------------------------------------------------

    def take(self, queue: str, wait_seconds: int = 0) -> list[str]:
        """Take every message off a queue; waits so long for the first. Returns their bodies."""
        bodies: list[str] = []
        with self.queue(queue, plain=True) as source:
            while True:
                try:
                    messages = source.batch_receive_message(16, 0 if bodies else wait_seconds)
                except MNSServerException as error:
                    if error.type == "MessageNotExist":
                        return bodies
                    raise
                bodies += [message.message_body for message in messages]
                source.batch_delete_message([message.receipt_handle for message in messages])

    def receive(self, wait_seconds: int = 0) -> None:
        """Take what the topic has delivered, as far as it is a completion: whoever may publish may publish anything."""
        self.completions += (one for one in map(json.loads, self.take("ecr-answers", wait_seconds)) if "event" in one)

    def wait_for(self, wanted: Callable[[Json], bool], what: str, seconds: float = PATIENCE) -> Json:
        """The first completion that is wanted, of all that ever came."""
        looked_at = 0

        def came() -> Json | None:
            nonlocal looked_at
            news, looked_at = self.completions[looked_at:], len(self.completions)
            return next(filter(wanted, news), None)

        try:
            return until(came, what, seconds, meanwhile=lambda: self.receive(1))
        except AssertionError as missed:
            raise AssertionError(f"{missed}\n{self.story()}") from None

    def answer(self, document: Json, seconds: float = PATIENCE) -> Json:
        """The final outcome of a request."""
        name = document["request_id"]
        return self.wait_for(
            lambda one: one["event"] in FINAL and one.get("request", {}).get("request_id") == name,
            f"a final answer to {name}",
            seconds,
        )

    def answer_to_message(self, message_id: str) -> Json:
        """The answer to a message, whoever sent it."""
        return self.wait_for(
            lambda one: one["event"] in FINAL and one.get("message_id") == message_id, f"an answer to {message_id}"
        )

    def event(self, document: Json, kind: str) -> Json:
        """The completion of one kind about the grant of an approval."""
        return self.wait_for(
            lambda one: one["event"] == kind and _is_about(one, document), f"{kind} of {document['instance']['id']}"
        )

    def about(self, document: Json) -> list[Json]:
        """Every completion so far about the grant of an approval, in the order of their numbers."""
        self.receive()
        return sorted((one for one in self.completions if _is_about(one, document)), key=lambda one: one["number"])

    def kinds(self, document: Json) -> list[str]:
        """What happened to the grant of an approval, in order."""
        return [one["event"] for one in {one["id"]: one for one in self.about(document)}.values()]

    def repeated(self) -> list[tuple[str, str]]:
        """(event, id) of every completion that came more than once."""
        names = [(one["event"], one["id"]) for one in self.completions]
        return sorted({name for name in names if names.count(name) > 1})


def _is_about(completion: Json, document: Json) -> bool:
    grant = completion.get("grant", {})
    return (grant.get("instance_id"), grant.get("ecr_id")) == (document["instance"]["id"], document["ecr"]["id"])
