"""The provider's HTTP side: discovery, the sign-in page, tokens, keys (channels.md sections 1.1 to 1.3).

Error texts of the provider are not published but for one; the codes here are those of RFC 6749. Documented but not
emulated: applications of version 2.1 (dynamic registration, no fixed secret), ServerApps, access to cloud APIs with an
access token, consent (choosing somebody is consent, whatever ``prompt`` says).
"""

import base64
import binascii
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

from aiohttp import web

from localcloud.call import ANONYMOUS, Call, Caller
from localcloud.kernel import Cloud
from localcloud.oauth import page
from localcloud.oauth.grants import CODE_SECONDS, METHODS, Code, Grant, Tokens
from localcloud.oauth.keys import ALGORITHM, SigningKey
from localcloud.oauth.people import Application, Person, applications, people
from localcloud.quick import whole_body
from localcloud.refusal import Refusal

AUTHORIZE = "/oauth2/v1/auth"
ID_TOKEN_SECONDS = 3600
"""Between iat and exp in every published sample."""
SCOPES = ("openid", "aliuid", "profile")
COOKIE = "localcloud_signed_in"
_OTHER_ISSUER = "https://oauth.aliyun.com"
_OTHER_AUDIENCE = "9000000000000000009"
_FORM = "application/x-www-form-urlencoded"
_JSON = {"Content-Type": "application/json;charset=UTF-8", "Cache-Control": "no-store"}


class _Asked:
    """One request, read."""

    def __init__(self, request: web.BaseRequest, body: bytes) -> None:
        self.request_id = secrets.token_hex(16)
        self.headers = request.headers
        self.cookie = request.cookies.get(COOKIE, "")
        self.source_ip = request.remote or "127.0.0.1"
        self.query = _fields(request.raw_path.partition("?")[2])
        typed = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self.form = _fields(body.decode("latin-1")) if typed == _FORM else None

    @property
    def fields(self) -> Mapping[str, str]:
        """The form of a request that has to have one."""
        if self.form is None:
            raise Refusal(400, "invalid_request", f"the body must be {_FORM}")
        return self.form


class OauthService:
    """The provider of one local cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._people = people(cloud.world)
        self._applications = applications(cloud.world)
        self._key = SigningKey()
        self._codes: Tokens[Code] = Tokens(cloud.clock)
        self._access: Tokens[Grant] = Tokens(cloud.clock)
        self._refresh: Tokens[Grant] = Tokens(cloud.clock)
        self._routes: dict[tuple[str, str], Callable[[_Asked], Awaitable[web.Response]]] = {
            ("GET", "/.well-known/openid-configuration"): self._discovery,
            ("GET", AUTHORIZE): self._authorize,
            ("POST", AUTHORIZE): self._sign_in,
            ("POST", "/v1/token"): self._token,
            ("GET", "/v1/keys"): self._keys,
            ("GET", "/v1/userinfo"): self._userinfo,
            ("POST", "/v1/revoke"): self._revoke,
        }

    @property
    def issuer(self) -> str:
        """What tokens and the discovery document say."""
        return f"http://{self._cloud.address}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Raises Cut when planned trouble wants the connection dropped."""
        path = request.raw_path.partition("?")[0]
        route = self._routes.get((request.method, path))
        if route is None:
            methods = sorted(method for method, known in self._routes if known == path)
            status, code = (405, "invalid_request") if methods else (404, "not_found")
            return _refused(Refusal(status, code, f"there is no {request.method} {path} here"))
        try:
            return await route(_Asked(request, await whole_body(request)))
        except Refusal as refusal:
            return _refused(refusal, browser=path == AUTHORIZE)

    def snapshot(self) -> dict[str, Any]:
        """For people and tests; no secrets. What ``claims`` are is what tokens with all scopes say."""
        older = self._cloud.switches.sign_in_claims == "older"
        return {
            "issuer": self.issuer,
            "applications": [
                {"client_id": one.client_id, "account": one.account, **one.spec.model_dump(exclude={"secret"})}
                for one in self._applications.values()
            ],
            "people": [
                {"name": person.name, "claims": person.claims(SCOPES, older=older)} for person in self._people.values()
            ],
        }

    # For browsers

    async def _authorize(self, asked: _Asked) -> web.Response:
        params = asked.query

        def show() -> web.Response:
            application, scopes = self._checked(params)
            remembered = self._people.get(asked.cookie)
            kept = self._cloud.switches.sign_in_remembered == "on"
            if kept and remembered is not None and not application.refuses(remembered):
                return self._back(params, {"code": self._code(application, scopes, remembered, params)})
            return web.Response(body=page.choice(application, scopes, self._people.values()), headers=page.HEADERS)

        return await self._perform("Authorize", asked, _told(params), show)

    async def _sign_in(self, asked: _Asked) -> web.Response:
        params = asked.query
        name = (asked.form or {}).get("person")
        person = self._people.get(name or "")

        def enter() -> web.Response:
            application, scopes = self._checked(params)
            if name == "":
                raise _sent_back(params, "access_denied", "the person denied it")
            if person is None:
                raise Refusal(400, "invalid_request", f"there is no person {name!r} in this world")
            why = application.refuses(person)
            if why and self._cloud.switches.sign_in_not_installed == "access_denied":
                raise _sent_back(params, "access_denied", why)
            if why:
                raise Refusal(403, "access_denied", why)
            response = self._back(params, {"code": self._code(application, scopes, person, params)})
            response.set_cookie(COOKIE, person.name, path=AUTHORIZE, httponly=True, samesite="Lax")
            return response

        caller = person.caller if person is not None else ANONYMOUS
        return await self._perform("SignIn", asked, {**_told(params), "person": name or ""}, enter, caller)

    def _checked(self, params: Mapping[str, str]) -> tuple[Application, list[str]]:
        """The application that asks, and for what; what is wrong with the address it would be sent back to is a page."""
        application = self._applications.get(params.get("client_id", ""))
        if application is None:
            raise Refusal(400, "invalid_client", f"there is no application {params.get('client_id', '')!r}")
        target = params.get("redirect_uri", "")
        if target not in application.spec.redirect_uris:
            raise Refusal(400, "invalid_request", f"redirect_uri {target!r} is not one of the application's")
        if params.get("response_type") != "code":
            raise _sent_back(params, "unsupported_response_type", "response_type must be code")
        scopes = params.get("scope", "").split() or list(application.spec.scopes)
        strange = [scope for scope in scopes if scope not in application.spec.scopes]
        if strange:
            raise _sent_back(params, "invalid_scope", f"the application has no scope {strange[0]!r}")
        if params.get("access_type", "online") not in {"online", "offline"}:
            raise _sent_back(params, "invalid_request", "access_type must be online or offline")
        method = params.get("code_challenge_method", "plain")
        if method not in METHODS or ("code_challenge_method" in params and "code_challenge" not in params):
            raise _sent_back(params, "invalid_request", "code_challenge with method plain or S256 is possible")
        return application, scopes

    def _code(self, application: Application, scopes: list[str], person: Person, params: Mapping[str, str]) -> str:
        offline = params.get("access_type") == "offline"
        grant = Grant(application, person, frozenset(scopes), offline, params.get("nonce", ""))
        challenge, method = params.get("code_challenge", ""), params.get("code_challenge_method", "plain")
        return self._codes.issue(Code(grant, params["redirect_uri"], challenge, method), CODE_SECONDS)

    @staticmethod
    def _back(params: Mapping[str, str], found: Mapping[str, str]) -> web.Response:
        return web.Response(status=302, headers={"Location": _location(params, found), "Cache-Control": "no-store"})

    # For programs

    async def _discovery(self, asked: _Asked) -> web.Response:
        # These members and no others: neither userinfo_endpoint nor how clients prove who they are.
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}{AUTHORIZE}",
            "token_endpoint": f"{self.issuer}/v1/token",
            "revocation_endpoint": f"{self.issuer}/v1/revoke",
            "jwks_uri": f"{self.issuer}/v1/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "scopes_supported": list(SCOPES),
            "code_challenge_methods_supported": list(METHODS),
        }
        return await self._perform("Discovery", asked, {}, lambda: _json(document))

    async def _keys(self, asked: _Asked) -> web.Response:
        return await self._perform("Keys", asked, {}, lambda: _json(self._key.public()))

    async def _token(self, asked: _Asked) -> web.Response:
        form = asked.form or {}
        call = self._call(
            "Token", asked, {"client_id": form.get("client_id", ""), "grant_type": form.get("grant_type", "")}
        )

        def exchange() -> web.Response:
            application = self._authenticated(asked)
            call.account = application.account
            kind = asked.fields.get("grant_type", "")
            if kind == "authorization_code":
                answer = self._by_code(application, asked.fields, call)
            elif kind == "refresh_token":
                answer = self._by_refresh(application, asked.fields)
            else:
                raise Refusal(400, "unsupported_grant_type", f"grant_type {kind!r} is not supported")
            call.effect = True
            return _json(answer)

        return await self._cloud.perform(call, exchange)

    def _authenticated(self, asked: _Asked) -> Application:
        """The application that asks; its secret comes in the form (client_secret_post)."""
        form = asked.fields
        client, secret = form.get("client_id", ""), form.get("client_secret")
        basic = _basic(asked.headers.get("Authorization", ""))
        if basic is not None and self._cloud.switches.sign_in_client == "form_or_basic" and secret is None:
            client, secret = basic
        application = self._applications.get(client)
        if application is None:
            raise Refusal(401, "invalid_client", f"there is no application {client!r}")
        expected = application.spec.secret
        if expected is None and secret is None:
            return application
        if expected is None or secret is None or not hmac.compare_digest(expected.encode(), secret.encode()):
            raise Refusal(401, "invalid_client", "client_secret in the form is missing or wrong")
        return application

    def _by_code(self, application: Application, form: Mapping[str, str], call: Call) -> dict[str, Any]:
        code = self._codes.take(form.get("code", ""))
        if code is None or code.grant.application.client_id != application.client_id:
            raise Refusal(400, "invalid_grant", "the code is unknown, used or too old")
        if form.get("redirect_uri") != code.redirect_uri:
            raise Refusal(400, "invalid_grant", "redirect_uri is not the one the code was sent to")
        if not code.proven_by(form.get("code_verifier", "")):
            raise Refusal(400, "invalid_grant", "code_verifier does not fit the challenge")
        grant = code.grant
        answer = self._access_token(grant)
        if "openid" in grant.scopes:
            answer["id_token"] = self._id_token(grant, call)
        if grant.offline:
            answer["refresh_token"] = self._refresh.issue(grant, application.spec.refresh_token_seconds)
        return answer

    def _by_refresh(self, application: Application, form: Mapping[str, str]) -> dict[str, Any]:
        """A new access token and nothing else: no ID token, no new refresh token."""
        grant = self._refresh.read(form.get("refresh_token", ""))
        if grant is None or grant.application.client_id != application.client_id:
            raise Refusal(400, "invalid_grant", "the refresh token is unknown, revoked or too old")
        return self._access_token(grant)

    def _access_token(self, grant: Grant) -> dict[str, Any]:
        seconds = grant.application.spec.access_token_seconds
        return {
            "access_token": self._access.issue(grant, seconds),
            "token_type": "Bearer",
            "expires_in": str(seconds) if self._cloud.switches.sign_in_expires_in == "string" else seconds,
        }

    def _id_token(self, grant: Grant, call: Call) -> str:
        """Signed, with times of the real clock: whoever verifies it has no other."""
        faults = self._cloud.faults
        plan = faults.asked("wrong_token", call) if faults.planned else None
        wrong = plan.wrong if plan is not None else None
        now = int(time.time()) + {"expired": -2 * ID_TOKEN_SECONDS, "early": ID_TOKEN_SECONDS}.get(wrong or "", 0)
        claims = {
            "iss": _OTHER_ISSUER if wrong == "issuer" else self.issuer,
            "aud": _OTHER_AUDIENCE if wrong == "audience" else grant.application.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_SECONDS,
            **self._claims(grant),
        }
        if wrong == "nonce":
            claims["nonce"] = secrets.token_hex(16)
        elif grant.nonce and self._cloud.switches.sign_in_nonce == "echoed":
            claims["nonce"] = grant.nonce
        return self._key.sign(claims, wrong)

    def _claims(self, grant: Grant) -> dict[str, Any]:
        return grant.person.claims(grant.scopes, older=self._cloud.switches.sign_in_claims == "older")

    async def _userinfo(self, asked: _Asked) -> web.Response:
        scheme, _, token = asked.headers.get("Authorization", "").partition(" ")

        def tell() -> web.Response:
            grant = self._access.read(token.strip()) if scheme.lower() == "bearer" else None
            if grant is None:
                status = int(self._cloud.switches.sign_in_userinfo_refusal)
                raise Refusal(status, "access_denied", "parse token failed")
            return _json(self._claims(grant))

        return await self._perform("Userinfo", asked, {}, tell)

    async def _revoke(self, asked: _Asked) -> web.Response:
        form = asked.form or {}
        call = self._call("Revoke", asked, {"client_id": form.get("client_id", "")})

        def revoke() -> web.Response:
            application = self._authenticated(asked)
            call.account = application.account
            token = asked.fields.get("token", "")
            grant = self._refresh.read(token)
            if grant is not None and grant.application.client_id == application.client_id:
                self._refresh.take(token)
                call.effect = True
            return web.Response(body=b"")  # also for what never was a token (RFC 7009)

        return await self._cloud.perform(call, revoke)

    # Through the kernel

    def _call(self, operation: str, asked: _Asked, params: Mapping[str, Any], caller: Caller = ANONYMOUS) -> Call:
        application = self._applications.get(params.get("client_id", ""))
        return Call(
            service="oauth",
            operation=operation,
            caller=caller,
            account=application.account if application is not None else "",
            region=self._cloud.world.region,
            request_id=asked.request_id,
            params=params,
            source_ip=asked.source_ip,
        )

    async def _perform(
        self,
        operation: str,
        asked: _Asked,
        params: Mapping[str, Any],
        answer: Callable[[], web.Response],
        caller: Caller = ANONYMOUS,
    ) -> web.Response:
        call = self._call(operation, asked, params, caller)

        def noted() -> web.Response:
            response = answer()
            call.status = response.status
            call.effect = response.status == 302
            return response

        return await self._cloud.perform(call, noted)


def _fields(text: str) -> dict[str, str]:
    """Query or form; a field given twice means nothing (RFC 6749, section 3.1)."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise Refusal(400, "invalid_request", "there are too many fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refusal(400, "invalid_request", "a field is given more than once")
    return fields


def _told(params: Mapping[str, str]) -> dict[str, str]:
    """What the journal keeps of a request for a sign-in: nothing that has to be guessed."""
    names = ("client_id", "redirect_uri", "response_type", "scope", "access_type", "prompt", "code_challenge_method")
    return {name: params[name] for name in names if name in params}


def _location(params: Mapping[str, str], found: Mapping[str, str]) -> str:
    target = params["redirect_uri"]
    state = {"state": params["state"]} if "state" in params else {}
    return f"{target}{'&' if '?' in target else '?'}{urlencode({**found, **state})}"


def _sent_back(params: Mapping[str, str], code: str, message: str) -> Refusal:
    """A refusal that the application hears of, through the browser (RFC 6749, section 4.1.2.1)."""
    location = _location(params, {"error": code, "error_description": message})
    return Refusal(302, code, message, headers={"Location": location})


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(client), unquote_plus(secret)


def _json(answer: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(answer).encode(), headers=_JSON)


def _refused(refusal: Refusal, *, browser: bool = False) -> web.Response:
    if refusal.body is not None:
        kind, body = refusal.body
        return web.Response(status=refusal.status, body=body, headers={"Content-Type": kind})
    if "Location" in refusal.headers:
        return web.Response(status=refusal.status, headers={**refusal.headers, "Cache-Control": "no-store"})
    if browser:
        body = page.trouble(refusal.code, refusal.message)
        return web.Response(status=refusal.status, body=body, headers=page.HEADERS)
    return _json({"error": refusal.code, "error_description": refusal.message}, refusal.status)
