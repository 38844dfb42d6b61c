"""The keys of the desk's own role: those of the newest call.

A warm instance lives for longer than the keys that its environment was given when it started, so the platform brings newer ones
with each call, as headers; a client's of these names never arrive (Function Compute help, "custom runtime", request headers).
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.cloud.keys import Keys, home_keys

_NAMES = ("x-fc-access-key-id", "x-fc-access-key-secret", "x-fc-security-token")


class Home:
    """Who the desk is to the cloud."""

    def __init__(self) -> None:
        self._newest: Keys | None = None

    def keys(self) -> Keys:
        """Those of the newest call; before the first one the environment's. Raises SettingsError where there are none."""
        return self._newest or home_keys(None)

    def noting(self, app: ASGIApp) -> ASGIApp:
        """The same app; the keys that come with a call are noted first."""

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                headers = Headers(scope=scope)
                given = [headers.get(name, "") for name in _NAMES]
                if all(given):
                    self._newest = Keys(*given)
            await app(scope, receive, send)

        return noted
