"""One port for everything: decides by the look of a request which service it is for.

Paths tell the admin side, queues, functions and signing in; everything else is RPC, where headers or parameters tell
the product. The gateway also does what no service should: cut connections, and what is due once a reply has been sent.
"""

import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from localcloud.kernel import AFTER_REPLY, Cloud
from localcloud.quick import Plain, QuickWriter, in_full
from localcloud.refusal import Cut

Handler = Callable[[web.BaseRequest], Awaitable[Plain | web.StreamResponse]]

_MNS_PATHS = ("/queues", "/topics", "/commonbuy", "/?accountmeta=")
_FC_PATHS = ("/2021-04-06/", "/2023-03-30/")
_OAUTH_PATHS = ("/.well-known/", "/oauth2/", "/v1/")


class Gateway:
    """Dispatches requests of the one port."""

    def __init__(
        self, cloud: Cloud, *, rpc: Handler, mns: Handler, fc: Handler, oauth: Handler, admin: Handler
    ) -> None:
        self._cloud = cloud
        self._rpc = rpc
        self._mns = mns
        self._fc = fc
        self._oauth = oauth
        self._admin = admin
        self._writer = QuickWriter()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the last resort for everything that services let through."""
        hooks: list[Callable[[], object]] = []
        if self._cloud.faults.planned:
            AFTER_REPLY.set(hooks)
        try:
            answer = await self._service(request)(request)
        except Cut:
            return _cut(request)
        except (web.RequestPayloadError, ConnectionError) as error:
            return web.Response(status=400, text=f"the body of the request did not come whole: {error}")
        except web.HTTPException as error:
            return web.Response(status=error.status, text=error.reason)
        except Exception as error:  # noqa: BLE001 - a defect of ours must be seen, and must not end the process
            traceback.print_exception(error, file=sys.stderr)
            return web.Response(status=500, text=f"defect in the local cloud: {error!r}")
        if hooks:
            response = in_full(answer)
            await response.prepare(request)
            await response.write_eof()
            for hook in hooks:
                hook()
            return response
        return self._writer.write(request, answer)

    def _service(self, request: web.BaseRequest) -> Handler:
        target = request.raw_path
        if not target.startswith("/"):
            # Absolute form, as clients behind an HTTP proxy setting send it.
            _, _, rest = target.partition("://")
            target = "/" + rest.partition("/")[2]
        if "x-acs-action" in request.headers and not target.startswith(_FC_PATHS):
            return self._rpc
        if target.startswith(_MNS_PATHS) or _speaks_mns(request.headers):
            return self._mns
        if target.startswith(_FC_PATHS):
            return self._fc
        if target.startswith("/_localcloud/"):
            return self._admin
        if target.startswith(_OAUTH_PATHS):
            return self._oauth
        return self._rpc


def _speaks_mns(headers: Mapping[str, str]) -> bool:
    """Whether a request is meant for the message service, however little else of it is right."""
    authorization = headers.get("Authorization", "")
    return (
        "x-mns-version" in headers or authorization.startswith(("MNS ", "MNS4-")) or ".mns." in headers.get("Host", "")
    )


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    """Drop the connection without an answer; what is returned finds no connection to be written to."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
