"""The message service of a local cloud: HTTP in, a call through the kernel, HTTP out."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from aiohttp import web

from localcloud.call import Call, Caller
from localcloud.kernel import Cloud
from localcloud.mns.context import Context, Reply
from localcloud.mns.errors import TEXTS, refuse
from localcloud.mns.markup import clean, document, leaf
from localcloud.mns.names import account_in, address, check_host, owner_of
from localcloud.mns.operations.table import OPERATIONS, permissions
from localcloud.mns.platform import PlatformAccess
from localcloud.mns.publishing import JournalledCourier, Publisher
from localcloud.mns.queues import DeadLetter
from localcloud.mns.receiving import Receiver
from localcloud.mns.store import Store
from localcloud.mns.topics import QueueAddress
from localcloud.mns.wire import VERSION, Target, read_request, read_target
from localcloud.quick import Plain
from localcloud.refusal import Refusal, Throttled, Unauthenticated, not_emulated
from localcloud.signatures import mns_v2
from localcloud.worldfile import QueueSpec, TopicSpec

THROTTLE_HOLD_SECONDS: Final = 0.01
"""A throttled request is held a little before it is refused (mns.md section 4); the shortest documented time."""
MAX_BODY_BYTES: Final = 1_048_576
"""More than the largest batch has with every character written as a reference."""

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


class MnsService:
    """Queues and topics, ready for the gateway."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._chance = random.Random()  # noqa: S311 - spreads retries and shuffles deliveries, guards nothing
        self.store = Store(cloud.world.region, cloud.switches, JournalledCourier(cloud), self._chance)
        self._receiver = Receiver(cloud, self.store, self._chance)
        self._publisher = Publisher(cloud, self.store)
        self.platform = PlatformAccess(cloud, self.store, self._receiver, self._publisher)

    def start(self) -> None:
        """Create what the world file lists, then keep delivering what could not be delivered at once."""
        now_ms = self._now_ms()
        for uid, account in self._cloud.world.accounts.items():
            for name, queue in account.queues.items():
                self._create_queue(uid, name, queue, now_ms)
            for name, topic in account.topics.items():
                self._create_topic(uid, name, topic, now_ms)
        self._publisher.start()

    async def handle(self, request: web.BaseRequest) -> Plain | web.StreamResponse:
        """Answer one request. Raises Cut when planned trouble wants the connection dropped."""
        request_id = f"{self._chance.getrandbits(96):024X}"
        try:
            context = await self._read(request, request_id)
            reply = await self._cloud.perform(context.call, lambda: self._run(context))
        except Refusal as refusal:
            if isinstance(refusal, Throttled):
                await asyncio.sleep(THROTTLE_HOLD_SECONDS)
            return self._refused(refusal, request_id, self._host_id(request))
        headers = {"x-mns-request-id": request_id, "x-mns-version": VERSION}
        if reply.location is not None:
            headers["Location"] = reply.location
        if not reply.body:
            return web.Response(status=reply.status, headers=headers)
        headers["Content-Type"] = _CONTENT_TYPE
        return Plain(reply.status, headers, reply.body.encode())

    async def _read(self, request: web.BaseRequest, request_id: str) -> Context:
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
                    operation, asked.route, account, self.store.region, self._cloud.switches.batch_actions
                ),
                params=facts,
                weight=asked.weight,
                source_ip=request.remote or "127.0.0.1",
            )
        except Refusal as refusal:
            wanted = operation or f"{request.method} {request.raw_path}"[:120]
            self._cloud.turned_away("mns", wanted, refusal, request_id=request_id, access_key_id=_claimed_key(headers))
            raise

        def gone() -> bool:
            return request.transport is None or request.transport.is_closing()

        return Context(
            store=self.store,
            switches=self._cloud.switches,
            receiver=self._receiver,
            publisher=self._publisher,
            asked=asked,
            call=call,
            host=host,
            facts=facts,
            gone=gone,
        )

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
                secret_of=self._cloud.world.secret_of,
            )
            caller = self._cloud.authenticate(signed.access_key_id, signed.security_token)
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
        switches = self._cloud.switches
        code = _CODES.get(refusal.reason) or switches.mns_token_refusal
        if code == "TimeExpired":
            return Refusal(int(switches.mns_stale_date), code, TEXTS[code], note=refusal.message)
        return refuse(code, refusal.message)

    def _host_id(self, request: web.BaseRequest) -> str:
        """The endpoint of the account that is asked: named by the host, also where nobody was authenticated.

        A loopback address names none. Then it is the account of the key that the request claims, and for a key that
        nobody has, the account whose endpoint this local cloud stands for first.
        """
        world = self._cloud.world
        with contextlib.suppress(Refusal):
            target = read_target(request.raw_path)
            named = account_in(target.authority or request.headers.get("Host") or "")
            if named is not None:
                return f"http://{named}.mns.{world.region}.aliyuncs.com"
        account = world.account_of(_claimed_key(request.headers)) or world.deploy_account
        return f"http://{account}.mns.{world.region}.aliyuncs.com"

    def _run(self, context: Context) -> Reply | Awaitable[Reply]:
        reply = OPERATIONS[context.asked.operation].run(context)
        if isinstance(reply, Reply):
            context.call.status = reply.status
        return reply

    def _refused(self, refusal: Refusal, request_id: str, host_id: str) -> Plain:
        """The error body every client understands: all four elements, never an empty one (mns.md section 0, fact 5)."""
        if isinstance(refusal, Unauthenticated):
            refusal = self._translated(refusal)
        headers = {"x-mns-request-id": request_id, "x-mns-version": VERSION, **refusal.headers}
        if refusal.body is not None:
            content_type, body = refusal.body
            return Plain(refusal.status, {**headers, "Content-Type": content_type}, body)
        inner = (
            leaf("Code", refusal.code)
            + leaf("Message", clean(refusal.message) or refusal.code)
            + leaf("RequestId", request_id)
            + leaf("HostId", host_id)
        )
        headers["Content-Type"] = _CONTENT_TYPE
        return Plain(refusal.status, headers, document("Error", inner).encode())

    def snapshot(self) -> dict[str, Any]:
        """Queues with their messages, topics with their subscriptions."""
        return self.store.snapshot(self._now_ms())

    def _create_queue(self, uid: str, name: str, spec: QueueSpec, now_ms: int) -> None:
        given = {key: str(value) for key, value in spec.model_dump(exclude={"dead_letter"}).items()}
        policy = None
        if spec.dead_letter is not None:
            policy = DeadLetter(spec.dead_letter.queue, spec.dead_letter.max_receives)
        self.store.create_queue(uid, name, given, now_ms, policy)

    def _create_topic(self, uid: str, name: str, spec: TopicSpec, now_ms: int) -> None:
        given = {key: str(value) for key, value in spec.model_dump(exclude={"subscriptions"}).items()}
        self.store.create_topic(uid, name, given, now_ms)
        for subscription_name, subscription in spec.subscriptions.items():
            self.store.subscribe(
                uid,
                name,
                subscription_name,
                target=QueueAddress(uid, subscription.queue)
                if subscription.queue is not None
                else address(subscription.endpoint or "", self.store.region),
                filter_tag=subscription.filter_tag,
                strategy=subscription.strategy,
                content_format=subscription.format,
                now_ms=now_ms,
                dead_letter=subscription.dead_letter,
            )

    def _now_ms(self) -> int:
        return int(self._cloud.clock.now() * 1_000)


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
