"""Signing in with OpenID Connect: Alibaba Cloud's (a RAM OAuth application), or any other provider.

Who signed in is a subject, never an e-mail: ``provider:sub``, or for Alibaba Cloud's ``provider:aid:type:…``, where ``sub`` of a
role's session changes with every session name, so its role stands for it (channels.md sections 0.10 and 1.3).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwk, jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.desk.problems import NotSignedIn
from shared.errors import CloudUnreachable
from shared.settings import DeskSettings

SCOPE = "openid aliuid profile"
ALGORITHMS = ["RS256", "ES256"]
"""What an ID token may be signed with, whatever its header says."""
_SECONDS = 5.0
_SKEW = timedelta(minutes=1)
_LARGEST = 200_000


class Provider(BaseModel):
    """What its discovery document says, as far as it is used. Alibaba Cloud's has no more (channels.md section 1.1)."""

    model_config = ConfigDict(frozen=True)
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    code_challenge_methods_supported: list[str] = Field(default=[])


class Claims(BaseModel):
    """Who signed in, as an ID token says. Ids are texts: they have more digits than a double."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)
    iss: str
    sub: str = Field(min_length=1, max_length=200)
    exp: float
    iat: float
    nonce: str | None = None
    auth_time: float | None = None
    type: str | None = None
    aid: str | None = None
    uid: str | None = None


@dataclass(frozen=True)
class Begun:
    """A sign-in that began: where the browser goes, and what is kept of it meanwhile."""

    address: str
    kept: dict[str, str]


class SignIn:
    """The client of one provider. Safe to share between threads."""

    def __init__(self, settings: DeskSettings, secret: Callable[[], str], clock: Callable[[], datetime]) -> None:
        """``secret``: the client's, asked for when it is used."""
        self._settings, self._secret, self._clock = settings, secret, clock
        self._provider: Provider | None = None
        self._keys: jwk.KeySet | None = None

    @property
    def redirect(self) -> str:
        """Where the provider sends people back to."""
        return f"{self._settings.desk_address}/sign-in/back"

    def begin(self) -> Begun:
        """Send somebody to the provider. Raises CloudUnreachable where it cannot be asked."""
        provider = self._discovered()
        kept = {
            "state": secrets.token_urlsafe(24),
            "verifier": secrets.token_urlsafe(48),
            "nonce": secrets.token_urlsafe(24),
        }
        with self._session() as session:
            address, _ = session.create_authorization_url(
                provider.authorization_endpoint,
                state=kept["state"],
                code_verifier=kept["verifier"],
                nonce=kept["nonce"],
            )
        return Begun(address, kept)

    def finish(self, code: str, state: str, kept: dict[str, str]) -> tuple[str, datetime]:
        """Who has signed in, as a subject, and when. Raises NotSignedIn where anything does not fit, CloudUnreachable where the
        provider cannot be asked.
        """
        if not secrets.compare_digest(state.encode(), kept["state"].encode()):
            raise NotSignedIn("the answer is not of the sign-in that this browser began: begin again")
        provider = self._discovered()
        with self._session(self._secret()) as session:
            try:
                token = session.fetch_token(
                    provider.token_endpoint,
                    code=code,
                    code_verifier=kept["verifier"],
                    timeout=_SECONDS,
                    allow_redirects=False,  # the secret goes nowhere else
                )
            except OAuthError as error:
                raise NotSignedIn(
                    f"the provider does not take the code back ({str(error.error)[:60]!r}): begin again"
                ) from None
            except (requests.RequestException, ValueError, KeyError):
                raise CloudUnreachable("the provider of sign-ins does not answer: try again") from None
        claims = self._claims(str(token.get("id_token", "")), provider)
        if claims.nonce != kept["nonce"] and (claims.nonce is not None or not self._settings.desk_without_nonce):
            raise NotSignedIn("nonce: the answer is of another sign-in: begin again")
        signed_in = datetime.fromtimestamp(min(claims.auth_time or claims.iat, claims.iat), self._clock().tzinfo)
        return self.subject(claims), signed_in

    def subject(self, claims: Claims) -> str:
        """By what name `people.yaml` knows whoever signed in."""
        provider = self._settings.desk_provider
        if claims.aid is None or claims.type is None:
            return f"{provider}:{claims.sub}"
        own = claims.sub if claims.type != "role" or self._settings.desk_role_sessions else claims.uid
        return f"{provider}:{claims.aid}:{claims.type}:{own}"

    def _claims(self, token: str, provider: Provider) -> Claims:
        for again in (False, True):
            try:
                verified = jwt.decode(token, self._signers(provider, again=again), algorithms=ALGORITHMS)
                break
            except (JoseError, ValueError):
                if again:
                    raise NotSignedIn("the ID token is not signed by the provider: begin again") from None
        said: dict[str, Any] = verified.claims
        audience = said.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        try:
            claims = Claims.model_validate(said)
        except ValidationError:
            raise NotSignedIn("the ID token lacks what it must say: begin again") from None
        now = self._clock()
        wrong = {
            "iss": claims.iss != provider.issuer,
            "aud": self._settings.desk_client_id not in map(str, named),
            "azp": len(named) > 1 and said.get("azp") != self._settings.desk_client_id,
            "exp": claims.exp <= (now - _SKEW).timestamp(),
            "iat": claims.iat > (now + _SKEW).timestamp(),
        }
        if any(wrong.values()):
            told = ", ".join(name for name, bad in wrong.items() if bad)
            raise NotSignedIn(f"the ID token is not for here and now ({told}): begin again")
        return claims

    def _session(self, secret: str | None = None) -> OAuth2Session:
        return OAuth2Session(
            self._settings.desk_client_id,
            secret,
            scope=self._settings.desk_scope,
            redirect_uri=self.redirect,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106  # the name of a way
            code_challenge_method="S256",
        )

    def _discovered(self) -> Provider:
        if self._provider is None:  # two at once ask twice, and nobody waits for another's answer
            issuer = self._settings.desk_issuer
            found = self._get(f"{issuer}/.well-known/openid-configuration")
            try:
                provider = Provider.model_validate(found)
            except ValidationError:
                raise CloudUnreachable("the provider of sign-ins does not describe itself as it must") from None
            if provider.issuer != issuer:
                raise CloudUnreachable(f"the provider of sign-ins says that it is {provider.issuer[:100]!r}")
            self._provider = provider
        return self._provider

    def _signers(self, provider: Provider, *, again: bool) -> jwk.KeySet:
        if self._keys is None or again:  # keys change: asked once more before a token is refused
            try:
                self._keys = jwk.KeySet.import_key_set(self._get(provider.jwks_uri))
            except (JoseError, ValueError, TypeError, KeyError):
                raise CloudUnreachable("the provider of sign-ins has no keys that can be read") from None
        return self._keys

    def _get(self, address: str) -> Any:
        """What the provider says at an address; not more than can be meant, and from nowhere else."""
        try:
            with requests.get(address, timeout=_SECONDS, stream=True, allow_redirects=False) as answer:
                raw = answer.raw.read(_LARGEST + 1, decode_content=True)
                fine = answer.status_code == 200 and len(raw) <= _LARGEST
            found = json.loads(raw) if fine else None
        except (requests.RequestException, ValueError, OSError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise CloudUnreachable("the provider of sign-ins does not answer as it must: try again")
        return found


def local_path(text: str) -> str:
    """Where to go on to after signing in: a path of ours, or the front page. Nobody is sent to somebody else's address."""
    parts = urlsplit(text)
    fine = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if fine and text.isprintable() and len(text) <= 500 else "/"
