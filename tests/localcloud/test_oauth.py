"""Signing in as RAM's OAuth applications let people sign in, with Authlib as the application."""

import json
import time
from typing import Any

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc.errors import JoseError

from localcloud.oauth.service import COOKIE
from localcloud.worldfile import WorldError, parse_world
from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.oauth_kit import CALLBACK, CLIENT, NATIVE, SECRET, SignIn, buttons, fields

TIMES = {"iss", "aud", "exp", "iat"}


@pytest.fixture
def desk(run_cloud: RunCloud) -> SignIn:
    """A local cloud in which people can sign in."""
    return SignIn(run_cloud)


def test_the_discovery_document_has_the_published_members_only(desk: SignIn) -> None:
    """Neither userinfo_endpoint nor how clients authenticate; strict clients have to be told."""
    found = requests.get(f"{desk.cloud.url}/.well-known/openid-configuration", timeout=PATIENCE).json()

    assert found == {
        "issuer": desk.cloud.url,
        "authorization_endpoint": f"{desk.cloud.url}/oauth2/v1/auth",
        "token_endpoint": f"{desk.cloud.url}/v1/token",
        "revocation_endpoint": f"{desk.cloud.url}/v1/revoke",
        "jwks_uri": f"{desk.cloud.url}/v1/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "aliuid", "profile"],
        "code_challenge_methods_supported": ["plain", "S256"],
    }


@pytest.mark.parametrize(
    ("person", "kind", "label"),
    [
        pytest.param(
            "hub-root", "account", {"login_name": "hub@example.com"}, id="the account itself has a login name"
        ),
        pytest.param("requester", "user", {"name": "The requester"}, id="a user has a upn and a display name"),
        pytest.param("first", "role", {"name": "operators:first@example.com"}, id="a session is named after its role"),
    ],
)
def test_each_kind_of_person_has_its_claims(desk: SignIn, person: str, kind: str, label: dict[str, str]) -> None:
    """ID token and userinfo say the same of a person, and nothing that is not published."""
    app = desk.application()
    token, _ = desk.token(person, app)
    claims = dict(app.parse_id_token(token, nonce=None))
    upn = {"upn": f"asker@{desk.hub}.onaliyun.com"} if kind == "user" else {}

    assert claims == {
        "iss": desk.cloud.url,
        "aud": CLIENT,
        "iat": claims["iat"],
        "exp": claims["iat"] + 3600,
        "sub": claims["sub"],
        "aid": desk.hub,
        "uid": claims["uid"],
        "type": kind,
        **label,
        **upn,
    }
    assert abs(claims["iat"] - time.time()) < 60
    about = app.get(f"{desk.cloud.url}/v1/userinfo", token=token).json()
    assert about == {name: value for name, value in claims.items() if name not in TIMES}


def test_who_is_who(desk: SignIn) -> None:
    """The sub of a session has its name, its uid is the role's; a user's sub is opaque, stays, and can be chosen."""
    first, second = desk.claims("first"), desk.claims("second")
    requester = desk.claims("requester")

    assert first["uid"] == second["uid"]
    assert [claims["sub"] for claims in (first, second)] == [
        f"{first['uid']}:first@example.com",
        f"{first['uid']}:second@example.com",
    ]
    assert requester["sub"] not in {requester["uid"], requester["aid"]}
    assert requester["sub"] == desk.claims("requester")["sub"]
    assert desk.claims("plain")["sub"] == "chosen-by-the-file"
    assert desk.claims("hub-root")["uid"] == desk.hub
    assert desk.claims("owner")["aid"] == desk.spoke


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("openid", {"sub"}),
        ("openid aliuid", {"sub", "aid", "uid"}),
        ("openid profile", {"sub", "type", "upn", "name"}),
    ],
)
def test_scopes_bound_what_is_told(desk: SignIn, scope: str, names: set[str]) -> None:
    """A claim is told with its scope only."""
    assert set(desk.claims("requester", scope=scope)) - TIMES == names


def test_no_scope_is_every_scope_and_no_openid_no_id_token(desk: SignIn) -> None:
    """What is left out of the request is the application's; without openid there is no ID token."""
    assert "id_token" in desk.exchange(desk.code()).json()
    assert "id_token" not in desk.exchange(desk.code(scope="aliuid")).json()


def test_the_token_answer_is_as_seen_on_the_wire(desk: SignIn) -> None:
    """expires_in is a string, unless the switch says what the documentation shows; nothing else is there."""
    answer = desk.exchange(desk.code(scope="openid"))
    assert answer.headers["Cache-Control"] == "no-store"
    found = answer.json()
    assert set(found) == {"access_token", "token_type", "expires_in", "id_token"}
    assert (found["token_type"], found["expires_in"]) == ("Bearer", "3600")
    desk.cloud.admin.switch(sign_in_expires_in="number")
    assert desk.exchange(desk.code()).json()["expires_in"] == 3600


def test_a_refresh_token_is_for_who_asks_offline(desk: SignIn) -> None:
    """It gives access tokens, neither itself again nor an ID token, until it is revoked or too old."""
    app = desk.application()
    token, _ = desk.token("requester", app, access_type="offline")
    with OAuth2Session(CLIENT, SECRET, "client_secret_post", "client_secret_post") as session:
        again = session.refresh_token(f"{desk.cloud.url}/v1/token", refresh_token=token["refresh_token"])
        assert again["access_token"] != token["access_token"]
        raw = desk.exchange("", grant_type="refresh_token", refresh_token=token["refresh_token"]).json()
        assert set(raw) == {"access_token", "token_type", "expires_in"}
        revoked = session.revoke_token(f"{desk.cloud.url}/v1/revoke", token=token["refresh_token"])
    assert revoked.status_code == 200
    late = desk.exchange("", grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


def test_tokens_live_by_the_clouds_clock(desk: SignIn) -> None:
    """A code, an access token and a refresh token are good for their time."""
    token = desk.exchange(desk.code(access_type="offline")).json()
    code = desk.code()
    address, bearer = f"{desk.cloud.url}/v1/userinfo", {"Authorization": f"Bearer {token['access_token']}"}

    desk.cloud.advance(301)
    assert desk.exchange(code).json()["error"] == "invalid_grant"
    assert requests.get(address, headers=bearer, timeout=PATIENCE).status_code == 200
    desk.cloud.advance(3600)
    gone = requests.get(address, headers=bearer, timeout=PATIENCE)
    assert (gone.status_code, gone.json()["error"], gone.json()["error_description"]) == (
        401, "access_denied", "parse token failed",
    )  # fmt: skip
    desk.cloud.advance(2592000)
    again = desk.exchange("", grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert again.json()["error"] == "invalid_grant"


def test_a_code_is_good_for_one_exchange_by_its_own_client(desk: SignIn) -> None:
    """Not twice, not by another application, not with another redirect_uri; a failed exchange uses it up."""
    code = desk.code()
    assert desk.exchange(code).status_code == 200
    assert desk.exchange(code).json()["error"] == "invalid_grant"
    stolen = desk.code()
    assert desk.exchange(stolen, client_id=NATIVE, client_secret=None).json()["error"] == "invalid_grant"
    moved = desk.code()
    assert desk.exchange(moved, redirect_uri=f"{CALLBACK}?tenant=1").json()["error"] == "invalid_grant"
    assert desk.exchange(moved).json()["error"] == "invalid_grant"


VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("challenge", "verifier", "passes"),
    [
        pytest.param({"code_challenge": CHALLENGE, "code_challenge_method": "S256"}, VERIFIER, True, id="S256"),
        pytest.param({"code_challenge": VERIFIER, "code_challenge_method": "plain"}, VERIFIER, True, id="plain"),
        pytest.param({"code_challenge": VERIFIER}, VERIFIER, True, id="plain when no method is named"),
        pytest.param({"code_challenge": CHALLENGE, "code_challenge_method": "S256"}, CHALLENGE, False, id="wrong"),
        pytest.param({"code_challenge": CHALLENGE, "code_challenge_method": "S256"}, None, False, id="no verifier"),
        pytest.param({}, VERIFIER, False, id="a verifier without a challenge"),
    ],
)
def test_a_challenge_has_to_be_met(desk: SignIn, challenge: dict[str, str], verifier: str | None, passes: bool) -> None:
    """Both published methods, with the vector of RFC 7636."""
    answer = desk.exchange(desk.code(**challenge), code_verifier=verifier)
    assert (answer.status_code == 200) is passes
    if not passes:
        assert answer.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "target",
    [
        f"{CALLBACK}/",
        f"{CALLBACK}?tenant=2",
        f"{CALLBACK}#here",
        "http://127.0.0.1:10/callback",
        "https://127.0.0.1:9/callback",
        "http://127.0.0.1:9/Callback",
        "http://127.0.0.1:9/",
        "http://127.0.0.1:9@evil.example.com/callback",
        None,
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(desk: SignIn, target: str | None) -> None:
    """Addresses are compared character by character; a wrong one is a page, never a redirect."""
    for answer in (
        desk.choose(desk.authorize(redirect_uri=target), "requester"),
        requests.get(desk.authorize(redirect_uri=target), allow_redirects=False, timeout=PATIENCE),
    ):
        assert (answer.status_code, "Location" in answer.headers) == (400, False)
        assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"scope": "openid email"}, "invalid_scope"),
        ({"access_type": "always"}, "invalid_request"),
        ({"code_challenge": "x", "code_challenge_method": "S512"}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
    ],
)
def test_other_mistakes_are_told_to_the_application(desk: SignIn, changes: dict[str, Any], error: str) -> None:
    """By redirect, with the state."""
    answer = requests.get(desk.authorize(**changes), allow_redirects=False, timeout=PATIENCE)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{CALLBACK}?")
    assert (fields(answer)["error"], fields(answer)["state"]) == (error, "a-state")


def test_an_application_proves_itself_in_the_form(desk: SignIn) -> None:
    """client_secret_post is documented; Basic is refused unless the switch lets it pass."""
    assert desk.exchange(desk.code(), client_secret="wrong").status_code == 401
    assert desk.exchange(desk.code(), client_secret=None).status_code == 401
    basic = desk.application(token_endpoint_auth_method="client_secret_basic")
    with pytest.raises(OAuthError, match="invalid_client"):
        desk.token("requester", basic)
    desk.cloud.admin.switch(sign_in_client="form_or_basic")
    assert desk.claims("requester", basic)["type"] == "user"


def test_a_native_application_has_no_secret(desk: SignIn) -> None:
    """It proves with PKCE that it asked, and may not pretend to keep a secret."""
    app = desk.application(NATIVE, None)
    assert desk.claims("requester", app, redirect_uri="http://127.0.0.1:8/")["aud"] == NATIVE
    told = desk.exchange("x", client_id=NATIVE, client_secret="any")
    assert (told.status_code, told.json()["error"]) == (401, "invalid_client")


def test_a_nonce_is_not_echoed_unless_the_switch_says_so(desk: SignIn) -> None:
    """A client that insists fails against what is published; a wrong one is refused either way."""
    app = desk.application()
    token, begun = desk.token("requester", app)
    with pytest.raises(JoseError, match="nonce"):
        app.parse_id_token(token, nonce=begun["nonce"])
    desk.cloud.admin.switch(sign_in_nonce="echoed")
    token, begun = desk.token("requester", app)
    assert app.parse_id_token(token, nonce=begun["nonce"])["nonce"] == begun["nonce"]
    desk.cloud.admin.plan(kind="wrong_token", wrong="nonce")
    token, begun = desk.token("requester", app)
    with pytest.raises(JoseError, match="nonce"):
        app.parse_id_token(token, nonce=begun["nonce"])


@pytest.mark.parametrize("wrong", ["issuer", "audience", "expired", "early", "unsigned", "hmac", "signature"])
def test_a_wrong_token_is_noticed(desk: SignIn, wrong: str) -> None:
    """Authlib refuses what planned trouble did to a token, and takes the next one."""
    desk.cloud.admin.plan(kind="wrong_token", wrong=wrong)
    app = desk.application()
    token, _ = desk.token("requester", app)
    with pytest.raises(JoseError):
        app.parse_id_token(token, nonce=None)
    assert desk.claims("requester", app)["type"] == "user"


def test_a_rotated_key_is_fetched_again(desk: SignIn) -> None:
    """A client that kept the old key set asks once more, and what the old key signed counts no longer."""
    app = desk.application()
    old, _ = desk.token("requester", app)
    assert app.parse_id_token(old, nonce=None)
    desk.cloud.admin.plan(kind="wrong_token", wrong="rotated")
    new, _ = desk.token("requester", app)
    assert app.parse_id_token(new, nonce=None)
    assert desk.cloud.operations(service="oauth", operation="Keys") == [("Keys", ""), ("Keys", "")]
    with pytest.raises(JoseError):
        app.parse_id_token(old, nonce=None)


def test_a_provider_that_is_down_or_slow(desk: SignIn) -> None:
    """Server errors, cut connections and slowness can be planned for each operation."""
    app = desk.application()
    code = desk.code()
    for trouble, failure in (
        ({"kind": "server_error", "body": "html"}, requests.HTTPError),
        ({"kind": "cut_before"}, requests.ConnectionError),
    ):
        desk.cloud.admin.plan(service="oauth", operation="Token", **trouble)
        with pytest.raises(failure):
            app.fetch_access_token(CALLBACK, code=code)
    desk.cloud.admin.plan(kind="slow", seconds=1.0, service="oauth", operation="Token")
    with pytest.raises(requests.Timeout):
        app.fetch_access_token(CALLBACK, code=code, timeout=0.2)
    desk.cloud.admin.plan(kind="server_error", service="oauth", operation="Authorize")
    assert requests.get(desk.authorize(), timeout=PATIENCE).status_code == 503
    desk.cloud.admin.plan(kind="server_error", service="oauth", operation="Keys")
    assert requests.get(f"{desk.cloud.url}/v1/keys", timeout=PATIENCE).status_code == 503
    token, _ = desk.token("requester", app)
    assert app.parse_id_token(token, nonce=None)


def test_the_page_is_a_form_without_scripts(desk: SignIn) -> None:
    """Everybody is on it; who cannot use the application cannot be chosen; names are text."""
    page = requests.get(desk.authorize(), timeout=PATIENCE)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    assert ("the &lt;desk&gt;" in page.text, "<desk>" in page.text) == (True, False)
    assert buttons(page.text) == {
        **dict.fromkeys(["hub-root", "requester", "plain", "first", "second", "owner"], True),
        "nobody": False,
        "": True,
    }


def test_who_denies_and_who_may_not(desk: SignIn) -> None:
    """Denying is told to the application; the account that did not install it sees a page, or the switch's error."""
    assert fields(desk.choose(desk.authorize(), ""))["error"] == "access_denied"
    refused = desk.choose(desk.authorize(), "nobody")
    assert (refused.status_code, "has not installed" in refused.text) == (403, True)
    desk.cloud.admin.switch(sign_in_not_installed="access_denied")
    assert fields(desk.choose(desk.authorize(), "nobody"))["error"] == "access_denied"
    assert desk.choose(desk.authorize(), "somebody").status_code == 400


def test_older_applications_let_no_roles_in(run_cloud: RunCloud) -> None:
    """Those made before 2024-09-10."""
    desk = SignIn(run_cloud, roles=False)
    assert desk.choose(desk.authorize(), "first").status_code == 403
    assert desk.choose(desk.authorize(), "requester").status_code == 302


def test_a_browser_may_be_remembered(desk: SignIn) -> None:
    """Off, everybody is asked every time; on, the cookie is enough."""
    cookies = desk.choose(desk.authorize(), "requester").cookies
    assert requests.get(desk.authorize(), cookies=cookies, timeout=PATIENCE).status_code == 200
    desk.cloud.admin.switch(sign_in_remembered="on")
    sent = requests.get(desk.authorize(), cookies=cookies, allow_redirects=False, timeout=PATIENCE)
    assert desk.exchange(fields(sent)["code"]).status_code == 200
    assert requests.get(desk.authorize(), allow_redirects=False, timeout=PATIENCE).status_code == 200
    stranger = {COOKIE: "nobody"}
    assert requests.get(desk.authorize(), cookies=stranger, allow_redirects=False, timeout=PATIENCE).status_code == 200


def test_older_pages_said_other_things(desk: SignIn) -> None:
    """No type, the uid as sub, a name for the account."""
    desk.cloud.admin.switch(sign_in_claims="older")
    user, root = desk.claims("requester"), desk.claims("hub-root")
    assert (user["sub"], "type" in user) == (user["uid"], False)
    assert (root["sub"], root["name"]) == (desk.hub, "hub")


def test_the_journal_says_who_and_keeps_no_secret(desk: SignIn) -> None:
    """Who signed in for which application, and nothing that lets anybody else in."""
    code = desk.code(state="guess-me", code_challenge=VERIFIER)
    token = desk.exchange(code, code_verifier=VERIFIER).json()
    (entry,) = desk.cloud.journal(service="oauth", operation="SignIn")
    assert entry["caller"]["arn"] == f"acs:ram::{desk.hub}:user/asker"
    assert (entry["params"]["client_id"], entry["params"]["person"], entry["status"]) == (CLIENT, "requester", 302)
    told = json.dumps([desk.cloud.journal(), desk.cloud.admin.world()])
    for secret in (code, SECRET, VERIFIER, "guess-me", token["access_token"], token["id_token"]):
        assert secret not in told


def test_what_people_will_be_is_known_beforehand(desk: SignIn) -> None:
    """The admin side lists the claims of everybody, for whoever configures the application."""
    shown = desk.cloud.admin.world()["oauth"]
    listed = {person["name"]: person["claims"] for person in shown["people"]}
    assert shown["issuer"] == desk.cloud.url
    for name in ("hub-root", "requester", "first"):
        claims = desk.claims(name)
        assert listed[name] == {key: value for key, value in claims.items() if key not in TIMES}


def test_nothing_else_is_there(desk: SignIn) -> None:
    """Other paths and methods are refused."""
    assert requests.get(f"{desk.cloud.url}/v1/token", timeout=PATIENCE).status_code == 405
    assert requests.get(f"{desk.cloud.url}/v1/logout", timeout=PATIENCE).status_code == 404
    plain = requests.post(f"{desk.cloud.url}/v1/token", json={"grant_type": "authorization_code"}, timeout=PATIENCE)
    assert (plain.status_code, plain.json()["error"]) == (400, "invalid_request")
    twice = requests.get(f"{desk.authorize()}&client_id=1", allow_redirects=False, timeout=PATIENCE)
    assert twice.status_code == 400
    odd = desk.exchange("x", grant_type="password").json()
    assert odd["error"] == "unsupported_grant_type"


WORLD = """\
version: 1
accounts:
  "1000000000000001":
    users: {asker: {}}
    people:
      one: {user: askr}
      two: {user: asker, root: me@example.com}
      three: {role: ops, session: s1}
      four: {session: s1}
      five: {role: ops, session: s1, sub: x}
    oauth_applications:
      "41": {name: short, secret: s, redirect_uris: ["https://a.example.com/"]}
      "4100000001": {name: a, redirect_uris: ["https://a.example.com/"]}
      "4100000002": {name: b, type: NativeApp, secret: s, redirect_uris: ["https://a.example.com/#b"]}
      "4100000003": {name: c, secret: s, redirect_uris: [], scopes: [openid, email], roles: true}
      "4100000004": {name: d, secret: s, redirect_uris: ["x://y"], installed_in: ["1000000000000002"]}
  "1000000000000003":
    people:
      one: {root: other@example.com}
    oauth_applications:
      "4100000004": {name: e, secret: s, redirect_uris: ["x://y"]}
"""


def test_the_world_file_is_checked() -> None:
    """Each mistake about people and applications, with its line."""
    with pytest.raises(WorldError) as refused:
        parse_world(WORLD)
    told: dict[int, list[str]] = {}
    for problem in refused.value.problems:
        number, _, text = problem.removeprefix("line ").partition(": ")
        told.setdefault(int(number), []).append(text)
    expected = {
        6: ["no user 'askr' in this account (did you mean 'asker'?)"],
        7: ["one of root, user and role is wanted, found root and user"],
        8: ["no role 'ops' in this account"],
        9: ["one of root, user and role is wanted, found none", "a role and a session go together"],
        10: ["the sub of a role's session is always RoleId:RoleSessionName"],
        12: ["String should match pattern"],
        13: ["a WebApp needs a secret, this one has none"],
        14: ["is no absolute address without a fragment"],
        15: ["scopes.1", "at least 1 item"],
        16: ["no such account '1000000000000002'"],
        19: ["'person one' is used at accounts.1000000000000001.people.one already"],
        21: ["'client 4100000004' is used at"],
    }
    for line, texts in expected.items():
        for text in texts:
            assert any(text in each for each in told.get(line, [])), (line, text, told)
    assert set(told) == set(expected), told
