"""What people do at the desk of the demo: each has a browser of their own, signs in at the local cloud's page, asks or decides.

Everything goes over the desk's API, as the command line and the page do it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from examples.telling import clock, say

Json = dict[str, Any]
ECR = {"id": "ecr-7vrbqv9lcgvzqbwwkm", "owner_uid": "1000000000000001"}
ORDERS = "2000000000000002"
CLIENT = "4000000000000000077"
CLIENT_SECRET = "example-secret-of-the-desk"  # noqa: S105  # obviously none
DESK_KEY = "ZXhhbXBsZS1jb29raWUta2V5LW9mLXRoZS1kZXNrISE="
"""What the demo's sessions are encrypted with: the Base64 of a text that says so."""
PEOPLE = {
    "requester": "of the orders team, account B: asks",
    "orders-lead": "of the orders team, account B: decides for the grant side",
    "network-lead": "of the network team, account A: decides for the associate side",
    "approver": "of both teams",
    "operator": "operates: sees everything, holds, redrives, adopts, repairs",
    "auditor": "sees everything, and says nothing",
}
_SECONDS = 30.0


class Refused(Exception):
    """The desk did not do what the demo expects; the text says what it said."""


class Browser:
    """What a browser behind TLS does: it keeps cookies, sends them back, and says where a call comes from."""

    def __init__(self, address: str) -> None:
        self.address, self._cookies = address, dict[str, str]()

    def sign_in(self, person: str, begin: str) -> None:
        """Open a page of the desk that begins a sign-in, choose the person at the provider, and come back."""
        page = self.call("GET", begin).headers["Location"]
        back = requests.post(page, data={"person": person}, allow_redirects=False, timeout=_SECONDS).headers["Location"]
        on = self.call("GET", back).headers.get("Location", "")
        if on.startswith("http"):  # a command line waits there
            requests.get(on, timeout=_SECONDS)

    def call(self, method: str, url: str, body: Json | None = None) -> requests.Response:
        """One call, no redirect followed."""
        headers = {"Origin": self.address} if method != "GET" else {}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer = requests.request(method, url, json=body, headers=headers, allow_redirects=False, timeout=_SECONDS)
        for one in answer.raw.headers.getlist("Set-Cookie"):
            name, _, value = one.partition(";")[0].partition("=")
            self._cookies[name] = value.strip('"')
        return answer


class Person:
    """Somebody with a browser, who has signed in."""

    def __init__(self, name: str, address: str) -> None:
        """Sign in, at the provider's page. Raises Refused where the desk does not let them in."""
        self.name, self._browser = name, Browser(address)
        self._browser.sign_in(name, f"{address}/sign-in")
        me = self.get("/me")
        if me["person"] != name:
            raise Refused(f"{name} signed in, and is {me['person']}")

    def get(self, path: str) -> Json:
        """Look. Raises Refused."""
        return self._json("GET", path, None)

    def post(self, path: str, body: Json) -> Json:
        """Say something. Raises Refused."""
        return self._json("POST", path, body)

    def _json(self, method: str, path: str, body: Json | None) -> Json:
        answer = self._browser.call(method, f"{self._browser.address}/api/v1{path}", body)
        found: Json = answer.json()
        if not answer.ok:
            raise Refused(f"{self.name}, {method} {path}: {found.get('code')}: {found.get('detail')}")
        return found

    def ask(self, wishes: Sequence[Json]) -> list[Json]:
        """Ask for these together. Raises Refused."""
        asked: list[Json] = self.post("/requests", {"wishes": list(wishes)})["requests"]
        return asked

    def look(self, asked: Sequence[Json], between: Callable[[], object]) -> list[Json]:
        """These requests, as soon as preflight has looked at all of them. Raises Refused where it does not."""
        return [self._looked(one["request_id"], between) for one in asked]

    def _looked(self, request_id: str, between: Callable[[], object]) -> Json:
        until = time.monotonic() + 4 * _SECONDS
        while time.monotonic() < until:
            found = self.get(f"/requests/{request_id}")
            if found["snapshot"] is not None:
                return found
            between()
            time.sleep(0.5)  # calls are counted
        raise Refused(f"preflight has not looked at {request_id}")

    def decide(self, side: str, shown: Sequence[Json], reason: str, *, agrees: bool = True) -> None:
        """One word for one side of all of these, about what is shown. Raises Refused."""
        about = [{"request_id": one["request_id"], "snapshot": one["snapshot"]} for one in shown]
        said = {"side": side, "agrees": agrees, "about": about, "reason": reason}
        for one in self.post("/decisions", said)["decisions"]:
            if one["problem"] is not None:
                raise Refused(f"{self.name}, {one['request_id']}: {one['problem']['detail']}")


def wish(vpc: str, cidr: str, reason: str, **changes: Any) -> Json:
    """A wish for a VPC of account B without an end: it takes a yes of both sides."""
    return {
        "kind": "grant",
        "ecr": ECR,
        "instance": {"type": "VPC", "id": vpc, "region": "cn-hangzhou", "owner_uid": ORDERS},
        "allowed_prefixes": [cidr],
        "ends_at": None,
        "reason": reason,
        **changes,
    }


def in_hours(hours: float) -> str:
    """A time, as the API takes it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def batch_vpcs() -> list[Json]:
    """The VPCs of account B that are asked for together, as the world file has them."""
    return [
        {
            "id": f"vpc-batch{number:02}",
            "region": "cn-hangzhou",
            "cidr": f"10.21.{number}.0/24",
            "name": f"batch-{number:02}",
        }
        for number in range(1, 51)
    ]


def extra_vpcs() -> list[Json]:
    """Those that are asked for one by one."""
    names = ("asked", "urgent", "waiting", "refused", "withdrawn", "lapsed", "yours")
    return [
        {"id": f"vpc-{name}", "region": "cn-hangzhou", "cidr": f"10.21.{100 + number}.0/24", "name": name}
        for number, name in enumerate(names)
    ]


def cidr_of(vpc: str) -> str:
    """The range of one of these."""
    return next(str(one["cidr"]) for one in (*batch_vpcs(), *extra_vpcs()) if one["id"] == vpc)


def tell_checks(shown: Json) -> None:
    """What preflight saw, a line for each check."""
    for one in shown["checks"]:
        say(clock(), "preflight", f"{one['result']:<7} {one['check']}: {one['found']}")
    say(clock(), "preflight", f"the decision binds the snapshot {shown['snapshot'][:16]}…")


def lapsed_long_ago(vpc: str, person: str, configuration: int) -> Any:
    """A request as somebody asked it eight days ago: the demo has no week to wait."""
    from shared.messages.consent import Asked, Strength, Voice, Wish  # noqa: PLC0415  # the ledger's own, like the row

    at = (datetime.now(UTC) - timedelta(days=8)).replace(microsecond=0)
    return Asked(
        request_id=f"r-{uuid.uuid4().hex[:20]}",
        at=at,
        wish=Wish.model_validate_json(json.dumps(wish(vpc, cidr_of(vpc), "Nobody decided in time"))),
        by=Voice(person=person, subject=f"ram:{ECR['owner_uid']}:user:sub-{person}", strength=Strength.SIGNED_IN),
        lapses_at=at + timedelta(days=7),
        configuration=configuration,
    )
