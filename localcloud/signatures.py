"""The three ways requests are signed: ACS3-HMAC-SHA256, the older RPC HMAC-SHA1, and MNS.

Sources: openapi-ecr-vpc-sts.md sections 4.1, 4.2 and 4.5; mns.md section 1.1. Every function verifies one request and
returns who signed it, or raises Unauthenticated with a ``reason`` (and the API gateway's own code and status, which
MNS and Function Compute replace by theirs). Dates are compared with real time: clients sign with real clocks.
"""

import base64
import binascii
import functools
import hashlib
import hmac
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from localcloud.refusal import Unauthenticated

SKEW_SECONDS = 15 * 60
"""A date may be this far off, and a nonce may not come back within this time."""

_SHA256 = hashlib.sha256()
EMPTY_SHA256 = _SHA256.hexdigest()


def _sha256(data: bytes) -> str:
    """Copying a hash that has seen nothing is cheaper than asking the crypto library for a new one."""
    digest = _SHA256.copy()
    digest.update(data)
    return digest.hexdigest()


SecretOf = Callable[[str], str]
"""Finds the secret of an access key, or raises Unauthenticated."""


class Signed(NamedTuple):
    """Who signed a request; the token is checked by ``World.authenticate``."""

    access_key_id: str
    security_token: str | None


class Nonces:
    """Nonces seen in the last quarter of an hour, per access key."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[float, tuple[str, str]]] = deque()

    def spend(self, access_key_id: str, nonce: str) -> None:
        """Remember a nonce; raises Unauthenticated when it was used already."""
        now = time.monotonic()
        while self._order and self._order[0][0] < now - SKEW_SECONDS:
            self._seen.discard(self._order.popleft()[1])
        used = (access_key_id, nonce)
        if used in self._seen:
            raise _refused("nonce_used", "SignatureNonceUsed", "Specified signature nonce was used already.")
        self._seen.add(used)
        self._order.append((now, used))


def _refused(reason: str, code: str, message: str, status: int = 400) -> Unauthenticated:
    return Unauthenticated(reason, status, code, message)


def _missing(what: str) -> Unauthenticated:
    return _refused(f"missing_{what.lower()}", f"Missing{what}", f"{what} is mandatory for this action.")


def _mismatch(string_to_sign: str) -> Unauthenticated:
    shown = string_to_sign.replace("\n", "\\n")
    return _refused(
        "signature_mismatch",
        "SignatureDoesNotMatch",
        f"Specified signature is not matched with our calculation. server string to sign is:{shown}",
    )


_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@functools.lru_cache(maxsize=256)
def _moment(text: str) -> float | None:
    """Epoch seconds of a time stamp, None when it is malformed; many requests are signed within one second."""
    try:
        return datetime.fromisoformat(text).timestamp() if _ISO.fullmatch(text) else None
    except ValueError:
        return None


def _fresh_iso(text: str) -> None:
    moment = _moment(text)
    if moment is None:
        raise _refused(
            "malformed_date", "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
        )
    if abs(moment - time.time()) > SKEW_SECONDS:
        raise _refused("stale_date", "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")


@functools.lru_cache(maxsize=1024)
def _pads(secret: str, algorithm: str) -> tuple[Any, Any]:
    """The two hashes of an HMAC that have seen only the key: copying them is cheaper than setting a key up each time."""
    key = secret.encode()
    if len(key) > 64:
        key = hashlib.new(algorithm, key).digest()
    key = key.ljust(64, b"\0")
    inner, outer = (hashlib.new(algorithm, bytes(byte ^ pad for byte in key)) for pad in (0x36, 0x5C))
    return inner, outer


def _hmac(secret: str, algorithm: str, text: bytes) -> Any:
    """HMAC (RFC 2104) of a text, as a hash to take the digest of."""
    inner, outer = _pads(secret, algorithm)
    inner, outer = inner.copy(), outer.copy()
    inner.update(text)
    outer.update(inner.digest())
    return outer


_NOTHING_TO_QUOTE = re.compile(r"[A-Za-z0-9_.~-]*")


def _quoted(text: str) -> str:
    return text if _NOTHING_TO_QUOTE.fullmatch(text) else _really_quoted(text)


@functools.lru_cache(maxsize=4096)
def _really_quoted(text: str) -> str:
    """Resource names and the like, which come again and again."""
    return quote(text, safe="~")


def _lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by lower-case name with trimmed values, several of one name joined the way they are signed."""
    found = {name.lower(): value.strip() for name, value in headers.items()}
    if len(found) == len(headers):
        return found
    values: dict[str, list[str]] = {}
    for name, value in headers.items():
        values.setdefault(name.lower(), []).append(value.strip())
    return {name: ",".join(sorted(several)) for name, several in values.items()}


_ACS3 = re.compile("ACS3-HMAC-SHA256 +Credential=([^,]+), *SignedHeaders=([^,]+), *")
_ACS3_MUST_SIGN = frozenset(
    {"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
)


class _Claim(NamedTuple):
    """What an ACS3 Authorization header says, its signature aside."""

    access_key_id: str
    signed_list: str
    names: tuple[str, ...]
    """The signed headers, sorted."""
    unsigned: frozenset[str]
    """Headers that must be signed and are not."""


@functools.lru_cache(maxsize=1024)
def _claim(prefix: str) -> _Claim:
    """Read an Authorization header up to its signature: a client sends the same one over and over."""
    matched = _ACS3.fullmatch(prefix)
    if matched is None:
        raise _refused(
            "malformed_authorization",
            "InvalidParameter.Authorization",
            "The Authorization header is not ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=….",
        )
    names = matched[2].split(";")
    return _Claim(matched[1], matched[2], tuple(sorted(names)), _ACS3_MUST_SIGN - frozenset(names))


def acs3(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret_of: SecretOf,
    nonces: Nonces,
) -> Signed:
    """Verify ACS3-HMAC-SHA256 over exactly the headers the client says it signed (section 4.1).

    ``path`` is the path of the request line without the query, ``query`` the decoded pairs. Beyond the list in
    SignedHeaders, host, action, version, date, nonce and the body's digest must be in it.
    """
    sent = _lower_case(headers)
    authorization = sent.get("authorization")
    if not authorization:
        raise _missing("Authorization")
    prefix, _, signature = authorization.rpartition("Signature=")
    access_key_id, signed_list, names, unsigned = _claim(prefix)
    for name in _ACS3_MUST_SIGN:
        if not sent.get(name):
            raise _missing(name)
    for name in unsigned:
        raise _refused("unsigned_header", "SignatureDoesNotMatch", f"The header {name} is not signed.")
    secret = secret_of(access_key_id)
    _fresh_iso(sent["x-acs-date"])
    digest = sent["x-acs-content-sha256"]
    canonical_query = "&".join([f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(query)])
    canonical_headers = "".join([f"{name}:{sent.get(name, '')}\n" for name in names])
    canonical = f"{method}\n{path or '/'}\n{canonical_query}\n{canonical_headers}\n{signed_list}\n{digest}"
    string_to_sign = f"ACS3-HMAC-SHA256\n{_sha256(canonical.encode())}"
    expected = _hmac(secret, "sha256", string_to_sign.encode()).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise _mismatch(canonical)
    if digest != (_sha256(body) if body else EMPTY_SHA256):
        raise _refused(
            "body_digest", "SignatureDoesNotMatch", "x-acs-content-sha256 is not the digest of the body that was sent."
        )
    # Only a request that is otherwise good uses its nonce up: a stranger cannot burn other people's nonces.
    nonces.spend(access_key_id, sent["x-acs-signature-nonce"])
    return Signed(access_key_id, sent.get("x-acs-security-token") or None)


def rpc_v1(method: str, params: Mapping[str, str], *, secret_of: SecretOf, nonces: Nonces) -> Signed:
    """Verify the older RPC signature over all query and body parameters (section 4.2)."""
    for name in ("AccessKeyId", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "Signature"):
        if not params.get(name):
            raise _missing(name)
    if (params["SignatureMethod"], params["SignatureVersion"]) != ("HMAC-SHA1", "1.0"):
        raise _refused(
            "malformed_authorization",
            "InvalidParameter.SignatureMethod",
            "Only SignatureMethod=HMAC-SHA1 with SignatureVersion=1.0 is known here.",
        )
    access_key_id = params["AccessKeyId"]
    secret = secret_of(access_key_id)
    _fresh_iso(params["Timestamp"])
    pairs = sorted((key, value) for key, value in params.items() if key != "Signature")
    canonical = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in pairs)
    string_to_sign = f"{method}&%2F&{_quoted(canonical)}"
    expected = base64.b64encode(_hmac(f"{secret}&", "sha1", string_to_sign.encode()).digest()).decode()
    if not hmac.compare_digest(expected.encode(), params["Signature"].encode()):
        raise _mismatch(string_to_sign)
    nonces.spend(access_key_id, params["SignatureNonce"])
    return Signed(access_key_id, params.get("SecurityToken") or None)


def _sorted_out(headers: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The first value of each header by lower-case name, and all x-mns-* headers in the order they are signed in."""
    found: dict[str, str] = {}
    special: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        found.setdefault(lower, value)
        if lower.startswith("x-mns-"):
            special.append((lower, value))
    special.sort()
    return found, special


def _mns_lines(method: str, target: str, found: Mapping[str, str], special: Sequence[tuple[str, str]]) -> str:
    date = found.get("date") or found.get("x-mns-date", "")
    lines = [method, found.get("content-md5", ""), found.get("content-type", ""), date]
    return "\n".join([*lines, *[f"{name}:{value}" for name, value in special], target])


def mns_string_to_sign(method: str, target: str, headers: Iterable[tuple[str, str]]) -> str:
    """What MNS signs: header values as sent, the request target with its query exactly as in the request line.

    x-mns-date, when it is sent instead of Date, takes Date's place as well as being one of the x-mns-* lines.
    """
    return _mns_lines(method, target, *_sorted_out(headers))


@functools.lru_cache(maxsize=256)
def _http_date(text: str) -> float:
    """Epoch seconds of an HTTP date; many requests are signed within one second."""
    moment = parsedate_to_datetime(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


_MNS = re.compile(r"MNS +([^\s:]+):(\S+)")


def mns_v2(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
    *,
    secret_of: SecretOf,
) -> Signed:
    """Verify an MNS request (mns.md section 1.1) and, when ``body`` is given, its optional Content-MD5 in either form.

    ``target`` is the request target as sent, reduced to path and query when the client sent the absolute form.
    """
    found, special = _sorted_out(headers)
    authorization = found.get("authorization", "")
    if not authorization:
        raise _missing("Authorization")
    matched = _MNS.fullmatch(authorization.strip())
    if matched is None:
        raise _refused(
            "malformed_authorization", "InvalidAuthorizationHeader", "The Authorization header is malformed."
        )
    access_key_id, signature = matched.groups()
    date = found.get("date") or found.get("x-mns-date", "")
    if not date:
        raise _missing("Date")
    try:
        moment = _http_date(date)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise _refused("malformed_date", "InvalidDateHeader", "The Date header is not an HTTP date.") from error
    secret = secret_of(access_key_id)
    if abs(moment - time.time()) > SKEW_SECONDS:
        raise _refused("stale_date", "TimeExpired", "The time difference between client and server is too large.", 408)
    string_to_sign = _mns_lines(method, target, found, special)
    expected = base64.b64encode(_hmac(secret, "sha1", string_to_sign.encode("utf-8", "surrogateescape")).digest())
    if not hmac.compare_digest(expected, signature.encode("utf-8", "surrogateescape")):
        raise _mismatch(string_to_sign)
    md5 = found.get("content-md5", "")
    if md5 and body is not None and not content_md5_fits(md5, body):
        raise _refused("body_digest", "InvalidDegist", "The Content-MD5 does not fit the body.")
    return Signed(access_key_id, found.get("security-token", "") or None)


def content_md5_fits(header: str, body: bytes) -> bool:
    """Whether a Content-MD5 fits: Base64 of the digest, or of its lower-case hex text (mns.md section 0.8)."""
    digest = hashlib.md5(body, usedforsecurity=False)
    try:
        claimed = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        return False
    return claimed in {digest.digest(), digest.hexdigest().encode()}
