"""Whether a lease is still what an issuer sealed, or people agreed to: asked before anything is made for it, however it came."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from shared.errors import PermanentError
from shared.messages.approval import DESK, GrantApproval
from shared.messages.configuration import SealKey
from shared.messages.consent import Amounted, AnyFact, Decided
from shared.messages.forms import GrantKey
from shared.messages.seal import read_seal
from shared.rules.consent import approval_of, fold
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
    return _differing(lease, grant, approval, "was sealed", until)


def unsaid(lease: Lease, grant: GrantKey, proof: str, facts: Sequence[AnyFact], *, until: int) -> str | None:
    """Why nothing may be made for a lease of the desk, as a sentence; None where what people said comes to just that.

    ``proof``: which words it was admitted for. ``facts``: all that was said of its request, oldest first.
    """
    named = words_named(proof)
    if named is None:
        return "it does not name the words of people that it rests on"
    amounted = next((number for number, one in enumerate(facts) if isinstance(one, Amounted)), None)
    if amounted is None:
        return "nothing that people said amounted to it"
    try:
        standing = fold(facts[:amounted])
        words = [one for one in standing.yes if (one.by.person, one.side) in named]
        if {(one.by.person, one.side) for one in words} != set(named):
            return "somebody whose word it rests on never said so, or unsaid it"
        approval = approval_of(standing, words)
    except PermanentError as error:
        return str(error)
    if not isinstance(approval, GrantApproval):
        return "a revoke was asked for"
    return _differing(lease, grant, approval, "people agreed to", until)


def words_of(words: Iterable[Decided]) -> list[list[str]]:
    """Which words a lease rests on, by person and side, as its proof names them."""
    return [[one.by.person, one.side] for one in words]


def words_named(proof: str) -> list[tuple[str, str]] | None:
    """The same from a proof; None for anything else."""
    try:
        return [(str(person), str(side)) for person, side in json.loads(proof)[DESK]["words"]]
    except (ValueError, KeyError, TypeError):
        return None


def _differing(lease: Lease, grant: GrantKey, approval: GrantApproval, was: str, until: int) -> str | None:
    """What of a lease is not what its approval says, or that it has no effect yet; as a sentence."""
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
        return f"the ledger has another {' and '.join(differs)} than {was}"
    return (
        f"it is dated {approval.approved_at.isoformat()}, and has no effect yet" if lease.approved_at > until else None
    )


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
