"""A port that speaks plain HTTP, and notices when somebody speaks TLS to it.

SDKs speak https unless they are told otherwise. An HTTP parser sees noise then, the client sees a broken handshake,
and neither says what to change. So the first bytes of a connection are looked at before anybody parses them.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from aiohttp import web

from localcloud.kernel import Cloud

_HANDSHAKE = b"\x16\x03"
"""How every TLS connection begins (RFC 8446, section 5.1): a handshake record of a version that starts with three."""
_ALERT = b"\x15\x03\x01\x00\x02\x02\x28"
"""A fatal alert, handshake_failure: the client's library ends the connection in order, and names a reason."""
_LINGER_SECONDS = 1.0
_PRINTED = 10
"""Lines on standard error for a whole run; the journal has all of them."""

Peer = tuple[str, int]


class PlainServer(web.Server):
    """The HTTP library's server, behind a look at the first bytes."""

    def __init__(self, handler: Any, *, on_tls: Callable[[Peer], None] | None = None, **settings: Any) -> None:
        # A body is signed, and handed to a function, as it was sent: nobody unpacks it on the way.
        super().__init__(handler, auto_decompress=False, **settings)
        self._on_tls = on_tls
        self._waiting: set[asyncio.Transport] = set()

    def __call__(self) -> Any:
        """A protocol for one connection."""
        return _FirstBytes(super().__call__, self._waiting, self._on_tls) if self._on_tls else super().__call__()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Close connections that never said anything too: the library does not know them yet."""
        for transport in list(self._waiting):
            transport.abort()
        await asyncio.sleep(0)  # an aborted connection is closed in the loop's next round
        await super().shutdown(timeout)


class _FirstBytes(asyncio.Protocol):
    """Hands a connection over to HTTP, unless its first bytes are TLS."""

    def __init__(
        self, http: Callable[[], asyncio.Protocol], waiting: set[asyncio.Transport], on_tls: Callable[[Peer], None]
    ) -> None:
        self._http = http
        self._waiting = waiting
        self._on_tls = on_tls
        self._transport: asyncio.Transport
        self._ended = False
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream server makes nothing else
        self._transport = transport
        self._waiting.add(transport)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return  # what a TLS client sends behind its greeting
        first = self._first + data
        if len(first) < len(_HANDSHAKE) and _HANDSHAKE.startswith(first):
            self._first = first
            return
        if first.startswith(_HANDSHAKE):
            self._end()
            return
        self._waiting.discard(self._transport)
        inner = self._http()
        self._transport.set_protocol(inner)
        inner.connection_made(self._transport)
        inner.data_received(first)

    def eof_received(self) -> bool:
        self._transport.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._waiting.discard(self._transport)

    def _end(self) -> None:
        """Say goodbye in TLS; closing while the client still sends would reset the connection."""
        self._ended = True
        self._on_tls(self._transport.get_extra_info("peername") or ("", 0))
        self._transport.write(_ALERT)
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)


class TlsWitness:
    """Names everybody who speaks TLS to a plain port: in the journal, and on standard error."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._seen = 0

    def on(self, address: Callable[[], str]) -> Callable[[Peer], None]:
        """What a port does with such a client; ``address`` is its own host:port."""

        def seen(peer: Peer) -> None:
            here = address()
            text = (
                f"{peer[0]}:{peer[1]} speaks TLS (https) to {here}, which speaks plain HTTP: use http://{here} "
                'there (official SDKs: protocol="http", or an endpoint that starts with http://)'
            )
            self._cloud.journal.note_refused(
                self._cloud.clock.now(), "tls", "ClientHello", "", "", 0, "PlainPort", text
            )
            self._seen += 1
            if self._seen <= _PRINTED:
                print(f"localcloud: {text}", file=sys.stderr, flush=True)

        return seen
