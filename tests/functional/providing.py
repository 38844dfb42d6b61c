"""A provider of sign-ins that can be wrong in every way: a small HTTP server of its own, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey

from shared.messages.configuration import base64url

Json = dict[str, Any]
CLIENT, SECRET = "desk-of-the-tests", "example-secret"
TEXT = "ORA-00942: example wording of a vendor"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
WRONG: dict[str, tuple[int, bytes]] = {
    "nonsense": (200, TEXT.encode()),
    "a list": (200, b"[]"),
    "nothing of it": (200, b"{}"),
    "deep": (200, b"[" * 100_000),
    "broken": (500, TEXT.encode()),
    "no keys": (200, b'{"keys": []}'),
    "a key of another kind": (200, b'{"keys": [{"kty": "oct", "k": "%s", "kid": "one"}]}' % (b"A" * 43)),
    "refused": (400, json.dumps({"error": "invalid_grant", "error_description": TEXT}).encode()),
    "refused in its own words": (400, json.dumps({"error": TEXT}).encode()),
}
"""Status and body, instead of what is right."""
ENDLESS = {
    "a head without end": (b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"),
    "a body without end": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
}
"""What comes first, and what comes after it for ever."""


@dataclass
class Provider:
    """How it behaves: ``wrong`` by path, what it does instead of answering well; ``claims`` and ``header`` of its ID tokens,
    where None leaves one out; ``key``: who signs them.
    """

    address: str = ""
    wrong: dict[str, str] = field(default_factory=dict)
    claims: Json = field(default_factory=dict)
    header: Json = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: KEY)
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    nonce: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    def id_token(self) -> str:
        """One for whoever signs in."""
        now = int(time.time())
        claims: Json = {"iss": self.address, "aud": CLIENT, "sub": "somebody", "iat": now, "exp": now + 3600}
        claims |= {"nonce": self.nonce, "auth_time": now} | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "one"} | self.header
        header = {name: value for name, value in header.items() if value is not None}
        first = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        match header["alg"]:
            case "RS256":
                assert self.key.private_key is not None
                signature = self.key.private_key.sign(first.encode(), PKCS1v15(), SHA256())
            case "HS256":
                signature = hmac.digest(KEY.as_pem(private=False), first.encode(), hashlib.sha256)
            case _:
                signature = b""
        return f"{first}.{base64url(signature)}"

    def document(self, path: str) -> tuple[int, Any]:
        """What a good provider answers there."""
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/keys"}
            return 200, {"issuer": self.address} | {name: self.address + where for name, where in names.items()}
        if path == "/keys":
            return 200, {"keys": [KEY.as_dict(private=False)]}
        if path == "/token":
            return 200, {"access_token": "x", "token_type": "Bearer", "expires_in": "3600", "id_token": self.id_token()}
        return 404, {}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Discovery, keys, and wherever somebody was led."""
        self._answer()

    def do_POST(self) -> None:
        """Tokens."""
        length = int(self.headers.get("Content-Length", "0"))
        self.server.provider.forms.append(parse_qs(self.rfile.read(length).decode()))
        self._answer()

    def _answer(self) -> None:
        provider = self.server.provider
        path = urlsplit(self.path).path
        provider.asked.append(path)
        wrong = provider.wrong.get(path)
        if wrong in ENDLESS:
            self._drip(*ENDLESS[wrong])
            return
        if wrong == "cut off":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            return
        status, found = provider.document(path)
        raw, more = json.dumps(found).encode(), {}
        if wrong == "elsewhere":
            status, more = 307, {"Location": f"{provider.address}/thief"}
        elif wrong == "huge":
            raw += b" " * 5_000_000  # right, but for its size
        elif wrong == "another issuer":
            raw = json.dumps(found | {"issuer": "https://login.example.com"}).encode()
        elif wrong is not None:
            status, raw = WRONG[wrong]
        self.send_response(status)
        for name, value in (more | {"Content-Type": "application/json", "Content-Length": str(len(raw))}).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(raw)

    def _drip(self, first: bytes, then: bytes) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(first)
            while not self.server.provider.stop.wait(0.5):
                self.wfile.write(then)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, provider: Provider) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.provider = provider


@contextlib.contextmanager
def providing() -> Iterator[Provider]:
    """One at work."""
    provider = Provider()
    server = _Server(provider)
    provider.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
