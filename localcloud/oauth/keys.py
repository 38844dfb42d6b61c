"""The key that signs ID tokens: made when it is first needed, never written anywhere, gone with the process."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey

from localcloud.faults import Wrong

ALGORITHM = "RS256"
"""The only one that the provider publishes."""


class SigningKey:
    """Signs with the key that counts, and shows its public half."""

    def __init__(self) -> None:
        self._key: RSAKey | None = None

    def public(self) -> dict[str, Any]:
        """The key set."""
        key = self._current()
        shown = key.as_dict(private=False)
        return {"keys": [{name: shown[name] for name in ("kty", "kid", "n", "e")}]}

    def sign(self, claims: Mapping[str, Any], wrong: Wrong | None = None) -> str:
        """An ID token; ``wrong`` names what planned trouble does to key or signature."""
        if wrong == "rotated":
            self._key = _made()
        key = self._current()
        payload = json.dumps(claims).encode()
        if wrong == "unsigned":
            return _by_hand({"alg": "none"}, payload, lambda _: b"")
        if wrong == "hmac":
            # A verifier that believes the header's algorithm takes the public key for the secret.
            public = key.as_pem(private=False)
            header = {"alg": "HS256", "kid": key.kid}
            return _by_hand(header, payload, lambda text: hmac.new(public, text, hashlib.sha256).digest())
        header = {"alg": ALGORITHM, "kid": key.kid}
        return jws.serialize_compact(header, payload, _made() if wrong == "signature" else key, [ALGORITHM])

    def _current(self) -> RSAKey:
        if self._key is None:
            self._key = _made()
        return self._key


def _made() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(16)})


def _by_hand(header: Mapping[str, Any], payload: bytes, signature: Any) -> str:
    """What no library should agree to write."""
    text = f"{_encoded(json.dumps(header).encode())}.{_encoded(payload)}"
    return f"{text}.{_encoded(signature(text.encode()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
