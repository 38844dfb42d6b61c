"""Coming to the desk: signing in at the provider's page, and the first page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.functional.desked import Desked

PageOf = Callable[..., Page]
Calm = Callable[[Page], None]
Screenshot = Callable[[Page, str], Path]


@pytest.mark.parametrize("javascript", [True, False], ids=["scripts", "no scripts"])
def test_somebody_signs_in_and_comes_back_to_where_they_wanted_to_go(
    page_of: PageOf, desk: Desked, calm: Calm, javascript: bool
) -> None:
    """By the provider's page, and out again; the browser keeps the desk's strict cookies."""
    page = page_of(javascript=javascript)
    page.goto("/requests")
    page.get_by_role("link", name="Sign in").first.click()
    assert page.url.startswith(desk.cloud)
    page.get_by_role("button", name="owner", exact=True).click()
    page.wait_for_url(f"{desk.address}/requests")
    cookies = page.context.cookies()
    (kept,) = [one for one in cookies if one["name"] == "__Host-desk"]
    assert (kept["secure"], kept["httpOnly"], kept["sameSite"], kept["path"]) == (True, True, "Lax", "/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()
    assert "__Host-desk" not in {one["name"] for one in page.context.cookies()}
    calm(page)


@pytest.mark.parametrize(("language", "width"), [("en", 360), ("zh", 1440)])
@pytest.mark.parametrize("person", [None, "stranger"])
def test_the_first_page_is_calm(
    page_of: PageOf, calm: Calm, screenshot: Screenshot, person: str | None, language: str, width: int
) -> None:
    """For whoever has much to do, nothing to do, or not signed in; on a phone and at a desk, in both languages."""
    page = page_of(person, language=language, width=width)
    page.goto("/")
    assert (page.locator("html").get_attribute("lang") or "")[:2] == language
    screenshot(page, f"front-{person}-{language}-{width}")
    calm(page)
