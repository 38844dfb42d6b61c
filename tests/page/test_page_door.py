"""The page's door: whom each page lets in, what its answers may load, and how people are told what went wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.desk.admits import table
from shared.desk.app import make
from shared.desk.callers import CallerKind
from shared.page.face import PAGE
from tests.functional.desked import Browser, Desked, desked

HTML = {"Accept": "text/html,application/xhtml+xml"}
API = {(method, path) for method, path, _ in table(make().routes)}
ROUTES = [one for one in table(make(face=PAGE).routes) if (one[0], one[1]) not in API]
OPEN = {"GET /language/{language}", "GET /static/{mark}/{name}"}
"""Where nobody is asked who they are, and nothing is read but what is the same for everybody."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        yield made


def test_every_page_is_for_people_who_signed_in() -> None:
    """But those few that say nothing."""
    kinds = {f"{method} {path}": kinds for method, path, kinds in ROUTES}
    assert {name for name, found in kinds.items() if found is None} == OPEN
    others = {name: found for name, found in kinds.items() if found is not None and found != {CallerKind.PERSON}}
    assert others == {}


class _Made(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "r-" + "0" * 20


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, kinds in ROUTES if kinds is not None])
def test_a_stranger_is_asked_to_sign_in(desk: Desked, method: str, path: str) -> None:
    """Before anything is looked at, and comes back to where they wanted to go."""
    where = path.format_map(_Made())
    answer = Browser(desk.address).call(method, where, headers=HTML)
    assert answer.status_code == 401
    assert "Sign in" in answer.text
    if method == "GET" and where != "/":
        assert f"/sign-in?to={where.replace('/', '%2F')}" in answer.text


@pytest.mark.parametrize("path", ["/", "/requests", "/nothing", "/requests/r-none"])
def test_no_page_may_load_anything_from_elsewhere(desk: Desked, path: str) -> None:
    """Nor run what stands in it, nor be shown inside of another."""
    answer = desk.browser("owner").get(path, headers=HTML)
    policy = dict(one.strip().partition(" ")[::2] for one in answer.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == "'none'"
    assert policy.pop("base-uri") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_fixed_files_are_kept_for_ever_and_change_their_address(desk: Desked) -> None:
    """The address is their content's; another one is nothing."""
    page = Browser(desk.address).get("/", headers=HTML).text
    (style,) = [part for part in page.split('"') if part.endswith("/page.css")]
    answer = Browser(desk.address).get(style)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["Cache-Control"]
    assert Browser(desk.address).get("/static/0000000000000000/page.css").status_code == 404
    assert Browser(desk.address).get(style.replace("page.css", "zh.toml")).status_code == 404


def test_what_went_wrong_is_told_as_a_page_to_people_and_as_a_problem_to_programs(desk: Desked) -> None:
    """By what they accept; under the API's addresses it is always a problem."""
    browser = desk.browser("owner")
    page = browser.get("/requests/r-none", headers=HTML)
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "there is no request r-none that you may see" in page.text
    assert browser.get("/requests/r-none").json()["code"] == "NoSuchRequest"
    assert browser.get("/api/v1/requests/r-none", headers=HTML).json()["code"] == "NoSuchRequest"


def test_the_language_is_chosen_and_kept(desk: Desked) -> None:
    """And whoever chose is where they were."""
    browser = Browser(desk.address)
    answer = browser.get("/language/zh?to=/requests")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/requests")
    assert 'lang="zh"' in browser.get("/", headers=HTML).text
    assert Browser(desk.address).get("/language/zh?to=https://evil.example.com").headers["Location"] == "/"
    assert 'lang="zh"' in Browser(desk.address).get("/", headers={**HTML, "Accept-Language": "zh-CN"}).text


def test_signing_out_by_a_browser_ends_on_the_front_page(desk: Desked) -> None:
    """As one who has to sign in again."""
    browser = desk.browser("owner")
    assert "owner" in browser.get("/", headers=HTML).text
    answer = browser.call("POST", "/sign-out", headers=HTML)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert browser.get("/", headers=HTML).status_code == 401
