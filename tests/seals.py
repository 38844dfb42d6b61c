"""Seals for tests: keys that everybody can make again, and seals put together by hand, whole or with one fault.

Nothing here uses what the product seals and opens with, so that its mistakes would not be made here too.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.messages.configuration import KeyState, SealKey

DEPLOYMENT = "ecr-grants-example"
AT = 1_796_083_200
"""When things are sealed here, in epoch seconds: 2026-12-01."""
NOW, SKEW = AT * 1000 + 60_000, 300_000
"""When they are looked at, and how far clocks may differ, in milliseconds."""

APPROVAL: dict[str, Any] = json.loads((Path(__file__).parents[1] / "examples" / "approval-vpc.json").read_text("utf-8"))
REVOKE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "examples" / "revoke.json").read_text("utf-8"))


def private_key(name: str) -> Ed25519PrivateKey:
    """The key of that name: the SHA-256 of a text that says what it is. Nobody can take it for a secret."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(key_text(name).encode()).digest())


def key_text(name: str) -> str:
    """The text that a key is made of."""
    return f"ecr-grants test key {name}: not a secret"


def public_x(name: str) -> str:
    """The x of its JWK."""
    return b64(private_key(name).public_key().public_bytes_raw())


def b64(raw: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def compact(document: object) -> bytes:
    """JSON without blanks, fields in the order that they have."""
    return json.dumps(document, separators=(",", ":")).encode()


KEYS = {
    kid: SealKey(kid, issuer, public_x(kid), state)
    for kid, issuer, state in (
        ("self-service-1", "self-service", KeyState.ACTIVE),
        ("self-service-0", "self-service", KeyState.RETIRED),
        ("self-service-x", "self-service", KeyState.COMPROMISED),
        ("change-desk-1", "change-desk", KeyState.ACTIVE),
    )
}


@dataclass(frozen=True)
class Parts:
    """What a seal is put together from. Without changes it is whole."""

    header: bytes
    payload: bytes
    private: str  # the name of the key that signs

    @property
    def protected(self) -> str:
        """The header as it is signed."""
        return b64(self.header)

    @property
    def signature(self) -> str:
        """Over header and payload (RFC 7515 section 5.1)."""
        signed = f"{self.protected}.{b64(self.payload)}".encode()
        return b64(private_key(self.private).sign(signed))

    def form(self, **changes: object) -> dict[str, object]:
        """The three members, some changed or, where None, left out."""
        whole = {"payload": b64(self.payload), "protected": self.protected, "signature": self.signature}
        return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def header(**changes: object) -> dict[str, object]:
    """The protected header, some members changed or, where None, left out."""
    whole = {
        "alg": "Ed25519",
        "kid": "self-service-1",
        "typ": "ecr-grants-approval",
        "aud": DEPLOYMENT,
        "iat": AT,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def parts(content: object = APPROVAL, private: str | None = None, **changes: object) -> Parts:
    """A seal's parts. ``changes`` are the header's; it is signed with the key that the header names, unless told otherwise."""
    made = header(**changes)
    kid = made.get("kid")
    payload = content if isinstance(content, bytes) else compact(content)
    return Parts(compact(made), payload, private or (kid if kid in KEYS else "self-service-1"))


def raw(head: bytes) -> Parts:
    """Parts with a header of any bytes."""
    return Parts(head, compact(APPROVAL), "self-service-1")
