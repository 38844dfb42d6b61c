"""Whether a lease is still what an issuer sealed: asked before anything is made for it, however it came into the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.errors import PermanentError
from shared.messages.approval import GrantApproval
from shared.messages.configuration import SealKey
from shared.messages.forms import GrantKey
from shared.messages.seal import read_seal
from shared.rules.leases import Lease
from shared.rules.sealing import reopen


def unproven(
    lease: Lease, grant: GrantKey, seal: str, keys: Mapping[str, SealKey], *, deployment: str, until: int
) -> str | None:
    """Why nothing may be made for a lease, as a sentence; None where its seal opens and says what the ledger says.

    ``keys``: of all issuers, by name. ``until``: what is dated later has no effect yet (epoch milliseconds). What a retired key
    sealed stands; of a compromised one nobody knows who sealed it.
    """
    if not seal:
        return "it was never sealed"
    try:
        approval = reopen(read_seal(seal), keys, deployment=deployment)
    except PermanentError as error:
        return str(error)
    if not isinstance(approval, GrantApproval):
        return "a revoke was sealed"
    said = {
        "issuer": (lease.issuer, approval.issuer),
        "request_id": (lease.request_id, approval.request_id),
        "digest": (lease.digest, approval.digest),
        "grant": (grant, approval.grant),
        "approved_at": (lease.approved_at, _millis(approval.approved_at)),
        "ends_at": (lease.ends_at, None if approval.ends_at is None else _millis(approval.ends_at)),
        "on_end": (lease.on_end, approval.on_end),
        "allowed_prefixes": (lease.allowed_prefixes, tuple(approval.allowed_prefixes)),
    }
    differs = [name for name, (found, sealed_as) in said.items() if found != sealed_as]
    if differs:
        return f"the ledger has another {' and '.join(differs)} than was sealed"
    return (
        f"it is dated {approval.approved_at.isoformat()}, and has no effect yet" if lease.approved_at > until else None
    )


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
