"""How every SDK client is configured: an address, keys, and time limits below the function's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from darabonba.core import DaraCore
from darabonba.runtime import RuntimeOptions

from shared.cloud.keys import Keys

_CONNECT_MS = 5_000
_READ_MS = 10_000


def config(endpoint: str, region: str, keys: Keys, milliseconds: int | None = None) -> Config:
    """SDK configuration for one call's worth of client. Clients are cheap: the SDK pools connections process-wide.

    ``milliseconds``: how long it may take to connect, and to answer, where that is not as usual.
    """
    scheme, _, host = endpoint.format(region=region).partition("://")
    return Config(
        access_key_id=keys.access_key_id,
        access_key_secret=keys.access_key_secret,
        security_token=keys.security_token or None,
        region_id=region,
        protocol=scheme,
        endpoint=host,
        connect_timeout=milliseconds or _CONNECT_MS,
        read_timeout=milliseconds or _READ_MS,
    )


def runtime() -> RuntimeOptions:
    """No retries inside the SDK: reads are retried by our own policy, writes are looked at first."""
    return RuntimeOptions(autoretry=False)


def rpc(client: Client, version: str, action: str, query: Mapping[str, str]) -> Any:
    """The answer of an operation whose product has no SDK in the lock, over the SDKs' own transport. Raises what they raise."""
    params = Params(
        action=action,
        version=version,
        protocol="HTTPS",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    return client.call_api(params, OpenApiRequest(query=dict(query)), runtime())["body"]


def drop_connections() -> None:
    """Close the connections that the SDK keeps for the next call; the next call makes new ones.

    Those that outlived a freeze may be dead without anybody having said so: each would cost a call its whole time limit.
    """
    kept: dict[str, Any] = getattr(DaraCore, "_sessions", {})  # seen in darabonba-core 1.0.9
    for session in list(kept.values()):
        session.close()
