"""What the tests of signing in share: a world with people and applications, and Authlib as the application."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from authlib.integrations.base_client import BaseApp, FrameworkIntegration, OAuth2Mixin, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session

from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import LocalCloud, new_account, trust

CLIENT, SECRET, NATIVE = "4000000000000000001", "example-secret-of-the-desk", "4000000000000000002"
CALLBACK = "http://127.0.0.1:9/callback"

Json = dict[str, Any]


class Application(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # Authlib carries no type marker
    """Authlib's client as its web integrations build it; what a web framework's session would keep is handed back."""

    client_cls = OAuth2Session


class SignIn:
    """A local cloud with a hub, a spoke that has installed the application, and a stranger that has not."""

    def __init__(self, run_cloud: RunCloud, **changes: Any) -> None:
        self.hub, self.spoke, self.stranger = new_account(), new_account(), new_account()
        self.cloud: LocalCloud = run_cloud({"accounts": self.accounts(**changes)})

    def accounts(self, **changes: Any) -> Json:
        """The accounts; keyword arguments change the web application."""
        web = {
            "name": "the <desk>",
            "secret": SECRET,
            "redirect_uris": [CALLBACK, f"{CALLBACK}?tenant=1"],
            "installed_in": [self.spoke],
            **changes,
        }
        native = {"name": "command line", "type": "NativeApp", "redirect_uris": ["http://127.0.0.1:8/"]}
        return {
            self.hub: {
                "name": "hub",
                "users": {"asker": {"display_name": "The requester"}, "plain": {}},
                "roles": {"operators": {"trust": trust(f"acs:ram::{self.hub}:root")}},
                "people": {
                    "hub-root": {"root": "hub@example.com"},
                    "requester": {"user": "asker"},
                    "plain": {"user": "plain", "sub": "chosen-by-the-file"},
                    "first": {"role": "operators", "session": "first@example.com"},
                    "second": {"role": "operators", "session": "second@example.com"},
                },
                "oauth_applications": {CLIENT: web, NATIVE: native},
            },
            self.spoke: {"users": {"owner": {}}, "people": {"owner": {"user": "owner"}}},
            self.stranger: {"users": {"nobody": {}}, "people": {"nobody": {"user": "nobody"}}},
        }

    def application(self, client_id: str = CLIENT, secret: str | None = SECRET, **client: Any) -> Any:
        """An application that knows the discovery document and what that does not say."""
        return Application(
            FrameworkIntegration("desk"),
            name="desk",
            client_id=client_id,
            client_secret=secret,
            server_metadata_url=f"{self.cloud.url}/.well-known/openid-configuration",
            userinfo_endpoint=f"{self.cloud.url}/v1/userinfo",
            client_kwargs={
                "scope": "openid aliuid profile",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_post" if secret else "none",
                **client,
            },
        )

    def choose(self, address: str, person: str, cookies: Mapping[str, str] | None = None) -> requests.Response:
        """What the browser gets when somebody is chosen on the page at this address; redirects are not followed."""
        return requests.post(
            address, data={"person": person}, cookies=dict(cookies or {}), allow_redirects=False, timeout=30
        )

    def token(self, person: str, app: Any = None, redirect_uri: str = CALLBACK, **asked: Any) -> tuple[Json, Json]:
        """One whole sign-in: the token endpoint's answer, and what Authlib kept in between."""
        app = app or self.application()
        begun = app.create_authorization_url(redirect_uri, **asked)
        sent = self.choose(begun["url"], person)
        assert sent.status_code == 302, sent.text
        found = fields(sent)
        assert found["state"] == begun["state"]
        proof = {"code_verifier": begun["code_verifier"]} if "code_verifier" in begun else {}
        return app.fetch_access_token(redirect_uri, code=found["code"], **proof), begun

    def claims(self, person: str, app: Any = None, nonce: str | None = None, **asked: Any) -> Json:
        """What the ID token says, once Authlib has verified it."""
        app = app or self.application()
        token, _ = self.token(person, app, **asked)
        return dict(app.parse_id_token(token, nonce=nonce))

    def authorize(self, **changes: str | None) -> str:
        """The address of the sign-in page, put together by hand; None leaves a parameter out."""
        asked: dict[str, str | None] = {
            "client_id": CLIENT,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "state": "a-state",
        }
        given = {name: value for name, value in {**asked, **changes}.items() if value is not None}
        return f"{self.cloud.url}/oauth2/v1/auth?{urlencode(given)}"

    def code(self, person: str = "requester", **changes: str | None) -> str:
        """A code for a request put together by hand."""
        return fields(self.choose(self.authorize(**changes), person))["code"]

    def exchange(self, code: str, **changes: str | None) -> requests.Response:
        """The token endpoint's answer to a form put together by hand; None leaves a field out."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "redirect_uri": CALLBACK,
            **changes,
        }
        return requests.post(f"{self.cloud.url}/v1/token", data=form, timeout=PATIENCE)


def fields(answer: requests.Response) -> dict[str, str]:
    """What the browser carries back to the application."""
    return {name: value for name, [value] in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def buttons(page: str) -> dict[str, bool]:
    """The names on the page, and whether they can be chosen."""
    found = re.findall(r'<button name="person" value="([^"]*)"( disabled)?>', page)
    return {name: not disabled for name, disabled in found}
