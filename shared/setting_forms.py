"""The forms that settings have as texts: addresses, names, keys, windows.

What does not fit raises ValueError, without the text.
"""

from __future__ import annotations

import base64
import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, StringConstraints

from shared.messages.configuration import parse_keys
from shared.rules.leases import Window

_REST = re.compile(r"(?:[A-Za-z0-9.\[\]:_-]|\{region\}|\{uid\})+")


def checked_address(value: str) -> str:
    """``https://host``, ``http://host:port`` on this machine, or a bare host, which means https. Raises ValueError.

    What goes over http can be read and answered by anybody on the way, keys included; a stand-in cloud is on this machine.
    """
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "https", value
    rest = rest.removesuffix("/")
    if scheme not in ("http", "https") or _REST.fullmatch(rest) is None:
        raise ValueError("must be an address such as https://host or http://127.0.0.1:port, without a path")
    if scheme == "http" and not on_this_machine(rest):
        raise ValueError("must be https: plain http is only for this machine (127.0.0.0/8, ::1, localhost)")
    return f"{scheme}://{rest}"


def on_this_machine(host_and_port: str) -> bool:
    """Whether a host, with a port or without, is this machine."""
    try:
        host = urlsplit(f"//{host_and_port}").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def window_of(value: object) -> object:
    """A window, from its text."""
    return Window.parse(value) if isinstance(value, str) else value


def words_of(value: object) -> object:
    """``a,b`` or ``none``."""
    return frozenset(value.split(",")) - {"", "none"} if isinstance(value, str) else value


def private_key(text: str) -> Ed25519PrivateKey:
    """The key that a text holds. Raises ValueError, without the text, when it holds none."""
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ValueError("must be the Base64 of a 32-byte Ed25519 private key") from None


def keys_of(value: object) -> object:
    """Public keys by name, from their text."""
    return parse_keys(value) if isinstance(value, str) else value


def cookie_keys_of(value: object) -> object:
    """Keys of 32 bytes, from their Base64 with commas between."""
    if not isinstance(value, str):
        return value
    try:
        keys = tuple(base64.b64decode(one, validate=True) for one in value.split(","))
    except ValueError:
        keys = ()
    if not keys or any(len(one) != 32 for one in keys):
        raise ValueError("must be the Base64 of 32 bytes, or several with commas between them")
    return keys


def private_key_of(value: object) -> object:
    """The same as ``private_key`` for whatever is a text."""
    return private_key(value) if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(checked_address)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,119}$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_+=.@-]{1,192}$")]
