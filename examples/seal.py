"""How a system seals an approval without anything of ours, with the package ``cryptography`` alone:

python examples/seal.py approval.json key.pem KID DEPLOYMENT > sealed.json
"""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def b64(raw: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def sealed(approval: bytes, key: Ed25519PrivateKey, kid: str, deployment: str, at: int) -> dict[str, str]:
    """The approval's own bytes, signed for a deployment at a time in epoch seconds."""
    header = {"alg": "Ed25519", "kid": kid, "typ": "ecr-grants-approval", "aud": deployment, "iat": at}
    payload, protected = b64(approval), b64(json.dumps(header).encode())
    signature = b64(key.sign(f"{protected}.{payload}".encode()))
    return {"payload": payload, "protected": protected, "signature": signature}


if __name__ == "__main__":
    file, pem, kid, deployment = sys.argv[1:]
    key = load_pem_private_key(Path(pem).read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)  # noqa: S101
    made = sealed(Path(file).read_bytes(), key, kid, deployment, int(time.time()))
    print(json.dumps(made))
