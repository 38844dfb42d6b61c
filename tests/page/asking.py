"""Requests of a desk's page as people ask, read and answer them: what the tests of the page share."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import requests

from tests.functional.desked import Browser, Desked, Json, wish
from tests.page.reading import Page, read

HTML = {"Accept": "text/html"}
FAILED = {"check": "prefixes", "result": "fail", "found": "10.20.0.0/16 is there twice.", "advice": "Ask for another."}
PASSED = {"check": "instance-exists", "result": "pass", "found": "The VPC is there.", "advice": ""}
UNKNOWN = {"check": "quota", "result": "unknown", "found": "Nobody says how many.", "advice": "Look there."}


def everybody(desk: Desked) -> dict[str, Browser]:
    """Everybody's browser, signed in just now."""
    return {name: desk.browser(name) for name in ("requester", "owner", "second-owner", "router-owner", "stranger")}


def page(browser: Browser, path: str) -> Page:
    """What a page says."""
    answer = browser.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def say(browser: Browser, path: str, **fields: Any) -> requests.Response:
    """Send a form."""
    return browser.call("POST", path, data=fields, headers=HTML)


def asked(desk: Desked, who: dict[str, Browser], number: int, *, by: str = "requester", **changes: Any) -> str:
    """A request that preflight has looked at."""
    checks = changes.pop("checks", [PASSED])
    request_id: str = who[by].ask(wish(number, **changes))["request_id"]
    look(desk, request_id, checks=checks)
    return request_id


def look(desk: Desked, request_id: str, *, checks: list[Json], **seen: Any) -> str:
    """Preflight has found these."""
    results = [one["result"] for one in checks]
    return desk.look(request_id, checks=checks, failed=results.count("fail"), unknown=results.count("unknown"), **seen)


def stands(browser: Browser, request_id: str) -> Json:
    """As the API says."""
    found: Json = browser.get(f"/api/v1/requests/{request_id}").json()
    return found


class _Inputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("input", "button"):
            self.found.append(dict(attrs))


def inputs(browser: Browser, path: str, name: str) -> list[dict[str, str | None]]:
    """The inputs and buttons of this name on a page."""
    parser = _Inputs()
    parser.feed(browser.get(path, headers=HTML).text)
    return [one for one in parser.found if one.get("name") == name]


def values(browser: Browser, path: str, name: str) -> list[str | None]:
    """Their values."""
    return [one.get("value") for one in inputs(browser, path, name)]


def yes(browser: Browser, request_id: str, side: str, **more: str) -> requests.Response:
    """As the page's own form says it."""
    path = f"/requests/{request_id}"
    snapshot = more.pop("snapshot", None) or values(browser, path, "snapshot")[0]
    fields = {"side": side, "word": "yes", "snapshot": snapshot or "", "reason": ""} | more
    return say(browser, f"{path}/decision", **fields)


def batched(
    desk: Desked, who: dict[str, Browser], number: int, wishes: list[Json], failed: set[int]
) -> tuple[str, list[str]]:
    """A batch that preflight has looked at."""
    found = who["requester"].post("/api/v1/requests", {"wishes": wishes}).json()["requests"]
    ids = [one["request_id"] for one in found]
    for place, one in enumerate(ids):
        look(desk, one, checks=[FAILED if place in failed else PASSED])
    return found[0]["batch"], ids
