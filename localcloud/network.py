"""What changes in the network: ECRs, grants, and what is associated with or attached to an ECR.

Everything is kept as a timeline: a record knows from when to when it existed and which state it had at which time,
the near future included. So states settle by themselves as cloud time passes, reads can answer from the past when
trouble is planned that way, and nothing has to be woken.
"""

import itertools
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from localcloud.call import Call
from localcloud.clock import Clock, iso_precise
from localcloud.ordered import Shelf
from localcloud.switches import Switches
from localcloud.worldfile import REGIONS, VbrSpec, VpcSpec, WorldFile

T = TypeVar("T")

GONE = ""
"""The state of what does not exist any more."""

HISTORY = 10_000
"""Ended records kept for reads that lag behind."""

_SETTLING = {
    "ASSOCIATING": {
        "creating_associating": ("CREATING", "ASSOCIATING"),
        "creating": ("CREATING",),
        "associating": ("ASSOCIATING",),
    },
    "DISSOCIATING": {
        "dissociating_deleting": ("DISSOCIATING", "DELETING"),
        "deleting": ("DELETING",),
        "dissociating": ("DISSOCIATING",),
    },
}


class Trace(NamedTuple):
    """Which call did something: leads from a record to the journal."""

    request_id: str
    arn: str
    account: str
    session: str | None
    time: float

    @staticmethod
    def of(call: Call) -> "Trace":
        """The trace of the call in hand."""
        return Trace(call.request_id, call.caller.arn, call.caller.account, call.caller.session, call.now)

    def to_json(self) -> dict[str, Any]:
        """For the world snapshot."""
        return {
            "request_id": self.request_id,
            "arn": self.arn,
            "account": self.account,
            "session": self.session,
            "time": iso_precise(self.time),
        }


class GrantKey(NamedTuple):
    """What identifies a grant (section 1.7 and 1.8)."""

    ecr_id: str
    ecr_owner: str
    instance_type: str
    instance_id: str
    instance_region: str


@dataclass(slots=True)
class Grant:
    """The owner of a VPC or VBR lets an ECR of another account reach it."""

    grant_id: str
    key: GrantKey
    owner: str
    """The account that owns the instance and made the grant."""
    created: float
    made_by: Trace
    ended: float | None = None
    ended_by: Trace | None = None

    def exists(self, when: float) -> bool:
        """Whether it was there at a time."""
        return self.created <= when and (self.ended is None or when < self.ended)


class Phase(NamedTuple):
    """From when on a record was in which state."""

    since: float
    status: str
    allowed_prefixes: tuple[str, ...] = ()
    prefixes_mode: str = ""


class _Timeline:
    """States over time."""

    __slots__ = ("phases",)

    def __init__(self) -> None:
        self.phases: list[Phase] = []

    def at(self, when: float) -> Phase | None:
        """The phase at a time; None before the first."""
        for phase in reversed(self.phases):
            if phase.since <= when:
                return phase
        return None


@dataclass(slots=True)
class Link:
    """A VPC associated with an ECR, or a VBR attached to it."""

    link_id: str
    """AssociationId on the wire, for both kinds."""
    kind: Literal["VPC", "VBR"]
    ecr_id: str
    ecr_owner: str
    node_id: str
    node_region: str
    node_owner: str
    description: str
    created: float
    made_by: Trace
    tags: tuple[tuple[str, str], ...] = ()
    ended_by: Trace | None = None
    modified: float = 0.0
    timeline: _Timeline = field(default_factory=_Timeline)

    def status(self, when: float) -> str:
        """Its state at a time; GONE before it was made and after it ended."""
        phase = self.timeline.at(when)
        return phase.status if phase else GONE


@dataclass(slots=True)
class Ecr:
    """An Express Connect Router."""

    ecr_id: str
    owner: str
    asn: int
    name: str
    description: str
    tags: tuple[tuple[str, str], ...]
    created: float
    timeline: _Timeline = field(default_factory=_Timeline)
    locked_until: float = 0.0
    biz_status: str = "Normal"

    def status(self, when: float) -> str:
        """Its state at a time; GONE when it does not exist."""
        phase = self.timeline.at(when)
        return phase.status if phase else GONE


def new_id(prefix: str) -> str:
    """An identifier that looks like the service's own."""
    return f"{prefix}-{random.getrandbits(72):018x}"


def _shelf(items: Iterable[tuple[float, str, T]]) -> Shelf[T]:
    """A shelf made for one look into the past."""
    shelf: Shelf[T] = Shelf()
    for created, identity, item in items:
        shelf.add((created, identity), item)
    return shelf


class Network:
    """All ECRs, grants and links of one local cloud, with their instances."""

    def __init__(self, file: WorldFile, clock: Clock, switches: Switches) -> None:
        self.settle = file.settle
        self.limits = file.limits
        self.ecr_regions = REGIONS if file.ecr_regions is None else frozenset(file.ecr_regions)
        self._switches = switches
        self.enterprise = {uid: account.enterprise for uid, account in file.accounts.items()}
        self.vpcs: dict[str, tuple[str, VpcSpec]] = {}
        self.vbrs: dict[str, tuple[str, VbrSpec]] = {}
        self.ecrs: dict[str, Ecr] = {}
        self.started = clock.now()
        self.vpcs_in: dict[tuple[str, str], list[VpcSpec]] = {}
        """VPCs by owner and region, in the order of the file."""
        self.vbrs_in: dict[tuple[str, str], list[VbrSpec]] = {}
        """VBRs, likewise."""
        self._ecrs_of: dict[str, Shelf[Ecr]] = {}
        self._grants: dict[GrantKey, Grant] = {}
        self._grants_of: dict[str, Shelf[Grant]] = {}
        """By the ECR, and by the account that made them: their ids never meet."""
        self._ended_grants: deque[Grant] = deque(maxlen=HISTORY)
        self._links: dict[str, Link] = {}
        self._links_of: dict[str, Shelf[Link]] = {}
        """By kind and ECR, and by the instance."""
        self._leaving: list[Link] = []
        self._ended_links: deque[Link] = deque(maxlen=HISTORY)
        self._last_gone = 0.0
        """Nothing that ended is to be seen from here on."""
        for uid, account in file.accounts.items():
            self.vpcs.update({vpc.id: (uid, vpc) for vpc in account.vpcs})
            self.vbrs.update({vbr.id: (uid, vbr) for vbr in account.vbrs})
            for vpc in account.vpcs:
                self.vpcs_in.setdefault((uid, vpc.region), []).append(vpc)
            for vbr in account.vbrs:
                self.vbrs_in.setdefault((uid, vbr.region), []).append(vbr)
            for spec in account.ecrs:
                ecr = Ecr(spec.id, uid, spec.asn, spec.name, spec.description, tuple(spec.tags.items()), self.started)
                ecr.biz_status = spec.biz_status
                # Lagging reads may look back before the start: what the world file says was always there.
                ecr.timeline.phases.append(Phase(0.0, spec.status))
                self._keep_ecr(ecr)

    # Instances

    def instance_owner(self, instance_type: str, instance_id: str, region: str) -> str | None:
        """The account that owns a VPC or VBR in a region; None when there is none."""
        found = (self.vpcs if instance_type == "VPC" else self.vbrs).get(instance_id)
        return found[0] if found and found[1].region == region else None

    def lose_vpc(self, vpc_id: str) -> None:
        """Its owner deletes a VPC, which no call does here."""
        owner, vpc = self.vpcs.pop(vpc_id)
        self.vpcs_in[owner, vpc.region].remove(vpc)

    # ECRs

    def ecr(self, ecr_id: str, when: float) -> Ecr | None:
        """An ECR that exists at a time."""
        found = self.ecrs.get(ecr_id)
        return found if found and found.status(when) != GONE else None

    def create_ecr(
        self, owner: str, asn: int, name: str, description: str, tags: tuple[tuple[str, str], ...], now: float
    ) -> Ecr:
        """A new ECR, active at once (section 1.4)."""
        ecr = Ecr(new_id("ecr"), owner, asn, name, description, tags, now)
        ecr.timeline.phases.append(Phase(now, "ACTIVE"))
        self._keep_ecr(ecr)
        return ecr

    def _keep_ecr(self, ecr: Ecr) -> None:
        self.ecrs[ecr.ecr_id] = ecr
        self._ecrs_of.setdefault(ecr.owner, Shelf()).add((ecr.created, ecr.ecr_id), ecr)

    def ecrs_of(self, owner: str, call: Call) -> Shelf[Ecr]:
        """An account's ECRs as the call sees them."""
        if call.seen < call.now:
            mine = (ecr for ecr in self.ecrs.values() if ecr.owner == owner and ecr.status(call.seen))
            return _shelf((ecr.created, ecr.ecr_id, ecr) for ecr in mine)
        return self._ecrs_of.get(owner) or Shelf()

    def delete_ecr(self, ecr: Ecr, now: float) -> None:
        """The end of an ECR; grants to it end with it."""
        ecr.timeline.phases.append(Phase(now, GONE))
        self._ecrs_of[ecr.owner].remove((ecr.created, ecr.ecr_id))

    def give_away(self, ecr: Ecr, owner: str) -> None:
        """An ECR becomes another account's, which no call does here."""
        self._ecrs_of[ecr.owner].remove((ecr.created, ecr.ecr_id))
        ecr.owner = owner
        self._keep_ecr(ecr)

    def occupy(self, ecr: Ecr, status: str, now: float) -> None:
        """Show an ECR as busy with a change, and refuse others, for the lock time."""
        if self.settle.lock_seconds > 0:
            ecr.locked_until = now + self.settle.lock_seconds
            ecr.timeline.phases += [Phase(now, status), Phase(ecr.locked_until, "ACTIVE")]

    # Grants

    def grants(self, when: float) -> Iterator[Grant]:
        """Grants that exist at a time, oldest first."""
        for grant in itertools.chain(self._ended_grants, self._grants.values()):
            if grant.exists(when):
                yield grant

    def grants_of(self, owner: str, call: Call, region: str = "") -> Shelf[Grant]:
        """The grants to an ECR, or those of an account that made them (in a region), as the call sees them."""
        if call.seen < call.now:
            mine = (
                grant
                for grant in self.grants(call.seen)
                if owner in {grant.key.ecr_id, grant.owner} and region in {"", grant.key.instance_region}
            )
            return _shelf((grant.created, grant.grant_id, grant) for grant in mine)
        return self._grants_of.get(f"{owner} in {region}" if region else owner) or Shelf()

    def grant(self, key: GrantKey) -> Grant | None:
        """The grant that exists now."""
        return self._grants.get(key)

    def make_grant(self, key: GrantKey, owner: str, call: Call) -> Grant:
        """A new grant."""
        grant = Grant(new_id("gr"), key, owner, call.now, Trace.of(call))
        self._grants[key] = grant
        for side in (key.ecr_id, owner, f"{owner} in {key.instance_region}"):
            self._grants_of.setdefault(side, Shelf()).add((grant.created, grant.grant_id), grant)
        return grant

    def end_grant(self, key: GrantKey, call: Call) -> None:
        """Take a grant back."""
        grant = self._grants.pop(key)
        for side in (key.ecr_id, grant.owner, f"{grant.owner} in {key.instance_region}"):
            self._grants_of[side].remove((grant.created, grant.grant_id))
        grant.ended = call.now
        grant.ended_by = Trace.of(call)
        self._ended_grants.append(grant)

    # Links

    def links(self, when: float, *, ecr_id: str | None = None, node_id: str | None = None) -> Iterator[Link]:
        """Associations and attached child instances that exist at a time, oldest first."""
        ended = self._ended_links if when < self._last_gone else ()
        there: Iterable[Link] = self._links.values()
        if node_id is not None:
            there = self._links_of.get(node_id, ())
        elif ecr_id is not None:
            there = itertools.chain.from_iterable(self._links_of.get(kind + ecr_id, ()) for kind in ("VPC", "VBR"))
        for link in itertools.chain(ended, there):
            wanted = (ecr_id is None or link.ecr_id == ecr_id) and (node_id is None or link.node_id == node_id)
            if wanted and link.status(when) != GONE:
                yield link

    def links_of(self, kind: Literal["VPC", "VBR"], ecr_id: str, call: Call) -> Shelf[Link]:
        """What is associated with or attached to an ECR, as the call sees it."""
        if call.seen < call.now:
            mine = (link for link in self.links(call.seen, ecr_id=ecr_id) if link.kind == kind)
            return _shelf((link.created, link.link_id, link) for link in mine)
        self._sweep(call.now)
        return self._links_of.get(kind + ecr_id) or Shelf()

    def make_link(self, link: Link, prefixes: tuple[str, ...], mode: str) -> None:
        """Start associating or attaching; it becomes ACTIVE as time passes."""
        self._sweep(link.created)
        seconds = self.settle.association_seconds if link.kind == "VPC" else self.settle.attachment_seconds
        steps = _SETTLING["ASSOCIATING"][self._switches.association_path]
        self._settle(link, steps, "ACTIVE", link.created, seconds, prefixes, mode)
        self._links[link.link_id] = link
        for side in (link.kind + link.ecr_id, link.node_id):
            self._links_of.setdefault(side, Shelf()).add((link.created, link.link_id), link)

    def end_link(self, link: Link, call: Call) -> None:
        """Start dissociating or detaching; it is gone when its time has passed."""
        phase = link.timeline.at(call.now)
        seconds = self.settle.dissociation_seconds if link.kind == "VPC" else self.settle.detachment_seconds
        steps = _SETTLING["DISSOCIATING"][self._switches.dissociation_path]
        kept = (phase.allowed_prefixes, phase.prefixes_mode) if phase else ((), "")
        self._settle(link, steps, GONE, call.now, seconds, *kept)
        link.ended_by = Trace.of(call)
        self._leaving.append(link)

    def modify_link(self, link: Link, prefixes: tuple[str, ...], mode: str, call: Call) -> None:
        """Start changing the allowed prefixes."""
        self._settle(link, ("UPDATING",), "ACTIVE", call.now, self.settle.modification_seconds, prefixes, mode)

    @staticmethod
    def _settle(
        link: Link,
        steps: tuple[str, ...],
        final: str,
        now: float,
        seconds: float,
        prefixes: tuple[str, ...],
        mode: str,
    ) -> None:
        share = seconds / len(steps)
        for index, status in enumerate(steps):
            link.timeline.phases.append(Phase(now + index * share, status, prefixes, mode))
        link.timeline.phases.append(Phase(now + seconds, final, prefixes, mode))
        link.modified = now

    def _sweep(self, now: float) -> None:
        """Move what is gone to the history."""
        for link in self._leaving:
            if link.status(now) == GONE:
                self._ended_links.append(self._links.pop(link.link_id))
                self._last_gone = max(self._last_gone, link.timeline.phases[-1].since)
                for side in (link.kind + link.ecr_id, link.node_id):
                    self._links_of[side].remove((link.created, link.link_id))
        self._leaving = [link for link in self._leaving if link.link_id in self._links]

    def snapshot(self, now: float) -> dict[str, Any]:
        """Everything a test needs to judge invariants: what exists, since when, and which call made it."""
        return {
            "ecrs": [
                {
                    "ecr_id": ecr.ecr_id,
                    "owner": ecr.owner,
                    "asn": ecr.asn,
                    "name": ecr.name,
                    "status": ecr.status(now),
                }
                for ecr in self.ecrs.values()
                if ecr.status(now) != GONE
            ],
            "grants": [
                {
                    "grant_id": grant.grant_id,
                    "ecr_id": grant.key.ecr_id,
                    "ecr_owner": grant.key.ecr_owner,
                    "instance_type": grant.key.instance_type,
                    "instance_id": grant.key.instance_id,
                    "instance_region": grant.key.instance_region,
                    "instance_owner": grant.owner,
                    "created": iso_precise(grant.created),
                    "made_by": grant.made_by.to_json(),
                }
                for grant in self.grants(now)
            ],
            "associations": [self._link_json(link, now) for link in self.links(now) if link.kind == "VPC"],
            "child_instances": [self._link_json(link, now) for link in self.links(now) if link.kind == "VBR"],
        }

    @staticmethod
    def _link_json(link: Link, now: float) -> dict[str, Any]:
        phase = link.timeline.at(now)
        return {
            "association_id": link.link_id,
            "ecr_id": link.ecr_id,
            "ecr_owner": link.ecr_owner,
            "instance_type": link.kind,
            "instance_id": link.node_id,
            "instance_region": link.node_region,
            "instance_owner": link.node_owner,
            "status": link.status(now),
            "allowed_prefixes": list(phase.allowed_prefixes) if phase else [],
            "created": iso_precise(link.created),
            "made_by": link.made_by.to_json(),
            "ended_by": link.ended_by and link.ended_by.to_json(),
        }
