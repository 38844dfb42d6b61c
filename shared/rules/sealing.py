"""Whether a seal is believed: whose key, for which deployment, and, of what opens a lease, how old.

A seal is judged whole when an approval enters. What it lasts for (key, deployment, issuer) is asked again whenever a stored one
is opened; its age is not, since a lease may be longer than a seal may take to arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from shared.errors import SealRefused
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.configuration import KeyState, SealKey
from shared.messages.seal import Sealed, open_seal

OLDEST = 7 * 24 * 3_600_000
"""Milliseconds. So long a seal may be under way, redriven or not: no longer than a queue keeps a message (mns.md section 4)."""

Keys = Mapping[str, SealKey]
"""Every issuer's keys by their names."""


def judge(sealed: Sealed, keys: Keys, *, deployment: str, now: int, skew: int) -> GrantApproval | RevokeApproval:
    """What a seal vouches for when it enters. ``now`` and ``skew`` in (epoch) milliseconds.

    Of a revoke, age, date and a retired key refuse nothing: closing is the safe direction. Raises SealRefused whose code says
    why, BadInput for faulty content.
    """
    approval = reopen(sealed, keys, deployment=deployment)
    check_fresh(sealed, approval, keys[sealed.kid].state, now=now, skew=skew)
    return approval


def check_fresh(
    sealed: Sealed, approval: GrantApproval | RevokeApproval, state: KeyState, *, now: int, skew: int
) -> None:
    """Raise SealRefused where a seal that was opened is too old, or not yet made, or of a retired key, to open a lease now."""
    if isinstance(approval, RevokeApproval):
        return
    if state is KeyState.RETIRED:
        raise SealRefused(f"the key {sealed.kid} of {approval.issuer} is retired: it seals no grant", code="KeyRetired")
    if sealed.sealed_at < now - OLDEST:
        raise SealRefused(
            f"it was sealed at {_moment(sealed.sealed_at)}, more than 7 days before {_moment(now)}: have it sealed again",
            code="SealTooOld",
        )
    if sealed.sealed_at > now + skew:
        raise SealRefused(
            f"it says that it was sealed at {_moment(sealed.sealed_at)}, and it is {_moment(now)} only: set the sealing clock",
            code="SealFromTheFuture",
        )


def reopen(sealed: Sealed, keys: Keys, *, deployment: str) -> GrantApproval | RevokeApproval:
    """What a seal vouches for as long as its key is believed. Raises as ``judge`` does, but not for age and retired keys."""
    key = keys.get(sealed.kid)
    if key is None:
        raise SealRefused(f"the key {sealed.kid} belongs to no issuer that is listed", code="UnknownKey")
    approval = open_seal(sealed, key.x)
    if key.state is KeyState.COMPROMISED:
        raise SealRefused(
            f"the key {key.kid} of {key.issuer} is compromised: have it sealed with another", code="KeyCompromised"
        )
    if sealed.audience != deployment:
        raise SealRefused(
            f"it is sealed for the deployment {sealed.audience}, this is {deployment}", code="WrongAudience"
        )
    if approval.issuer != key.issuer:
        raise SealRefused(
            f"issuer: is {approval.issuer}, but the key {key.kid} is that of {key.issuer}", code="WrongIssuer"
        )
    return approval


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
