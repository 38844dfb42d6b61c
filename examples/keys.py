"""The keys of the examples: made from a fixed text, so that everybody has them. They are no secrets and protect nothing.

    python -m examples.keys NAME > key.pem

prints a private key, as `ecr-grants config sign` and `ecr-grants seal` take one. `examples/config` lists the public halves.
"""

from __future__ import annotations

import base64
import hashlib
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ISSUER = "self-service-1"
"""What `self-service` seals with."""
CONFIGURATION = "configuration-1"
"""What signs the configuration."""
DEPLOYMENT = "ecr-grants-example"
"""What the example's deployment is called: seals are addressed to it."""


def key(name: str) -> Ed25519PrivateKey:
    """The private key of that name."""
    return Ed25519PrivateKey.from_private_bytes(
        hashlib.sha256(f"ecr-grants example key, no secret: {name}".encode()).digest()
    )


def pem(name: str) -> str:
    """The same as a file has it: PEM, PKCS8."""
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def config_keys() -> str:
    """What CONFIG_KEYS says: which keys may sign the configuration."""
    raw = key(CONFIGURATION).public_key().public_bytes_raw()
    return f"{CONFIGURATION}:{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


if __name__ == "__main__":
    sys.stdout.write(pem(sys.argv[1]))
