"""Starts and stops one local cloud on one loopback port."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud import mnsopen
from localcloud.admin import Admin
from localcloud.ecr.product import PRODUCT as ECR
from localcloud.fc.service import FcService
from localcloud.gateway import Gateway
from localcloud.kernel import Cloud
from localcloud.kms import PRODUCT as KMS
from localcloud.mns.service import MnsService
from localcloud.oauth.service import OauthService
from localcloud.operations import Product
from localcloud.plain import Peer, PlainServer, TlsWitness
from localcloud.rpc import RpcService
from localcloud.sts import PRODUCT as STS
from localcloud.vpc import PRODUCT as VPC
from localcloud.worldfile import WorldFile

HOST = "127.0.0.1"
MOST_BYTES = 33 * 1024 * 1024
"""A synchronous invocation may carry 32 MiB; whatever is larger is refused unread."""
LONGEST_LINE = 64 * 1024
"""SDKs put everything into the query, session policies and tokens of some kilobytes included."""
PRODUCTS: Mapping[str, Product] = {product.version: product for product in (STS, VPC, ECR, KMS)}
"""The products that speak RPC, by the API version that requests name."""


class Server:
    """A running local cloud: the kernel and its services put together; made by ``start``, ended by ``stop``."""

    def __init__(self, file: WorldFile, *, port: int = 0, state_directory: Path | None = None) -> None:
        self.cloud = Cloud(file, state_directory=state_directory)
        self.mns = MnsService(self.cloud)
        self._tls = TlsWitness(self.cloud)
        self.fc = FcService(self.cloud, self.mns.platform, self._tls)
        self.oauth = OauthService(self.cloud)
        control = mnsopen.product(self.mns.store)
        self._gateway = Gateway(
            self.cloud,
            rpc=RpcService(self.cloud, {**PRODUCTS, control.version: control}).handle,
            mns=self.mns.handle,
            fc=self.fc.handle,
            oauth=self.oauth.handle,
            admin=Admin(self.cloud, self.mns, self.fc, self.oauth).handle,
        )
        self._port = port
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, then bring the services up; the address is known afterwards."""
        self._server = web_server(self._gateway.handle, self._tls.on(lambda: self.cloud.address))
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, HOST, self._port, backlog=1024)
        self.cloud.address = f"{HOST}:{self._listener.sockets[0].getsockname()[1]}"
        self.mns.start()

    async def stop(self) -> None:
        """Stop everything that was started, workers first; may be called when starting failed halfway."""
        # While functions end, their last hooks may still call in.
        await self.fc.stop()
        if self._listener is not None:
            self._listener.close()
        await self.cloud.stop_tasks()
        if self._server is not None:
            # Idle connections are waited for as long as busy ones, so the grace is short.
            await self._server.shutdown(timeout=0.05)
        if self._listener is not None:
            await self._listener.wait_closed()
        self.cloud.journal.close()


def calm_collector() -> None:
    """Let the garbage collector look rarely, and not at what stays: worlds and journals are large, cycles are few."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def web_server(handler: Any, on_tls: Callable[[Peer], None] | None = None) -> web.Server:
    """The HTTP side with its settings; also what the benchmark's bare handler runs on."""
    loop = asyncio.get_running_loop()

    def request_factory(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_BYTES)

    return PlainServer(
        handler,
        on_tls=on_tls,
        request_factory=request_factory,
        access_log=None,
        keepalive_timeout=75.0,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
    )
