"""The desk's door: who is let in where, and what is refused whatever it says it is. Over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from shared.desk.admits import table
from shared.desk.app import make
from shared.desk.callers import CallerKind
from shared.messages.catalogue import find
from tests.configured import apply, configuration
from tests.functional.desked import Browser, Desked, Json, desked, wish
from tests.functional.world import HUB, SPOKE


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        yield made


# -- every route for every kind of caller ----------------------------------------------------------------------------

ANYBODY = frozenset(CallerKind)
KNOWN = frozenset({CallerKind.PERSON, CallerKind.SYSTEM})
PEOPLE = frozenset({CallerKind.PERSON})
ADMITTED = {  # whom each route lets in; one that is not here has not been thought about
    "GET /api/v1/health": ANYBODY,
    "GET /api/v1/openapi.json": ANYBODY,
    "POST /api/v1/tokens": ANYBODY,
    "GET /sign-in": ANYBODY,
    "GET /sign-in/back": ANYBODY,
    "POST /sign-out": ANYBODY,
    "GET /api/v1/me": KNOWN,
    "GET /api/v1/requests": KNOWN,
    "POST /api/v1/requests": KNOWN,
    "GET /api/v1/requests/{request_id}": KNOWN,
    "GET /api/v1/configuration": KNOWN,
    "GET /api/v1/configurations": KNOWN,
    "GET /api/v1/configurations/{number}": KNOWN,
    "GET /api/v1/exposure/{ecr_id}": KNOWN,
    "GET /api/v1/grants": KNOWN,
    "GET /api/v1/grants/{grant_id}": KNOWN,
    "GET /api/v1/grants/{grant_id}/history": KNOWN,
    "GET /api/v1/leases": KNOWN,
    "GET /api/v1/ends": KNOWN,
    "GET /api/v1/routers": KNOWN,
    "GET /api/v1/exposure/{ecr_id}/ranges": KNOWN,
    "GET /api/v1/waiting": PEOPLE,
    "GET /api/v1/decisions": KNOWN,
    "GET /api/v1/search": KNOWN,
    "GET /api/v1/rights": KNOWN,
    "GET /api/v1/figures": KNOWN,
    "GET /api/v1/grants/{grant_id}/proof": KNOWN,
    "GET /api/v1/requests/{request_id}/preflight": KNOWN,
    "POST /api/v1/checks": KNOWN,
    "GET /api/v1/requests/{request_id}/deciding": KNOWN,
    "GET /api/v1/requests/{request_id}/effect": KNOWN,
    "GET /api/v1/requests/{request_id}/facts": KNOWN,
    "GET /api/v1/drift": KNOWN,
    "GET /api/v1/health/findings": KNOWN,
    "GET /api/v1/holds": KNOWN,
    "GET /api/v1/record": KNOWN,
    "GET /api/v1/operations": KNOWN,
    "POST /api/v1/operations": PEOPLE,
    "GET /api/v1/operations/{operation_id}": KNOWN,
    "GET /api/v1/work": KNOWN,
    "POST /api/v1/decisions": PEOPLE,
    "POST /api/v1/requests/{request_id}/decisions": PEOPLE,
    "POST /api/v1/requests/{request_id}/looks": KNOWN,
    "POST /api/v1/requests/{request_id}/review": PEOPLE,
    "POST /api/v1/requests/{request_id}/withdrawal": KNOWN,
}
ROUTES = [(method, path, kinds) for method, path, kinds in table(make().routes)]


def test_every_route_says_whom_it_admits_and_stands_in_the_table() -> None:
    """A new route is not open to anybody because nobody thought of it."""
    assert {f"{method} {path}": kinds for method, path, kinds in ROUTES} == ADMITTED


def called(desk: Desked, kind: CallerKind, method: str, path: str, **more: str) -> requests.Response:
    """One call of a route by somebody of this kind, about nothing that there is."""
    browser = desk.browser("owner" if kind is CallerKind.PERSON else None)
    headers = {"Authorization": f"Bearer {desk.token()}"} if kind is CallerKind.SYSTEM else {}
    where = path.format_map(_Made())
    return browser.call(method, where, json=None if method == "GET" else {}, headers=headers | more)


class _Made(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "r-" + "0" * 20


@pytest.mark.parametrize("kind", CallerKind)
@pytest.mark.parametrize(("method", "path", "kinds"), ROUTES)
def test_a_route_lets_in_whom_it_admits(
    desk: Desked, method: str, path: str, kinds: frozenset[CallerKind], kind: CallerKind
) -> None:
    """Others are refused before anything is looked at, and headers of the platform's make nobody somebody."""
    forged = {
        "x-fc-account-id": HUB,
        "x-fc-access-key-id": "STS.example",
        "x-fc-security-token": "example",
        "x-fc-request-id": "example",
        "X-Forwarded-User": "owner",
    }
    for more in ({}, forged):
        answer = called(desk, kind, method, path, **more)
        code = answer.json().get("code") if "json" in answer.headers.get("Content-Type", "") else None
        if kind in kinds and path != "/sign-in/back":
            assert code not in ("NotSignedIn", "PeopleDecide"), answer.text
        elif kind is CallerKind.STRANGER or path == "/sign-in/back":
            assert (answer.status_code, code) == (401, "NotSignedIn")
        else:
            assert (answer.status_code, code) == (403, "PeopleDecide")


def test_what_the_platform_says_of_itself_is_nobodys_identity(desk: Desked) -> None:
    """Its headers beside a good sign-in change nothing of who that is."""
    browser = desk.browser("owner")
    plain = browser.get("/api/v1/me").json()
    assert browser.get("/api/v1/me", headers={"x-fc-account-id": SPOKE, "x-fc-uid": "root"}).json() == plain


# -- sessions --------------------------------------------------------------------------------------------------------


def test_a_session_that_was_signed_out_of_is_good_no_more(desk: Desked) -> None:
    """Whoever kept a copy of the cookie has nothing; another session of the same person goes on."""
    browser, other = desk.browser("owner"), desk.browser("owner")
    copied = Browser(desk.address, dict(browser.cookies))
    assert browser.call("POST", "/sign-out").status_code == 200
    assert browser.cookies == {}
    again = copied.get("/api/v1/me")
    assert (again.status_code, again.json()["code"]) == (401, "NotSignedIn")
    assert other.get("/api/v1/me").status_code == 200


def test_a_bearer_token_is_signed_out_of_too(desk: Desked) -> None:
    """And signing out twice, or without a sign-in, is no trouble."""
    headers = {"Authorization": f"Bearer {desk.bearer('owner')}"}
    nobody = Browser(desk.address)
    assert nobody.get("/api/v1/me", headers=headers).status_code == 200
    for _ in range(2):
        assert nobody.call("POST", "/sign-out", headers=headers).status_code == 200
    assert nobody.get("/api/v1/me", headers=headers).status_code == 401
    assert nobody.call("POST", "/sign-out").status_code == 200


def test_another_site_signs_nobody_out(desk: Desked) -> None:
    """Ending a session changes something."""
    browser = desk.browser("owner")
    answer = browser.call("POST", "/sign-out", headers={"Origin": "https://evil.example.com"})
    assert (answer.status_code, answer.json()["code"]) == (403, "CrossSite")
    assert browser.get("/api/v1/me").status_code == 200


def test_cookies_are_the_desks_alone(desk: Desked) -> None:
    """No script reads them, no other site sends them, no other path or domain has them: `__Host-` demands it of browsers."""
    browser = Browser(desk.address)
    seen = browser.get("/sign-in").raw.headers.getlist("Set-Cookie")
    seen += browser.sign_in("owner").raw.headers.getlist("Set-Cookie")
    assert {one.partition("=")[0] for one in seen} == {"__Host-desk-begun", "__Host-desk"}
    for one in seen:
        told = {part.strip().lower() for part in one.split(";")[1:]}
        assert {"httponly", "secure", "samesite=lax", "path=/"} <= told, one
        assert not any(part.startswith("domain") for part in told), one


def test_a_sign_in_is_good_for_one_purpose(desk: Desked) -> None:
    """A browser's session is no token, a token no session, and a system's JWT no cookie."""
    browser = desk.browser("owner")
    (session,) = browser.cookies.values()
    bearer = desk.bearer("owner")
    nobody = Browser(desk.address)
    for shown in ({"Authorization": f"Bearer {session}"}, {"Cookie": f"__Host-desk={bearer}"}):
        assert nobody.get("/api/v1/me", headers=shown).status_code == 401, shown
    assert nobody.get("/api/v1/me", headers={"Cookie": f"__Host-desk={desk.token()}"}).status_code == 401
    for scheme in ("Basic b3duZXI6", "Digest x", f"bearer{bearer}"):
        assert nobody.get("/api/v1/me", headers={"Authorization": scheme}).status_code == 401


def test_a_token_that_is_shown_by_many_at_once_is_taken_once(desk: Desked) -> None:
    """Whoever comes second is told, however close."""
    headers = {"Authorization": f"Bearer {desk.token()}"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: Browser(desk.address).get("/api/v1/me", headers=headers).status_code, range(8))
        )
    assert sorted(answers) == [200, *[401] * 7]


def test_who_left_is_gone_at_once(desk: Desked) -> None:
    """A newer configuration counts for whoever is signed in already, with people and with systems."""
    browser = desk.browser("owner")
    assert browser.get("/api/v1/me").json()["person"] == "owner"
    before = desk.ledger
    kept = desk.standing()
    try:
        apply(before, configuration({}, people={"persons": {}}))
        assert browser.get("/api/v1/me").json()["person"] is None
        refused = browser.get("/api/v1/requests")
        assert (refused.status_code, refused.json()["code"]) == (403, "UnknownPerson")
    finally:
        apply(before, kept)
    assert browser.get("/api/v1/me").json()["person"] == "owner"


# -- what was seen is what is decided --------------------------------------------------------------------------------


def test_a_decision_about_what_changed_is_refused(desk: Desked) -> None:
    """`If-Match` names what was seen: where something else stands by now nothing is recorded; saying it again is no news."""
    asking, deciding = desk.browser("requester"), desk.browser("owner")
    asked = asking.ask(wish(20))
    where = f"/api/v1/requests/{asked['request_id']}"
    stale = deciding.get(where).headers["ETag"]
    body = {"side": "grant", "agrees": True, "snapshot": desk.look(asked["request_id"])}
    seen = deciding.get(where).headers["ETag"]
    assert seen != stale
    for wrong in (stale, f"W/{seen}", '"x"', "nonsense", f'{stale}, "y"'):
        refused = deciding.post(f"{where}/decisions", body, headers={"If-Match": wrong})
        assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (412, "NotAsShown", "If-Match")
    assert deciding.get(where).headers["ETag"] == seen
    agreed = deciding.post(f"{where}/decisions", body, headers={"If-Match": f'"x", {seen}'})
    assert agreed.status_code == 201, agreed.text
    assert agreed.headers["ETag"] == deciding.get(where).headers["ETag"] != seen
    again = deciding.post(f"{where}/decisions", body, headers={"If-Match": seen})
    assert (again.status_code, again.headers["ETag"]) == (200, agreed.headers["ETag"])
    late = asking.post(f"{where}/withdrawal", {}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "NotAsShown")
    assert asking.post(f"{where}/withdrawal", {}, headers={"If-Match": "*"}).status_code == 201


def test_what_did_not_change_is_not_sent_again(desk: Desked) -> None:
    """`If-None-Match`; an answer to somebody who may not see it has no tag."""
    asking = desk.browser("requester")
    where = f"/api/v1/requests/{asking.ask(wish(21))['request_id']}"
    tag = asking.get(where).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = asking.get(where, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    assert asking.get(where, headers={"If-None-Match": '"x"'}).status_code == 200
    other = desk.browser("stranger").get(where, headers={"If-None-Match": "*"})
    assert (other.status_code, "etag" in other.headers) == (404, False)


def test_a_problem_names_field_rule_and_advice(desk: Desked) -> None:
    """As members of their own, for programs."""
    asking = desk.browser("requester")
    unfit = asking.post("/api/v1/requests", {"wishes": [wish(22) | {"reason": 1}]}).json()
    assert unfit["field"] == "wishes.0.reason"
    assert unfit["fields"] == [unfit["detail"]]
    bad = asking.post("/api/v1/requests", {"wishes": [wish(22), wish(23, ends_at="2001-01-01T00:00:00Z")]})
    assert bad.json()["field"] == "wishes[1].ends_at", bad.text
    own = desk.browser("owner")
    asked = own.ask(wish(22))["request_id"]
    body = {"side": "grant", "agrees": True, "snapshot": desk.look(asked)}
    forbidden = own.post(f"/api/v1/requests/{asked}/decisions", body)
    told = forbidden.json()
    assert (forbidden.status_code, told["code"], told["rule"]) == (
        403,
        "PolicyForbids",
        ["not-your-own", "owners-decide"],
    )
    assert " ".join(told["advice"]) == told["detail"]
    assert told["type"] == "about:blank"


# -- how often somebody is heard -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """A desk that hears each caller ten times a minute."""
    with desked(tmp_path_factory.mktemp("strict"), DESK_CALLS="10") as made:
        yield made


def until_refused(strict: Desked, method: str, path: str, headers: Json) -> requests.Response:
    """Call until it is too often. A new minute may begin meanwhile."""
    for _ in range(40):
        answer = Browser(strict.address).call(method, path, headers=headers, json=None if method == "GET" else {})
        if answer.status_code == 429:
            return answer
    raise AssertionError("forty calls are heard where ten are")


@pytest.mark.parametrize(
    ("number", "method", "path"),
    [
        (1, "GET", "/sign-in"),
        (2, "GET", "/sign-in/back"),
        (3, "POST", "/api/v1/tokens"),
        (4, "GET", "/api/v1/health"),
        (5, "GET", "/api/v1/me"),
        (6, "GET", "/api/v1/openapi.json"),
        (7, "POST", "/sign-out"),
    ],
)
def test_strangers_are_heard_so_often(strict: Desked, number: int, method: str, path: str) -> None:
    """By the address that the platform adds: what a stranger writes before it makes nobody else of them, and others are heard."""
    answers = []
    for forged in range(40):
        headers = {"X-Forwarded-For": f"198.51.100.{forged},203.0.113.{number}"}
        body: Json | None = None if method == "GET" else {}
        answers.append(Browser(strict.address).call(method, path, headers=headers, json=body))
    answer = next(one for one in answers if one.status_code == 429)
    assert answer.json()["code"] == "TooManyCalls"
    assert find("TooManyCalls") is not None
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    other = Browser(strict.address).get("/api/v1/health", headers={"X-Forwarded-For": f"203.0.113.{100 + number}"})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("number", "path", "body"),
    [
        (20, "/nowhere", b"{}"),
        (21, "/api/v1/me", b"{}"),
        (22, "/api/v1/requests", b"{"),
        (23, "/api/v1/tokens", b"[" * 9_999),
    ],
    ids=["no route", "no such call", "no JSON", "too deep a body"],
)
def test_calls_that_reach_no_route_are_counted(strict: Desked, number: int, path: str, body: bytes) -> None:
    """A flood of them is a flood like any other."""
    headers = {"X-Forwarded-For": f"203.0.113.{number}", "Content-Type": "application/json"}
    seen = {Browser(strict.address).call("POST", path, data=body, headers=headers).status_code for _ in range(40)}
    assert 429 in seen
    assert seen <= {429, 404, 405, 400, 422}


def test_bad_sign_ins_are_counted_by_address(strict: Desked) -> None:
    """Whoever guesses tokens is a stranger; and good ones of the same address are heard."""
    headers = {"X-Forwarded-For": "203.0.113.50"}
    good = Browser(strict.address).sign_in  # counted by this test's own address
    assert good("owner").status_code in (303, 401, 429)
    until_refused(strict, "GET", "/api/v1/me", headers | {"Authorization": "Bearer a.b.c.d.e"})
    token = {"Authorization": f"Bearer {strict.token()}"}
    assert Browser(strict.address).get("/api/v1/me", headers=headers | token).status_code == 200


def test_known_callers_are_heard_so_often(strict: Desked) -> None:
    """A system is one caller, whomever it asks for and wherever it calls from."""
    found = []
    for number in range(40):
        headers = {"Authorization": f"Bearer {strict.token()}", "X-Forwarded-For": f"192.0.2.{number}"}
        found.append(Browser(strict.address).get("/api/v1/me", headers=headers).status_code)
    assert 429 in found
    assert set(found) == {200, 429}
