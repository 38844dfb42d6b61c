"""Comparing ledger and cloud: plain functions from what both say to what differs. Nothing here acts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import assert_never

from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import AssociationSeen, AssociationStatus, Drift, DriftKind, Side, SideRecord, Standing
from shared.rules.leases import Level, Wanted


@dataclass(frozen=True)
class CloudSeen:
    """What both accounts show, as far as it could be read. An account that could not be read says nothing."""

    ecrs_read: frozenset[tuple[str, str]]  # (owner, ECR) of account A
    ecrs_gone: frozenset[tuple[str, str]]
    spokes_read: frozenset[tuple[str, str]]  # (account B, region)
    granted: AbstractSet[GrantKey]
    associations: Mapping[GrantKey, AssociationSeen]
    missing: AbstractSet[tuple[str, str]]  # (account B, instance) that was asked for and is not there
    listed: frozenset[str]  # accounts that may be entered at all

    def tells_about(self, key: GrantKey) -> bool:
        """Whether enough could be read to say anything about a grant, also that all is well.

        Of an account that is not listed, account A's view is all there is, and enough.
        """
        ecr, spoke = (key.ecr_owner_uid, key.ecr_id), (key.instance_owner_uid, key.instance_region)
        if ecr in self.ecrs_gone:
            return True
        return ecr in self.ecrs_read and (spoke in self.spokes_read or key.instance_owner_uid not in self.listed)


def drifts(standing: Standing, seen: CloudSeen, *, ours: bool) -> Iterator[Drift]:
    """How the cloud differs from one grant that had settled. ``ours``: whether the association is ours to make."""
    key = standing.key
    where = f"{key.instance_type} {key.instance_id} of account {key.instance_owner_uid}"
    seen_wanted = standing.grant.observed_wanted
    up = seen_wanted is not None and not seen_wanted.down
    if not seen.tells_about(key):
        return
    if (key.ecr_owner_uid, key.ecr_id) in seen.ecrs_gone:
        if up:
            text = f"account {key.ecr_owner_uid} no longer owns {key.ecr_id}"
            yield Drift(key, Side.GRANT, DriftKind.ECR_OWNER_CHANGED, text)
        return
    listed = key.instance_owner_uid in seen.listed
    before = _found_gone(standing.grant)
    if up and not listed and before is not None and key not in seen.granted:
        # Nobody can look any more, and its grant went with it: it is not found missing anew.
        yield Drift(key, Side.GRANT, DriftKind.INSTANCE_DELETED, before)
        return
    if up and listed and (key.instance_owner_uid, key.instance_id) in seen.missing:
        text = f"{where} is gone from region {key.instance_region}"
        yield Drift(key, Side.GRANT, DriftKind.INSTANCE_DELETED, text)
        return
    granted, there = key in seen.granted, seen.associations.get(key)
    if granted and not _known_foreign(standing.grant) and not _rests_on(seen_wanted, standing.grant):
        text = f"{where} is granted to {key.ecr_id}, and no lease of ours wants it"
        yield Drift(key, Side.GRANT, DriftKind.FOREIGN_GRANT, text)
    if up and not granted:
        yield Drift(key, Side.GRANT, DriftKind.GRANT_MISSING, f"the grant of {where} to {key.ecr_id} is gone")
    if there is not None and not _known_foreign(standing.associate) and not _rests_on(seen_wanted, standing.associate):
        text = f"{where} is associated with {key.ecr_id}, and no lease of ours wants it"
        yield Drift(key, Side.ASSOCIATE, DriftKind.FOREIGN_ASSOCIATION, text)
        return
    if not up or not ours or seen_wanted is None:
        return
    if there is None:
        text = f"{where} is no longer associated with {key.ecr_id}"
        yield Drift(key, Side.ASSOCIATE, DriftKind.ASSOCIATION_MISSING, text)
        return
    right = seen_wanted.beside(there.prefixes)
    comparable = there.status == AssociationStatus.ACTIVE and key.instance_type is InstanceType.VPC
    if comparable and there.prefixes != right:
        shown = ", ".join(there.prefixes) or "none"
        text = f"{where}: allowed prefixes are {shown}, approved are {', '.join(right) or 'none'}"
        yield Drift(key, Side.ASSOCIATE, DriftKind.PREFIXES_DIFFER, text)


def _rests_on(wanted: Wanted | None, row: SideRecord) -> bool:
    """Whether what the cloud shows on a side is what leases rest on.

    A lease past its end keeps what stood, and nothing that came afterwards: that is somebody else's, and nobody wants it.
    """
    if wanted is None or wanted.down:
        return False
    return wanted.up or not (row.nothing_up or (row.drift is not None and row.drift.kind.foreign))


def _found_gone(row: SideRecord) -> str | None:
    """What was said when the instance was found to be gone, where that is what is reported of this side; else None."""
    return row.drift.text if row.drift is not None and row.drift.kind is DriftKind.INSTANCE_DELETED else None


def wants_made(standing: Standing) -> bool:
    """Whether what is missing may be made again: not past the end of what was approved."""
    wanted = standing.grant.observed_wanted
    return wanted is not None and wanted.up


def still_so(kind: DriftKind, mine: SideRecord, wanted: Wanted, *, prefixes_differ: bool) -> bool:
    """Whether what was found still is so, although its side came to rest: it was left as it was.

    ``mine``: the side as it was just seen. ``prefixes_differ``: what the leases rest on allows other prefixes than they do.
    """
    match kind:
        case DriftKind.GRANT_MISSING | DriftKind.ASSOCIATION_MISSING | DriftKind.INSTANCE_DELETED:
            return wanted.level is Level.KEEP and mine.nothing_up  # a lease past its end makes nothing
        case DriftKind.FOREIGN_GRANT | DriftKind.FOREIGN_ASSOCIATION:
            return not wanted.up and not mine.nothing_up and not mine.ours
        case DriftKind.PREFIXES_DIFFER:
            return prefixes_differ
        case DriftKind.ECR_OWNER_CHANGED:
            return not wanted.down  # neither side's look at the instance shows who owns the router
        case unreachable:
            assert_never(unreachable)


def how_it_ended(kind: DriftKind, wanted: Wanted) -> str:
    """In a word how drift came to be none: mended, or what was wanted changed."""
    if kind.foreign and not wanted.down:
        return "wanted now"
    return "repaired" if kind.foreign or not wanted.down else "no longer wanted"


def gone_again(standing: Standing, row: SideRecord, seen: CloudSeen) -> bool:
    """Whether what was there before us, and was left alone when its leases ended, is not there any more."""
    key, wanted = standing.key, row.observed_wanted
    if not _known_foreign(row) or (wanted is not None and not wanted.down):
        return False
    return key not in (seen.granted if row.side is Side.GRANT else seen.associations)


def _known_foreign(row: SideRecord) -> bool:
    """What was there before us and was seen already when its leases ended, so that it has been left alone knowingly.

    What was reported as drift is not that: it stays reported for as long as it is there.
    """
    return row.ours is False and not row.nothing_up and row.drift is None


def strangers(granted: Iterable[GrantKey], associated: Iterable[GrantKey]) -> Iterator[Drift]:
    """What exists on the cloud for our ECRs without our ever having heard of it."""
    for key in sorted(granted, key=lambda one: one.grant_id):
        where = f"{key.instance_type} {key.instance_id} of account {key.instance_owner_uid}"
        yield Drift(
            key, Side.GRANT, DriftKind.FOREIGN_GRANT, f"{where} is granted to {key.ecr_id}, and nobody asked us for it"
        )
    for key in sorted(associated, key=lambda one: one.grant_id):
        where = f"{key.instance_type} {key.instance_id} of account {key.instance_owner_uid}"
        text = f"{where} is associated with {key.ecr_id}, and nobody asked us for it"
        yield Drift(key, Side.ASSOCIATE, DriftKind.FOREIGN_ASSOCIATION, text)
