"""The desk over HTTP: people sign in, ask, decide and withdraw; nobody else does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import requests
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from shared.messages.catalogue import find
from tests.functional.desked import Browser, Desked, Json, desked, wish


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        yield made


def test_somebody_asks_an_owner_agrees_and_it_is_admitted(desk: Desked) -> None:
    """From signing in to the lease, over the API alone."""
    asking, deciding = desk.browser("requester"), desk.browser("owner")
    assert asking.get("/api/v1/me").json()["person"] == "requester"
    answer = asking.post("/api/v1/requests", {"wishes": [wish(1)]})
    assert answer.status_code == 201, answer.text
    (asked,) = answer.json()["requests"]
    assert (asked["stage"], asked["takes"], asked["snapshot"]) == ("open", ["grant"], None)
    request_id = asked["request_id"]
    early = deciding.post(f"/api/v1/requests/{request_id}/decisions", {"side": "grant", "agrees": True, "snapshot": ""})
    assert (early.status_code, early.json()["code"]) == (409, "NotLookedYet")

    snapshot = desk.look(request_id)
    shown = deciding.get(f"/api/v1/requests/{request_id}")
    assert shown.json()["snapshot"] == snapshot
    body = {"side": "grant", "agrees": True, "snapshot": snapshot, "reason": "It is ours to give"}
    agreed = deciding.post(f"/api/v1/requests/{request_id}/decisions", body)
    assert agreed.status_code == 201, agreed.text
    assert [one["person"] for one in agreed.json()["agreed"]] == ["owner"]
    assert len(desk.hear()) == 1
    assert asking.get(f"/api/v1/requests/{request_id}").json()["stage"] == "approved"
    listed = deciding.get("/api/v1/requests?stage=approved").json()["requests"]
    assert request_id in [one["request_id"] for one in listed]


def ask(browser: Browser, number: int, **changes: Any) -> str:
    """Ask for one grant. Returns the request's id."""
    answer = browser.post("/api/v1/requests", {"wishes": [wish(number, **changes)]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["requests"][0]["request_id"])


# -- who is heard ----------------------------------------------------------------------------------------------------

ROUTES: list[tuple[str, str, Json | None]] = [
    ("GET", "/api/v1/me", None),
    ("POST", "/api/v1/requests", {"wishes": [wish(2)]}),
    ("GET", "/api/v1/requests", None),
    ("GET", "/api/v1/requests/{mine}", None),
    ("POST", "/api/v1/requests/{mine}/decisions", {"side": "grant", "agrees": False, "snapshot": ""}),
    (
        "POST",
        "/api/v1/decisions",
        {"side": "grant", "agrees": False, "about": [{"request_id": "{mine}", "snapshot": "0" * 64}]},
    ),
    ("POST", "/api/v1/requests/{mine}/review", {"in_order": True, "reason": "All was well"}),
    ("POST", "/api/v1/requests/{mine}/looks", None),
    ("POST", "/api/v1/requests/{mine}/withdrawal", {}),
]
EXPECTED: dict[str, list[int]] = {  # of each kind of caller, in the order of the routes
    "nobody": [401, 401, 401, 401, 401, 401, 401, 401, 401],
    "stranger": [200, 201, 200, 404, 404, 200, 404, 404, 404],
    "system": [200, 201, 200, 200, 403, 403, 403, 409, 200],
    "requester": [200, 201, 200, 200, 409, 200, 409, 201, 201],
    "owner": [200, 201, 200, 200, 409, 200, 409, 201, 403],
}


@pytest.mark.parametrize("who", EXPECTED)
def test_every_route_for_every_kind_of_caller(desk: Desked, who: str) -> None:
    """What each is answered; and everything that is no success is a problem with a code."""
    mine = ask(desk.browser("requester"), 3)
    if who == "system":
        desk.browser("requester").post(f"/api/v1/requests/{mine}/withdrawal", {})
    browser = desk.browser(None if who in ("nobody", "system") else who)
    found = []
    for method, path, body in ROUTES:
        headers = {"Authorization": f"Bearer {desk.token()}"} if who == "system" else {}
        told = json.loads(json.dumps(body).replace("{mine}", mine))
        answer = browser.call(method, path.format(mine=mine), json=told, headers=headers)
        found.append(answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert find(answer.json()["code"]) is not None, answer.text
    assert found == EXPECTED[who]


def test_a_stranger_cannot_tell_what_exists(desk: Desked) -> None:
    """Byte by byte the same answer, but for the id that was asked for."""
    mine, stranger = ask(desk.browser("requester"), 4), desk.browser("stranger")
    there = stranger.get(f"/api/v1/requests/{mine}")
    none = stranger.get(f"/api/v1/requests/{'r-' + '0' * 20}")
    assert there.content.replace(mine.encode(), b"") == none.content.replace(b"r-" + b"0" * 20, b"")
    assert {k: v for k, v in there.headers.items() if k != "date"} == {
        k: v for k, v in none.headers.items() if k != "date"
    }
    assert mine not in stranger.get("/api/v1/requests").text


def test_a_system_asks_for_a_person_and_decides_for_nobody(desk: Desked) -> None:
    """Both are kept: the person who is meant, and the system that says so."""
    headers = {"Authorization": f"Bearer {desk.token()}"}
    answer = desk.browser().post("/api/v1/requests", {"wishes": [wish(5)]}, headers=headers)
    (asked,) = answer.json()["requests"]
    assert (asked["asked_by"], asked["relay"]) == ("requester", "tickets")
    owner = {"Authorization": f"Bearer {desk.token(sub='owner')}"}
    snapshot = desk.look(asked["request_id"])
    body = {"side": "grant", "agrees": True, "snapshot": snapshot}
    refused = desk.browser().post(f"/api/v1/requests/{asked['request_id']}/decisions", body, headers=owner)
    assert (refused.status_code, refused.json()["code"]) == (403, "PeopleDecide")


CONFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no signature": ({"alg": "none"}, "no JWT of a system"),
    "the public key as a secret": ({"alg": "HS256"}, "no JWT of a system"),
    "an older algorithm": ({"alg": "EdDSA"}, "no JWT of a system"),
    "another type": ({"typ": "JWT"}, "no JWT of a system"),
    "the type of a seal": ({"typ": "ecr-grants-approval"}, "no JWT of a system"),
    "a key that nobody has": ({"kid": "mallory-1"}, "no active key"),
    "another issuer's key": ({"key": "forms-1"}, "not signed with"),
    "another issuer": ({"iss": "forms"}, "iss"),
    "another deployment": ({"aud": "elsewhere"}, "aud"),
    "out of date": ({"iat": -600, "exp": -300}, "exp"),
    "for too long": ({"exp": 3600}, "exp"),
    "from the future": ({"iat": 120, "exp": 300}, "iat"),
    "no name of its own": ({"jti": None}, "jti"),
    "a claim too many": ({"admin": True}, "admin"),
    "a header too many": ({"crit": ["exp"]}, "no JWT of a system"),
}


@pytest.mark.parametrize("how", CONFUSED)
def test_a_token_that_is_not_good_is_named(desk: Desked, how: str) -> None:
    """Each fault by itself; without it the same token is good."""
    changes, told = CONFUSED[how]
    refused = desk.browser().get("/api/v1/me", headers={"Authorization": f"Bearer {desk.token(**changes)}"})
    assert (refused.status_code, refused.json()["code"]) == (401, "NotSignedIn")
    assert told in refused.json()["detail"]
    assert desk.browser().get("/api/v1/me", headers={"Authorization": f"Bearer {desk.token()}"}).status_code == 200


def test_a_token_is_shown_once(desk: Desked) -> None:
    """Whoever has seen one cannot use it again."""
    headers = {"Authorization": f"Bearer {desk.token()}"}
    assert desk.browser().get("/api/v1/me", headers=headers).status_code == 200
    again = desk.browser().get("/api/v1/me", headers=headers)
    assert (again.status_code, "was shown before" in again.text) == (401, True)


# -- browsers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example.com"}, id="another site"),
        pytest.param({"Origin": "null"}, id="a page that says nothing"),
        pytest.param({"Origin": "", "Sec-Fetch-Site": "cross-site"}, id="another site, by the browser's word"),
        pytest.param({"Origin": "", "Sec-Fetch-Site": "same-site"}, id="a neighbour"),
    ],
)
def test_another_site_changes_nothing(desk: Desked, headers: Json) -> None:
    """A cookie alone is nobody's word."""
    browser = desk.browser("requester")
    before = len(browser.get("/api/v1/requests").json()["requests"])
    headers = {name: value or None for name, value in headers.items()}
    answer = browser.post("/api/v1/requests", {"wishes": [wish(6)]}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "CrossSite")
    assert len(browser.get("/api/v1/requests").json()["requests"]) == before


def test_a_cookie_that_is_not_ours_is_no_sign_in(desk: Desked) -> None:
    """Altered, of another purpose, or made up."""
    browser = desk.browser("requester")
    (name,) = browser.cookies
    good = browser.cookies[name]
    other = Browser(desk.address)
    other.get("/sign-in")
    for bad in (good[:-4] + "AAAA", good[5:], "x", next(iter(other.cookies.values()))):
        browser.cookies[name] = bad
        answer = browser.get("/api/v1/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "NotSignedIn"), bad
    browser.cookies[name] = good
    assert browser.get("/api/v1/me").status_code == 200


def test_the_answer_of_another_sign_in_is_not_taken(desk: Desked) -> None:
    """Whoever is sent an address with somebody else's code does not become somebody else."""
    attacker, victim = Browser(desk.address), Browser(desk.address)
    page = attacker.get("/sign-in").headers["Location"]
    back = requests.post(page, data={"person": "stranger"}, allow_redirects=False, timeout=30).headers["Location"]
    assert victim.get(back).status_code == 401
    victim.get("/sign-in")
    assert victim.get(back).status_code == 401
    assert attacker.get(back).status_code == 303
    assert attacker.get(back).status_code == 401  # the code was used


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example.com/",
        "//evil.example.com",
        "/\\evil.example.com",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:a=b",
    ],
)
def test_nobody_is_sent_elsewhere(desk: Desked, to: str) -> None:
    """After signing in the browser goes on at the desk."""
    answer = Browser(desk.address).sign_in("requester", quote(to, safe=""))
    where = answer.headers["Location"]
    assert answer.status_code == 303
    assert where in ("/", "/%0d%0aSet-Cookie:a=b"), "still written as it was, and no line of its own"
    assert "a" not in answer.cookies


def test_the_command_line_gets_a_token_once(desk: Desked) -> None:
    """Sent back to its own port on this machine with a code, which only whoever began can exchange, and once."""
    browser, verifier = Browser(desk.address), "v" * 43
    began = {"port": "50000", "challenge": create_s256_code_challenge(verifier), "mark": "mine"}
    page = browser.get(f"/sign-in?{urlencode(began)}").headers["Location"]
    back = requests.post(page, data={"person": "owner"}, allow_redirects=False, timeout=30).headers["Location"]
    where = urlsplit(browser.get(back).headers["Location"])
    assert (where.hostname, where.port) == ("127.0.0.1", 50000)
    said = parse_qs(where.query)
    assert said["mark"] == ["mine"]
    code = said["code"][0]
    thief = browser.post("/api/v1/tokens", {"code": code, "verifier": "w" * 43})
    assert (thief.status_code, thief.json()["code"]) == (401, "NotSignedIn")
    first, again = (browser.post("/api/v1/tokens", {"code": code, "verifier": verifier}) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 401)
    headers = {"Authorization": f"Bearer {first.json()['token']}"}
    assert Browser(desk.address).get("/api/v1/me", headers=headers).json()["person"] == "owner"
    assert Browser(desk.address).get("/api/v1/me", headers={"Authorization": f"Bearer {code}"}).status_code == 401
    assert Browser(desk.address).get("/sign-in?port=50000").status_code == 422


def test_headers_keep_browsers_from_guessing(desk: Desked) -> None:
    """On every answer, a refusal included."""
    for path in ("/api/v1/health", "/api/v1/me", "/nowhere"):
        answer = Browser(desk.address).get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 422, id="no JSON"),
        pytest.param(b"[]", 422, id="no object"),
        pytest.param(b"{}", 422, id="nothing asked"),
        pytest.param(b'{"wishes": []}', 422, id="no wish"),
        pytest.param(b'{"wishes": [1]}', 422, id="no wish at all"),
        pytest.param(b" " * 1_000_001, 413, id="too much"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem(desk: Desked, body: bytes, status: int) -> None:
    """Named, and nothing is recorded."""
    answer = desk.browser("requester").call(
        "POST", "/api/v1/requests", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_key_asks_once(desk: Desked) -> None:
    """However often it is sent; something else under it is refused."""
    browser, headers = desk.browser("requester"), {"Idempotency-Key": "mine-1"}
    asking = {"wishes": [wish(7, ends_at="2099-01-01T00:00:00Z", on_end="report")]}
    first, again = (browser.post("/api/v1/requests", asking, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["requests"][0]["request_id"] == again.json()["requests"][0]["request_id"]
    other = browser.post("/api/v1/requests", {"wishes": [wish(8)]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "NameUsedAgain")


def test_a_batch_is_decided_in_one_go(desk: Desked) -> None:
    """One word for many, each bound to what was shown of it; what cannot be taken of one is said, and stops no other."""
    browser, owner = desk.browser("requester"), desk.browser("owner")
    asked = browser.post("/api/v1/requests", {"wishes": [wish(700 + number) for number in range(3)]}).json()["requests"]
    about = [{"request_id": one["request_id"], "snapshot": desk.look(one["request_id"])} for one in asked]
    about[1]["snapshot"] = "0" * 64
    about.append({"request_id": "r-" + "0" * 20, "snapshot": "0" * 64})
    body = {"side": "grant", "agrees": True, "about": about, "reason": "The plan was agreed"}
    found = owner.post("/api/v1/decisions", body).json()["decisions"]
    assert [one["request_id"] for one in found] == [one["request_id"] for one in about]
    assert [one["problem"] and one["problem"]["code"] for one in found] == [
        None,
        "SnapshotChanged",
        None,
        "NoSuchRequest",
    ]
    assert len(desk.hear()) == 2


def test_an_emergency_is_reviewed(desk: Desked) -> None:
    """One approver of account A; everybody can read until when it is to be reviewed, and by whom it was."""
    asking, deciding, reviewing = desk.browser("requester"), desk.browser("router-owner"), desk.browser("owner")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    request_id = ask(asking, 720, emergency=True, ends_at=soon)
    where = f"/api/v1/requests/{request_id}"
    body = {"side": "associate", "agrees": True, "snapshot": desk.look(request_id)}
    assert deciding.post(f"{where}/decisions", body).status_code == 201
    desk.hear()
    shown = asking.get(where).json()
    assert (shown["stage"], shown["review_until"] is None) == ("approved", False)
    assert "nobody was asked for the grant side" in shown["ended"]
    finding = {"in_order": False, "reason": "It could have waited"}
    refused = deciding.post(f"{where}/review", finding).json()
    assert (refused["code"], "who may: " in refused["detail"]) == ("NotTheReviewer", True)
    again = asking.post("/api/v1/requests", {"wishes": [wish(720, emergency=True, ends_at=soon)]})
    assert (again.status_code, again.json()["code"]) == (409, "EmergencyOpen")
    reviewed = reviewing.post(f"{where}/review", finding)
    assert (reviewed.status_code, reviewed.json()["reviewed"], reviewed.json()["review_until"]) == (201, "owner", None)
    assert reviewing.post(f"{where}/review", finding).status_code == 200


def test_whoever_may_not_see_account_b_is_shown_the_same_whatever_is_there(desk: Desked) -> None:
    """Two requests, one of an instance that exists: what their requester is shown of account B differs in nothing."""
    asking, owner = desk.browser("requester"), desk.browser("owner")
    there = {"check": "instance-exists", "result": "pass", "found": "it is there", "advice": ""}
    missing = there | {"result": "fail", "found": "it is not there"}
    seen = []
    for number, check in ((730, there), (731, missing)):
        request_id = ask(asking, number)
        snapshot = desk.look(request_id, checks=[check], failed=int(check is missing), world={"cidrs": [str(number)]})
        assert owner.get(f"/api/v1/requests/{request_id}").json()["snapshot"] == snapshot
        shown = asking.get(f"/api/v1/requests/{request_id}").json()
        seen.append({name: shown[name] for name in ("snapshot", "round", "checks", "failed", "unknown", "changed")})
    assert seen[0] == seen[1]
    assert [one["check"] for one in seen[0]["checks"]] == ["account-b"]


def test_asking_about_accounts_of_others_is_limited(desk: Desked) -> None:
    """However many are asked in one call."""
    browser = desk.browser("stranger")
    answers = [
        browser.post("/api/v1/requests", {"wishes": [wish(800 + number) for number in range(40)]}) for _ in range(2)
    ]
    assert [one.status_code for one in answers] == [201, 429]
    assert int(answers[1].headers["Retry-After"]) > 0


def test_a_batch_is_paged(desk: Desked) -> None:
    """Many are asked together, and listed a page at a time, each once."""
    browser = desk.browser("owner")
    asked = browser.post("/api/v1/requests", {"wishes": [wish(100 + number) for number in range(120)]}).json()[
        "requests"
    ]
    (batch,) = {one["batch"] for one in asked}
    seen, after = [], ""
    while True:
        page = browser.get(f"/api/v1/requests?batch={batch}{after}").json()
        seen += [one["request_id"] for one in page["requests"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert sorted(seen) == sorted(one["request_id"] for one in asked)
