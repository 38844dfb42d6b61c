"""Somebody who has read nothing but the quick start's table: from `make up` to ACTIVE, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import LOCALES
from tests.browser.install import ROOT
from tests.functional.launch import clean_environment
from tests.functional.waiting import PATIENCE, until

QUICK_START = (ROOT / "docs" / "quickstart.md").read_text("utf-8")


@pytest.fixture(scope="module")
def address(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `make up` runs, and the desk's address as it prints it."""
    said = tmp_path_factory.mktemp("up") / "said.log"
    with said.open("wb") as sink:
        command = [sys.executable, "-m", "examples.demo", "--stay"]
        process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=sink, stderr=sink)
    try:

        def printed() -> str | None:
            assert process.poll() is None, said.read_text("utf-8")
            found = re.search(r"^  desk +(http://127\.0\.0\.1:\d+): open it", said.read_text("utf-8"), re.MULTILINE)
            return found[1] if found else None

        found = until(printed, "the address of the desk", 4 * PATIENCE)
        assert found is not None
        yield found
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)


def told(text: str) -> str:
    """What the page says, as the quick start has it."""
    assert f"| {text} |" in QUICK_START
    return text


def sign_in(page: Page, person: str) -> None:
    """As the provider's page has it."""
    assert f"`{person}`" in QUICK_START
    page.get_by_role("link", name="Sign in").first.click()
    page.get_by_role("button", name=person, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What is open")


def test_a_newcomer_asks_decides_for_both_sides_and_sees_active(chromium: Browser, address: str) -> None:
    """Step by step, as the table says."""
    page = chromium.new_context(base_url=address, locale=LOCALES["en"]).new_page()
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    try:
        page.goto("/")
        sign_in(page, "requester")
        expect(page.get_by_role("heading", level=1)).to_have_text(told("What is open"))
        page.get_by_role("link", name="Ask", exact=True).click()
        page.get_by_role("link", name="data centre").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(told("Ask for a grant"))
        page.get_by_label("Instance; one a line for many").fill("vpc-yours")
        page.get_by_label("without an end: both owners have to agree").check()
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_text(told("All of it can be asked. Above is whose yes it takes."))).to_be_visible()
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_text("checks passed")).to_be_visible()
        request = page.url
        for person in ("orders-lead", "network-lead"):
            page.get_by_role("button", name="Sign out").click()
            sign_in(page, person)
            page.get_by_role("link", name="Decide").first.click()
            page.get_by_role("link", name="vpc-yours").first.click()
            expect(page.get_by_text(told("It waits for you.").split("<")[0]).first).to_be_visible()
            page.get_by_role("button", name="Yes, agree").first.click()
            if person == "orders-lead":
                expect(page.get_by_text(told("You agreed")).first).to_be_visible()
        page.goto(request)
        expect(page.get_by_text(told("approved")).first).to_be_visible()
        page.get_by_role("link", name=re.compile("^g-")).first.click()
        for _ in range(60):
            if page.get_by_text("ACTIVE").count():
                break
            page.wait_for_timeout(1_000)
            page.reload()
        expect(page.get_by_text(told("ACTIVE")).first).to_be_visible()
    finally:
        expect.set_options(timeout=5_000)
        page.context.close()
