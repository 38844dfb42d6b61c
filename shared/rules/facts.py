"""The facts that are decided from: both sides of a grant as the ledger keeps them, and as the cloud shows them.

The words that decide are declared here, once. Values are what the ledger stores and what completions say, so they stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.messages.forms import GrantKey
from shared.rules.leases import Lease, Wanted


class Side(StrEnum):
    """One account's half of a grant."""

    GRANT = "grant"  # account B: the grant
    ASSOCIATE = "associate"  # account A: the association of a VPC, the attachment of a VBR

    @property
    def other(self) -> Side:
        """The other account's half."""
        return Side.ASSOCIATE if self is Side.GRANT else Side.GRANT


class State(StrEnum):
    """What a side was last seen to be, in words of ours. Of an association the platform's own status is kept instead."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    PRESENT = "present"


NOTHING_UP = frozenset({State.UNKNOWN, State.ABSENT})


class AssociationStatus(StrEnum):
    """The statuses of an association that come to rest; every other one is on its way (openapi-ecr-vpc-sts.md section 1)."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class Operation(StrEnum):
    """One write to the cloud, by the word that intents and logs have for it."""

    GRANT = "grant"
    REVOKE = "revoke"
    ASSOCIATE = "associate"
    DISSOCIATE = "dissociate"
    SET_PREFIXES = "set_prefixes"
    ATTACH = "attach"
    DETACH = "detach"

    @property
    def creates(self) -> bool:
        """Whether something is there afterwards that was not there before."""
        return self in (Operation.GRANT, Operation.ASSOCIATE, Operation.ATTACH)


class IntentResult(StrEnum):
    """What became of a write that was decided. Without one it may still land."""

    LANDED = "landed"
    REFUSED = "refused"
    LOST = "lost"


class Mode(StrEnum):
    """What may act on the cloud."""

    OBSERVE = "observe"
    PAUSE_TEARDOWN = "pause-teardown"
    PAUSE_ALL = "pause-all"
    FULL = "full"


class HoldKind(StrEnum):
    """What a person can put on hold."""

    ECR = "ecr"
    ACCOUNT = "account"
    GRANT = "grant"


@dataclass(frozen=True)
class Hold:
    """What a person said about an ECR, an account or a grant: nothing is created until somebody lifts it.

    ``everything``: nothing is taken down either. ``at`` in epoch milliseconds.
    """

    kind: HoldKind
    name: str
    everything: bool
    who: str
    reason: str
    at: int

    @property
    def text(self) -> str:
        """Whose word it is."""
        what = "everything" if self.everything else "creating"
        return f"{self.who} put {what} on hold for the {self.kind} {self.name}: {self.reason}"


@dataclass(frozen=True)
class Stops:
    """What people say must not be done now, and why; None: it may be done."""

    create: str | None = None
    remove: str | None = None
    look: bool = False  # not even looked at, unless a write is open


class DriftKind(StrEnum):
    """How the cloud can differ from what had settled."""

    GRANT_MISSING = "grant-missing"
    ASSOCIATION_MISSING = "association-missing"
    PREFIXES_DIFFER = "prefixes-differ"
    FOREIGN_GRANT = "foreign-grant"
    FOREIGN_ASSOCIATION = "foreign-association"
    INSTANCE_DELETED = "instance-deleted"
    ECR_OWNER_CHANGED = "ecr-owner-changed"

    @property
    def foreign(self) -> bool:
        """Whether it is something there, not something missing."""
        return self in (DriftKind.FOREIGN_GRANT, DriftKind.FOREIGN_ASSOCIATION)

    @property
    def missing(self) -> bool:
        """Whether what stood on its side is gone, and may be put up again."""
        return self in (DriftKind.GRANT_MISSING, DriftKind.ASSOCIATION_MISSING)


@dataclass(frozen=True)
class SpokeSeen:
    """Account B's view. ``associated``: B's instance says that it hangs on this ECR, or is on its way to or from it."""

    found: bool
    granted: bool
    associated: bool
    elsewhere: str | None = None  # another ECR that B's instance hangs on
    since: int | None = None  # when the grant was given, as the platform says (epoch milliseconds)
    cidrs: tuple[str, ...] | None = None  # the address ranges of a VPC; None: they were not looked at


@dataclass(frozen=True, slots=True)
class AssociationSeen:
    """Account A's view: the association of a VPC, or the child instance of a VBR. ``status`` None: there is none."""

    status: str | None
    association_id: str | None
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """One look at a side, in the terms that both sides share. ``ours`` None: nothing is there."""

    state: str  # a State, or the platform's status of an association
    ours: bool | None = None
    association_id: str | None = None
    prefixes: tuple[str, ...] | None = None  # None: does not apply
    since: int | None = None


@dataclass(frozen=True)
class Intent:
    """A write to the cloud that was decided; until it is resolved it may land. Its id is the client token.

    ``made_at``: the latest moment at which the call can have been made. ``prefixes``: what an association was asked for.
    """

    intent_id: str
    operation: Operation
    generation: int
    made_at: int
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class DriftFound:
    """Drift as a side remembers it until it is over. ``at``: when it was found (epoch milliseconds)."""

    kind: DriftKind
    text: str
    at: int


@dataclass(frozen=True)
class SideRecord:
    """One side of a grant as last read. Times are epoch milliseconds.

    ``waiting``: it waits for the other side or for the mode, so any hint is worth a look.
    """

    side: Side
    observed_generation: int
    observed_wanted: Wanted | None
    state: str  # a State, or the platform's status of an association
    ours: bool | None
    association_id: str | None
    prefixes: tuple[str, ...]  # as last seen, of an association
    seen_at: int | None
    attempts: int
    next_at: int | None
    waiting_since: int | None
    waiting: bool
    dead: bool
    drift: DriftFound | None
    knocks: int
    claimed_until: int | None = None  # a worker is at it

    @property
    def nothing_up(self) -> bool:
        """Whether nothing was seen there."""
        return self.state in NOTHING_UP


@dataclass(frozen=True)
class Work:
    """Everything the ledger knows about one grant, as one side needs it."""

    grant_id: str
    key: GrantKey
    generation: int
    wanted: Wanted
    mine: SideRecord
    other: SideRecord
    writes: tuple[Intent, ...]  # all of this side, but those that were refused
    my_intents: tuple[Intent, ...]  # those that may still land
    other_pending: int | None  # until when a write of the other side may still land, counted from its call
    stops: Stops = Stops()
    waits: Lease | None = None  # of the leases that have not taken effect, the oldest

    @property
    def settled(self) -> bool:
        """Whether this side has nothing left to do: what was observed is what is wanted now."""
        return self._settled(self.mine) and not self.my_intents

    @property
    def other_settled(self) -> bool:
        """Whether the other side has nothing left to do for these leases."""
        return self._settled(self.other) and self.other_pending is None

    @property
    def other_gone(self) -> bool:
        """Whether the other side certainly has nothing up: nothing was seen there, and nothing may still land."""
        return self.other.nothing_up and self.other_pending is None

    def _settled(self, row: SideRecord) -> bool:
        return row.observed_generation == self.generation and row.observed_wanted == self.wanted


@dataclass(frozen=True)
class Standing:
    """One grant as the ledger has it, without its leases: enough to compare it with the cloud."""

    key: GrantKey
    generation: int
    grant: SideRecord
    associate: SideRecord

    @property
    def settled(self) -> bool:
        """Whether both sides have come to rest for the present leases."""
        return all(
            row.observed_generation == self.generation and row.observed_wanted is not None
            for row in (self.grant, self.associate)
        )


@dataclass(frozen=True)
class Drift:
    """One way in which the cloud is not as it had settled. ``kind`` is the class that policy speaks of."""

    key: GrantKey
    side: Side
    kind: DriftKind
    text: str
