"""HTTP triggers: a loopback port of its own for each function that has one.

A custom runtime is proxied, a built-in one gets the request as an event (function-compute.md section 3.4). The port
stands for the function's default domain, which makes browsers save what they get (Content-Disposition: attachment);
with ``customDomain`` in the template, or
``deploy.custom_domains`` in the world file, it stands for that domain, which does not. What a caller sees when a function
fails is not documented for HTTP triggers: here 502, and 504 after a time-out.
"""

import asyncio
import base64
import io
import json
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from localcloud.call import ANONYMOUS, Call
from localcloud.clock import iso
from localcloud.fc.custom_instances import CustomInstance
from localcloud.fc.functions import Function
from localcloud.fc.instances import Instance
from localcloud.fc.invocations import Invocation, Outcome, StartFailed, new_request_id
from localcloud.fc.template.triggers import HttpTrigger
from localcloud.kernel import Cloud
from localcloud.plain import PlainServer, TlsWitness
from localcloud.refusal import Cut, Refusal

BODY_LIMIT = 32 * 1024 * 1024
HEADERS_LIMIT = 8 * 1024
"""Bytes of all names and values together, both ways."""
PATH_LIMIT = 4 * 1024
"""Bytes of path and query."""
_READABLE = 64 * 1024
"""Longer lines are refused by the library, in its own words."""
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
_OURS = frozenset({"date", "server"})
"""What the platform says itself, whatever a function's server says."""
_TEXT = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")


class Front:
    """One HTTP trigger and the port it listens on."""

    def __init__(
        self, cloud: Cloud, function: Function, trigger: HttpTrigger, tls: TlsWitness, domain: str | None
    ) -> None:
        """``domain``: a custom domain that leads here."""
        self._cloud = cloud
        self._function = function
        self._tls = tls
        self._config = trigger.trigger_config
        self._domain = domain
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.name = trigger.trigger_name
        self.port = 0
        self.requests = 0

    @property
    def url(self) -> str:
        """Where the function can be reached."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen; ``port`` is the one the function had before it was deployed again."""
        self._session = aiohttp.ClientSession(
            # Frozen servers do not keep connections well, so none is kept.
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            auto_decompress=False,
            max_line_size=_READABLE,
            max_field_size=_READABLE,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._runner = web.ServerRunner(
            PlainServer(
                self._handle,
                on_tls=self._tls.on(lambda: f"127.0.0.1:{self.port}"),
                access_log=None,
                max_line_size=_READABLE,
                max_field_size=_READABLE,
            ),
            shutdown_timeout=0.5,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def snapshot(self) -> dict[str, Any]:
        """For people and tests."""
        return {
            "trigger": self.name,
            "type": "http",
            "url": self.url,
            "methods": list(self._config.methods),
            "requests": self.requests,
            "state": "Running",
        }

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = new_request_id()
        self.requests += 1
        call = self._call(request, request_id)
        try:
            return await self._cloud.perform(call, lambda: self._answer(request, call))
        except Refusal as refusal:
            return _failure(refusal.status, refusal.code, refusal.message, request_id)
        except Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # nobody is there to see it

    def _call(self, request: web.BaseRequest, request_id: str) -> Call:
        around = self._function.around
        return Call(
            service="fc",
            operation="InvokeHTTPTrigger",
            caller=ANONYMOUS,
            account=around.account,
            region=around.region,
            request_id=request_id,
            params={
                "function": self._function.name,
                "trigger": self.name,
                "method": request.method,
                "path": request.path,
            },
            source_ip=request.remote or "127.0.0.1",
        )

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        if request.method not in self._config.methods:
            raise Refusal(405, "MethodNotAllowed", f"the trigger '{self.name}' does not take {request.method} requests")
        if "Upgrade" in request.headers.get("Connection", "").title():
            raise Refusal(501, "NotEmulated", "Upgrading a connection (WebSocket) is not emulated by this local cloud.")
        _check_size("headers", _size(request.headers.items()), HEADERS_LIMIT)
        _check_size("path", len(request.raw_path.encode()), PATH_LIMIT)
        # Whole, before an instance is claimed: a client that sends slowly holds nobody up.
        body = await read_body(request, BODY_LIMIT, code="InvalidArgument")
        call.effect = True
        try:
            async with self._function.pool.instance() as instance:
                if isinstance(instance, CustomInstance):
                    response = await self._proxy(request, body, instance, call.request_id)
                else:
                    response = await self._event(request, body, instance, call.request_id)
        except StartFailed as failed:
            outcome = Outcome("not_started", failed.payload, "", 0.0)
            response = self._failed(outcome, call.request_id)
        call.status = response.status
        return response

    # Custom runtimes

    async def _proxy(
        self, request: web.BaseRequest, body: bytes, instance: CustomInstance, request_id: str
    ) -> web.StreamResponse:
        started = time.monotonic()
        limit = float(self._function.props.timeout)
        response: web.StreamResponse | None = None
        with instance.working(request_id):
            try:
                async with asyncio.timeout(limit), self._forward(request, body, instance, request_id) as upstream:
                    if _size(upstream.headers.items()) > HEADERS_LIMIT:
                        message = f"the headers of the answer have more than {HEADERS_LIMIT} bytes"
                        return _failure(502, "BadResponse", message, request_id)
                    if self._cloud.faults.planned:
                        # Trouble after the effect must still be able to take the answer away: it may not have begun.
                        whole = web.Response(status=upstream.status, reason=upstream.reason, body=await upstream.read())
                        self._copy_headers(upstream, whole, request_id)
                        return whole
                    response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
                    self._copy_headers(upstream, response, request_id)
                    await response.prepare(request)
                    async for chunk in upstream.content.iter_any():
                        await response.write(chunk)
            except TimeoutError:
                outcome = await instance.timed_out(limit, started)
            except aiohttp.ClientError:
                if request.transport is None or request.transport.is_closing():
                    raise Cut("the client left before its answer was whole") from None
                outcome = await instance.broke_off(started)
            else:
                await response.write_eof()
                return response
        if response is not None:
            raise Cut("the function broke off in the middle of its answer")
        return self._failed(outcome, request_id)

    def _copy_headers(self, upstream: aiohttp.ClientResponse, response: web.StreamResponse, request_id: str) -> None:
        for name, value in upstream.headers.items():
            if name.lower() not in _HOP_BY_HOP | _OURS and not name.lower().startswith("x-fc-"):
                response.headers.add(name, value)
        self._mark(response, request_id)

    def _forward(
        self, request: web.BaseRequest, body: bytes, instance: CustomInstance, request_id: str
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise Refusal(503, "ServiceUnavailable", "the trigger is being taken down")
        headers = [
            (name, value)
            for name, value in request.headers.items()
            # Nobody outside may speak for the platform.
            if name.lower() not in _HOP_BY_HOP | {"content-length"} and not name.lower().startswith("x-fc-")
        ]
        if self._cloud.switches.forwarded_headers == "appended":
            headers = _forwarded(headers, {"X-Forwarded-For": request.remote or "", "X-Forwarded-Proto": "http"})
        headers += list(instance.headers(request_id, "/http-invoke").items())
        return self._session.request(
            request.method,
            URL(f"{instance.base}{request.raw_path}", encoded=True),
            headers=headers,
            data=io.BytesIO(body) if body else None,  # bytes as they are would be sent in one go
            allow_redirects=False,
            skip_auto_headers={"User-Agent", "Accept", "Accept-Encoding", "Content-Type"},
        )

    # Built-in runtimes

    async def _event(
        self, request: web.BaseRequest, body: bytes, instance: Instance, request_id: str
    ) -> web.StreamResponse:
        event = json.dumps(self._as_event(request, body, request_id)).encode()
        outcome = await instance.invoke(Invocation(request_id, event))
        if outcome.fate != "returned":
            return self._failed(outcome, request_id)
        return self._as_response(outcome.payload, request_id)

    def _as_event(self, request: web.BaseRequest, body: bytes, request_id: str) -> dict[str, Any]:
        kind = request.headers.get("Content-Type", "")
        text: str | None = None
        if not body or kind.startswith(_TEXT):
            try:
                text = body.decode()
            except UnicodeDecodeError:
                text = None
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault("-".join(word.capitalize() for word in name.split("-")), []).append(value)
        now = self._cloud.clock.now()
        around = self._function.around
        return {
            "version": "v1",
            "rawPath": request.raw_path.partition("?")[0],
            "headers": {name: ",".join(values) for name, values in headers.items()},
            "queryParameters": dict(request.query),
            "body": text if text is not None else base64.b64encode(body).decode(),
            "isBase64Encoded": text is None,
            "requestContext": {
                "accountId": around.account,
                "domainName": request.host,
                "domainPrefix": request.host.partition(".")[0],
                "requestId": request_id,
                "time": iso(now),
                "timeEpoch": str(int(now * 1000)),
                "http": {
                    "method": request.method,
                    "path": request.path,
                    "protocol": f"HTTP/{request.version.major}.{request.version.minor}",
                    "sourceIp": request.remote or "",
                    "userAgent": request.headers.get("User-Agent", ""),
                },
            },
        }

    def _as_response(self, payload: bytes, request_id: str) -> web.StreamResponse:
        """What the handler returned, as an HTTP answer when it has that form, else as it is."""
        try:
            answer = json.loads(payload)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("statusCode"), int):
            response = web.Response(body=payload, content_type="application/json")
            self._mark(response, request_id)
            return response
        body = answer.get("body", "")
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        try:
            if answer.get("isBase64Encoded"):
                content = base64.b64decode(content, validate=True)
            headers = {str(name): str(value) for name, value in (answer.get("headers") or {}).items()}
            response = web.Response(status=answer["statusCode"], body=content, headers=headers)
        except (ValueError, AttributeError):
            return self._failed(
                Outcome("raised", b'{"errorMessage": "the handler returned no usable HTTP answer"}', "", 0.0),
                request_id,
            )
        self._mark(response, request_id)
        return response

    def _failed(self, outcome: Outcome, request_id: str) -> web.StreamResponse:
        log = self._function.log
        log.write(outcome.instance_id, request_id, "runtime", f"{outcome.fate}: {outcome.message}")
        response = web.Response(
            status=504 if outcome.fate == "timed_out" else 502, body=outcome.payload, content_type="application/json"
        )
        response.headers["X-Fc-Error-Type"] = outcome.error_type
        self._mark(response, request_id)
        return response

    def _mark(self, response: web.StreamResponse, request_id: str) -> None:
        response.headers["X-Fc-Request-Id"] = request_id
        if self._domain is None:
            response.headers["Content-Disposition"] = "attachment"


def is_free(port: int) -> bool:
    """Whether an HTTP trigger could listen on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _size(headers: Iterable[tuple[str, str]]) -> int:
    return sum(len(name.encode()) + len(value.encode(errors="surrogateescape")) for name, value in headers)


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise Refusal(
            400, "InvalidArgument", f"the {what} of the request have {size} bytes; at most {limit} are possible"
        )


def _forwarded(headers: list[tuple[str, str]], seen: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each value behind those that are there already, as every proxy adds its own: what stands first may be forged."""
    names = {name.lower() for name in seen}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    for name, value in seen.items():
        before = [given for other, given in headers if other.lower() == name.lower()]
        kept.append((name, ",".join([*before, value])))
    return kept


async def read_body(request: web.BaseRequest, limit: int, *, code: str = "EntityTooLarge") -> bytes:
    """The body of a request, refused beyond ``limit`` bytes."""
    parts = bytearray()
    async for chunk in request.content.iter_any():
        parts += chunk
        if len(parts) > limit:
            raise Refusal(400, code, f"payload size exceeds maximum allowed size ({limit} bytes)")
    return bytes(parts)


def _failure(status: int, code: str, message: str, request_id: str) -> web.Response:
    return web.json_response(
        {"RequestId": request_id, "Code": code, "Message": message},
        status=status,
        headers={"X-Fc-Request-Id": request_id},
    )
