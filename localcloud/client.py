"""A small client of the admin side, for the command line and for tests: standard library only."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is never reached through a proxy, whatever the environment says."""


class AdminError(Exception):
    """The admin side refused, or is not there."""


class AdminClient:
    """Talks to one local cloud."""

    def __init__(self, address: str) -> None:
        self._base = (address if "://" in address else f"http://{address}").rstrip("/")

    def call(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        """One request; the decoded answer."""
        asked = {name: value for name, value in (query or {}).items() if value not in {None, ""}}
        url = f"{self._base}/_localcloud/{path}" + (f"?{urlencode(asked)}" if asked else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - http to loopback
        try:
            with _OPENER.open(request, timeout=90) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            try:
                reason = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                reason = f"HTTP {error.code}"
            raise AdminError(reason) from error
        except OSError as error:
            raise AdminError(f"no local cloud answers at {self._base}: {error}") from error

    def health(self) -> Any:
        """Whether it is up, and its cloud time."""
        return self.call("GET", "health")

    def journal(self, after: int = 0, wait: float = 0.0, **filters: str) -> list[dict[str, Any]]:
        """Journal entries above a number."""
        entries: list[dict[str, Any]] = self.call("GET", "journal", query={"after": after, "wait": wait, **filters})[
            "entries"
        ]
        return entries

    def follow(self, after: int = 0, **filters: str) -> Iterator[dict[str, Any]]:
        """Journal entries as they come, without end."""
        while True:
            answer = self.call("GET", "journal", query={"after": after, "wait": 30, **filters})
            yield from answer["entries"]
            after = answer["last"]

    def world(self) -> dict[str, Any]:
        """The whole snapshot."""
        snapshot: dict[str, Any] = self.call("GET", "world")
        return snapshot

    def advance(self, seconds: float) -> None:
        """Turn the clock."""
        self.call("POST", "clock", {"advance": seconds})

    def plan(self, **fault: Any) -> dict[str, Any]:
        """Plan trouble."""
        planned: dict[str, Any] = self.call("POST", "faults", fault)
        return planned

    def faults(self) -> list[dict[str, Any]]:
        """What is planned."""
        faults: list[dict[str, Any]] = self.call("GET", "faults")["faults"]
        return faults

    def clear(self, number: int | None = None) -> int:
        """Forget one planned trouble, or all."""
        cleared: int = self.call("DELETE", "faults", query={"number": number})["cleared"]
        return cleared

    def switch(self, **settings: str) -> None:
        """Turn switches."""
        self.call("PUT", "switches", settings)

    def quota(self, **limits: Mapping[str, Any] | None) -> None:
        """Change quotas; names carry a colon, so pass them as ``**{"ecr:…": {...}}``."""
        self.call("PUT", "quotas", limits)

    def put_secret(self, account: str, name: str, value: str) -> None:
        """Give a secret a new value."""
        self.call("PUT", "secrets", {"account": account, "name": name, "value": value})

    def functions(self) -> list[dict[str, Any]]:
        """What is deployed."""
        functions: list[dict[str, Any]] = self.call("GET", "functions")["functions"]
        return functions

    def logs(self, name: str, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        """What a function printed."""
        path = f"functions/{quote(name, safe='')}/logs"
        lines: list[dict[str, Any]] = self.call("GET", path, query={"after": after, "wait": wait})
        return lines
