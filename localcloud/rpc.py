"""The RPC wire, which several products share (openapi-ecr-vpc-sts.md sections 1.1 and 4).

Two signatures are spoken: ACS3, where action and version are headers, and the older one, where everything is a
parameter. One port serves all the products that were registered; the API version tells them apart.
"""

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from aiohttp import web
from pydantic_core import to_json

from localcloud import signatures
from localcloud.call import Call, Caller
from localcloud.kernel import Cloud
from localcloud.operations import BusinessRefusal, Operation, Product, Reply, Work
from localcloud.quick import Plain, whole_body
from localcloud.refusal import Refusal, Unauthenticated, not_emulated

_COMMON = frozenset(
    {
        "Action",
        "Version",
        "Format",
        "Timestamp",
        "SignatureNonce",
        "SignatureMethod",
        "SignatureVersion",
        "SignatureType",
        "AccessKeyId",
        "SecurityToken",
        "Signature",
    }
)
"""Parameters of the older signature that are not the operation's own."""

MOST_PARAMETERS = 2000
_FORM = "application/x-www-form-urlencoded"
TOKENS_BEFORE_SWEEP = 50_000
TOKEN_SECONDS = 24 * 3600.0
"""How long a ClientToken is remembered, in cloud time; the vendor publishes no figure."""


@dataclass(slots=True)
class _Asked:
    """A request as far as it could be read."""

    request_id: str
    host: str
    service: str = "rpc"
    product: str = "rpc"
    operation: str = ""
    access_key_id: str = ""


class _Done(NamedTuple):
    """A change that was made under a ClientToken."""

    params: Mapping[str, str]
    reply: Reply
    until: float


class RpcService:
    """Reads requests of the registered products, lets them happen, writes answers."""

    def __init__(self, cloud: Cloud, products: Mapping[str, Product]) -> None:
        self._cloud = cloud
        self._products = products
        """By API version."""
        self._tokens: dict[tuple[str, str, str], _Done] = {}
        self._most_tokens = TOKENS_BEFORE_SWEEP

    async def handle(self, request: web.BaseRequest) -> Plain:
        """Wire in, wire out."""
        asked = _Asked(new_request_id(), request.headers.get("Host", ""))
        body = await whole_body(request)
        try:
            try:
                product, operation, caller, values = self._open(request, body, asked)
            except Refusal as refusal:
                self._cloud.turned_away(
                    asked.service,
                    asked.operation,
                    refusal,
                    request_id=asked.request_id,
                    access_key_id=asked.access_key_id or _claimed_key(request.headers.get("Authorization", "")),
                )
                raise
            call, execute = self._prepare(product, operation, caller, values, asked)
            reply = await self._cloud.perform(call, execute)
        except BusinessRefusal as refusal:
            if self._cloud.switches.ecr_errors == "success_false":
                return _answer(200, _failed_envelope(asked, refusal))
            return _refuse(asked, refusal)
        except Refusal as refusal:
            return _refuse(asked, refusal)
        if product.envelope:
            return _answer(200, _envelope(asked, reply))
        return _answer(200, {"RequestId": asked.request_id, **reply})

    def _open(
        self, request: web.BaseRequest, body: bytes, asked: _Asked
    ) -> tuple[Product, Operation, Caller, dict[str, str]]:
        """Find out what is asked and by whom; everything up to a proven caller."""
        path, _, raw_query = _target(request.raw_path).partition("?")
        query = _pairs(raw_query)
        form = _form(request, body)
        headers = request.headers
        # SDKs send the action header with the older signature too, so only the signature itself tells the two apart.
        if form and query and query.keys() & form.keys():
            raise Refusal(400, "InvalidParameter", "A parameter is given in the query and in the body.")
        everything = {**query, **form} if form else query
        signed_by_header = "Authorization" in headers or "Signature" not in everything
        action, version = (
            (headers.get("x-acs-action", ""), headers.get("x-acs-version", ""))
            if signed_by_header and "x-acs-action" in headers
            else (everything.get("Action", ""), everything.get("Version", ""))
        )
        asked.operation = action
        if not asked.operation:
            raise Refusal(400, "MissingAction", "Action is mandatory for this action.")
        if not version:
            raise Refusal(400, "MissingVersion", "Version is mandatory for this action.")
        product = self._products.get(version)
        if product is None:
            raise not_emulated(f"API version {version} (operation {asked.operation})")
        asked.service, asked.product = product.service, product.name
        operation = product.operations.get(asked.operation)
        if operation is None:
            raise not_emulated(f"{asked.operation} of {product.name} {version}")
        if path != "/" or request.method not in product.methods:
            raise Refusal(404, "InvalidApi.NotFound", "Specified api is not found, please check your url and method.")
        world = self._cloud.world
        try:
            if signed_by_header:
                signed = signatures.acs3(
                    request.method,
                    path,
                    query.items(),
                    headers,
                    body,
                    secret_of=world.secret_of,
                    nonces=self._cloud.nonces,
                )
            else:
                asked.access_key_id = everything.get("AccessKeyId", "")
                if everything.get("Format", "XML").upper() != "JSON":
                    raise not_emulated(f"Format={everything.get('Format', 'XML (the default)')}")
                signed = signatures.rpc_v1(
                    request.method, everything, secret_of=world.secret_of, nonces=self._cloud.nonces
                )
        except Unauthenticated as refusal:
            if refusal.reason == "signature_mismatch" and self._cloud.switches.signature_mismatch == "403":
                refusal.status = 403
            raise
        asked.access_key_id = signed.access_key_id
        caller = self._cloud.authenticate(signed.access_key_id, signed.security_token)
        own = form if product.form_only else everything
        if not _COMMON.isdisjoint(own):
            own = {name: value for name, value in own.items() if name not in _COMMON}
        return product, operation, caller, own

    def _prepare(
        self, product: Product, operation: Operation, caller: Caller, values: dict[str, str], asked: _Asked
    ) -> tuple[Call, Any]:
        """The call, and what it does once the kernel lets it."""
        call = Call(
            service=product.service,
            operation=asked.operation,
            caller=caller,
            account=caller.account,
            region=self._cloud.world.region,
            request_id=asked.request_id,
            params=values,
        )
        params = product.params(values)
        try:
            work = operation(self._cloud, caller, params)
            dry_run = product.dry_run != "unknown" and params.flag("DryRun")
            token = params.text("ClientToken", r"[\x20-\x7e]*") if product.client_token else ""
        except Refusal as error:
            refusal = BusinessRefusal(error.status, error.code, error.message) if product.envelope else error

            def refuse() -> Reply:
                raise refusal

            return call, refuse
        call.permissions = work.permissions
        call.conditions = work.conditions
        call.account = work.account or caller.account
        call.region = work.region or call.region
        return call, lambda: self._execute(product, work, call, values, dry_run=dry_run, token=token)

    def _execute(
        self, product: Product, work: Work, call: Call, values: Mapping[str, str], *, dry_run: bool, token: str
    ) -> Reply:
        if work.check is None:
            assert work.look is not None  # noqa: S101 - every operation looks or checks
            reply = work.look(call)
            if dry_run:
                _raise_passed(product, self._cloud.switches.dry_run_passed)
            return reply
        if token and not dry_run:
            key = (call.caller.account, call.operation, token)
            done = self._tokens.get(key)
            if done is not None and call.now < done.until:
                if done.params != values and self._cloud.switches.idempotency_mismatch == "refused":
                    raise BusinessRefusal(
                        400,
                        "IdempotentParameterMismatch",
                        "The request uses the same client token as a previous, but non-identical request.",
                    )
                return done.reply
        change = work.check(call)
        if dry_run:
            _raise_passed(product, self._cloud.switches.dry_run_passed)
            return {}
        reply = change()
        if token:
            self._tokens[key] = _Done(values, reply, call.now + TOKEN_SECONDS)
            if len(self._tokens) > self._most_tokens:
                self._tokens = {key: done for key, done in self._tokens.items() if done.until > call.now}
                self._most_tokens = 2 * max(len(self._tokens), TOKENS_BEFORE_SWEEP)
        return reply


def _raise_passed(product: Product, undocumented: str) -> None:
    """A dry run that passed: some products document an error code for it, else it is a switch (sections 1.1 and 2.1)."""
    if product.dry_run == "error" or undocumented == "error":
        raise Refusal(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")


def new_request_id() -> str:
    """A request id in the form of these products."""
    digits = f"{random.getrandbits(128):032X}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _claimed_key(authorization: str) -> str:
    """The key a request says it was signed with, for the journal of what was refused."""
    return authorization.partition("Credential=")[2].partition(",")[0]


def _target(raw: str) -> str:
    """The request target as path and query, also when a client sent it in absolute form."""
    if raw.startswith("/"):
        return raw
    _, separator, rest = raw.partition("://")
    if not separator:
        return raw
    slash = rest.find("/")
    question = rest.find("?")
    if slash == -1 or (question != -1 and question < slash):
        return "/" + (rest[question:] if question != -1 else "")
    return rest[slash:]


def _pairs(raw: str) -> dict[str, str]:
    """Decoded parameters; each may be given once."""
    values: dict[str, str] = {}
    if not raw:
        return values
    if raw.count("&") > MOST_PARAMETERS:
        raise Refusal(400, "InvalidParameter", "There are too many parameters.")
    if "%" not in raw and "+" not in raw:
        # Nothing to decode, as in most bodies, is worth a shorter way.
        pairs = raw.split("&")
        try:
            values = dict([pair.split("=", 1) for pair in pairs])
        except ValueError:
            values = {}
        if len(values) == len(pairs):
            return values
        values = {}
    for pair in raw.split("&"):
        key, separator, value = pair.partition("=")
        if not separator:
            raise Refusal(400, "InvalidParameter", f"{pair!r} is not a parameter and its value.")
        key, value = _decoded(key), _decoded(value)
        if key in values:
            raise Refusal(400, "InvalidParameter", f"The parameter {key} is given more than once.")
        values[key] = value
    return values


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    try:
        return _unquoted(text)
    except UnicodeDecodeError as error:
        raise Refusal(400, "InvalidParameter", "A parameter is not UTF-8.") from error


@functools.lru_cache(maxsize=4096)
def _unquoted(text: str) -> str:
    """Resource names and the like, which come again and again."""
    return unquote_to_bytes(text).decode()


def _form(request: web.BaseRequest, body: bytes) -> dict[str, str]:
    if not body:
        return {}
    if request.headers.get("Content-Type") != _FORM and request.content_type != _FORM:
        raise Refusal(400, "InvalidParameter.ContentType", f"A body must be {_FORM}, not {request.content_type}.")
    try:
        return _pairs(body.decode("ascii"))
    except UnicodeDecodeError as error:
        raise Refusal(400, "InvalidParameter", "The body is not percent-encoded.") from error


def _envelope(asked: _Asked, reply: Reply) -> Reply:
    """The envelope around an answer (section 1.1); members that are sample noise on success are left out."""
    return {
        "RequestId": asked.request_id,
        "Success": True,
        "Code": "200",
        "Message": "OK",
        "HttpStatusCode": 200,
        **reply,
    }


def _failed_envelope(asked: _Asked, refusal: Refusal) -> Reply:
    """A failure inside HTTP 200, which the envelope allows and SDKs do not raise for."""
    return {
        "RequestId": asked.request_id,
        "Success": False,
        "Code": refusal.code,
        "Message": refusal.message,
        "HttpStatusCode": refusal.status,
    }


def _refuse(asked: _Asked, refusal: Refusal) -> Plain:
    if refusal.body is not None:
        content_type, body = refusal.body
        return Plain(refusal.status, {"Content-Type": content_type}, body)
    answer = {
        "RequestId": asked.request_id,
        "HostId": asked.host,
        "Code": refusal.code,
        "Message": refusal.message,
        "Recommend": f"https://api.aliyun.com/troubleshoot?q={refusal.code}&product={asked.product}"
        f"&requestId={asked.request_id}",
        **refusal.details,
    }
    return _answer(refusal.status, answer, refusal.headers)


_JSON_HEADERS = {"Content-Type": "application/json;charset=utf-8"}


def _answer(status: int, reply: Reply, headers: Mapping[str, str] | None = None) -> Plain:
    return Plain(status, {**_JSON_HEADERS, **headers} if headers else _JSON_HEADERS, to_json(reply))
