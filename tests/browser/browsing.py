"""People who look at a desk with a real browser, and what their pages complained of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, StorageState

from tests.browser.install import CHROMIUM, FONTS, LIBRARIES, ROOT
from tests.functional.desked import Desked

SCREENS = ROOT / ".local" / "screens"
LOCALES = {"en": "en-GB", "zh": "zh-CN"}
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--font-render-hinting=none",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--no-proxy-server",
)
"""Nothing of the browser itself leaves the loopback, and a page cannot make it either: no other name is resolved."""


def launched(playwright: Playwright) -> Browser:
    """The packaged Chromium, with its libraries and the packaged fonts. No sandbox: CI is root, and all pages are ours."""
    env = {"LD_LIBRARY_PATH": str(LIBRARIES), "FONTCONFIG_FILE": str(FONTS), "HOME": str(CHROMIUM.parent)}
    return playwright.chromium.launch(
        executable_path=CHROMIUM, args=list(_QUIET), env=dict(env), headless=True, chromium_sandbox=False
    )


@dataclass
class Visitors:
    """Everybody with a page open. ``troubles``: of each page, what a console or the network said about it."""

    chromium: Browser
    desk: Desked
    troubles: dict[Page, list[str]] = field(default_factory=dict)
    _known: dict[str, StorageState] = field(default_factory=dict)
    _open: list[BrowserContext] = field(default_factory=list)

    def page_of(
        self,
        person: str | None = None,
        *,
        language: str = "en",
        width: int = 1440,
        height: int = 900,
        javascript: bool = True,
        zone: str = "Asia/Shanghai",
    ) -> Page:
        """An empty page of somebody who has signed in, or of a stranger; ``goto`` takes paths of the desk.

        ``language``: en or zh, which their browser prefers; ``width``, ``height``: of the window, in CSS pixels; ``zone``: where
        they are.
        """
        context = self.chromium.new_context(
            base_url=self.desk.address,
            java_script_enabled=javascript,
            locale=LOCALES[language],
            storage_state=None if person is None else self._signed_in(person),
            timezone_id=zone,
            viewport={"width": width, "height": height},
        )
        context.set_default_timeout(30_000)
        self._open.append(context)
        page = context.new_page()
        self._listen(page)
        return page

    def leave(self, named: str | None = None) -> None:
        """Close every page. ``named``: keep a picture of each under this name first."""
        for context in self._open:
            for number, page in enumerate(context.pages):
                if named is not None:
                    screenshot(page, f"{named}-{self._open.index(context)}-{number}")
            context.close()
        self._open.clear()
        self.troubles.clear()

    def _signed_in(self, person: str) -> StorageState:
        """The cookies of somebody who signed in at the provider's page, as people do; once for each person."""
        if person not in self._known:
            context = self.chromium.new_context(base_url=self.desk.address)
            page = context.new_page()
            page.goto("/sign-in")
            page.get_by_role("button", name=person, exact=True).click()
            page.wait_for_url(f"{self.desk.address}/**")
            self._known[person] = context.storage_state()
            context.close()
        return self._known[person]

    def _listen(self, page: Page) -> None:
        troubles = self.troubles[page] = []
        documents: set[str] = set()
        loopback = {urlsplit(self.desk.address).hostname}

        def requested(request: Request) -> None:
            if request.is_navigation_request():
                documents.add(request.url)
            where = urlsplit(request.url)
            if where.scheme not in ("data", "blob") and where.hostname not in loopback:
                troubles.append(f"asked elsewhere: {request.url}")

        def said(message: ConsoleMessage) -> None:
            # A page that says "there is no such request" answers 404, which the console tells as an error.
            answered = message.text.startswith("Failed to load resource") and message.location["url"] in documents
            if message.type in ("error", "warning") and not answered:
                troubles.append(f"console {message.type}: {message.text}")

        page.on("request", requested)
        page.on("console", said)
        page.on("pageerror", lambda error: troubles.append(f"uncaught: {error}"))


def screenshot(page: Page, name: str) -> Path:
    """The whole page as a picture in `.local/screens`, for people to look at."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{re.sub('[^A-Za-z0-9._-]+', '-', name)}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    return path
