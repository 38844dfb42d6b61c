"""Signing in with a provider that is slow, wrong or down: nobody gets in by it, nobody waits for it for long, and whoever is in
stays in. It is a real HTTP server.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from shared.desk.problems import NotSignedIn, ProviderTrouble
from shared.desk.signin import Back, SignIn
from shared.settings import DeskSettings
from tests.functional.desked import Browser, Desked, desked
from tests.functional.providing import CLIENT, OTHER, SECRET, TEXT, Provider, providing

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """One that is good until a test says otherwise."""
    with providing() as made:
        yield made


def client(provider: Provider, **changes: str) -> SignIn:
    """The desk's client of it, which has not asked it anything yet."""
    settings = {
        "DESK_ADDRESS": "https://grants.example.com",
        "DESK_ISSUER": provider.address,
        "DESK_PROVIDER": "sso",
        "DESK_CLIENT_ID": CLIENT,
        "DESK_CLIENT_SECRET": SECRET,
        "DESK_KEYS": base64.b64encode(b"k" * 32).decode(),
    }
    return SignIn(DeskSettings.model_validate(settings | changes), lambda: SECRET, lambda: datetime.now(UTC))


def signed_in(
    signing: SignIn, provider: Provider, back: dict[str, str] | None = None, *, anew: bool = False
) -> tuple[str, datetime | None]:
    """Somebody signs in there and comes back, with what a good provider gives them or with ``back``."""
    begun = signing.begin(anew=anew)
    provider.nonce = begun.kept["nonce"]
    return signing.finish(Back(**{"state": begun.kept["state"], "code": "a-code"} | (back or {})), begun.kept)


def test_whoever_signs_in_is_known_by_subject_and_time(provider: Provider) -> None:
    """By the provider's own word for both. The secret goes into the form, with the verifier of what the browser was sent with."""
    who, at = signed_in(client(provider), provider)
    assert who == "sso:somebody"
    assert at is not None
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    (form,) = provider.forms
    assert (form["client_secret"], form["code"]) == ([SECRET], ["a-code"])
    assert len(form["code_verifier"][0]) >= 43


# -- what it says ----------------------------------------------------------------------------------------------------

NOW = int(datetime.now(UTC).timestamp())
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "signed by somebody else": ({"key": OTHER}, "not signed by the provider"),
    "not signed": ({"header": {"alg": "none"}}, "not signed by the provider"),
    "the public key as a secret": ({"header": {"alg": "HS256"}}, "not signed by the provider"),
    "a key that it does not publish": ({"header": {"kid": "two"}}, "not signed by the provider"),
    "a header that must be understood": ({"header": {"crit": ["example"], "example": 1}}, "not signed by the provider"),
    "another issuer": ({"claims": {"iss": "https://login.example.com"}}, "(iss)"),
    "another client": ({"claims": {"aud": "another"}}, "(aud)"),
    "several clients, and for another": ({"claims": {"aud": [CLIENT, "another"], "azp": "another"}}, "(azp)"),
    "several clients, and for nobody": ({"claims": {"aud": [CLIENT, "another"]}}, "(azp)"),
    "out of date": ({"claims": {"exp": NOW - 120}}, "(exp)"),
    "from the future": ({"claims": {"iat": NOW + 600}}, "(iat)"),
    "signed in in the future": ({"claims": {"auth_time": NOW + 600}}, "(auth_time)"),
    "no end": ({"claims": {"exp": None}}, "lacks what it must say"),
    "an end that is no number": ({"claims": {"exp": float("nan")}}, "lacks what it must say"),
    "an end beyond all time": ({"claims": {"exp": float("inf")}}, "lacks what it must say"),
    "no subject": ({"claims": {"sub": ""}}, "lacks what it must say"),
    "a subject that is a list": ({"claims": {"sub": ["somebody"]}}, "lacks what it must say"),
    "the nonce of another sign-in": ({"claims": {"nonce": "another"}}, "nonce"),
    "no nonce": ({"claims": {"nonce": None}}, "nonce"),
}


@pytest.mark.parametrize("how", LIES)
def test_a_token_that_is_not_good_lets_nobody_in(provider: Provider, how: str) -> None:
    """Each fault by itself; without it the same sign-in is good."""
    changes, told = LIES[how]
    signing = client(provider)
    good = Provider()
    for name, value in changes.items():
        setattr(provider, name, value)
    with pytest.raises(NotSignedIn) as refused:
        signed_in(signing, provider)
    assert told in str(refused.value)
    for name in changes:
        setattr(provider, name, getattr(good, name))
    assert signed_in(signing, provider)[0] == "sso:somebody"


@pytest.mark.parametrize(
    ("back", "told"),
    [
        pytest.param({"state": "another"}, "that this browser began", id="another sign-in"),
        pytest.param({"iss": "https://login.example.com"}, "iss", id="another provider"),
        pytest.param({"error": "access_denied", "code": ""}, "access_denied", id="it was refused"),
        pytest.param({"error": TEXT, "code": ""}, "it does not say why", id="it was refused in its own words"),
        pytest.param({"code": ""}, "it does not say why", id="nothing"),
    ],
)
def test_who_comes_back_with_something_else_is_not_let_in(provider: Provider, back: dict[str, str], told: str) -> None:
    """And the provider is not asked about it."""
    with pytest.raises(NotSignedIn) as refused:
        signed_in(client(provider), provider, back)
    assert told in str(refused.value)
    assert TEXT not in str(refused.value)
    assert "/token" not in provider.asked


def test_a_provider_may_have_neither_nonce_nor_time(provider: Provider) -> None:
    """Alibaba Cloud's documents neither: there the token's own time counts. Where one is sent, it has to be right."""
    provider.claims = {"nonce": None, "auth_time": None, "iat": NOW - 30}
    signing = client(provider, DESK_PROVIDER="ram")
    begun = signing.begin(anew=True).address
    assert not {"prompt", "max_age"} & set(parse_qs(urlsplit(begun).query))
    assert signed_in(signing, provider) == ("ram:somebody", datetime.fromtimestamp(NOW - 30, UTC))
    provider.claims |= {"nonce": "another"}
    with pytest.raises(NotSignedIn, match="nonce"):
        signed_in(signing, provider)
    provider.claims = {"nonce": None, "auth_time": None}
    with pytest.raises(NotSignedIn, match="nonce"):
        signed_in(client(provider), provider)
    lenient = client(provider, DESK_WITHOUT_NONCE="true", DESK_SIGNED_IN_BY="iat")
    assert signed_in(lenient, provider)[1] is not None


def test_a_sign_in_anew_is_proved(provider: Provider) -> None:
    """It is asked for, and where the provider remembered somebody, or does not say, it is none; else that counts as it is."""
    signing = client(provider)
    asked = parse_qs(urlsplit(signing.begin(anew=True).address).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    assert "prompt" not in parse_qs(urlsplit(signing.begin().address).query)
    for remembered in (NOW - 3600, None):
        provider.claims = {"auth_time": remembered}
        with pytest.raises(NotSignedIn, match="auth_time"):
            signed_in(signing, provider, anew=True)
        at = signed_in(signing, provider)[1]
        assert at == (None if remembered is None else datetime.fromtimestamp(remembered, UTC))
    provider.claims = {}
    assert signed_in(signing, provider, anew=True)[1] is not None


# -- how it answers --------------------------------------------------------------------------------------------------

TROUBLE = ["nonsense", "a list", "nothing of it", "deep", "huge", "elsewhere", "broken", "cut off"]


@pytest.mark.parametrize("how", [*TROUBLE, "another issuer", "a head without end"])
def test_a_description_that_is_wrong_sends_nobody_there(provider: Provider, how: str) -> None:
    """It is trouble, which passes: the next sign-in is good."""
    signing = client(provider)
    provider.wrong = {DISCOVERY: how}
    with pytest.raises(ProviderTrouble) as trouble:
        signing.begin()
    assert TEXT not in str(trouble.value)
    assert "/thief" not in provider.asked
    provider.wrong = {}
    assert signed_in(signing, provider)[0] == "sso:somebody"


@pytest.mark.parametrize("how", [*TROUBLE, "no keys", "a key of another kind"])
def test_keys_that_are_wrong_prove_nothing(provider: Provider, how: str) -> None:
    """Nobody gets in by them, and nobody is led elsewhere for others."""
    signing = client(provider)
    provider.wrong = {"/keys": how}
    with pytest.raises((ProviderTrouble, NotSignedIn)):
        signed_in(signing, provider)
    assert "/thief" not in provider.asked
    provider.wrong = {}
    assert signed_in(signing, provider)[0] == "sso:somebody"


@pytest.mark.parametrize("how", [*TROUBLE, "a body without end"])
def test_an_exchange_that_goes_wrong_is_trouble(provider: Provider, how: str) -> None:
    """Nobody gets in, and the secret is told to nobody else."""
    signing = client(provider)
    provider.wrong = {"/token": how}
    with pytest.raises((ProviderTrouble, NotSignedIn)) as trouble:
        signed_in(signing, provider)
    assert TEXT not in str(trouble.value)
    assert SECRET not in str(trouble.value)
    assert "/thief" not in provider.asked
    provider.wrong = {}
    assert signed_in(signing, provider)[0] == "sso:somebody"


@pytest.mark.parametrize(
    ("how", "told"), [("refused", "invalid_grant"), ("refused in its own words", "it does not say why")]
)
def test_a_code_that_is_not_taken_back_is_nobodys_sign_in(provider: Provider, how: str, told: str) -> None:
    """Said by the standard's names of errors alone."""
    provider.wrong = {"/token": how}
    with pytest.raises(NotSignedIn) as refused:
        signed_in(client(provider), provider)
    assert told in str(refused.value)
    assert TEXT not in str(refused.value)


def test_keys_that_change_are_asked_for_once_more(provider: Provider) -> None:
    """Before anybody is refused; and not at every sign-in."""
    signing = client(provider)
    for _ in range(3):
        signed_in(signing, provider)
    assert provider.asked.count("/keys") == 1
    provider.key = OTHER
    with pytest.raises(NotSignedIn):
        signed_in(signing, provider)
    assert provider.asked.count("/keys") == 2


# -- through the desk ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind() -> Iterator[Provider]:
    """The provider behind the desk."""
    with providing() as made:
        yield made


@pytest.fixture(scope="module")
def desk(behind: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """A desk whose people sign in there."""
    settings = {"DESK_ISSUER": behind.address, "DESK_CLIENT_ID": CLIENT, "DESK_CLIENT_SECRET": SECRET}
    with desked(tmp_path_factory.mktemp("desk"), None, True, DESK_PROVIDER="sso", **settings) as made:
        yield made


def entered(desk: Desked, behind: Provider) -> Browser:
    """A browser of whoever signed in."""
    browser = Browser(desk.address)
    asked = parse_qs(urlsplit(browser.get("/sign-in").headers["Location"]).query)
    behind.nonce = asked["nonce"][0]
    answer = browser.get(f"/sign-in/back?{urlencode({'state': asked['state'][0], 'code': 'c'})}")
    assert answer.status_code == 303, answer.text
    return browser


def test_the_desk_goes_on_without_its_provider(desk: Desked, behind: Provider) -> None:
    """What the provider says in its trouble is nobody's business; whoever is in stays in, and is served while it hangs."""
    browser = entered(desk, behind)
    assert browser.get("/api/v1/me").json()["subject"] == "sso:somebody"
    stranger = Browser(desk.address)
    for how in ("broken", "refused", "huge"):
        asked = parse_qs(urlsplit(stranger.get("/sign-in").headers["Location"]).query)
        behind.wrong = {"/token": how}
        back = f"/sign-in/back?{urlencode({'state': asked['state'][0], 'code': 'c'})}"
        answer = stranger.get(back)
        assert (answer.status_code, answer.json()["code"]) in ((503, "ProviderAway"), (401, "NotSignedIn"))
        assert TEXT not in answer.text
        assert "__Host-desk" not in stranger.cookies
    behind.wrong = {"/token": "a body without end"}
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(stranger.get, back) for _ in range(4)]
        served = 0
        while not all(one.done() for one in waiting):
            assert browser.get("/api/v1/me").status_code == 200
            served += 1
    assert served
    assert {(one.result().status_code, one.result().json()["code"]) for one in waiting} == {(503, "ProviderAway")}
    behind.wrong = {}
    assert entered(desk, behind).get("/api/v1/me").status_code == 200


def test_a_provider_that_is_down_is_said_to_be(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As trouble that passes, with when to try again; and the desk has started without it."""
    with providing() as gone:
        address = gone.address
    with desked(tmp_path_factory.mktemp("desk"), DESK_ISSUER=address) as desk:
        answer = Browser(desk.address).get("/sign-in")
        assert (answer.status_code, answer.json()["code"]) == (503, "ProviderAway")
        assert address not in answer.text
        assert answer.headers["Retry-After"]
        assert Browser(desk.address).get("/api/v1/health").ok
