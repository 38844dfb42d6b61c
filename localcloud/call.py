"""One request on its way through the local cloud, and who made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.ram import Decision


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal behind an access key."""

    account: str
    """16-digit uid of the account the principal belongs to."""
    kind: str
    """"root", "user", "role" or "anonymous"."""
    name: str
    """User or role name; empty for root."""
    session: str | None
    """RoleSessionName of a role session."""
    arn: str
    access_key_id: str
    origin: str
    """Access key id at the start of the role chain: a function instance's key identifies its worker process."""
    function: str = ""
    """Name of the function at the start of the role chain, when there is one."""


ANONYMOUS = Caller(account="", kind="anonymous", name="", session=None, arn="anonymous", access_key_id="", origin="")
"""Whoever comes without a signature."""


@dataclass(slots=True)
class Call:
    """One request: built by a service after authentication, completed by ``Cloud.perform``, kept by the journal."""

    service: str
    """"sts", "vpc", "ecr", "kms", "mns", "fc" or "oauth"."""
    operation: str
    caller: Caller
    account: str
    """The account that owns what the call is about."""
    region: str
    request_id: str
    permissions: Sequence[tuple[str, str]] = ()
    """(RAM action, resource ARN) pairs that must all be allowed; none when the operation needs no permission."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """Condition keys of this call beside the global ones."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What was asked, for the journal; never secrets."""
    weight: int = 1
    """What the call costs of a quota: a batch counts once per message."""
    source_ip: str = "127.0.0.1"

    # Filled in by perform() and by execute().
    now: float = 0.0
    """Cloud time at which the call is performed."""
    seen: float = 0.0
    """Cloud time whose state a read answers from; older than ``now`` when planned trouble makes reads lag."""
    effect: bool = False
    """execute() sets it when it changed the state of the cloud."""
    status: int = 200
    """HTTP status of a successful answer; execute() may change it."""
    decision: "Decision | None" = None
