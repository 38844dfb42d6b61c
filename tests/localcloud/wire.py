"""Requests that no SDK would send: bytes on a socket, and an ACS3 signature made here from its description."""

import hashlib
import hmac
import http.client
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.localcloud.harness import Key


@dataclass(frozen=True)
class RawAnswer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class Raw:
    """Sends exactly what it is given."""

    def __init__(self, address: str) -> None:
        self._address = address

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> RawAnswer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.putrequest(method, target, skip_host="host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return RawAnswer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


def signed(
    method: str,
    path: str,
    body: bytes,
    key: Key,
    version: str,
    *,
    host: str = "localhost",
    query: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Headers with a good ACS3-HMAC-SHA256 signature (openapi-ecr-vpc-sts.md section 4.1)."""
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": host,
        "x-acs-action": "Call",
        "x-acs-content-sha256": digest,
        "x-acs-date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": secrets.token_hex(16),
        "x-acs-version": version,
    }
    if key.token is not None:
        headers["x-acs-security-token"] = key.token
    names = ";".join(sorted(headers))
    pairs = sorted((query or {}).items())
    canonical = "\n".join(
        [
            method,
            path,
            "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs),
            *[f"{name}:{headers[name].strip()}" for name in sorted(headers)],
            "",
            names,
            digest,
        ]
    )
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key.secret.encode(), to_sign.encode(), "sha256").hexdigest()
    return headers | {
        "Authorization": f"ACS3-HMAC-SHA256 Credential={key.id},SignedHeaders={names},Signature={signature}"
    }
