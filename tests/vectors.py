"""Writes docs/vectors/seals.json: seals to compare with, for whoever seals or opens in another language.

Ed25519 is deterministic, so whoever signs the same header and payload with the same key has the same seal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.messages.seal import open_seal, read_seal
from tests.seals import APPROVAL, AT, DEPLOYMENT, KEYS, REVOKE, Parts, b64, compact, header, key_text, parts, raw

PATH = Path(__file__).parents[1] / "docs" / "vectors" / "seals.json"
_IN_LINES = json.dumps(APPROVAL | {"reason": "两行\n的原因"}, indent=2, ensure_ascii=False).encode()

OPENED: dict[str, Parts] = {
    "a grant": parts(),
    "a revoke": parts(REVOKE),
    "a payload in lines, with letters beyond ASCII": parts(_IN_LINES),
    "a header with blanks, in another order": raw(json.dumps(dict(sorted(header().items()))).encode()),
}
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "not sealed": (APPROVAL, "Unsealed"),
    "signed with another key": (parts(private="change-desk-1").form(), "SealForged"),
    "the payload was altered": (parts().form(payload=b64(compact(APPROVAL | {"reason": "another"}))), "SealForged"),
    "the header was altered": (parts().form(protected=b64(compact(header(iat=AT + 1)))), "SealForged"),
    "no algorithm": (parts(alg="none").form(), "SealUnreadable"),
    "the older name of the algorithm": (parts(alg="EdDSA").form(), "SealUnreadable"),
    "another type": (parts(typ="JWT").form(), "SealUnreadable"),
    "a key in the header": (parts(jwk={"kty": "OKP"}).form(), "SealUnreadable"),
    "a header that is not protected": (parts().form(header={"kid": "self-service-1"}), "SealUnreadable"),
    "a time in milliseconds": (parts(iat=AT * 1_000).form(), "SealUnreadable"),
    "padded Base64": (parts().form(payload=b64(compact(APPROVAL)) + "=="), "SealUnreadable"),
    "a payload that is sealed": (parts(parts().form()).form(), "BadInput"),
}


def vectors() -> dict[str, Any]:
    """The whole of it."""
    return {
        "about": "Seals for tests. Each private key is the SHA-256 of its text, so none is a secret. See docs/contracts.md.",
        "deployment": DEPLOYMENT,
        "keys": [
            {"kid": kid, "private_key_is_sha256_of": key_text(kid), "x": key.x, "issuer": key.issuer}
            for kid, key in KEYS.items()
        ],
        "opened": [_opened(name, one) for name, one in OPENED.items()],
        "refused": [{"name": name, "sealed": form, "code": code} for name, (form, code) in REFUSED.items()],
    }


def _opened(name: str, one: Parts) -> dict[str, Any]:
    approval = open_seal(read_seal(one.form()), KEYS[one.private].x)
    return {
        "name": name,
        "kid": one.private,
        "header": one.header.decode(),
        "payload": one.payload.decode(),
        "sealed": one.form(),
        "digest": approval.digest,
    }


def written() -> str:
    """As the file has it."""
    return json.dumps(vectors(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(written(), "utf-8")
