"""Secrets by name: KMS Secrets Manager, asked over the SDK's own transport (deploy.md section 4.1; API version 2016-01-20).

An option: a secret needs a KMS instance that was bought. What was read is kept as long as it may be expected to hold; a frozen
instance refreshes nothing by itself, so whoever finds that a value no longer holds asks anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alibabacloud_tea_openapi.client import Client

from shared import words
from shared.cloud.clients import config, rpc
from shared.cloud.errors import translated
from shared.cloud.keys import Keys
from shared.errors import NeedsSomebody

_KEPT_SECONDS = 600.0
_OPERATION = "GetSecretValue"


@dataclass(frozen=True)
class _Kept:
    value: str = field(repr=False)
    until: float


class Secrets:
    """The generic secrets of the function's own account. Thread-safe; a value is in no text, log line or representation."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        account: str,
        home: Callable[[], Keys],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``endpoint`` may hold ``{region}``; ``account``: whose secrets they are, for what is said about them."""
        self._endpoint = endpoint
        self._region = region
        self._account = account
        self._home = home
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def read(self, name: str, *, anew: bool = False) -> str:
        """What a secret holds now, at most ten minutes old. ``anew``: as KMS says it at this moment.

        Raises PermissionMissing without kms:GetSecretValue on it, NeedsSomebody when there is no such secret or it is no text,
        TemporaryError when KMS is in trouble.
        """
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or anew or self._clock() >= kept.until:
                kept = self._kept[name] = _Kept(self._ask(name), self._clock() + _KEPT_SECONDS)
            return kept.value

    def _ask(self, name: str) -> str:
        with translated(_OPERATION, self._account):
            client = Client(config(self._endpoint, self._region, self._home()))
            body: dict[str, Any] = rpc(client, "2016-01-20", _OPERATION, {"SecretName": name})
        value = body.get("SecretData")
        if body.get("SecretDataType", "text") != "text" or not isinstance(value, str) or not _is_line(value):
            raise NeedsSomebody(f"the secret {name} is not one line of text")
        version, api_request_id = body.get("VersionId"), body.get("RequestId")
        words.secret_read(secret=name, version=version, api_request_id=api_request_id)
        return value


def _is_line(value: str) -> bool:
    """Whether it can be a password or a key: what was pasted with its line's end would be refused without saying why."""
    return bool(value) and value.isprintable()
