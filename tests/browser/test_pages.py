"""Every page, on a phone and at a desk, in both languages: calm, whatever is written on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from shared.desk.admits import table
from shared.page.face import PAGE
from tests.functional.desked import Desked, wish
from tests.functional.world import HUB_ECR

PageOf = Callable[..., Page]
Calm = Callable[[Page], None]
NOT_LOOKED_AT = frozenset({"/static/{mark}/{name}", "/language/{language}"})
MORE = (
    "/ask?template=2000000000000002%3Adata+centre",
    "/ends?days=90",
    "/ends?overdue=true",
    "/search?q=vpc",
    "/nothing",
)
PARTS_OF_PAGES = ("/now", "/changed")
"""They come into a page that is open, and are looked at there."""
ADDRESSES = [
    path
    for method, path, _ in table(PAGE.routes.routes)
    if method == "GET" and path not in NOT_LOOKED_AT and not path.endswith(PARTS_OF_PAGES)
]


@pytest.fixture(scope="module")
def known(desk: Desked) -> dict[str, str]:
    """What stands for the names in addresses: a request and a batch with long texts of all kinds, a grant in trouble."""
    said = (
        "A reason of two hundred characters "
        + "x" * 60
        + " لأن الخط معطل "
        + "原因：订单系统需要连接数据中心"
        + "y" * 60
    )
    browser = desk.browser("requester")
    batch = browser.post("/api/v1/requests", {"wishes": [wish(701, reason=said), wish(702, reason=said)]}).json()
    first = batch["requests"][0]
    desk.look(first["request_id"])
    operated = desk.browser("router-owner").post(
        "/api/v1/operations", {"word": "hold", "kind": "ecr", "name": HUB_ECR, "reason": said}
    )
    grants = desk.browser("auditor").get("/api/v1/grants").json()["grants"]
    return {
        "request_id": first["request_id"],
        "batch": first["batch"],
        "batch_id": first["batch"],
        "grant_id": next(one["grant_id"] for one in grants if not one["settled"]),
        "ecr_id": HUB_ECR,
        "operation_id": operated.json()["operation_id"],
        "number": "1",
        "part": "dead",
        "older": "1",
        "newer": "2",
        "old": "1",
        "new": "2",
    }


@pytest.mark.parametrize(
    ("person", "language", "width"),
    [
        ("router-owner", "en", 1440),
        ("router-owner", "zh", 360),
        ("auditor", "en", 360),
        ("auditor", "zh", 1440),
    ],
)
def test_every_page_is_calm(
    page_of: PageOf, calm: Calm, known: dict[str, str], person: str, language: str, width: int
) -> None:
    """Whoever looks: an owner who operates, or somebody who sees everything and may do nothing."""
    page = page_of(person, language=language, width=width)
    found: dict[str, str] = {}
    for address in (*ADDRESSES, *MORE):
        path = address.format(**known)
        page.goto(path)
        try:
            calm(page)
        except AssertionError as error:
            found[path] = str(error).splitlines()[0]
    assert found == {}
