"""Credentials: our own from the runtime, and role sessions in other accounts, reused until shortly before they expire."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, cast

import structlog
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_sts20150401.models import AssumeRoleRequest

from shared.cloud.clients import config, runtime
from shared.cloud.errors import translated
from shared.cloud.pace import Pace
from shared.errors import SettingsError, Throttled
from shared.settings import Settings

log = structlog.get_logger()

# One hour is inside every role's maximum, also where a role assumes a role.
_SESSION_SECONDS = 3600
_REFRESH_SECONDS = 300


@dataclass(frozen=True)
class Keys:
    """Temporary or long-lived credentials. Secrets stay out of every representation."""

    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False)


@dataclass(frozen=True)
class RoleSession:
    """A session of a role in another account; its name stands in that account's audit log."""

    keys: Keys
    name: str
    expires: float


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
    prefix = "ALIBABA_CLOUD_"
    try:
        return Keys(
            os.environ[prefix + "ACCESS_KEY_ID"],
            os.environ[prefix + "ACCESS_KEY_SECRET"],
            os.environ.get(prefix + "SECURITY_TOKEN", ""),
        )
    except KeyError as missing:
        raise SettingsError(f"no credentials: neither the context nor {missing.args[0]} has them") from None


class Sessions:
    """Role sessions by (role ARN, external id). Thread-safe: one thread assumes, the others wait for it."""

    def __init__(
        self, settings: Settings, home: Callable[[], Keys], pace: Pace, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._home = home
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._held: dict[tuple[str, str], RoleSession] = {}

    def enter(self, account: str, role: str, external_id: str, name: str) -> RoleSession:
        """A session of ``role`` in ``account``. ``name`` (2-64 of letters, digits, ``.@-_``) is used when a new one starts.

        Raises PermissionMissing when the role may not be assumed (AssumeRole answers NoPermission for a wrong external
        id, a missing trust and a missing policy alike), TemporaryError when STS is in trouble.
        """
        arn = f"acs:ram::{account}:role/{role}"
        with self._lock:
            lock = self._locks.setdefault((arn, external_id), threading.Lock())
        with lock:
            held = self._held.get((arn, external_id))
            if held is None or held.expires - self._clock() < _REFRESH_SECONDS:
                held = self._held[arn, external_id] = self._assume(account, arn, external_id, name)
            return held

    def forget(self, account: str) -> None:
        """Drop the sessions of an account: one of them was refused as expired."""
        with self._lock:
            for key in [key for key in self._held if key[0].startswith(f"acs:ram::{account}:")]:
                del self._held[key]

    def _assume(self, account: str, arn: str, external_id: str, name: str) -> RoleSession:
        request = AssumeRoleRequest(
            role_arn=arn, role_session_name=name, external_id=external_id, duration_seconds=_SESSION_SECONDS
        )
        # The budget is the caller's, so one for all roles: the home account's.
        self._pace.take("home", "", "AssumeRole")
        try:
            with translated("AssumeRole", account):
                client = StsClient(config(self._settings.sts_endpoint, self._settings.region, self._home()))
                body = client.assume_role_with_options(request, runtime()).body
        except Throttled:
            self._pace.throttled("home", "", "AssumeRole")
            raise
        given = body.credentials
        log.info("role.assumed", account=account, role=arn, session=name, api_request_id=body.request_id)
        expires = datetime.fromisoformat(given.expiration).timestamp()
        return RoleSession(Keys(given.access_key_id, given.access_key_secret, given.security_token), name, expires)
