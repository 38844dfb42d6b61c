"""Signing in with OpenID Connect: Alibaba Cloud's (a RAM OAuth application), or any other provider.

Who signed in is a subject, never an e-mail: ``provider:sub``, or for Alibaba Cloud's ``provider:aid:type:…``, where ``sub`` of a
role's session changes with every session name, so its role stands for it (channels.md sections 0.10 and 1.3).

When somebody signed in is what `auth_time` says, for which a provider can be asked (OpenID Connect Core 1.0, section 3.1.2.1).
Alibaba Cloud's documents neither; there the time of the ID token stands for it, which a sign-in that the provider remembered
has, too (section 1.2).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwk, jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.desk.problems import NotSignedIn, ProviderTrouble
from shared.desk.wire import bounded, document, in_time
from shared.settings import DeskSettings, SignedInBy

ALGORITHMS = ["RS256", "ES256"]
"""What an ID token may be signed with, whatever its header says."""
_SKEW = timedelta(minutes=1)
_KEYS_LAST = timedelta(hours=1)
"""So long a key is believed that the provider may have withdrawn meanwhile."""
_NAMED = frozenset({"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "access_denied"})
"""Errors (RFC 6749) that are told by their name; what else a provider says is not passed on."""


class Provider(BaseModel):
    """What its discovery document says, as far as it is used. Alibaba Cloud's has no more (channels.md section 1.1)."""

    model_config = ConfigDict(frozen=True)
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    code_challenge_methods_supported: list[str] = Field(default=[])


_Seconds = Annotated[float, Field(ge=0, lt=2**40, allow_inf_nan=False)]


class Claims(BaseModel):
    """Who signed in, as an ID token says. Ids are texts: they have more digits than a double."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)
    iss: str
    sub: str = Field(min_length=1, max_length=200)
    exp: _Seconds
    iat: _Seconds
    nonce: str | None = None
    auth_time: _Seconds | None = None
    type: str | None = None
    aid: str | None = None
    uid: str | None = None


@dataclass(frozen=True)
class Begun:
    """A sign-in that began: where the browser goes, and what is kept of it meanwhile."""

    address: str
    kept: dict[str, str]


@dataclass(frozen=True)
class Back:
    """What a browser brings back from the provider (RFC 6749 section 4.1.2, RFC 9207)."""

    state: str
    code: str = ""
    error: str = ""
    iss: str = ""


class SignIn:
    """The client of one provider. Safe to share between threads."""

    def __init__(self, settings: DeskSettings, secret: Callable[[], str], clock: Callable[[], datetime]) -> None:
        """``secret``: the client's, asked for when it is used."""
        self._settings, self._secret, self._clock = settings, secret, clock
        self._provider: Provider | None = None
        self._keys: tuple[jwk.KeySet, datetime] | None = None

    @property
    def redirect(self) -> str:
        """Where the provider sends people back to."""
        return f"{self._settings.desk_address}/sign-in/back"

    def begin(self, *, anew: bool = False) -> Begun:
        """Send somebody to the provider. ``anew``: to sign in there again, where it can be asked for that. Raises
        ProviderTrouble where it cannot be asked anything.
        """
        provider = self._discovered()
        asked = anew and self._settings.signed_in_by is SignedInBy.AUTH_TIME
        kept = {
            "state": secrets.token_urlsafe(24),
            "verifier": secrets.token_urlsafe(48),
            "nonce": secrets.token_urlsafe(24),
            "since": str(self._clock().timestamp()) if asked else "",
        }
        with self._session() as session:
            address, _ = session.create_authorization_url(
                provider.authorization_endpoint,
                state=kept["state"],
                code_verifier=kept["verifier"],
                nonce=kept["nonce"],
                **({"prompt": "login", "max_age": "0"} if asked else {}),
            )
        return Begun(address, kept)

    def finish(self, back: Back, kept: dict[str, str]) -> tuple[str, datetime | None]:
        """Who has signed in, as a subject, and when, where that is known. Raises NotSignedIn where anything does not fit,
        ProviderTrouble where the provider cannot be asked.
        """
        if not secrets.compare_digest(back.state.encode(), kept["state"].encode()):
            raise NotSignedIn("the answer is not of the sign-in that this browser began: begin again")
        provider = self._discovered()
        if back.iss and back.iss != provider.issuer:  # RFC 9207
            raise NotSignedIn("iss: the answer is of another provider: begin again")
        if back.error or not back.code:
            raise NotSignedIn(f"the provider did not let you in ({_named(back.error)}): begin again")
        claims = self._claims(self._exchanged(back.code, kept, provider), provider)
        if claims.nonce != kept["nonce"] and (claims.nonce is not None or not self._settings.takes_no_nonce):
            raise NotSignedIn("nonce: the answer is of another sign-in: begin again")
        return self.subject(claims), self._signed_in(claims, kept)

    def _exchanged(self, code: str, kept: dict[str, str], provider: Provider) -> str:
        """The ID token for a code."""
        secret = self._secret()

        def ask() -> str:
            with self._session(secret) as session:
                bounded(session)
                session.register_compliance_hook("access_token_response", _answered)
                token = session.fetch_token(
                    provider.token_endpoint,
                    code=code,
                    code_verifier=kept["verifier"],
                    allow_redirects=False,  # the secret goes nowhere else
                )
            return str(token["id_token"])

        try:
            return in_time(ask)
        except OAuthError as error:
            raise NotSignedIn(
                f"the provider does not take the code back ({_named(error.error)}): begin again"
            ) from None

    def _signed_in(self, claims: Claims, kept: dict[str, str]) -> datetime | None:
        """When. Raises NotSignedIn where the provider was asked to have somebody sign in again, and does not say that it did."""
        if self._settings.signed_in_by is SignedInBy.IAT:
            return _moment(min(claims.auth_time or claims.iat, claims.iat))
        if kept["since"]:
            since = float(kept["since"]) - _SKEW.total_seconds()
            if claims.auth_time is None or claims.auth_time < since:
                raise NotSignedIn("auth_time: the provider was asked to have you sign in again, and does not say so")
        return None if claims.auth_time is None else _moment(claims.auth_time)

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
            "auth_time": (claims.auth_time or 0) > (now + _SKEW).timestamp(),
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
            found = document(f"{issuer}/.well-known/openid-configuration")
            try:
                provider = Provider.model_validate(found)
            except ValidationError:
                raise ProviderTrouble("the provider of sign-ins does not describe itself as it must") from None
            if provider.issuer != issuer:
                raise ProviderTrouble(f"the provider of sign-ins says that it is {provider.issuer[:100]!r}")
            self._provider = provider
        return self._provider

    def _signers(self, provider: Provider, *, again: bool) -> jwk.KeySet:
        now, kept = self._clock(), self._keys
        if kept is not None and not again and now - kept[1] < _KEYS_LAST:
            return kept[0]
        try:  # keys change: asked once more before a token is refused
            found = jwk.KeySet.import_key_set(document(provider.jwks_uri))  # type: ignore[arg-type]  # looked at there
        except (JoseError, ValueError, TypeError, KeyError):
            raise ProviderTrouble("the provider of sign-ins has no keys that can be read") from None
        self._keys = found, now
        return found


def _answered(answer: requests.Response) -> requests.Response:
    """A token, or an error that says which: nothing else is an answer, whatever is in it (RFC 6749 sections 5.1 and 5.2)."""
    if answer.status_code not in (200, 400, 401):
        raise requests.HTTPError(f"status {answer.status_code}")
    return answer


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _named(error: object) -> str:
    return str(error) if error in _NAMED else "it does not say why"


def local_path(text: str) -> str:
    """Where to go on to after signing in: a path of ours, or the front page. Nobody is sent to somebody else's address."""
    parts = urlsplit(text)
    fine = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if fine and text.isprintable() and len(text) <= 500 else "/"
