"""The scope of an issuer: what it may vouch for at all. Plain code and no policy, so that no rule can widen it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from shared.errors import NotAllowed
from shared.messages.approval import Every, GrantApproval, RevokeApproval
from shared.rules.issuers import ANY, IssuerRights
from shared.rules.vouching import endless


def scope(rights: IssuerRights, approval: GrantApproval | RevokeApproval) -> None:
    """Raise NotAllowed, code BeyondScope, naming every field that is beyond the scope of the approval's issuer.

    ``rights.accounts`` are those whose instances it may speak for; account A is spoken for by its router. Of a revoke length is
    not asked. Which sides it vouches for is a fact that policy weighs, since a lease may need one or both.
    """
    beyond = list(_beyond(rights, approval))
    if beyond:
        raise NotAllowed(f"beyond the scope of {approval.issuer}: {'; '.join(beyond)}", code="BeyondScope")


def _beyond(rights: IssuerRights, approval: GrantApproval | RevokeApproval) -> Iterator[str]:
    grant = approval.grant
    if rights.accounts != ANY and grant.instance_owner_uid not in rights.accounts:
        yield f"instance.owner_uid: account {grant.instance_owner_uid} is not among its accounts"
    if rights.ecrs != ANY and grant.ecr_id not in rights.ecrs:
        yield f"ecr.id: {grant.ecr_id} is not among its routers"
    if grant.instance_type not in rights.kinds:
        yield f"instance.type: it vouches for {', '.join(rights.kinds)} only (found {grant.instance_type})"
    if isinstance(approval, RevokeApproval):
        if approval.closes == Every.EVERYONE and not rights.everyone:
            yield "closes: it may not close everyone's leases"
    elif rights.longest_days is not None:
        yield from _too_long(rights.longest_days, approval)


def _too_long(days: int, approval: GrantApproval) -> Iterator[str]:
    if approval.ends_at is None:
        yield f"ends_at: it must name an end, at most {days} days after approved_at"
        return
    if endless(approval):
        yield "on_end: it must be teardown, since what is only reported has no end"
    if approval.ends_at - approval.approved_at > timedelta(days=days):
        yield f"ends_at: at most {days} days after approved_at (found {approval.ends_at - approval.approved_at})"
