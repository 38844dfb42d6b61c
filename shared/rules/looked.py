"""What was seen of both accounts before people decide: each piece is either seen, or a reason why it was not."""

from __future__ import annotations

from dataclasses import dataclass

from shared.messages.consent import RequestKind
from shared.messages.forms import GrantKey


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as preflight reads it.

    ``prefixes``: as the request has them; empty: all that the VPC has. ``ends_at`` in epoch milliseconds. ``also``: what else the
    request says, by field and as text; people decide about it, so it is part of the snapshot.
    """

    kind: RequestKind
    key: GrantKey
    prefixes: tuple[str, ...] = ()
    ends_at: int | None = None
    also: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """Why something was not seen. Nothing is concluded from it."""

    reason: str


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """Whether a role let us in. ``refusal``: what STS said, where it did not. ``missing``: what it then did not let us read."""

    refusal: str | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteSource:
    """Something that a VPC gets routes from, as its owner sees it. ``learns`` None: the platform does not say."""

    kind: str
    name: str
    learns: bool | None


@dataclass(frozen=True, slots=True)
class GrantSeen:
    """An ECR, and its owner where that is shown: one that an instance is granted to, or hangs on."""

    ecr_id: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class InstanceSeen:
    """The instance. ``owner`` and ``region``: where it was found, None when nowhere; of one that is not where it was asked for
    nothing else is known.

    ``asns``: the cloud's side of a VBR's BGP groups.
    """

    owner: str | None
    region: str | None
    status: str | None = None
    cidrs: tuple[str, ...] = ()
    sources: tuple[RouteSource, ...] = ()
    routers: tuple[GrantSeen, ...] = ()
    asns: tuple[int, ...] | Unread = ()


@dataclass(frozen=True, slots=True)
class EcrSeen:
    """The router. ``owner``: who has it, None when nobody who was asked."""

    owner: str | None
    status: str | None = None
    business: str | None = None
    asn: int | None = None


@dataclass(frozen=True, slots=True)
class NeighbourSeen:
    """Something associated with the ECR or attached to it. ``cidrs`` None: its own address ranges were not read."""

    kind: str
    name: str
    region: str
    owner: str
    status: str
    prefixes: tuple[str, ...] = ()
    cidrs: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class GranterSeen:
    """A grant to the ECR as its owner sees it. ``enterprise``: the granting account's, empty where it is not shown."""

    name: str
    region: str
    owner: str
    enterprise: str


@dataclass(frozen=True, slots=True)
class EcrUse:
    """What is on the ECR, and granted to it. ``whole``: there was no more than was read."""

    neighbours: tuple[NeighbourSeen, ...]
    granted: tuple[GranterSeen, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts that the platform enforces and does not publish, as an operator knows them; None: not known."""

    vpcs_per_ecr: int | None = None
    prefixes: int | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """What this deployment knows by itself. ``now`` in epoch milliseconds.

    ``ecrs``: the routers that the inventory lists. ``grant_ours``, ``association_ours``: whether what stands is ours by the
    ledger; None: not asked. ``ahead``: writes that wait before this one; None: not counted.
    """

    now: int
    ecrs: frozenset[str] = frozenset()
    grant_ours: bool | None = None
    association_ours: bool | None = None
    limits: Limits = Limits()
    ahead: int | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that was seen. ``grants``: what the instance is granted to, as account B sees it. ``regions``: where an ECR
    reaches instances of its kind.
    """

    role_a: RoleSeen | Unread
    role_b: RoleSeen | Unread
    instance: InstanceSeen | Unread
    grants: tuple[GrantSeen, ...] | Unread
    ecr: EcrSeen | Unread
    regions: tuple[str, ...] | Unread
    use: EcrUse | Unread
    own: Own

    def in_place(self, key: GrantKey) -> InstanceSeen | Unread:
        """The instance where it was asked for; else why nothing is known of it there."""
        if isinstance(self.instance, Unread):
            return self.instance
        if (self.instance.owner, self.instance.region) != (key.instance_owner_uid, key.instance_region):
            return Unread(f"{key.instance_id} is not where it was asked for")
        return self.instance
