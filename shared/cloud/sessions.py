"""Role sessions in other accounts, reused until shortly before they expire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_sts20150401.models import AssumeRoleRequest

from shared import words
from shared.cloud.clients import config, runtime
from shared.cloud.errors import translated
from shared.cloud.keys import Keys
from shared.cloud.pace import Pace
from shared.errors import Throttled
from shared.settings import Settings

# One hour is inside every role's maximum, also where a role assumes a role.
_SESSION_SECONDS = 3600
_REFRESH_SECONDS = 300


@dataclass(frozen=True)
class RoleSession:
    """A session of a role in another account; its name stands in that account's audit log."""

    keys: Keys
    name: str
    expires: float


class Sessions:
    """Role sessions by (role ARN, external id). Thread-safe: one thread assumes, the others wait for it."""

    def __init__(
        self,
        settings: Settings,
        home: Callable[[], Keys],
        pace: Pace,
        clock: Callable[[], float] = time.time,
        policy: str | None = None,
    ) -> None:
        """``policy``: what every session is narrowed to, as a policy document; None leaves it all that the role may."""
        self._policy = policy
        self._settings = settings
        self._pace = pace
        self._home = home
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._open: dict[tuple[str, str], RoleSession] = {}

    def enter(self, account: str, role: str, external_id: str, name: str) -> RoleSession:
        """A session of ``role`` in ``account``. ``name`` (2-64 of letters, digits, ``.@-_``) is used when a new one starts.

        Raises PermissionMissing when the role may not be assumed (AssumeRole answers NoPermission for a wrong external
        id, a missing trust and a missing policy alike), TemporaryError when STS is in trouble.
        """
        arn = f"acs:ram::{account}:role/{role}"
        with self._lock:
            lock = self._locks.setdefault((arn, external_id), threading.Lock())
        with lock:
            session = self._open.get((arn, external_id))
            if session is None or session.expires - self._clock() < _REFRESH_SECONDS:
                session = self._open[arn, external_id] = self._assume(account, arn, external_id, name)
            return session

    def forget(self, account: str) -> None:
        """Drop the sessions of an account: one of them was refused as expired."""
        with self._lock:
            for key in [key for key in self._open if key[0].startswith(f"acs:ram::{account}:")]:
                del self._open[key]

    def _assume(self, account: str, arn: str, external_id: str, name: str) -> RoleSession:
        request = AssumeRoleRequest(
            role_arn=arn,
            role_session_name=name,
            external_id=external_id,
            duration_seconds=_SESSION_SECONDS,
            policy=self._policy,
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
        words.role_assumed(account=account, role=arn, session=name, api_request_id=body.request_id)
        expires = datetime.fromisoformat(given.expiration).timestamp()
        return RoleSession(Keys(given.access_key_id, given.access_key_secret, given.security_token), name, expires)
