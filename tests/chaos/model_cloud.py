"""A cloud in memory, as unkind as the real one may be: reads lag, writes land late or never, answers get lost.

It has the methods of ``shared.cloud.network.Cloud`` and keeps the truth with its history. ``STALE_MS`` and ``LATE_MS`` are
the bounds of its unkindness; the loop is given their sum as its settle time, and one millisecond.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from shared.cloud.calls import Trail
from shared.cloud.pace import Busiest
from shared.errors import (
    CloudTrouble,
    CloudUnreachable,
    GrantError,
    Locked,
    PermanentError,
    PermissionMissing,
    TemporaryError,
    Throttled,
)
from shared.messages.completion import Served
from shared.messages.forms import GrantKey
from shared.rules.facts import AssociationSeen, SpokeSeen
from tests.chaos.turns import Turns

STALE_MS = 20_000
LATE_MS = 30_000
ASYNC_MS = 40_000  # what takes its time becomes ACTIVE, or goes, within this

T = TypeVar("T")


class Timeline(Generic[T]):
    """A value with its past."""

    def __init__(self, start: T) -> None:
        self._times: list[int] = [0]
        self._values: list[T] = [start]

    @property
    def now(self) -> T:
        """The present value."""
        return self._values[-1]

    def set(self, at: int, value: T) -> None:
        """From this time on."""
        self._times.append(at)
        self._values.append(value)

    def at(self, moment: int) -> T:
        """The value at a time."""
        return self._values[bisect.bisect_right(self._times, moment) - 1]


@dataclass(frozen=True)
class Granted:
    """A grant. ``ours``: our hand made it, or it was adopted."""

    ours: bool


@dataclass(frozen=True)
class Link:
    """An association or attachment."""

    ours: bool
    association_id: str
    status: str
    prefixes: tuple[str, ...]


class Place:
    """The truth about one grant key."""

    def __init__(self) -> None:
        self.exists = Timeline(True)
        self.granted: Timeline[Granted | None] = Timeline(None)
        self.link: Timeline[Link | None] = Timeline(None)


@dataclass(frozen=True)
class Write:
    """A write as it was asked for."""

    key: GrantKey
    side: str
    operation: str
    token: str
    prefixes: tuple[str, ...]
    association_id: str | None = None


class Referee(Protocol):
    """Who judges every write at the moment it is asked for, and when it takes effect."""

    def asked(self, write: Write, place: Place) -> None:
        """Raises Violation."""

    def landed(self, write: Write, place: Place) -> None:
        """Raises Violation."""


class Shown:
    """Both accounts of every grant, as whoever reads is shown them: each part as old as it happens to be."""

    def __init__(self, turns: Turns, keys: Sequence[GrantKey]) -> None:
        self._turns = turns
        self.places = {key: Place() for key in keys}
        self.calls = 0

    def _moment(self) -> int:
        """The moment a read tells of."""
        turns = self._turns
        if turns.luck.strikes(turns.trouble.stale):
            turns.counts["read stale"] += 1
            return turns.now - turns.luck.between(0, STALE_MS)
        return turns.now

    def _read(self, side: str, operation: str, key: GrantKey | None, trail: Trail | None) -> None:
        """What every read goes through."""
        turns = self._turns
        turns.boundary("before a read")
        turns.takes_time()
        self.calls += 1
        if side in turns.trouble.forbidden and turns.luck.strikes(0.3):
            turns.counts["read forbidden"] += 1
            raise PermissionMissing(f"permission {operation} is missing", code="NoPermission")
        if turns.luck.strikes(turns.trouble.unread):
            turns.counts["read unanswered"] += 1
            raise [CloudUnreachable("no answer"), Throttled("slow down")][turns.luck.between(0, 1)]
        if trail is not None and key is not None:
            trail.calls.append(_served(key, side, operation, self.calls))

    def look_at_spoke(self, key: GrantKey, trail: Trail, known: SpokeSeen | None = None) -> SpokeSeen:
        """Account B's view, each part of it as old as it happens to be."""
        place = self.places[key]
        if known is None:
            self._read("grant", "DescribeInstance", key, trail)
            if not place.exists.at(self._moment()):
                return SpokeSeen(found=False, granted=False, associated=False)
            known = SpokeSeen(found=True, granted=False, associated=place.link.at(self._moment()) is not None)
        self._read("grant", "DescribeGrantRules", key, trail)
        seen = replace(known, granted=place.granted.at(self._moment()) is not None)
        self._turns.boundary("after a read")
        return seen

    def look_at_association(self, key: GrantKey, trail: Trail) -> AssociationSeen:
        """Account A's view."""
        self._read("associate", "DescribeAssociation", key, trail)
        seen = _seen(self.places[key].link.at(self._moment()))
        self._turns.boundary("after a read")
        return seen

    def grants_on_ecr(self, owner: str, ecr_id: str) -> Iterator[GrantKey]:
        """What is granted to an ECR."""
        self._read("associate", "DescribeInstanceGranted", None, None)
        for key, place in self.places.items():
            if (key.ecr_owner_uid, key.ecr_id) == (owner, ecr_id) and place.granted.at(self._moment()) is not None:
                yield key

    def associations_on_ecr(self, owner: str, ecr_id: str) -> Iterator[tuple[GrantKey, AssociationSeen]]:
        """What hangs on an ECR."""
        self._read("associate", "DescribeAssociations", None, None)
        for key, place in self.places.items():
            seen = _seen(place.link.at(self._moment()))
            if (key.ecr_owner_uid, key.ecr_id) == (owner, ecr_id) and seen.status is not None:
                yield key, seen

    def busiest(self) -> Busiest:
        """No budget."""
        return Busiest()

    def owns_ecr(self, owner: str, ecr_id: str) -> bool:
        """Every ECR stays with its owner here."""
        self._read("associate", "DescribeRouter", None, None)
        return any((key.ecr_owner_uid, key.ecr_id) == (owner, ecr_id) for key in self.places)

    def grants_of_account(self, account: str, region: str, ecr_owner: str) -> Iterator[GrantKey]:
        """What an account B has granted, as it sees it."""
        self._read("grant", "DescribeGrants", None, None)
        wanted = account, region, ecr_owner
        for key, place in self.places.items():
            asked = (key.instance_owner_uid, key.instance_region, key.ecr_owner_uid) == wanted
            if asked and place.granted.at(self._moment()) is not None:
                yield key

    def existing(self, account: str, region: str, instances: Sequence[str]) -> set[str]:
        """Which instances an account B has."""
        self._read("grant", "DescribeInstances", None, None)
        return {
            key.instance_id
            for key, place in self.places.items()
            if key.instance_id in instances
            and (key.instance_owner_uid, key.instance_region) == (account, region)
            and place.exists.at(self._moment())
        }


class ModelCloud(Shown):
    """What is asked of both accounts, and what becomes of it."""

    def __init__(self, turns: Turns, keys: Sequence[GrantKey], referee: Referee) -> None:
        super().__init__(turns, keys)
        self._referee = referee
        self._due: list[tuple[int, int, Callable[[int], None]]] = []
        self._answers: dict[str, tuple[Write, GrantError | None]] = {}
        self.writes: list[tuple[int, str, Write]] = []
        turns.on_time = self.catch_up

    # -- time ----------------------------------------------------------------------------------------------------

    def catch_up(self, now: int) -> None:
        """Everything that takes effect until now."""
        while self._due and self._due[0][0] <= now:
            at, _, effect = heapq.heappop(self._due)
            effect(at)

    def later(self, at: int, effect: Callable[[int], None]) -> None:
        """Something that takes effect at a time."""
        self.calls += 1  # also what keeps effects of the same moment in order
        heapq.heappush(self._due, (at, self.calls, effect))

    @property
    def busy(self) -> bool:
        """Whether something is still to take effect."""
        return bool(self._due)

    # -- writes ----------------------------------------------------------------------------------------------------

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        """As account B."""
        self._write(Write(key, "grant", "grant", token, ()), trail, self._grant)

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        """As account B."""
        self._write(Write(key, "grant", "revoke", token, ()), trail, self._revoke)

    def associate(self, key: GrantKey, prefixes: tuple[str, ...], token: str, trail: Trail) -> None:
        """As account A."""
        self._write(Write(key, "associate", "associate", token, prefixes), trail, self._associate)

    def dissociate(self, key: GrantKey, association_id: str | None, token: str, trail: Trail) -> None:
        """As account A."""
        self._write(Write(key, "associate", "dissociate", token, (), association_id), trail, self._dissociate)

    def set_prefixes(
        self, key: GrantKey, association_id: str | None, prefixes: tuple[str, ...], token: str, trail: Trail
    ) -> None:
        """As account A."""
        write = Write(key, "associate", "set_prefixes", token, prefixes, association_id)
        self._write(write, trail, self._set_prefixes)

    def _write(self, write: Write, trail: Trail, effect: Callable[[Write, int], None]) -> None:
        turns = self._turns
        turns.boundary("before a write")
        turns.takes_time()
        self.calls += 1
        if write.token in self._answers:
            self._referee.asked(write, self.places[write.key])  # the same token again is judged, not executed
            error = self._answers[write.token][1]
        else:
            error = self._execute(write, effect)
            self._answers[write.token] = write, error
        turns.boundary("after a write")
        if error is not None:
            raise error
        trail.calls.append(_served(write.key, write.side, write.operation, self.calls))

    def _execute(self, write: Write, effect: Callable[[Write, int], None]) -> GrantError | None:
        """What the platform makes of a write: its effect now, later or never, and an answer or none."""
        turns, place = self._turns, self.places[write.key]
        luck, trouble = turns.luck, turns.trouble
        self._referee.asked(write, place)
        self.writes.append((turns.now, turns.worker.name if turns.worker else "", write))
        if write.side in trouble.forbidden and luck.strikes(0.7):
            return self._told(write, "forbidden", PermissionMissing("permission is missing", code="NoPermission"))
        if luck.strikes(trouble.refused):
            refusals: list[GrantError] = [Throttled("slow down"), Locked("busy", code="Conflict.Lock")]
            return self._told(write, "refused", refusals[luck.between(0, 1)])
        refusal = _refusal(write, place)
        if refusal is not None:
            return self._told(write, "refused for its state", refusal)
        if luck.strikes(trouble.never):
            fate = "never"
        elif luck.strikes(trouble.late):
            fate = "late"
            self.later(turns.now + luck.between(1, LATE_MS), lambda at: effect(write, at))
        else:
            fate = "at once"
            effect(write, turns.now)
        if luck.strikes(trouble.lost):
            answer: GrantError = CloudUnreachable("no usable answer", executed=True)
            if luck.strikes(0.5):
                answer = CloudTrouble("the platform failed", executed=True)
            return self._told(write, f"lost, effect {fate}", answer)
        turns.counts[f"{write.operation}: answered, effect {fate}"] += 1
        return None

    def _told(self, write: Write, what: str, error: GrantError) -> GrantError:
        self._turns.counts[f"{write.operation}: {what}"] += 1
        return error

    def _grant(self, write: Write, at: int) -> None:
        place = self.places[write.key]
        if place.exists.now and place.granted.now is None:
            self._referee.landed(write, place)
            place.granted.set(at, Granted(ours=True))

    def _revoke(self, write: Write, at: int) -> None:
        place = self.places[write.key]
        if place.granted.now is not None:
            self._referee.landed(write, place)
            place.granted.set(at, None)

    def _associate(self, write: Write, at: int) -> None:
        place = self.places[write.key]
        if place.granted.now is None or place.link.now is not None:
            return
        self._referee.landed(write, place)
        self.start_link(write.key, at, Link(True, f"assoc-{self.calls}", "CREATING", write.prefixes))

    def start_link(self, key: GrantKey, at: int, link: Link) -> None:
        """An association on its way to ACTIVE, or to nothing."""
        fails = self._turns.luck.strikes(self._turns.trouble.failing)
        self._becomes(key, at, link, None if fails else "ACTIVE", link.prefixes)

    def end_link(self, key: GrantKey, at: int) -> None:
        """An association on its way out, or back."""
        link = self.places[key].link.now
        assert link is not None
        fails = self._turns.luck.strikes(self._turns.trouble.failing)
        self._becomes(key, at, replace(link, status="DELETING"), "ACTIVE" if fails else None, link.prefixes)

    def _dissociate(self, write: Write, at: int) -> None:
        place = self.places[write.key]
        if place.link.now is not None and place.link.now.association_id == write.association_id:
            self._referee.landed(write, place)
            self.end_link(write.key, at)

    def _set_prefixes(self, write: Write, at: int) -> None:
        place = self.places[write.key]
        if place.link.now is None or place.link.now.association_id != write.association_id:
            return
        self._referee.landed(write, place)
        fails = self._turns.luck.strikes(self._turns.trouble.failing)
        prefixes = place.link.now.prefixes if fails else write.prefixes
        self._becomes(write.key, at, replace(place.link.now, status="UPDATING"), "ACTIVE", prefixes)

    def _becomes(self, key: GrantKey, at: int, link: Link, status: str | None, prefixes: tuple[str, ...]) -> None:
        """Show this link now, and what becomes of it after a while; None: nothing is left."""
        self.places[key].link.set(at, link)

        def end(now: int) -> None:
            present = self.places[key].link.now
            if present is None or present.association_id != link.association_id:
                return
            self.places[key].link.set(
                now, None if status is None else replace(present, status=status, prefixes=prefixes)
            )

        self.later(at + self._turns.luck.between(1_000, ASYNC_MS), end)


def _refusal(write: Write, place: Place) -> GrantError | None:
    """What the platform refuses because of the state it finds."""
    link = place.link.now
    if write.operation == "grant" and not place.exists.now:
        return PermanentError("no such instance", code="ResourceNotFound.InstanceId")
    if write.operation == "associate" and place.granted.now is None:
        return TemporaryError("not granted", code="OperationDenied.NotGrantedByNodeOwner")
    if write.operation in ("dissociate", "set_prefixes") and (
        link is None or link.association_id != write.association_id
    ):
        return PermanentError("no such association", code="ResourceNotFound.AssociationId")
    if write.operation in ("dissociate", "set_prefixes") and link is not None and link.status != "ACTIVE":
        return Locked("busy", code="IncorrectStatus.Association")
    return None


def _seen(link: Link | None) -> AssociationSeen:
    if link is None:
        return AssociationSeen(None, None, ())
    return AssociationSeen(link.status, link.association_id, link.prefixes)


def _served(key: GrantKey, side: str, operation: str, call: int) -> Served:
    account = key.instance_owner_uid if side == "grant" else key.ecr_owner_uid
    return Served(operation=operation, account=account, session="model", api_request_id=f"call-{call}")
