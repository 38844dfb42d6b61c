"""How every SDK client is configured: an address, keys, and time limits below the function's own."""

from __future__ import annotations

from typing import Any

from alibabacloud_tea_openapi.utils_models import Config
from darabonba.core import DaraCore
from darabonba.runtime import RuntimeOptions

from shared.cloud.keys import Keys

_CONNECT_MS = 5_000
_READ_MS = 10_000


def config(endpoint: str, region: str, keys: Keys) -> Config:
    """SDK configuration for one call's worth of client. Clients are cheap: the SDK pools connections process-wide."""
    scheme, _, host = endpoint.format(region=region).partition("://")
    return Config(
        access_key_id=keys.access_key_id,
        access_key_secret=keys.access_key_secret,
        security_token=keys.security_token or None,
        region_id=region,
        protocol=scheme,
        endpoint=host,
        connect_timeout=_CONNECT_MS,
        read_timeout=_READ_MS,
    )


def runtime() -> RuntimeOptions:
    """No retries inside the SDK: reads are retried by our own policy, writes are looked at first."""
    return RuntimeOptions(autoretry=False)


def drop_connections() -> None:
    """Close the connections that the SDK keeps for the next call; the next call makes new ones.

    Those that outlived a freeze may be dead without anybody having said so: each would cost a call its whole time limit.
    """
    kept: dict[str, Any] = getattr(DaraCore, "_sessions", {})  # seen in darabonba-core 1.0.9
    for session in list(kept.values()):
        session.close()
