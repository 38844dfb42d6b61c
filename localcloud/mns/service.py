"""The message service of a local cloud: HTTP in, a call through the kernel, HTTP out; and the platform's own hands.

Function Compute's queue triggers and dead letters use ``take``, ``delete`` and ``put``: inside the platform nobody
signs or asks for permission.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from localcloud.call import Call, Caller
from localcloud.kernel import Cloud
from localcloud.mns.errors import refuse
from localcloud.mns.markup import clean, document, leaf, writable
from localcloud.mns.messages import Draft, Property, Receipt, check_properties
from localcloud.mns.names import check_host, owner_of
from localcloud.mns.operations import OPERATIONS, Desk, Reply, permissions
from localcloud.mns.queues import ORDERLY, DeadLetter, Manner, Queue
from localcloud.mns.store import Outcome, Store, Trouble
from localcloud.mns.topics import Delivery, Publication, QueueAddress
from localcloud.mns.wire import VERSION, Target, read_request, read_target
from localcloud.quick import Plain
from localcloud.refusal import Refusal, Throttled, Unauthenticated, not_emulated
from localcloud.signatures import mns_v2
from localcloud.worldfile import QueueSpec, TopicSpec

SLICES: Final = 4
"""Parts of a queue when the switch ``queue_slices`` is on."""
THROTTLE_HOLD_SECONDS: Final = 0.01
"""A throttled request is held a little before it is refused (mns.md section 4); the shortest documented time."""
MAX_BODY_BYTES: Final = 1_048_576
"""More than the largest batch has with every character written as a reference."""

_A_DAY: Final = 86_400.0
_CONTENT_TYPE: Final = "text/xml;charset=utf-8"

_CODES: Final = {
    "missing_authorization": "MissingAuthorizationHeader",
    "malformed_authorization": "InvalidAuthorizationHeader",
    "missing_date": "MissingDateHeader",
    "malformed_date": "InvalidDateHeader",
    "stale_date": "TimeExpired",
    "unknown_key": "InvalidAccessKeyId",
    "inactive_key": "InvalidAccessKeyId",
    "signature_mismatch": "SignatureDoesNotMatch",
    "body_digest": "InvalidDegist",
}
"""What this service calls the reasons for which a signature or key is not accepted; token trouble has a switch."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message handed to the platform itself."""

    message_id: str
    body: str
    receipt_handle: str
    dequeue_count: int
    enqueue_time_ms: int
    priority: int
    user_properties: tuple[Property, ...]
    system_properties: tuple[Property, ...]


class MnsService:
    """Queues and topics, ready for the gateway."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._chance = random.Random()  # noqa: S311 - spreads retries and shuffles deliveries, guards nothing
        self.store = Store(cloud.world.region, cloud.switches, self, self._chance)
        self._undelivered = asyncio.Event()

    async def start(self) -> None:
        """Create what the world file lists, then keep delivering what could not be delivered at once."""
        now_ms = self._now_ms()
        for uid, account in self.cloud.world.accounts.items():
            for name, queue in account.queues.items():
                self._create_queue(uid, name, queue, now_ms)
            for name, topic in account.topics.items():
                self._create_topic(uid, name, topic, now_ms)
        self.cloud.spawn(self._redeliver())

    async def stop(self) -> None:
        """Nothing to close: the redelivery task belongs to the kernel."""

    async def handle(self, request: web.BaseRequest) -> Plain | web.StreamResponse:
        """Answer one request. Raises Cut when planned trouble wants the connection dropped."""
        request_id = f"{self._chance.getrandbits(96):024X}"
        account = ""
        try:
            desk = await self._read(request, request_id)
            account = desk.account
            reply = await self.cloud.perform(desk.call, lambda: self._run(desk))
        except Refusal as refusal:
            if isinstance(refusal, Throttled):
                await asyncio.sleep(THROTTLE_HOLD_SECONDS)
            return self._refused(refusal, request_id, account)
        headers = {"x-mns-request-id": request_id, "x-mns-version": VERSION}
        if reply.location is not None:
            headers["Location"] = reply.location
        if not reply.body:
            return web.Response(status=reply.status, headers=headers)
        headers["Content-Type"] = _CONTENT_TYPE
        return Plain(reply.status, headers, reply.body.encode())

    async def _read(self, request: web.BaseRequest, request_id: str) -> Desk:
        """Who asks for what: signature, key, host, request line, body. What fails here never became a call."""
        headers = request.headers
        operation = ""
        try:
            target = read_target(request.raw_path)
            body = await _body(request)
            try:
                asked = read_request(request.method, target, headers, body)
            except Refusal:
                self._authenticate(request, target, body)  # whoever is a stranger learns that first
                raise
            operation = asked.operation
            caller = self._authenticate(request, target, body)
            host = check_host(target.authority or headers.get("Host") or "")
            account = owner_of(host, self.store.region) or caller.account
            facts: dict[str, Any] = {**asked.route.names(), **target.query}
            call = Call(
                service="mns",
                operation=operation,
                caller=caller,
                account=account,
                region=self.store.region,
                request_id=request_id,
                permissions=permissions(
                    operation, asked.route, account, self.store.region, self.cloud.switches.batch_actions
                ),
                params=facts,
                weight=asked.weight,
                source_ip=request.remote or "127.0.0.1",
            )
        except Refusal as refusal:
            wanted = operation or f"{request.method} {request.raw_path}"[:120]
            self.cloud.turned_away("mns", wanted, refusal, request_id=request_id, access_key_id=_claimed_key(headers))
            raise

        def gone() -> bool:
            return request.transport is None or request.transport.is_closing()

        return Desk(self, asked, call, host, facts, gone)

    def _authenticate(self, request: web.BaseRequest, target: Target, body: bytes) -> Caller:
        headers = request.headers
        if headers.get("Authorization", "").startswith("MNS4-"):
            raise not_emulated("The MNS V4 signature")
        try:
            signed = mns_v2(
                request.method,
                target.signed,
                tuple(headers.items()),
                body,
                secret_of=self.cloud.world.secret_of,
            )
            caller = self.cloud.authenticate(signed.access_key_id, signed.security_token)
        except Unauthenticated as refusal:
            raise self._translated(refusal) from refusal
        version = headers.get("x-mns-version")
        if version is None:
            raise refuse("MissingVersionHeader", "The x-mns-version header is required.")
        if version != VERSION:
            raise refuse("InvalidVersionHeader", f"The version {version[:40]!r} is not known; {VERSION} is.")
        return caller

    def _translated(self, refusal: Unauthenticated) -> Refusal:
        """The kernel's reason in this service's words."""
        switches = self.cloud.switches
        code = _CODES.get(refusal.reason) or switches.mns_token_refusal
        if code == "TimeExpired":
            return Refusal(int(switches.mns_stale_date), code, refusal.message)
        return refuse(code, refusal.message)

    def _run(self, desk: Desk) -> Reply | Awaitable[Reply]:
        reply = OPERATIONS[desk.asked.operation].run(desk)
        if isinstance(reply, Reply):
            desk.call.status = reply.status
        return reply

    def _refused(self, refusal: Refusal, request_id: str, account: str) -> Plain:
        """The error body every client understands: all four elements, never an empty one (mns.md section 0, fact 5)."""
        if isinstance(refusal, Unauthenticated):
            refusal = self._translated(refusal)
        headers = {"x-mns-request-id": request_id, "x-mns-version": VERSION, **refusal.headers}
        if refusal.body is not None:
            content_type, body = refusal.body
            return Plain(refusal.status, {**headers, "Content-Type": content_type}, body)
        owner = f"{account}." if account else ""
        inner = (
            leaf("Code", refusal.code)
            + leaf("Message", clean(refusal.message) or refusal.code)
            + leaf("RequestId", request_id)
            + leaf("HostId", f"http://{owner}mns.{self.store.region}.aliyuncs.com")
        )
        headers["Content-Type"] = _CONTENT_TYPE
        return Plain(refusal.status, headers, document("Error", inner).encode())

    # Receiving, with and without patience

    def try_receive(
        self, call: Call, account: str, name: str, count: int, visibility_seconds: float | None = None
    ) -> list[Receipt]:
        """What can be had right now."""
        now_ms = self._now_ms()
        manner = self._manner(call, self.store.queue(account, name), now_ms)
        return self.store.receive(account, name, count, now_ms, visibility_seconds=visibility_seconds, manner=manner)

    async def poll(
        self,
        call: Call,
        account: str,
        name: str,
        *,
        count: int,
        seconds: float,
        gone: Callable[[], bool] = lambda: False,
        visibility_seconds: float | None = None,
    ) -> list[Receipt]:
        """Wait in cloud time until there is something: a send, a lapsed visibility, the end of a delay."""
        clock = self.cloud.clock
        deadline = clock.now() + seconds
        while (left := deadline - clock.now()) > 0:
            queue = self.store.queue(account, name)
            change_ms = queue.next_change_ms()
            if change_ms is not None:
                # A moment later than the change, so that rounding cannot wake us just before it.
                left = min(left, max(0.0, change_ms / 1_000 + 0.001 - clock.now()))
            bell = asyncio.Event()
            queue.wait(bell)
            try:
                await clock.wait_for(bell, left)
            except asyncio.CancelledError:
                self._pass_on(queue, bell)
                raise
            if gone():
                self._pass_on(queue, bell)
                return []
            queue.stop_waiting(bell)
            receipts = self.try_receive(call, account, name, count, visibility_seconds)
            if receipts:
                return receipts
        return []

    @staticmethod
    def _pass_on(queue: Queue, bell: asyncio.Event) -> None:
        """Whoever leaves after its bell was rung wakes the next one, or a message would lie there unseen."""
        if not queue.stop_waiting(bell):
            queue.ring(1)

    def _manner(self, call: Call, queue: Queue, now_ms: int) -> Manner:
        """How messages are handed out this time: switches and planned trouble decide."""
        faults = self.cloud.faults
        scattered = self.cloud.switches.queue_slices == "on"
        if not (scattered or faults.planned) or not queue.has_active(now_ms):
            return ORDERLY
        duplicate = faults.delivery("duplicate", call) is not None
        reorder = faults.delivery("reorder", call) is not None
        if not (scattered or duplicate or reorder):
            return ORDERLY
        return Manner(duplicate, self._chance if scattered or reorder else None, SLICES if scattered else 1)

    # Publishing

    def publish_draft(self, account: str, topic: str, draft: Draft, tag: str | None, now_ms: int) -> Publication:
        """Publish, and see to it that what could not be delivered is tried again."""
        publication = self.store.publish(account, topic, draft, tag, now_ms)
        self._undelivered.set()
        return publication

    async def _redeliver(self) -> None:
        clock = self.cloud.clock
        while True:
            self._undelivered.clear()
            due_ms = self.store.next_delivery_ms()
            await clock.wait_for(
                self._undelivered, _A_DAY if due_ms is None else max(0.0, due_ms / 1_000 + 0.001 - clock.now())
            )
            self.store.deliver_due(self._now_ms())

    def trouble(self, delivery: Delivery) -> Trouble:
        """Planned trouble for a delivery: it is matched as operation DeliverMessage, by topic, subscription or queue."""
        faults = self.cloud.faults
        kinds = {plan.kind for plan in faults.strike(self._delivery_call(delivery))} if faults.planned else set()
        if kinds & {"throttle", "error", "server_error", "cut_before"}:
            return "before"
        return "after" if "cut_after" in kinds else "none"

    def tried(self, delivery: Delivery, outcome: Outcome) -> None:
        """Every attempt is in the journal, so that people can see why a message did not arrive."""
        call = self._delivery_call(delivery)
        call.now = self.cloud.clock.now()
        call.effect = outcome in {"delivered", "dead letter"}
        status = HTTPStatus.CREATED if outcome == "delivered" else HTTPStatus.SERVICE_UNAVAILABLE
        self.cloud.journal.note(call, status, "" if outcome == "delivered" else "NotDelivered", outcome, 0.0)

    def _delivery_call(self, delivery: Delivery) -> Call:
        topic, subscription = delivery.topic, delivery.subscription
        target = subscription.target
        return Call(
            service="mns",
            operation="DeliverMessage",
            caller=_platform(topic.account),
            account=target.account,
            region=self.store.region,
            request_id=delivery.publication.id,
            params={
                "TopicName": topic.name,
                "SubscriptionName": subscription.name,
                "QueueName": target.queue,
                "MessageId": delivery.publication.id,
                "Failures": delivery.failures,
            },
        )

    # The platform's own hand

    async def take(
        self, account: str, queue: str, *, count: int, wait_seconds: float, visibility_seconds: float
    ) -> list[Delivered]:
        """Messages for a trigger, waiting for them if need be; empty when none came. A missing queue is a Refusal."""
        call = Call(
            service="mns",
            operation="ReceiveMessage",
            caller=_platform(account),
            account=account,
            region=self.store.region,
            request_id="",
            params={"QueueName": queue},
        )
        receipts = self.try_receive(call, account, queue, count, visibility_seconds)
        if not receipts and wait_seconds > 0:
            receipts = await self.poll(
                call, account, queue, count=count, seconds=wait_seconds, visibility_seconds=visibility_seconds
            )
        return [_delivered(receipt) for receipt in receipts]

    def delete(self, account: str, queue: str, receipt_handles: Iterable[str]) -> None:
        """Delete what the handles still hold; those that lapsed are delivered again, as everywhere."""
        self.store.queue(account, queue).delete_many(receipt_handles, self._now_ms())

    def put(
        self,
        account: str,
        queue: str,
        body: str,
        *,
        delay_seconds: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> str:
        """Send as the platform; the new message's id. Raises Refusal when the queue is missing or will not take it."""
        draft = _platform_draft(body, delay_seconds, properties)
        message, _ = self.store.send(account, queue, draft, self._now_ms())
        return message.id

    def publish(self, account: str, topic: str, body: str, *, tag: str | None = None) -> str:
        """Publish as the platform; the new message's id. Raises Refusal when the topic is missing or will not take it."""
        return self.publish_draft(account, topic, _platform_draft(body, 0, None), tag, self._now_ms()).id

    def has_queue(self, account: str, queue: str) -> bool:
        """Whether a queue exists, for those who want to complain in their own words."""
        return queue in self.store.queues(account)

    def has_topic(self, account: str, topic: str) -> bool:
        """Whether a topic exists."""
        return topic in self.store.topics(account)

    # The world

    def snapshot(self) -> dict[str, Any]:
        """Queues with their messages, topics with their subscriptions."""
        return self.store.snapshot(self._now_ms())

    def _create_queue(self, uid: str, name: str, spec: QueueSpec, now_ms: int) -> None:
        given = {key: str(value) for key, value in spec.model_dump(exclude={"dead_letter"}).items()}
        policy = None
        if spec.dead_letter is not None:
            if spec.dead_letter.queue == name:
                raise ValueError(
                    f"accounts.{uid}.queues.{name}.dead_letter.queue: a queue cannot be its own dead-letter queue"
                )
            policy = DeadLetter(spec.dead_letter.queue, spec.dead_letter.max_receives)
        self.store.create_queue(uid, name, given, now_ms, policy)

    def _create_topic(self, uid: str, name: str, spec: TopicSpec, now_ms: int) -> None:
        given = {key: str(value) for key, value in spec.model_dump(exclude={"subscriptions"}).items()}
        self.store.create_topic(uid, name, given, now_ms)
        for subscription_name, subscription in spec.subscriptions.items():
            where = f"accounts.{uid}.topics.{name}.subscriptions.{subscription_name}"
            if subscription.dead_letter == subscription.queue:
                raise ValueError(f"{where}.dead_letter: a subscription cannot use its own target queue")
            try:
                self.store.subscribe(
                    uid,
                    name,
                    subscription_name,
                    target=QueueAddress(uid, subscription.queue),
                    filter_tag=subscription.filter_tag,
                    strategy=subscription.strategy,
                    content_format=subscription.format,
                    now_ms=now_ms,
                    dead_letter=subscription.dead_letter,
                )
            except Refusal as refusal:
                raise ValueError(f"{where}: {refusal.message}") from refusal

    def _now_ms(self) -> int:
        return int(self.cloud.clock.now() * 1_000)


async def _body(request: web.BaseRequest) -> bytes:
    """The body on any verb: DELETE has one too (mns.md section 0, facts 11 and 12)."""
    if not request.can_read_body:
        return b""
    content, size = request.content, request.content_length or 0
    if size <= MAX_BODY_BYTES and content.is_eof():
        return content.read_nowait(-1)  # all of it came with the headers, as most bodies do
    parts: list[bytes] = []
    try:
        if size <= MAX_BODY_BYTES and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        while size <= MAX_BODY_BYTES and (part := await content.readany()):
            parts.append(part)
            size = max(size, sum(map(len, parts)))
    except (web.RequestPayloadError, ConnectionError) as error:
        raise refuse("InvalidArgument", f"The request body could not be read: {error}.") from error
    if size > MAX_BODY_BYTES:
        raise refuse("InvalidArgument", f"A request body may have {MAX_BODY_BYTES} bytes.")
    return b"".join(parts)


def _claimed_key(headers: Mapping[str, str]) -> str:
    """Whose key a request claims to be signed with, whether or not it is."""
    return headers.get("Authorization", "").removeprefix("MNS").strip().partition(":")[0][:64]


def _platform(account: str) -> Caller:
    return Caller(account, "service", "mns", None, f"acs:ram::{account}:service/mns", "", "")


def _platform_draft(body: str, delay_seconds: int, properties: Mapping[str, str] | None) -> Draft:
    user = tuple(Property(name, value, "STRING") for name, value in (properties or {}).items())
    check_properties(user, ())
    if not body or not all(writable(text) for text in (body, *(properties or {}).values())):
        raise refuse("InvalidArgument", "A message is text that XML can carry, and not empty.")
    return Draft(body, delay_seconds, user_properties=user)


def _delivered(receipt: Receipt) -> Delivered:
    message = receipt.message
    return Delivered(
        message.id,
        message.body,
        receipt.handle,
        receipt.dequeue_count,
        message.enqueued_ms,
        message.priority,
        message.user_properties,
        message.system_properties,
    )
