"""Credentials: our own from the runtime. Those of role sessions come from ``sessions``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Protocol, cast

from shared.errors import SettingsError


@dataclass(frozen=True)
class Keys:
    """Temporary or long-lived credentials. Secrets stay out of every representation."""

    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False)


class _Credentials(Protocol):
    access_key_id: str
    access_key_secret: str
    security_token: str


def home_keys(context: object) -> Keys:
    """The function's own credentials: from the invocation where the runtime passes them, else from the environment.

    The python3.10 runtime has ``context.credentials``, python3.12 has not (Function Compute help, "context").
    """
    given = getattr(context, "credentials", None)
    if given is not None and getattr(given, "access_key_id", None):
        found = cast("_Credentials", given)
        return Keys(found.access_key_id, found.access_key_secret, found.security_token or "")
    names = [f"ALIBABA_CLOUD_{part}" for part in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")]
    key_id, secret, token = (os.environ.get(name, "") for name in names)
    for name, value in zip(names, (key_id, secret), strict=False):
        if not value:
            raise SettingsError(f"no credentials: neither the context nor {name} has them")
    return Keys(key_id, secret, token)
