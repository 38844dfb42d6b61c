"""Is the referee ever the bottleneck? Requests a second of the local cloud beside a bare aiohttp handler.

    python -m bench.localcloud

The bare handler does what any has to: it reads the request and answers something. It is served as aiohttp's documentation shows
(an application with a route), which is what the promise is about; and, for comparison, by aiohttp's low-level server with the
local cloud's own settings, which leaves even routing away.

Each server is a process of its own; one client sends the same kind of pre-signed requests over the same number of
connections to all, in turns, so that a noisy neighbour hits all alike. Printed are the rates of the fastest round of each,
the ratios to both, the median of the promised ratio round by round, and the least processor time that a request cost. Exit
code 1 when a ratio to the bare handler is below the one that is promised.
"""

import argparse
import asyncio
import hashlib
import hmac
import multiprocessing
import resource
import statistics
import sys
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest

from localcloud.server import Server, calm_collector, web_server
from localcloud.signatures import mns_string_to_sign
from localcloud.worldfile import check_world

PROMISED_RATIO = 0.5
HUB, SPOKE = "1000000000000001", "2000000000000002"
KEYS = {"hub": ("LTAI-example-hub", "not-a-secret-of-hub"), "spoke": ("LTAI-example-spoke", "not-a-secret-of-spoke")}
QUEUE_BODY = (
    '<?xml version="1.0" encoding="utf-8"?><Message xmlns="http://mns.aliyuncs.com/doc/v1/">'
    f"<MessageBody>{b64encode(b'x' * 300).decode()}</MessageBody></Message>"
).encode()
BARE_ANSWER = b'{"RequestId": "00000000-0000-0000-0000-000000000000", "Success": true, "Code": "200", "Message": "OK"}'


# The two servers


def world(vpcs: int) -> Any:
    """Two accounts, a queue, an ECR and many VPCs; quotas out of the way, since speed is what is measured."""
    everything = {"p": {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
    trusting = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{HUB}:root"]}}
    users = {
        name: {"access_key": {"id": key, "secret": secret}, "policies": everything}
        for name, (key, secret) in KEYS.items()
    }
    return check_world(
        {
            "version": 1,
            "accounts": {
                HUB: {
                    "users": {"hub": users["hub"]},
                    "ecrs": [{"id": "ecr-benchmark"}],
                    "queues": {"bench": {"VisibilityTimeout": 3600}},
                },
                SPOKE: {
                    "users": {"spoke": users["spoke"]},
                    "roles": {"spoke": {"trust": {"Version": "1", "Statement": [trusting]}, "policies": everything}},
                    "vpcs": [
                        {"id": f"vpc-{number}", "region": "cn-hangzhou", "cidr": "10.0.0.0/16"}
                        for number in range(vpcs)
                    ],
                },
            },
            "quotas": {
                "mns:data": None,
                "sts:AssumeRole": None,
                "ecr:GrantInstanceToExpressConnectRouter": None,
            },
        }
    )


async def bare(request: web.BaseRequest) -> web.StreamResponse:
    """What any aiohttp handler has to do: read the request, answer something."""
    await request.read()
    return web.Response(body=BARE_ANSWER, headers={"Content-Type": "application/json;charset=utf-8"})


def serve(kind: str, vpcs: int, pipe: Connection) -> None:
    """Run one of the servers; answers on the pipe with its address, then with its processor time when asked."""
    asyncio.run(_serve(kind, vpcs, pipe))


async def _serve(kind: str, vpcs: int, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    if kind == "cloud":
        server = Server(world(vpcs))
        await server.start()
        calm_collector()
        pipe.send(server.cloud.address)
    elif kind == "bare":
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", bare)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        calm_collector()
        pipe.send("{}:{}".format(*runner.addresses[0]))
    else:
        calm_collector()
        listener = await loop.create_server(web_server(bare), "127.0.0.1", 0, backlog=1024)
        pipe.send(f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    while await loop.run_in_executor(None, pipe.recv):
        used = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(used.ru_utime + used.ru_stime)


# The client: raw sockets, so that it costs as little as possible


class Sender(asyncio.Protocol):
    """One keep-alive connection that sends requests one after the other."""

    def __init__(self, requests: Iterable[bytes], statuses: dict[int, int]) -> None:
        self._requests = iter(requests)
        self._statuses = statuses
        self._buffer = b""
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Count a complete answer, then send the next request."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.find(b"content-length:") + 15
        length = int(head[start : head.find(b"\r\n", start) if head.find(b"\r\n", start) > 0 else end])
        if len(self._buffer) < end + 4 + length:
            return
        status = int(self._buffer[9:12])
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """A server that hangs up ends the benchmark."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server hung up"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()


async def drive(address: str, requests: list[bytes], connections: int) -> tuple[float, dict[int, int]]:
    """Send all requests; requests a second, and how often each status came."""
    host, _, port = address.partition(":")
    statuses: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    senders = []
    for number in range(connections):
        share = requests[number::connections]
        senders.append((await loop.create_connection(lambda share=share: Sender(share, statuses), host, int(port)))[1])  # type: ignore[misc]
    await asyncio.gather(*(sender.done for sender in senders))
    return len(requests) / (time.perf_counter() - started), statuses


# Pre-signed requests


def http(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request as bytes."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def rpc(address: str, who: str, action: str, version: str, query: dict[str, str], form: dict[str, str]) -> bytes:
    """A request of STS or ECR, signed by the SDK's own code."""
    key, secret = KEYS[who]
    body = urlencode(form).encode() if form else b""
    headers = {
        "host": address,
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": uuid.uuid4().hex,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "accept": "application/json",
        "user-agent": "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2",
        "x-acs-credentials-provider": "static_ak",
        **({"content-type": "application/x-www-form-urlencoded"} if form else {}),
    }
    request = DaraRequest()
    request.method, request.pathname, request.headers, request.query = "POST", "/", headers, query
    headers["Authorization"] = Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", headers["x-acs-content-sha256"], key, secret
    )
    return http("POST", "/" + (f"?{urlencode(query)}" if query else ""), headers, body)


def mns(address: str, method: str, target: str, body: bytes = b"") -> bytes:
    """A request of the message service."""
    key, secret = KEYS["hub"]
    headers = {"Date": formatdate(usegmt=True), "x-mns-version": "2015-06-06"}
    if body:
        headers["Content-Type"] = "text/xml;charset=UTF-8"
        headers["Content-MD5"] = b64encode(hashlib.md5(body, usedforsecurity=False).hexdigest().encode()).decode()
    text = mns_string_to_sign(method, target, headers.items())
    signature = b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()
    return http(method, target, {"Host": address, **headers, "Authorization": f"MNS {key}:{signature}"}, body)


@dataclass(frozen=True)
class Kind:
    """One kind of request to measure."""

    name: str
    make: Callable[[str, int], bytes]
    status: int


def assume(address: str, number: int) -> bytes:
    """AssumeRole."""
    query = {"RoleArn": f"acs:ram::{SPOKE}:role/spoke", "RoleSessionName": f"REQ-{number}"}
    return rpc(address, "hub", "AssumeRole", "2015-04-01", query, {})


def grant(address: str, number: int) -> bytes:
    """GrantInstanceToExpressConnectRouter, each of another VPC."""
    form = {
        "EcrId": "ecr-benchmark",
        "EcrOwnerAliUid": HUB,
        "InstanceId": f"vpc-{number}",
        "InstanceRegionId": "cn-hangzhou",
        "InstanceType": "VPC",
        "ClientToken": uuid.uuid4().hex,
    }
    return rpc(address, "spoke", "GrantInstanceToExpressConnectRouter", "2023-09-01", {}, form)


KINDS = (
    Kind("MNS SendMessage", lambda address, _: mns(address, "POST", "/queues/bench/messages", QUEUE_BODY), 201),
    Kind("MNS ReceiveMessage", lambda address, _: mns(address, "GET", "/queues/bench/messages?waitseconds=0"), 200),
    Kind("STS AssumeRole", assume, 200),
    Kind("ECR Grant", grant, 200),
)


class Contender:
    """A server in a process of its own."""

    def __init__(self, kind: str, vpcs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(kind, vpcs, theirs), daemon=True)
        self._process.start()
        self.address: str = self._pipe.recv()

    def processor_seconds(self) -> float:
        """What the process used so far."""
        self._pipe.send(True)
        used: float = self._pipe.recv()
        return used

    def stop(self) -> None:
        """End it."""
        self._pipe.send(False)
        self._process.join(10)


def measure(
    contender: Contender, kind: Kind, requests: list[bytes], connections: int, *, exact: bool
) -> tuple[float, float]:
    """Requests a second, and microseconds of the server's processor time a request."""
    before = contender.processor_seconds()
    rate, statuses = asyncio.run(drive(contender.address, requests, connections))
    used = contender.processor_seconds() - before
    if exact and statuses != {kind.status: len(requests)}:
        raise SystemExit(f"{kind.name}: {kind.status} was expected throughout, found {statuses}")
    return rate, used / len(requests) * 1e6


def main() -> int:
    """Measure all kinds; 0 when every ratio is as promised."""
    parser = argparse.ArgumentParser(description="The local cloud beside a bare aiohttp handler.")
    parser.add_argument("--requests", type=int, default=500, help="per kind and round")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--connections", type=int, default=8)
    asked = parser.parse_args()
    contenders = [Contender(kind, asked.requests * asked.rounds) for kind in ("bare", "low-level", "cloud")]
    cloud = contenders[-1]
    failed = False
    print(
        f"{asked.rounds} rounds of {asked.requests} requests over {asked.connections} connections; the fastest of each"
    )
    print(
        f"{'':<20}{'bare/s':>9}{'low/s':>9}{'cloud/s':>9}{'of bare':>9}{'median':>8}{'of low':>8}"
        f"{'bare us':>9}{'low us':>8}{'cloud us':>10}"
    )
    try:
        for kind in KINDS:
            rounds = []
            for number in range(asked.rounds):
                first = number * asked.requests
                mine = [kind.make(cloud.address, first + index) for index in range(asked.requests)]
                measured = []
                for one in contenders:
                    asking = [request.replace(cloud.address.encode(), one.address.encode()) for request in mine]
                    measured.append(measure(one, kind, asking, asked.connections, exact=one is cloud))
                rounds.append(measured)
            # Neighbours only ever slow a round down, so the fastest round of each tells most about them.
            bare_rate, low_rate, cloud_rate = (max(row[each][0] for row in rounds) for each in range(3))
            costs = [min(row[each][1] for row in rounds) for each in range(3)]
            ratio = cloud_rate / bare_rate
            median = statistics.median(row[2][0] / row[0][0] for row in rounds)
            failed = failed or ratio < PROMISED_RATIO
            print(
                f"{kind.name:<20}{bare_rate:>9.0f}{low_rate:>9.0f}{cloud_rate:>9.0f}{ratio:>9.2f}{median:>8.2f}"
                f"{cloud_rate / low_rate:>8.2f}{costs[0]:>9.0f}{costs[1]:>8.0f}{costs[2]:>10.0f}"
            )
    finally:
        for one in contenders:
            one.stop()
    print(f"{'BELOW' if failed else 'OK: at least'} {PROMISED_RATIO:g} of the bare rate was promised")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
