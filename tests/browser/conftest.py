"""Fixtures of the browser tests: one Chromium and one desk, shared by all of them, and people who look at it.

They end with this folder and not with the session: while Playwright runs, other tests on the same thread can start no event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.browsing import Visitors, launched
from tests.browser.browsing import screenshot as picture
from tests.browser.calm import wrong
from tests.browser.install import CHROMIUM, MODULES, unsuited
from tests.functional.desked import Desked, desked
from tests.functional.world import HUB_ECR, REGION, SPOKE
from tests.page.test_operate import broken
from tests.page.worlds import listed, world

WORLD = 7
GROUPS = {"orders": ["owner", "second-owner", "requester"], "operators": ["router-owner"]}
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which test failed, so that what its pages looked like can be kept."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture(scope="package")
def packages() -> Path:
    """Where the packages are that the browser tests need. Skips where there is no browser, and fails in CI."""
    if not CHROMIUM.exists():
        why = unsuited() or "`make .local/browser/.ready` brings the browser"
        if os.environ.get("CI"):
            pytest.fail(f"there is no browser: {why}")
        pytest.skip(why)
    return MODULES


@pytest.fixture(scope="package")
def chromium(packages: Path) -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def desk(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """A desk that people sign in to, with a seeded world in which there is something of everything."""
    with desked(tmp_path_factory.mktemp("browser")) as made:
        template = {
            "ecr": HUB_ECR,
            "region": REGION,
            "prefixes": ["10.20.0.0/16"],
            "reason": "Orders reach the data centre",
        }
        made.stage.listed[SPOKE]["templates"] = {"data centre": template}
        listed(made, [WORLD], groups=GROUPS)
        world(made, WORLD)
        broken(made)
        yield made


@pytest.fixture(scope="package")
def everybody(chromium: Browser, desk: Desked) -> Visitors:
    """Who has signed in stays so; their pages are closed after each test."""
    return Visitors(chromium, desk)


@pytest.fixture
def visitors(everybody: Visitors, request: pytest.FixtureRequest) -> Iterator[Visitors]:
    """The same people, for one test. When it fails, its pages are kept as pictures in `.local/screens`."""
    yield everybody
    everybody.leave(f"failed-{request.node.name}" if request.node.stash.get(_FAILED, False) else None)


@pytest.fixture
def page_of(visitors: Visitors) -> Callable[..., Page]:
    """An empty page of a person: ``page_of("owner", language="zh", width=360, javascript=False)``."""
    return visitors.page_of


@pytest.fixture
def screenshot() -> Callable[[Page, str], Path]:
    """A picture of the whole page in `.local/screens`, by name."""
    return picture


@pytest.fixture
def calm(visitors: Visitors) -> Callable[[Page], None]:
    """The page has nothing wrong that anybody could see, and nothing was said on its console since it opened."""

    def judge(page: Page) -> None:
        assert wrong(page) + visitors.troubles[page] == []

    return judge
