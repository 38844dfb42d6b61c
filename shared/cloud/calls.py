"""Calls to the official SDKs in other accounts: by role, at a pace, with errors of ours alone.

Reads are retried in place, a little; writes never: after one, look.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import stamina
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_vpc20160428.client import Client as VpcClient
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from shared import words
from shared.cloud.clients import config, drop_connections, runtime
from shared.cloud.errors import check_envelope, translated
from shared.cloud.gathering import Gathering
from shared.cloud.keys import Keys
from shared.cloud.pace import Busiest, Pace
from shared.cloud.sessions import Sessions
from shared.errors import GrantError, Locked, TemporaryError, Throttled
from shared.messages.completion import Served
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import Operation, Side
from shared.rules.inventory import Inventory
from shared.settings import Settings


def _may_pass_soon(error: Exception) -> bool:
    """Trouble worth another try in place. Waiting for our own budget is not: it already was waited for."""
    return isinstance(error, TemporaryError) and error.code != "Paced"


def _say_retried(details: RetryDetails) -> None:
    """In our words, and without the call's arguments."""
    error = details.caused_by
    words.cloud_retried(
        code=error.code if isinstance(error, GrantError) else type(error).__name__,
        reason=str(error),
        tries=details.retry_num,
        wait_seconds=round(details.wait_for, 3),
    )


set_on_retry_hooks([_say_retried])

# How often and how long reads are tried again in place; whatever lasts longer is the ledger's business.
reading = stamina.retry(on=_may_pass_soon, attempts=3, timeout=10.0, wait_initial=0.2, wait_max=2.0)

# A busy ECR has certainly not executed the write, so asking again with the same client token is no second write.
busy = stamina.retry(on=Locked, attempts=6, timeout=8.0, wait_initial=0.15, wait_max=2.0)

_IDLE_SECONDS = 15.0  # gateways and address translation keep idle connections for longer than this

_CONTENDED_SECONDS = 60.0  # for so long writes on an ECR that was busy go one after another

# The words that steps and intents have for the writes.
_WRITES = {
    Operation.GRANT: "GrantInstanceToExpressConnectRouter",
    Operation.REVOKE: "RevokeInstanceFromExpressConnectRouter",
    Operation.ASSOCIATE: "CreateExpressConnectRouterAssociation",
    Operation.DISSOCIATE: "DeleteExpressConnectRouterAssociation",
    Operation.SET_PREFIXES: "ModifyExpressConnectRouterAssociationAllowedPrefix",
    Operation.ATTACH: "AttachExpressConnectRouterChildInstance",
    Operation.DETACH: "DetachExpressConnectRouterChildInstance",
}


def spoke_of(key: GrantKey) -> tuple[str, ...]:
    """Whose grants one listing of account B shows."""
    return "spoke", key.instance_owner_uid, key.instance_region, key.ecr_owner_uid


def hub_of(key: GrantKey) -> tuple[str, ...]:
    """Whose associations one listing of account A shows."""
    return "hub", key.ecr_owner_uid, key.ecr_id


class Trail:
    """The API calls that served one piece of work."""

    def __init__(self) -> None:
        self.calls: list[Served] = []

    def take(self) -> list[Served]:
        """What was noted since the last taking."""
        taken, self.calls = self.calls, []
        return taken


class Calls:
    """Calls into other accounts, entered by role. One object lives as long as the function instance."""

    def __init__(
        self,
        settings: Settings,
        inventory: Callable[[], Inventory],
        keys: Keys,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        session_policy: str | None = None,
    ) -> None:
        """``patience``: how many seconds a call may wait for its place in the budget.

        ``session_policy``: a policy document that narrows every session in another account, whatever its role may.
        """
        self._clock = clock
        self._called_at = clock()
        self.settings = settings
        self._inventory = inventory
        self._keys = keys
        self._session_name = "ecr-grants"
        self._pace = Pace(window_seconds=settings.quota_seconds, patience=patience)
        self._sessions = Sessions(settings, lambda: self._keys, self._pace, policy=session_policy)
        self._ecrs: dict[str, threading.Lock] = {}
        self._ecrs_lock = threading.Lock()
        self._contended: dict[str, float] = {}
        self.gathering: Gathering[Any] = Gathering()
        self.made = 0

    def arrive(self, keys: Keys, invocation: str) -> None:
        """A new invocation: fresh keys, and a name that leads from the other account's audit log to our log.

        Between invocations a function is frozen: connections that rested for long are not trusted.
        """
        if self._clock() - self._called_at > _IDLE_SECONDS:
            drop_connections()
        self._keys = keys
        self._session_name = ("ecr-grants-" + re.sub(r"[^A-Za-z0-9.@_-]", "-", invocation))[:64]

    def enter(self, uid: str, external_id: str | None = None) -> None:
        """Assume an account's role anew, and call nothing with it. ``external_id`` is tried instead of the listed one.

        Raises as ``Sessions.enter`` does, and NotAllowed for an account that is not listed.
        """
        account = self._inventory().account(uid, "account")
        self._sessions.forget(uid)
        self._sessions.enter(uid, account.role, external_id or account.external_id, self._session_name)

    def present(self, side: Side, key: GrantKey) -> AbstractContextManager[None]:
        """Somebody is at this side of a grant: others of the same account look together with it."""
        if key.instance_type is not InstanceType.VPC:
            return nullcontext()
        return self.gathering.present(spoke_of(key) if side is Side.GRANT else hub_of(key))

    @property
    def crowded(self) -> bool:
        """Whether a budget was used up lately, so that ``expect`` is worth asking."""
        return self._pace.crowded

    def busiest(self) -> Busiest:
        """The budget that came closest to its ceiling since this was asked last."""
        return self._pace.busiest()

    def expect(self, key: GrantKey, operation: Operation) -> None:
        """Raise Throttled when a write would have to wait for long, before any call is made.

        A look that leads to no write is a call wasted, and reads have a quota too.
        """
        account = key.instance_owner_uid if operation in (Operation.GRANT, Operation.REVOKE) else key.ecr_owner_uid
        self._pace.expect(account, "", _WRITES[operation])

    def pages(
        self, account: str, operation: str, request: Callable[[str | None], Any], region: str | None = None
    ) -> Iterator[Any]:
        """Page by page until the platform says that there is no next one."""
        client = EcrClient if region is None else VpcClient
        token: str | None = None
        while True:
            body = self.read(operation, client, account, region or self.settings.region, request(token))
            yield body
            token = body.next_token
            if not token:
                return

    @reading
    def read(self, operation: str, client: Callable[[Any], Any], account: str, region: str, request: Any) -> Any:
        body = self.call(client, region, account, "account", operation, request, Trail())
        if client is EcrClient:
            check_envelope(operation, account, body)
        return body

    def vpc(self, key: GrantKey, operation: str, request: Any, trail: Trail) -> Any:
        """One VPC call in account B."""
        account, field = key.instance_owner_uid, "instance.owner_uid"
        return self.call(VpcClient, key.instance_region, account, field, operation, request, trail)

    def ecr(self, key: GrantKey, account: str, operation: str, request: Any, trail: Trail) -> Any:
        """One ECR call in either account."""
        field = "ecr.owner_uid" if account == key.ecr_owner_uid else "instance.owner_uid"
        if operation.startswith("Describe"):
            return self._checked(key.instance_region, account, field, operation, request, trail)
        asked = key.instance_region, account, field, operation, request, trail
        if self._clock() >= self._contended.get(key.ecr_id, 0.0):
            try:
                return self._checked(*asked)
            except Locked:  # the platform wants them one after another, at least now
                self._contended[key.ecr_id] = self._clock() + _CONTENDED_SECONDS
        with self._one_at_a_time(key.ecr_id):
            return self._write(*asked)

    @busy
    def _write(self, region: str, account: str, field: str, operation: str, request: Any, trail: Trail) -> Any:
        return self._checked(region, account, field, operation, request, trail)

    def _checked(self, region: str, account: str, field: str, operation: str, request: Any, trail: Trail) -> Any:
        body = self.call(EcrClient, region, account, field, operation, request, trail)
        check_envelope(operation, account, body)
        return body

    def _one_at_a_time(self, ecr_id: str) -> threading.Lock:
        """Writes on a contended ECR go in order: the platform answers Conflict.Lock to the second of two."""
        with self._ecrs_lock:
            return self._ecrs.setdefault(ecr_id, threading.Lock())

    def call(
        self,
        client: Callable[[Any], Any],
        region: str,
        uid: str,
        field: str,
        operation: str,
        request: Any,
        trail: Trail,
    ) -> Any:
        account = self._inventory().account(uid, field)
        endpoint = self.settings.ecr_endpoint if client is EcrClient else self.settings.vpc_endpoint
        session = self._sessions.enter(uid, account.role, account.external_id, self._session_name)
        place = "" if client is EcrClient else region  # ECR has one central endpoint for all regions
        self._pace.take(uid, place, operation)
        self.made += 1
        self._called_at = self._clock()
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower() + "_with_options"  # as the SDKs name them
        try:
            with translated(operation, uid):
                ready = client(config(endpoint, region, session.keys))
                body = getattr(ready, method)(request, runtime()).body
        except Throttled:
            self._pace.throttled(uid, place, operation)
            raise
        except TemporaryError as error:
            if error.code.startswith("InvalidSecurityToken"):
                self._sessions.forget(uid)
            raise
        trail.calls.append(
            Served(operation=operation, account=uid, session=session.name, api_request_id=body.request_id)
        )
        words.cloud_called(operation=operation, account=uid, session=session.name, api_request_id=body.request_id)
        return body
