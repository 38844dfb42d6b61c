"""The key that heads are signed with: in the environment of the function that signs, or a secret by name."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import words
from shared.errors import GrantError, NeedsSomebody
from shared.setting_forms import private_key
from shared.settings import read_signing


class Secrets(Protocol):
    """Where secrets are read by name."""

    def read(self, name: str) -> str:
        """What a secret holds. Raises GrantError."""
        ...


class Signer:
    """Where the key is. Reads the environment when it is made. Raises SettingsError, naming every fault."""

    def __init__(self) -> None:
        self._said = read_signing()

    def key(self, secrets: Secrets) -> Ed25519PrivateKey | None:
        """The key as it is now; None where there is none. One that cannot be read stops no pass: the head goes out unsigned."""
        name = self._said.head_key_secret
        if name is None:
            return self._said.head_key
        try:
            return private_key(secrets.read(name))
        except (GrantError, ValueError) as error:
            code = error.code if isinstance(error, GrantError) else NeedsSomebody.code
            words.head_unsigned(secret=name, code=code, reason=str(error))
        return None
